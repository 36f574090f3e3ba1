"""Values and gradients of a function observed together: the Gaussian process of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.kernels import Kernel
from mercer.kernels.gradients import GradientKernel
from mercer.learn.covariance import Covariance, MercerCovariance, split_noise
from mercer.learn.posterior import Posterior
from mercer.operators.matrices import BlockOperator

__all__ = ["GradientPosterior", "matrix_with_gradients", "stack_gradients"]


@dataclass
class GradientPosterior(Posterior):
    """A Gaussian process conditioned on values at points and on gradients there.

    Its rows are all values, then all derivatives by the first column, and so on: ``n (d + 1)`` of them, which is the
    length of ``weights`` and of ``noise``.

    Source: Solak et al., Derivative observations in Gaussian process models of dynamic systems (NIPS 2002).
    """

    def _matrix(self) -> tuple[Any, Tensor]:
        return matrix_with_gradients(_kernel(self.covariance), self.points.to(torch.float64))

    def _cross(self, points: Any) -> Any:
        """Values at new points with values and gradients."""
        kernel, d = _observed(_kernel(self.covariance)).kernel, points.shape[1]
        points, known = points.to(torch.float64), self.points.to(torch.float64)
        orders = [tuple(int(j == i) for j in range(d)) for i in range(-1, d)]
        blocks = [kernel.derivative((0,) * d, order)(points, known) for order in orders]
        return BlockOperator.grid([blocks], interleaved=False)


def matrix_with_gradients(kernel: Kernel, points: Tensor) -> tuple[Any, Tensor]:
    """The covariance of values and gradients ``(n (d + 1), n (d + 1))``, and the kernel's own noise on each row.

    White noise in the kernel is noise of the values: a gradient has its own.
    """
    _, noise = split_noise(kernel)
    n, d = points.shape
    rows = torch.zeros(n * (d + 1), dtype=torch.float64, device=points.device)
    rows[:n] = 1.0
    return _observed(kernel)(points), rows * noise.to(points.device)


def stack_gradients(Y: Tensor, gradients: Tensor) -> Tensor:
    """Values ``(n, t)`` and gradients ``(n, d, t)`` as rows ``(n (d + 1), t)``."""
    return torch.cat([Y, gradients.movedim(1, 0).flatten(0, 1)])


def _observed(kernel: Kernel) -> GradientKernel:
    rest, _ = split_noise(kernel)
    if rest is None:
        raise ValueError(f"{kernel!r} is noise alone: its samples have no gradients.")
    return rest.with_gradients(interleaved=False)


def _kernel(covariance: Covariance) -> Kernel:
    assert isinstance(covariance, MercerCovariance)
    return covariance.own
