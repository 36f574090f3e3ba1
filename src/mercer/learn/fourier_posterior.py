"""A Gaussian process on up to three columns in the space of the weights of a Fourier series: any number of rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mercer import config
from mercer.learn.covariance import MercerCovariance
from mercer.learn.gaussian_process_plan import GaussianProcessPlan
from mercer.operators.fourier import (
    FourierFeatures,
    FourierModes,
    FourierSolution,
    NoFourierSeries,
    difference_map,
    mode_sums,
)
from mercer.operators.solvers import NotPositiveDefinite, WeightFactor

__all__ = ["FourierPosterior", "box_around", "why_not_fourier"]

# Of each side of the data's box, within which the series is right too: new points are often just outside.
_MARGIN = 0.01
_EXPLICIT = 2048  # points up to which features are formed; beyond, transforms are quicker for a mean


@dataclass
class FourierPosterior:
    """``f(x) = sum_a f_a(x) sqrt(c_a) w_a`` given data, everything in float64; what it keeps does not grow with them.

    With ``R = diag(sqrt(c))`` and sums over the rows ``G = sum f f' / noise`` and ``p = sum f y / noise``, the weights
    are ``N(A^-1 R p, A^-1)`` for ``A = R G R + 1``. Further rows add to the sums.

    Attributes:
        covariance: the kernel.
        modes: the functions f.
        gram, projection: G ``(M, M)`` and p ``(M, t)``.
        training: points, targets and noise, from which all is made anew where new points are outside of the box.

    Source: Greengard, Rachh & Barnett, Equispaced Fourier representations for efficient Gaussian process regression
    from a billion data points, arXiv 2210.10210 (2022); Rasmussen & Williams (2006), eq. 2.11.
    """

    covariance: MercerCovariance
    modes: FourierModes
    gram: Tensor
    projection: Tensor
    training: tuple[Tensor, Tensor, Tensor]
    _known: tuple[Tensor, WeightFactor, Tensor] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        covariance: MercerCovariance,
        points: Tensor,
        Y: Tensor,
        noise: Tensor,
        *,
        tolerance: float,
        modes: FourierModes | None = None,
        box: Tensor | None = None,
    ) -> FourierPosterior:
        """Condition on targets ``(n, t)``.

        Args:
            covariance: the kernel.
            points: ``(n, d)``.
            Y: ``(n, t)``.
            noise: beside the kernel's own, ``()`` or ``(n,)``.
            tolerance: of entries of the kernel matrix, as a share of k(0).
            modes: where they are known, and serve this kernel.
            box: further points for which the series is to be right.

        Raises:
            NoFourierSeries, TypeError, ValueError: as in :class:`mercer.operators.FourierSolution`.
        """
        K, own = covariance.matrix(points)
        if modes is None:
            modes = FourierModes(K, tolerance=tolerance, box=box_around(points) if box is None else box)
        why_not = FourierSolution(K, tolerance=tolerance, modes=modes).applies(noise + own)
        if why_not is not None:
            raise NoFourierSeries(why_not)
        if (noise + own).dim():
            gram, projection = _sums(modes, modes.points, Y, noise + own)
        else:  # the optimiser has had the sums over the points already
            gram = modes.gram(None) / (noise + own)
            projection = _features(modes, modes.points).transposed(Y / (noise + own))
        made = cls(covariance, modes, gram, projection, (points, Y, noise))
        try:
            made._weights()
        except NotPositiveDefinite as error:
            raise NoFourierSeries("the noise is below the round-off of sums over the rows") from error
        return made

    @property
    def plan(self) -> GaussianProcessPlan:
        """How it is computed."""
        return GaussianProcessPlan(
            "fourier", f"a Fourier series of the kernel, {self.modes.basis.size} weights", self.modes.tolerance
        )

    def extended(self, points: Tensor, Y: Tensor, noise: Tensor) -> FourierPosterior:
        """With further rows: all points, targets and noises, of which the first are those known already."""
        n = len(self.training[0])
        if not self.modes.covers(points[n:]):
            return self.of(self.covariance, points, Y, noise, tolerance=self.modes.tolerance)
        own = self._own_noise()
        gram, projection = _sums(
            self.modes, points[n:, self.modes.columns], Y[n:], (noise[n:] if noise.dim() else noise) + own
        )
        return FourierPosterior(
            self.covariance, self.modes, self.gram + gram, self.projection + projection, (points, Y, noise)
        )

    def mean(self, points: Tensor) -> Tensor:
        """``(m, t)``."""
        self.cover(points)
        root, _, w = self._weights()
        chosen = points[:, self.modes.columns].to(torch.float64)
        if len(chosen) <= _EXPLICIT:
            return self.modes.basis.explicit(chosen) @ (root[:, None] * w)
        return FourierFeatures(self.modes.basis, chosen, root.square()).times(w)

    def variance(self, points: Tensor, *, with_noise: bool) -> Tensor:
        """``(m,)``; with or without the kernel's own noise. Never negative: what the series misses counts as known."""
        self.cover(points)
        values = [self._half(points[i : i + _EXPLICIT]).square().sum(0) for i in range(0, len(points), _EXPLICIT)]
        return torch.cat(values) + (self._own_noise() if with_noise else 0.0)

    def joint_covariance(self, points: Tensor, *, with_noise: bool) -> Tensor:
        """``(m, m)``."""
        self.cover(points)
        m = len(points)
        config.require_memory(
            8 * (m * m + 2 * m * self.modes.basis.size),
            asked=f"The covariance of {m} points",
            instead="Ask for return_std, or for fewer points at a time.",
        )
        half = self._half(points)
        joint = half.mT @ half
        joint.diagonal().add_(self._own_noise() if with_noise else 0.0)
        return joint

    def solve(self, B: Tensor) -> Tensor:
        """``(K + noise)^-1 B`` for B ``(n, t)``."""
        points, _, noise = self.training
        K, own = self.covariance.matrix(points)
        modes = self.modes if len(self.modes.points) == len(points) else None  # not after further rows
        return FourierSolution(K, tolerance=self.modes.tolerance, modes=modes).solve(B, noise + own)

    def draw(self, n_samples: int, source: torch.Generator) -> Tensor:
        """Draws of ``sqrt(c) w``, by which the functions f are to be multiplied: ``(M, t, n_samples)``."""
        root, factor, w = self._weights()
        white = torch.randn(len(root), w.shape[1] * n_samples, dtype=torch.float64, generator=source)
        deviation = factor.solve_upper(white).reshape(len(root), w.shape[1], n_samples)
        return root[:, None, None] * (w[:, :, None] + deviation)

    def cover(self, points: Tensor) -> None:
        """See to it that the series is right at these points too: it is made anew where they are outside of its box."""
        if self.modes.covers(points):
            return
        box = torch.cat([_corners(self.modes, points), points.detach()])
        wider = self.of(self.covariance, *self.training, tolerance=self.modes.tolerance, box=box)
        self.modes, self.gram, self.projection, self._known = wider.modes, wider.gram, wider.projection, None

    def _half(self, points: Tensor) -> Tensor:
        """``L^-1 R f`` at points, ``(M, m)``: its squared norm is the variance."""
        root, factor, _ = self._weights()
        chosen = points[:, self.modes.columns].to(torch.float64)
        return factor.solve_lower((self.modes.basis.explicit(chosen) * root).mT)

    def _weights(self) -> tuple[Tensor, WeightFactor, Tensor]:
        """R, the factor of A, and the mean of the weights ``(M, t)``."""
        if self._known is None:
            with torch.no_grad():
                K = self.covariance.matrix(self.training[0][:1])[0]
                root = self.modes.coefficients(K).sqrt()
                factor = WeightFactor(root[:, None] * self.gram * root, 1.0)
            self._known = root, factor, factor.solve(root[:, None] * self.projection)
        return self._known

    def _own_noise(self) -> Tensor:
        return self.covariance.matrix(self.training[0][:1])[1]


