"""A kernel's terms as a function of the difference of two points, which is what a Fourier series can stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor

from mercer.operators.maps import Expression, constant, derivatives, evaluate, leaf, leaves, substitute
from mercer.operators.operands import Operands
from mercer.operators.remember import remembered
from mercer.operators.spec import Spec
from mercer.operators.statistics import Columns

__all__ = ["EmbeddedDifferences", "PointDifferences", "difference_terms", "why_not_differences"]

Found = TypeVar("Found")
MOST_COORDINATES = 3


def difference_terms(spec: Spec, terms: Sequence[Expression] | None = None) -> Expression:
    """The sum of the terms (by default all) between different points: ``delta`` is 0."""
    total = reduce(lambda a, b: a + b, spec.terms if terms is None else terms, constant(0.0))
    return substitute((total,), {leaf("delta"): constant(0.0)})[0]


def statistics_of(root: Expression) -> list[int]:
    """The statistics that an expression uses, by number."""
    return [int(node.number) for node in leaves([root], "statistic")]


def why_not_differences(spec: Spec, root: Expression, widths: Sequence[int]) -> str | None:
    """None if the expression is a function of differences in at most three coordinates, else why not.

    Args:
        widths: the embedding columns of each statistic.
    """
    used = statistics_of(root)
    if leaves([root], "row") or leaves([root], "column"):
        return f"{spec.name} depends on the points themselves, not on their difference alone"
    if not used:
        return f"{spec.name} is constant"
    if not all(spec.statistics[g].centred for g in used):
        return f"{spec.name} is not stationary: it does not depend on the difference of two points alone"
    embeds = {spec.statistics[g].embed for g in used}
    if len(embeds) > 1 and not all(isinstance(embed, Columns) for embed in embeds):
        return f"the factors of {spec.name} see the points through embeddings that are not multiples of each other"
    count = len(_coordinates(spec, used, widths))
    if not count:
        return "the points have no columns"
    if count > MOST_COORDINATES:
        return f"a Fourier series serves up to {MOST_COORDINATES} coordinates, {spec.name} has {count}"
    return None


def _coordinates(spec: Spec, used: Sequence[int], widths: Sequence[int]) -> list[tuple[int, list[tuple[int, int]]]]:
    """For each coordinate a number and the statistics that see it, with their embedding column."""
    if len({spec.statistics[g].embed for g in used}) == 1:
        return [(k, [(g, k) for g in used]) for k in range(widths[used[0]])]
    seen: dict[int, list[tuple[int, int]]] = {}
    for g in used:
        embed = spec.statistics[g].embed
        assert isinstance(embed, Columns)
        columns = embed.columns if embed.columns is not None else range(widths[g])
        for k, column in enumerate(columns):
            seen.setdefault(column, []).append((g, k))
    return sorted(seen.items())


class EmbeddedDifferences:
    """The map of an expression in coordinates of the embedded points.

    Statistics of other lengthscales see multiples of the same coordinates, found by comparing their points.

    Args:
        operands: one matrix, without batch.
        root: what :func:`why_not_differences` has accepted.
    """

    def __init__(self, operands: Operands, root: Expression) -> None:
        self.operands, self.root = operands, root
        used = statistics_of(root)
        widths = [E.shape[-1] for E in operands.left]
        self.axes = [seen for _, seen in _coordinates(operands.spec, used, widths)]
        # views[g][k]: the coordinate that column k of statistic g sees, and by what it multiplies it
        self.views: dict[int, dict[int, tuple[int, float]]] = self.remembered("views", self._views)

    def remembered(self, key: str, compute: Callable[[], Found]) -> Found:
        """``compute()``, or what it gave before for the same map of the same embedded points."""
        g = self.axes[0][0][0]
        return remembered((key, self.root), self.operands.left[g], self.operands.rights[g], compute)

    def _views(self) -> dict[int, dict[int, tuple[int, float]]]:
        views: dict[int, dict[int, tuple[int, float]]] = {g: {} for g in statistics_of(self.root)}
        for axis, seen in enumerate(self.axes):
            for g, k in seen:
                views[g][k] = (axis, self._factor(seen[0], (g, k)))
        return views

    def _factor(self, base: tuple[int, int], other: tuple[int, int]) -> float:
        statistics = self.operands.spec.statistics
        if statistics[base[0]].embed == statistics[other[0]].embed:
            return 1.0
        E, F = (torch.cat([side[g][:, k].detach() for side in self._sides()]) for g, k in (base, other))
        if not len(E) or not bool(E.abs().max() > 0.0):
            return 1.0
        i = int(E.abs().argmax())
        return float(F[i].to(torch.float64) / E[i].to(torch.float64))

    def _sides(self) -> list[tuple[Tensor, ...]]:
        return [self.operands.left] if self.operands.symmetric else [self.operands.left, self.operands.rights]

    def points(self, side: tuple[Tensor, ...]) -> Tensor:
        """The coordinates of the points of a side, ``(n, d)``."""
        return torch.stack([side[seen[0][0]][:, seen[0][1]] for seen in self.axes], -1)

    def __call__(self, r: Tensor) -> Tensor:
        """The value at differences ``(..., d)``; differentiable in the scalar hyperparameters."""
        return self._evaluate(self.root, r)

    def slope(self, r: Tensor, g: int, k: int) -> Tensor:
        """The derivative by column k of the points of statistic g, at differences ``(..., d)``."""
        (slope,) = derivatives(self.root, [leaf("statistic", g)])
        with torch.enable_grad():
            E = self._embedded(r, g).detach().requires_grad_()
            S = self.operands.spec.statistics[g].pairs(E, torch.zeros_like(E), self._parameters(g))
            (by_point,) = torch.autograd.grad(S.sum(), E)
        return self._evaluate(slope, r).detach() * by_point[..., k]

    def _evaluate(self, root: Expression, r: Tensor) -> Tensor:
        values: dict[Expression, Tensor] = {}
        for g in self.views:
            E = self._embedded(r, g)
            values[leaf("statistic", g)] = self.operands.spec.statistics[g].pairs(
                E, torch.zeros_like(E), self._parameters(g)
            )
        for slot, theta in zip(self.operands.spec.scalars, self.operands.theta, strict=True):
            values[leaf("theta", slot)] = theta.to(torch.float64)
        return evaluate([root], values)[0].expand(r.shape[:-1])

    def _embedded(self, r: Tensor, g: int) -> Tensor:
        view = self.views[g]
        return torch.stack([r[..., view[k][0]] * view[k][1] for k in range(len(view))], -1)

    def _parameters(self, g: int) -> tuple[Tensor, ...]:
        return tuple(p.detach().to(torch.float64) for p in self.operands.parameters[g])


@dataclass(frozen=True, eq=False)
class PointDifferences:
    """The map of an expression in the columns of X themselves, differentiable in every hyperparameter.

    Args:
        spec: whose statistics all divide columns by lengthscales.
        root: the expression.
        theta: all hyperparameters.
        width: columns of X.
    """

    spec: Spec
    root: Expression
    theta: tuple[Tensor, ...]
    width: int

    @property
    def columns(self) -> list[int]:
        """The columns of X that matter, in the order of the coordinates."""
        used: set[int] = set()
        for g in statistics_of(self.root):
            embed = self.spec.statistics[g].embed
            if not isinstance(embed, Columns):
                raise TypeError(f"{self.spec.name} does not see the columns of X by a lengthscale each.")
            used.update(range(self.width) if embed.columns is None else embed.columns)
        return sorted(used)

    def __call__(self, r: Tensor) -> Tensor:
        """The value at differences of the ``columns``, ``(..., d)``."""
        whole = r.new_zeros(*r.shape[:-1], self.width)
        whole[..., self.columns] = r
        flat = whole.reshape(-1, self.width)
        values: Mapping[Expression, Tensor] = {
            leaf("statistic", g): self._statistic(g, flat) for g in statistics_of(self.root)
        } | {leaf("theta", i): self.theta[i].to(torch.float64) for i in self.spec.scalars}
        return evaluate([self.root], values)[0].expand(len(flat)).reshape(r.shape[:-1])

    def _statistic(self, g: int, r: Tensor) -> Tensor:
        statistic = self.spec.statistics[g]
        E = statistic.points(r, self.theta, None)
        return statistic.pairs(E, torch.zeros_like(E), statistic.parameters(self.theta))
