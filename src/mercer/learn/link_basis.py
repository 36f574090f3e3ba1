"""Functions of few learnt features as sums over a basis: rectified units, Hermite polynomials, splines, kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.hermite import hermite_products
from mercer.learn.centers import CenterFeatures
from mercer.learn.similarity import Similarity

__all__ = ["NAMES", "Basis", "linear_basis", "make_basis", "smooth_basis"]

_UNITS = 40  # rectified units of one feature; for several, four times as many in random directions
_SPLINE_KNOTS = 20
_CENTERS = 100
_DEGREE, _DEGREE_OF_SEVERAL = 10, 6  # of Hermite polynomials
_CLIP = 4.0  # of features in polynomials, in standard deviations; what lies beyond has the value there
_SMOOTH_DEGREE, _SMOOTH_CLIP = 5, 5.0
_BEYOND = 0.25  # of their range, how far links of units and kernels go on
_ROWS_OF_A_TERM = 5  # no more terms in one feature than a fifth of the rows


@dataclass(frozen=True)
class Basis:
    """``t -> (n, r)``: basis functions of the features t ``(n, p)``, differentiable.

    Attributes:
        kind: "relu", "hermite", "spline" or "kernel".
        arrays: knots, directions, centres; by kind.
        similarity: the kernel of kind "kernel".
    """

    kind: str
    arrays: tuple[Tensor, ...]
    similarity: Similarity | None = None

    def __call__(self, t: Tensor) -> Tensor:
        """The basis functions, the constant among them."""
        if self.similarity is not None:
            t = _within(t, *self.arrays[2:])
            K = self.similarity.dense(t, self.arrays[0])
            found: Tensor = torch.linalg.solve_triangular(self.arrays[1], K.mT, upper=False).mT
            return torch.cat([torch.ones_like(t[:, :1]), t, found], 1)
        return _COMPUTE[self.kind](t, *self.arrays)


def _relu(t: Tensor, directions: Tensor, knots: Tensor, low: Tensor, high: Tensor) -> Tensor:
    t = _within(t, low, high)
    return torch.cat([torch.ones_like(t[:, :1]), t, torch.relu(t @ directions - knots)], 1)


def _within(t: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Features not far beyond those that the link was learnt from: there it goes on as it ends, and then stays.

    Lines through the last few of them, carried on to an outlier of stage 1, have made a test R^2 of -0.4 from 0.5;
    without any beyond the last of them it is lower by up to 0.08.
    """
    return torch.minimum(torch.maximum(t, low), high)


def _hermite(t: Tensor, degree: Tensor, clip: Tensor) -> Tensor:
    return hermite_products(t.clamp(-float(clip), float(clip)), int(degree))


def _spline(t: Tensor, knots: Tensor) -> Tensor:
    """Cubic B-splines of every feature on its own knots ``(q, p)``, by the recursion of Cox and de Boor."""
    parts = []
    for j in range(t.shape[1]):
        inner = knots[:, j]
        k = torch.cat([inner[:1].expand(3), inner, inner[-1:].expand(3)])
        x = torch.minimum(torch.maximum(t[:, j], inner[0]), inner[-1])[:, None]
        is_last = (k[1:] == k[-1]) & (k[:-1] < k[-1])  # the interval that contains its right end
        B = ((x >= k[:-1]) & ((x < k[1:]) | (is_last & (x == k[1:])))).to(t.dtype)
        for degree in (1, 2, 3):
            width = k[degree:] - k[:-degree]
            inverse = torch.where(width > 0.0, 1.0 / torch.where(width > 0.0, width, 1.0), 0.0)
            rising = (x - k[: -degree - 1]) * inverse[:-1]
            falling = (k[degree + 1 :] - x) * inverse[1:]
            B = rising * B[:, :-1] + falling * B[:, 1:]
        parts.append(B)
    return torch.cat(parts, 1)


_COMPUTE: dict[str, Callable[..., Tensor]] = {"relu": _relu, "hermite": _hermite, "spline": _spline}
NAMES = tuple(_COMPUTE)


def make_basis(link: Any, t: Tensor, *, similarity: Similarity | None, generator: torch.Generator) -> Basis:
    """The basis that an estimator was asked for, with its knots at quantiles of the features t ``(n, p)``.

    Args:
        link: "relu", "hermite", "spline", or anything with a ``similarity``.
        t: standardised.
        similarity: the kernel, where the link is one.
        generator: of directions and centres where there are several features.
    """
    n, p = t.shape
    most = max(1, n // _ROWS_OF_A_TERM)
    low, high = t.amin(0), t.amax(0)
    seen = low - _BEYOND * (high - low), high + _BEYOND * (high - low)
    if similarity is not None:
        centers = _centers(t, min(_CENTERS * p, most), generator)
        return Basis("kernel", (centers, CenterFeatures.of(similarity, t, centers).lower, *seen), similarity)
    if link == "relu":
        directions, knots = _units(t, min(_UNITS if p == 1 else 4 * _UNITS, most), generator)
        return Basis("relu", (directions, knots, *seen))
    if link == "hermite":
        degree = min(_DEGREE if p == 1 else _DEGREE_OF_SEVERAL, most)
        return Basis("hermite", (t.new_tensor(degree), t.new_tensor(_CLIP)))
    levels = torch.linspace(0.0, 1.0, max(2, min(_SPLINE_KNOTS, most)), dtype=t.dtype, device=t.device)
    return Basis("spline", (torch.quantile(t, levels, dim=0),))


def smooth_basis(t: Tensor) -> Basis:
    """Polynomials of degree 5 at most: what a link is linearised by."""
    degree = min(_SMOOTH_DEGREE, max(1, len(t) // _ROWS_OF_A_TERM))
    return Basis("hermite", (t.new_tensor(degree), t.new_tensor(_SMOOTH_CLIP)))


def linear_basis(t: Tensor) -> Basis:
    """The constant and the features themselves."""
    return Basis("hermite", (t.new_tensor(1.0), t.new_tensor(math.inf)))


def _units(t: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Directions ``(p, count)`` and knots ``(count,)`` at quantiles of the features along them."""
    p = t.shape[1]
    levels = (torch.arange(count, dtype=t.dtype, device=t.device) + 0.5) / count
    if p == 1:
        return t.new_ones(1, count), torch.quantile(t[:, 0], levels)
    drawn = torch.randn(p, count, generator=generator, dtype=torch.float64).to(t)
    directions = drawn / drawn.square().sum(0).sqrt()
    projected = (t @ directions).sort(0).values
    shuffled = torch.randperm(count, generator=generator).to(t.device)
    places = (levels[shuffled] * len(t)).long().clamp(max=len(t) - 1)
    return directions, projected.gather(0, places[None])[0]


def _centers(t: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Points ``(count, p)``, none twice, so that their kernel matrix is not singular.

    Of one feature half of them lie as its values do, and half evenly from the smallest to the largest: its tails are
    where a link is steepest.
    """
    if t.shape[1] == 1:
        levels = torch.linspace(0.0, 1.0, (count + 1) // 2, dtype=t.dtype, device=t.device)
        low, high = t.min(), t.max()
        places = torch.cat([torch.quantile(t[:, 0], levels), low + levels * (high - low)]).unsqueeze(1)
    else:
        places = t[torch.randperm(len(t), generator=generator)[:count].to(t.device)]
    points: Tensor = torch.unique(places, dim=0)
    return points