def box_around(points: Tensor) -> Tensor:
    """Two corners of a box that is a little larger than that of the points."""
    low, high = points.detach().amin(0), points.detach().amax(0)
    margin = _MARGIN * (high - low)
    return torch.stack([low - margin, high + margin])


def why_not_fourier(covariance: Any, points: Any) -> str | None:
    """None if the kernel is a function of differences of up to three columns; else why not."""
    if not isinstance(covariance, MercerCovariance):
        return "scikit-learn evaluates the kernel"
    if points.device.type != "cpu":
        return "it works on the CPU"
    try:
        difference_map(covariance.matrix(points[:1])[0])
    except TypeError as error:
        return str(error).rstrip(".")
    return None


def _corners(modes: FourierModes, points: Tensor) -> Tensor:
    """The box of the modes as points with all columns."""
    corners = points.detach()[:1].expand(2, -1).clone().to(torch.float64)
    corners[0, modes.columns], corners[1, modes.columns] = modes.low, modes.high
    return corners


def _features(modes: FourierModes, points: Tensor) -> FourierFeatures:
    return FourierFeatures(modes.basis, points, torch.ones(modes.basis.size, dtype=torch.float64))


def _sums(modes: FourierModes, points: Tensor, Y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """G and p of some rows."""
    precision = 1.0 / noise.expand(len(points))
    gram = modes.basis.gram(mode_sums(modes.basis, points, precision))
    return gram, _features(modes, points).transposed(Y * precision[:, None])
