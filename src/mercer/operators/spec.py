"""The frozen description of a kernel bound to data: terms, each a map of statistics; no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

from torch import Tensor

from mercer.operators.maps import Expression, constant, evaluate, leaf, leaves, postorder, substitute
from mercer.operators.statistics import Columns, Statistic


class RowValue(Protocol):
    """A number a point, ``(*batch, n, d) -> (*batch, n)``, such as its norm. Hashable and picklable."""

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor: ...


@dataclass(frozen=True)
class Spec:
    """k(x, y) = sum of ``terms``, each an expression in the statistics, row values, hyperparameters and ``delta``.

    Args:
        statistics: what ``leaf("statistic", g)`` stands for.
        row_values: what ``leaf("row", g)`` (of x) and ``leaf("column", g)`` (of y) stand for.
        terms: the unit of planning; every term may go its own way.
        event_dims: for each theta, 0 (a scalar) or 1 (a vector such as one lengthscale a column).
        name: how error messages call the kernel.
        side: where k(x, y) is not k(y, x), the theta that is 1, and -1 in the transposed matrix: the terms have to be
            unchanged when it changes its sign and x and y change places.
    """

    statistics: tuple[Statistic, ...]
    terms: tuple[Expression, ...]
    event_dims: tuple[int, ...] = ()
    row_values: tuple[RowValue, ...] = ()
    name: str = "kernel"
    side: int | None = None

    @cached_property
    def total(self) -> Expression:
        """All terms in one expression."""
        total = constant(0.0)
        for term in self.terms:
            total = total + term
        return total

    @cached_property
    def has_delta(self) -> bool:
        """Whether the kernel treats a point and itself in another way (white noise)."""
        return bool(leaves([self.total], "delta"))

    @cached_property
    def is_stationary(self) -> bool:
        """Whether k(x, y) depends on the difference of plain columns alone."""
        used = {int(s.number) for s in leaves(self.smooth_terms, "statistic")}
        one_sided = leaves(self.smooth_terms, "row") or leaves(self.smooth_terms, "column")
        return not one_sided and all(
            self.statistics[g].centred and isinstance(self.statistics[g].embed, Columns) for g in used
        )

    @cached_property
    def singular(self) -> frozenset[int]:
        """Statistics in which the map has an infinite slope at 0: their small values must be exact."""
        return singular_statistics((self.total,))

    @cached_property
    def scalars(self) -> tuple[int, ...]:
        """The theta that the map uses as scalars."""
        return tuple(int(t.number) for t in leaves([self.total], "theta"))

    @cached_property
    def smooth_terms(self) -> tuple[Expression, ...]:
        """The terms for two different points: ``delta`` is 0."""
        return substitute(self.terms, {leaf("delta"): constant(0.0)})

    def of_terms(self, terms: tuple[int, ...]) -> Spec:
        """Some of the terms only; statistics, row values and hyperparameters keep their numbers."""
        chosen = tuple(self.terms[i] for i in terms)
        return Spec(self.statistics, chosen, self.event_dims, self.row_values, self.name, self.side)

    def scaled(self, slot: int) -> Spec:
        """The kernel times the scalar hyperparameter ``theta[slot]``, a new one."""
        terms = tuple(term * leaf("theta", slot) for term in self.terms)
        return Spec(self.statistics, terms, (*self.event_dims, 0), self.row_values, self.name, self.side)

    def __hash__(self) -> int:
        return hash((self.statistics, self.terms, self.row_values))


@lru_cache(maxsize=256)
def singular_statistics(roots: tuple[Expression, ...]) -> frozenset[int]:
    """Statistics in which any of the roots has an infinite slope at 0; their derivatives may where a map has not."""
    used = leaves(roots, "statistic")
    return frozenset(int(s.number) for s in used if any(_is_singular(root, s) for root in roots))


def _is_singular(root: Expression, statistic: Expression) -> bool:
    singular_roots = {"sqrt", "rsqrt", "log", "reciprocal_or_zero"}

    def reaches(node: Expression) -> bool:
        """Whether ``node`` is the statistic up to a factor."""
        while node.op in ("mul", "div"):
            node = node.args[0]
        return node is statistic

    for node in postorder([root]):
        rough = node.op in singular_roots or (node.op in ("matern", "log_matern") and node.number < 1.0)
        rough = rough or (node.op == "wendland" and node.value[1] == 0) or (node.op == "arc_cosine" and not node.value)
        rough = rough or (node.op == "pow" and node.args[1].is_constant and not node.args[1].number.is_integer())
        if rough and reaches(node.args[0]):
            return True
        if node.op == "versine" and node.value == 0 and statistic in leaves([node.args[0]]):
            return True  # versines add up through layers, and the error of the first stays that of the last
    return False


def self_values(
    spec: Spec,
    statistics: list[Tensor],
    row: list[Tensor],
    theta: Mapping[int, Tensor],
    *,
    delta: float,
) -> Tensor:
    """k(x, x) ``(*batch, n)`` from the statistics of each point with itself, free of cancellation. Differentiable."""
    values: dict[Expression, Tensor] = {leaf("statistic", g): s for g, s in enumerate(statistics)}
    for g, a in enumerate(row):
        values[leaf("row", g)] = values[leaf("column", g)] = a
    like = (statistics + row)[0]
    for i in spec.scalars:
        values[leaf("theta", i)] = theta[i].to(like.dtype).unsqueeze(-1)
    values[leaf("delta")] = like.new_full((), delta)
    return evaluate([spec.total], values)[0].expand(like.shape)
