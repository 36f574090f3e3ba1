"""The modes in which kernels on some points are written: chosen once, they serve for other hyperparameters too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mercer.operators.fourier.differences import PointDifferences, difference_terms, why_not_differences
from mercer.operators.fourier.features import FourierBasis, FourierFeatures, mode_sums
from mercer.operators.fourier.profile import predicted_error
from mercer.operators.fourier.series import NoFourierSeries, fourier_series
from mercer.operators.fourier.toeplitz_gram import ToeplitzGram
from mercer.operators.maps import constant, evaluate, leaf, leaves, substitute

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["MOST_WEIGHTS", "FourierModes", "difference_map", "same_ratios", "white_variance"]

MOST_WEIGHTS = 1_000_000  # an iteration for 16 probes takes about ten seconds then
_SLACK = 1.5  # how many times the weights that are needed may be carried along before the modes are chosen anew
_MARGIN = 8.0  # how much better the modes are at first, so that they serve for lengthscales some percent off too
_HOPELESS = 25  # modes for each weight allowed above which dropping small ones cannot help


class FourierModes:
    """Points, and the functions in which kernels on them are written.

    Args:
        K: the kernel matrix for whose hyperparameters the modes are chosen.
        tolerance: of entries, as a share of k(0).
        box: further points ``(z, columns of X)`` for whose differences the series has to be right.

    Raises:
        NoFourierSeries: too many modes.
        TypeError: the kernel is no function of differences of up to three columns.
    """

    def __init__(self, K: KernelOperator, *, tolerance: float, box: Tensor | None = None) -> None:
        of_map = difference_map(K)
        self.columns, self.tolerance = of_map.columns, tolerance
        self.points = K.X.detach()[:, self.columns].to(torch.float64)
        both = self.points if box is None else torch.cat([self.points, box[:, self.columns].to(torch.float64)])
        self.low, self.high = both.amin(0), both.amax(0)
        extent = ((self.high - self.low) * (1.0 + 1e-9)).tolist()
        with torch.no_grad():
            series = fourier_series(of_map, extent, tolerance=tolerance / _MARGIN, definite=True)
            if series.grid.n_modes > _HOPELESS * MOST_WEIGHTS:  # before tables of them are made
                raise NoFourierSeries(
                    f"the kernel takes up to {series.grid.n_modes} weights, more than {MOST_WEIGHTS}",
                    series.grid.n_modes,
                )
            center = (self.low + self.high) / 2.0
            self.basis = FourierBasis(series.grid, series.coefficients, neglect=tolerance / _MARGIN, center=center)
        self.error = series.error + tolerance / _MARGIN
        self._toeplitz: tuple[Tensor | None, ToeplitzGram] | None = None
        self._gram: tuple[ToeplitzGram, Tensor] | None = None

    def covers(self, points: Tensor) -> bool:
        """Whether the series is right for differences from these points, ``(z, columns of X)``."""
        chosen = points[:, self.columns].to(torch.float64)
        return not len(chosen) or bool((chosen >= self.low).all() and (chosen <= self.high).all())

    def serves(self, K: KernelOperator) -> bool:
        """Whether the modes are right for other hyperparameters too, and not many more than they need."""
        of_map = difference_map(K)
        grid = self.basis.grid
        with torch.no_grad():
            sizes = grid.coefficients(of_map) * grid.multiplicity()
            left_out = float(sizes.abs().sum()) - float(self.coefficients(K).clamp(min=0.0).sum())
            total = float(sizes.sum())
            negative = -float(sizes.clamp(max=0.0).sum())
            if left_out + negative > self.tolerance * total or predicted_error(grid, of_map) > self.tolerance:
                return False
            ordered = self.coefficients(K).sort(descending=True).values
            needed = int((ordered.flip(0).cumsum(0).flip(0) > 0.5 * self.tolerance * total).sum())
        return self.basis.size <= max(200.0, _SLACK**2 * needed)

    def coefficients(self, K: KernelOperator) -> Tensor:
        """``c_a`` for the hyperparameters of K, ``(M,)``; differentiable; 0 where negative by round-off."""
        return self.basis.coefficients(self.basis.grid.coefficients(difference_map(K))).clamp(min=0.0)

    def features(self, coefficients: Tensor) -> FourierFeatures:
        """The features whose products are K."""
        return FourierFeatures(self.basis, self.points, coefficients)

    def toeplitz(self, ratios: Tensor | None) -> ToeplitzGram:
        """``sum_x f_a(x) f_b(x) / ratio(x)`` as an operator; the last one is kept."""
        if self._toeplitz is None or not same_ratios(self._toeplitz[0], ratios):
            sums = mode_sums(self.basis, self.points, None if ratios is None else 1.0 / ratios)
            self._toeplitz = ratios, ToeplitzGram(self.basis, sums)
        return self._toeplitz[1]

    def gram(self, ratios: Tensor | None) -> Tensor:
        """The same as a matrix, ``(M, M)``."""
        toeplitz = self.toeplitz(ratios)
        if self._gram is None or self._gram[0] is not toeplitz:
            self._gram = toeplitz, self.basis.gram(toeplitz.sums)
        return self._gram[1]


def difference_map(K: KernelOperator) -> PointDifferences:
    """The kernel of K between different points, as a map of differences of columns of X.

    Raises:
        TypeError: it is none.
    """
    spec, root = K.spec, difference_terms(K.spec)
    why_not = why_not_differences(spec, root, [_width(K, g) for g in range(len(spec.statistics))])
    if why_not is not None:
        raise TypeError(f"no Fourier series: {why_not}.")
    if K.batch_shape:
        raise TypeError(f"no Fourier series for a batch {tuple(K.batch_shape)} of kernels. Take them one by one.")
    return PointDifferences(spec, root, K.theta, K.X.shape[-1])


def _width(K: KernelOperator, g: int) -> int:
    point = torch.zeros(1, K.X.shape[-1], dtype=torch.float64)
    return int(K.spec.statistics[g].points(point, K.theta, None).shape[-1])


def white_variance(K: KernelOperator) -> Tensor:
    """What coincident points add to the diagonal, ``()``; differentiable."""
    spec = K.spec
    if not spec.has_delta:
        return torch.zeros((), dtype=torch.float64)
    with_delta, without = (substitute((spec.total,), {leaf("delta"): constant(x)})[0] for x in (1.0, 0.0))
    extra = with_delta - without
    if leaves([extra], "row") or leaves([extra], "column"):
        raise TypeError(f"no Fourier series: the white noise of {spec.name} differs from point to point.")
    values = {leaf("statistic", g): torch.zeros((), dtype=torch.float64) for g in range(len(spec.statistics))}
    values |= {leaf("theta", i): K.theta[i].to(torch.float64) for i in spec.scalars}
    return evaluate([extra], values)[0]


def same_ratios(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two sets of ratios, None for all 1, are the same."""
    return (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
