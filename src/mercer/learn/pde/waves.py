"""The frequencies of a solution along each axis, looked for in the source and the boundary data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.kernels import Kernel, SpectralMixture
from mercer.learn.pde.domain import Domain
from mercer.learn.pde.equation import Equation

__all__ = ["axis_signals", "kernel_of_signals", "mixtures_from_data", "rival_kernels"]

SIGNALS = 4  # singular vectors of a table of data that are looked at along each axis
FAINTEST = 1e-3  # a singular value as a share of the largest, below which it is not looked at
WAVES = 8  # looked for in each signal
SCATTERED_WAVES = 4  # in values at scattered points; each further one costs a training step as much again
LIGHTEST = 1e-6  # a wave of less energy, as a share of its signal's, is round-off or the tail of another one's peak
BROAD = 0.1  # energy of the part without a wave, for what is smooth and what was overlooked
LENGTHSCALE = 3.0  # times the axis: measured best over smooth, single-scale and growing solutions among 1, 3 and 10
SMOOTH = (("student_t", 3.0), ("gaussian", 0.5), ("gaussian", 0.25), ("gaussian", 0.1))  # lengthscales by the axis
CLOSEST = 0.25  # waves at a smaller distance, in cycles per length of the axis, are one


def mixtures_from_data(equation: Equation, n_components: int, envelope: str) -> list[SpectralMixture]:
    """For each axis the kernel whose waves are those of the data.

    An equation with constant coefficients keeps frequencies: those of its source and of its boundary data are those
    of its solution. Data on a grid are a sum of products of one function an axis (singular vectors), and waves are
    looked for in the largest.
    """
    domain = equation.domain
    if domain.points is not None:
        return _mixtures_from_points(domain, equation.source, envelope)
    return [
        kernel_of_signals(signals, high - low, n_components, envelope)
        for signals, (low, high) in zip(_all_signals(equation), domain.bounds, strict=True)
    ]


def rival_kernels(domain: Domain, kernels: Sequence[SpectralMixture]) -> list[list[Kernel]]:
    """What to try where mixtures of the data's waves leave too much between the nodes: lists of one kernel an axis.

    First the same waves with a lengthscale of the axis, for matrices that are too ill-conditioned; then none, for short
    or monotonous data seem to have waves. The smoother a kernel is and the longer, the faster it converges with the
    nodes, and the sooner round-off ends that.
    """
    shorter: list[Kernel] = [
        _made(kernel, high - low) for kernel, (low, high) in zip(kernels, domain.bounds, strict=True)
    ]
    return [shorter] + [
        [
            SpectralMixture(1, frequencies=0.0, lengthscale=share * (high - low), envelope=envelope)
            for low, high in domain.bounds
        ]
        for envelope, share in SMOOTH
    ]


def _all_signals(equation: Equation) -> list[list[tuple[Tensor, Tensor]]]:
    domain, boundary = equation.domain, equation.boundary
    found = [list(axis_signals(domain, i, equation.source, range(domain.d))) for i in range(domain.d)]
    for face in boundary.faces:
        others = [i for i in range(domain.d) if i != face.axis]
        for i in others:
            found[i] += axis_signals(domain, i, face.values, others)
    return found


def _mixtures_from_points(domain: Domain, values: Tensor, envelope: str) -> list[SpectralMixture]:
    """Scattered points have no lines: waves of all axes at once, of the source."""
    assert domain.points is not None
    varies = len(values) >= 4 and float(values.std()) > 1e-12 * float(values.abs().max())
    # m points in d axes tell waves apart up to half as many as stand side by side; one coordinate alone looks denser
    beside = len(values) ** (1.0 / domain.d)
    highest = [0.5 * beside / (high - low) for low, high in domain.bounds]
    found = None
    if varies:
        found = SpectralMixture.from_data(domain.points, values / values.std(), SCATTERED_WAVES, max_frequency=highest)
    mixtures = []
    for i, (low, high) in enumerate(domain.bounds):
        waves: list[tuple[float, float]] = []
        if found is not None:
            waves = list(
                zip(_numbers(found, "frequencies")[:, i].tolist(), _numbers(found, "weights").tolist(), strict=True)
            )
        mixtures.append(_mixture(waves, high - low, len(waves) + 1, envelope))
    return mixtures


def axis_signals(domain: Domain, axis: int, values: Tensor, axes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Nodes and the largest singular vectors along an axis of a table over some axes, scaled by their values."""
    table = values.movedim(list(axes).index(axis), 0).reshape(len(domain.nodes[axis]), -1)
    is_wide = table.shape[0] <= table.shape[1]
    squares, vectors = torch.linalg.eigh(table @ table.mT if is_wide else table.mT @ table)
    largest = squares[-1].clamp(min=1e-300)
    squares, vectors = squares[-SIGNALS:].clamp(min=0.0), vectors[:, -SIGNALS:]
    kept = squares > FAINTEST**2 * largest
    lines = vectors[:, kept] * squares[kept].sqrt() if is_wide else table @ vectors[:, kept]
    return [(domain.nodes[axis], line) for line in (lines / largest.sqrt()).mT.flip(0)]


def kernel_of_signals(
    signals: Sequence[tuple[Tensor, Tensor]], extent: float, n_components: int, envelope: str
) -> SpectralMixture:
    """A mixture of the waves of all signals and one component of frequency 0; all keep their phase over the axis."""
    waves: list[tuple[float, float]] = []
    for nodes, values in signals:
        if len(nodes) < 4 or float(values.std()) <= 1e-12 * float(values.abs().max()):
            continue
        found = SpectralMixture.from_data(nodes[:, None], values / values.std(), WAVES)
        energy = float(values.square().mean()) * _numbers(found, "weights") / float(_numbers(found, "weights").sum())
        waves += zip(_numbers(found, "frequencies").ravel().tolist(), energy.tolist(), strict=True)
    return _mixture(waves, extent, n_components, envelope)


def _mixture(waves: list[tuple[float, float]], extent: float, n_components: int, envelope: str) -> SpectralMixture:
    """Of waves ``(frequency, energy)`` the heaviest that differ, and what has no wave."""
    chosen: list[tuple[float, float]] = []
    heaviest = max((energy for _, energy in waves), default=0.0)
    for frequency, energy in sorted(waves, key=lambda wave: -wave[1]):
        is_new = all(abs(frequency - other) * extent > CLOSEST for other, _ in chosen)
        if is_new and energy > LIGHTEST * heaviest and frequency * extent > CLOSEST and len(chosen) < n_components - 1:
            chosen.append((frequency, energy / heaviest))
    # Square roots: half way to equal weights, since the solution divides the energy of each by its own factor.
    weights = [float(np.sqrt(energy)) for _, energy in chosen]
    total = sum(weights) + BROAD
    return SpectralMixture(
        len(chosen) + 1,
        weights=[w / total for w in (*weights, BROAD)],
        frequencies=[*(frequency for frequency, _ in chosen), 0.0],
        lengthscale=[LENGTHSCALE * extent] * (len(chosen) + 1),
        envelope=envelope,
    )


def _made(kernel: SpectralMixture, lengthscale: float) -> SpectralMixture:
    weights, frequencies = (_numbers(kernel, name).ravel().tolist() for name in ("weights", "frequencies"))
    return SpectralMixture(
        len(weights),
        weights=weights,
        frequencies=frequencies,
        lengthscale=[lengthscale] * len(weights),
        envelope=kernel.envelope,
    )


def _numbers(kernel: SpectralMixture, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(kernel.hyperparameter(name).numpy())
