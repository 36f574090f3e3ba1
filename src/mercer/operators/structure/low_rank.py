"""Kernels that are dot products of few features: K = A B', and the features of each side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mercer.operators.factors import ONE, Factors, factor, side_values, theta_values
from mercer.operators.maps import Expression, leaf, leaves, safe_sqrt, substitute
from mercer.operators.operands import Operands
from mercer.operators.spec import Spec
from mercer.operators.statistics import DotProduct
from mercer.operators.structure.monomials import monomials, n_monomials, power_coefficients

__all__ = [
    "has_equal_sides",
    "low_rank_features",
    "low_rank_numbers",
    "low_rank_root",
    "low_rank_terms",
    "low_rank_width",
]

EVERY = slice(None)


@dataclass(frozen=True)
class LowRankTerm:
    """``row * column * sum_q c_q s^q`` with a dot product s.

    Attributes:
        row, column: of one side's row values, and hyperparameters.
        statistic: the number of s; None where there is none.
        powers: q and c_q, of hyperparameters only.
    """

    row: Expression
    column: Expression
    statistic: int | None
    powers: tuple[tuple[int, Expression], ...]


@lru_cache(maxsize=64)
def low_rank_terms(spec: Spec) -> tuple[LowRankTerm, ...] | None:
    """The terms, if each is a polynomial of one dot product at most and has nothing else of pairs.

    Terms that are 0 are left out. None if some term is not of this form.
    """
    found = []
    for term in spec.smooth_terms:
        if term.is_constant and term.number == 0.0:
            continue
        parts = factor(term)
        known = _polynomial(parts, spec)
        if known is None:
            return None
        statistic, coefficients = known
        numbers = [parts.number * c for c in coefficients]
        powers = tuple((q, c) for q, c in enumerate(numbers) if not (c.is_constant and c.number == 0.0))
        found.append(LowRankTerm(parts.row, parts.column, statistic, powers))
    return tuple(found)


def low_rank_width(found: Sequence[LowRankTerm], widths: Sequence[int]) -> int:
    """The number of features of these terms; ``widths`` are the embedding columns of each statistic."""
    return sum(_n_features(term, q, widths) for term in found for q, _ in term.powers)


def low_rank_numbers(operands: Operands) -> Tensor:
    """c ``(*batch, r)`` in K = A diag(c) B'; differentiable."""
    like, found = operands.like, low_rank_terms(operands.spec)
    assert found is not None
    widths = [points.shape[-1] for points in operands.left]
    numbers = []
    for term in found:
        for q, coefficient in term.powers:
            number = torch.as_tensor(side_values(coefficient, operands, "row"), dtype=like.dtype, device=like.device)
            numbers.append(number.expand(*like.shape[:-2], _n_features(term, q, widths)))
    return torch.cat(numbers, -1)


def low_rank_features(operands: Operands, side: str, rows: slice = EVERY) -> Tensor:
    """A (``side="row"``) or B ``(*batch, n, r)`` in K = A diag(c) B', or some of its rows; differentiable."""
    found = low_rank_terms(operands.spec)
    assert found is not None
    return _joined([_side(term, q, operands, side, rows) for term in found for q, _ in term.powers])


def has_equal_sides(operands: Operands) -> bool:
    """Whether A is B."""
    found = low_rank_terms(operands.spec)
    assert found is not None
    return operands.right is None and all(_as_column(term.row) == term.column for term in found)


def low_rank_root(operands: Operands, side: str) -> Tensor | None:
    """Z of one side, ``(n, r)``, with ``K = Z Z'`` where rows and columns are the same points; differentiable.

    None where K is not of this form: the two sides of a term differ, a number is negative, or a hyperparameter in it is
    0 and its gradient, which the root does not have there, is wanted.
    """
    found = low_rank_terms(operands.spec)
    if not found or any(_as_column(term.row) != term.column for term in found):
        return None
    values = theta_values(operands)
    scaled = []
    for term in found:
        for q, coefficient in term.powers:
            number = torch.as_tensor(side_values(coefficient, operands, side), dtype=operands.like.dtype)
            inside = [values[theta] for theta in leaves([coefficient], "theta")]
            if bool((number < 0.0).any()) or any(t.requires_grad and bool((t == 0.0).any()) for t in inside):
                return None
            scaled.append(_side(term, q, operands, side) * safe_sqrt(number))
    return _joined(scaled)


def _polynomial(parts: Factors, spec: Spec) -> tuple[int | None, list[Expression]] | None:
    """The number of the dot product in the factors of pairs, and what stands before its powers."""
    if not parts.pairs:
        return None, [ONE]
    statistics = leaves(parts.pairs, "statistic")
    if len(statistics) != 1 or not isinstance(spec.statistics[int(statistics[0].number)], DotProduct):
        return None
    coefficients = power_coefficients(parts.pairs, statistics[0])
    return None if coefficients is None else (int(statistics[0].number), coefficients)


def _as_column(row: Expression) -> Expression:
    """A row's factor, written for columns."""
    swapped = {value: leaf("column", int(value.number)) for value in leaves([row], "row")}
    return substitute((row,), swapped)[0]


def _n_features(term: LowRankTerm, degree: int, widths: Sequence[int]) -> int:
    return 1 if term.statistic is None else n_monomials(widths[term.statistic], degree)


def _joined(parts: list[Tensor]) -> Tensor:
    """``(*batch, r, n)`` parts as features ``(*batch, n, r)``; points stay in rows in memory, monomials in columns."""
    if all(part.mT.is_contiguous() for part in parts):
        return torch.cat([part.mT for part in parts], -1)
    return torch.cat(parts, -2).mT


def _side(term: LowRankTerm, degree: int, operands: Operands, side: str, rows: slice = EVERY) -> Tensor:
    """The features ``(..., r, n)`` of one power: monomials of a side's points, or ones, times its values."""
    like, n = operands.like, operands.shape[0 if side == "row" else 1]
    if term.statistic is None or degree == 0:
        features = like.new_ones(*like.shape[:-2], 1, len(range(n)[rows]))
    else:
        points = operands.left if side == "row" else operands.rights
        features = points[term.statistic][..., rows, :].mT
        features = features if degree == 1 else monomials(features.contiguous(), degree)
    scale = side_values(term.row if side == "row" else term.column, operands, side)
    if not isinstance(scale, Tensor):
        return features if scale == 1.0 else features * scale
    return features * (scale[..., rows] if scale.shape[-1] == n else scale).unsqueeze(-2)
