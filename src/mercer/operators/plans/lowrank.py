"""The plan for kernels that are dot products of few features: K = A B', multiplied as A (B' v)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer.operators.expression import Expression, leaf, leaves, substitute
from mercer.operators.factors import Factors, factor, side_values, theta_values
from mercer.operators.low_rank_solution import LowRankSolution
from mercer.operators.operands import Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.rates import rates
from mercer.operators.spec import Spec
from mercer.operators.statistics import DotProduct

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

CALLS = 10.0
SEVERAL = 2.5  # times slower where there are several right-hand sides: their products are narrow


class LowRankPlan(Algorithm):
    """Multiply by the features of each side. Time and memory O((n + m) r), exact to round-off."""

    name = "lowrank"

    def applies(self, request: Request) -> str | None:
        """If every term is a dot product of features, times numbers and values of one side."""
        found = low_rank_terms(request.spec)
        if found is None:
            return "some term is no dot product of features. Use plan='mixed', which does each term in its own way."
        if not found:
            return "the kernel is 0 between different points. Use plan='tiles'."
        r, (n, m) = _rank(found, request), request.shape
        if r * (n + m) > n * m:
            return f"its rank {r} is not below that of a {n} x {m} matrix. Use plan='dense' or 'tiles'."
        return None

    def predict(self, request: Request) -> Plan:
        """Two passes over the features."""
        machine = rates()
        found = low_rank_terms(request.spec)
        assert found is not None
        r, (n, m) = _rank(found, request), request.shape
        size = request.batch * (n + m) * r
        double = 1.0 if request.itemsize <= 4 else machine.double_cost
        loads = 2.0 * size * request.itemsize / machine.memory * (1.0 if request.columns == 1 else SEVERAL)
        seconds = max(loads, 2.0 * size * request.columns / machine.gemm_flops * double) + CALLS * machine.call
        if request.gradient:
            seconds *= 3.0
        memory = size * request.itemsize
        reason = f"K = A B' with {r} features a side"
        return Plan(self.name, reason, seconds * request.products, memory, request.round_off())

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """A (B' v), by plain differentiable torch."""
        features = memory.get("features")
        if features is None:
            features = memory["features"] = low_rank_features(operands)
        A, B = features
        # in rows: B' v with 2 to 15 columns is 6 times slower (float32, n = 1e6, 16 features, 4 columns)
        return torch.matmul(A, (v.mT @ B).mT)

    def direct(self, K: KernelOperator, memory: dict[Any, Any]) -> LowRankSolution | None:
        """In the space of the features' weights, where K = Z Z'."""
        if "direct" not in memory:
            Z = low_rank_root(K.double().operands(), "row")
            memory["direct"] = None if Z is None else LowRankSolution(Z)
        solution: LowRankSolution | None = memory["direct"]
        return solution


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
        positive = number > 0.0
        root = torch.where(positive, torch.where(positive, number, 1.0).sqrt(), 0.0)  # no slope at 0 is infinite
        scaled.append(_side(parts, operands, side) * root)
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


def _rank(found: list[Factors], request: Request) -> int:
    numbers = [_statistic(parts, request.spec) for parts in found]
    return sum(1 if g is None else request.widths[g] for g in numbers)
