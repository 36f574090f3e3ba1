"""Kernels that are dot products of few features: K = A B', and the features of each side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mercer.operators.factors import Factors, factor, side_values, theta_values
from mercer.operators.maps import Expression, leaf, leaves, safe_sqrt, substitute
from mercer.operators.operands import Operands
from mercer.operators.spec import Spec
from mercer.operators.statistics import DotProduct

__all__ = ["low_rank_features", "low_rank_root", "low_rank_terms", "low_rank_width"]


def low_rank_terms(spec: Spec) -> list[Factors] | None:
    """The terms as factors, if each has one dot product at most and nothing else of pairs; terms that are 0 left out.

    None if some term is not of this form.
    """
    found = []
    for term in spec.smooth_terms:
        if term.is_constant and term.number == 0.0:
            continue
        parts = factor(term)
        if len(parts.pairs) > 1 or (parts.pairs and _statistic(parts, spec) is None):
            return None
        found.append(parts)
    return found


def low_rank_width(found: list[Factors], spec: Spec, widths: Sequence[int]) -> int:
    """The number of features of these terms; ``widths`` are the embedding columns of each statistic."""
    numbers = [_statistic(parts, spec) for parts in found]
    return sum(1 if g is None else widths[g] for g in numbers)


def low_rank_features(operands: Operands) -> tuple[Tensor, Tensor]:
    """A ``(*batch, n, r)`` and B ``(*batch, m, r)`` with K = A B'; differentiable. A has the terms' numbers."""
    found = low_rank_terms(operands.spec)
    assert found is not None
    left = [_side(parts, operands, "row", number=True) for parts in found]
    right = [_side(parts, operands, "column") for parts in found]
    return torch.cat(left, -1), torch.cat(right, -1)


def low_rank_root(operands: Operands, side: str) -> Tensor | None:
    """Z of one side, ``(n, r)``, with ``K = Z Z'`` where rows and columns are the same points; differentiable.

    None where K is not of this form: the two sides of a term differ, a number is negative, or a hyperparameter in it is
    0 and its gradient, which the root does not have there, is wanted.
    """
    found = low_rank_terms(operands.spec)
    if not found or any(_as_column(parts.row) != parts.column for parts in found):
        return None
    values = theta_values(operands)
    scaled = []
    for parts in found:
        number = torch.as_tensor(side_values(parts.number, operands, side), dtype=operands.like.dtype)
        inside = [values[theta] for theta in leaves([parts.number], "theta")]
        if bool((number < 0.0).any()) or any(t.requires_grad and bool((t == 0.0).any()) for t in inside):
            return None
        scaled.append(_side(parts, operands, side) * safe_sqrt(number))
    return torch.cat(scaled, -1)


def _as_column(row: Expression) -> Expression:
    """A row's factor, written for columns."""
    swapped = {value: leaf("column", int(value.number)) for value in leaves([row], "row")}
    return substitute((row,), swapped)[0]


def _side(parts: Factors, operands: Operands, side: str, *, number: bool = False) -> Tensor:
    """The features of one term: a side's points, or ones, times its values."""
    g, like = _statistic(parts, operands.spec), operands.like
    points = operands.left if side == "row" else operands.rights
    n = operands.shape[0 if side == "row" else 1]
    features = like.new_ones(*like.shape[:-2], n, 1) if g is None else points[g]
    own = side_values(parts.row if side == "row" else parts.column, operands, side)
    scale = own * side_values(parts.number, operands, side) if number else own
    return features * (scale.unsqueeze(-1) if isinstance(scale, Tensor) else scale)


def _statistic(parts: Factors, spec: Spec) -> int | None:
    """The number of the dot product that is the only pair factor."""
    for g, statistic in enumerate(spec.statistics):
        if isinstance(statistic, DotProduct) and parts.pairs == (leaf("statistic", g),):
            return g
    return None
