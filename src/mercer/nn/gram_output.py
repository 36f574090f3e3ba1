"""The last layer of a deep kernel machine, and the objective of all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.nn.gram_layer import LowerFactor
from mercer.nn.gram_state import GramState

__all__ = ["GramOutput", "gram_objective", "gram_penalty"]


class GramOutput(nn.Module):
    """Gaussian processes on the last kernel: mean and variance of each output for each row.

    The values at the inducing points are Gaussian with a mean for each output and one covariance for all, learnt from
    the prior on. In :mod:`mercer.learn` they come from natural gradients instead; this layer is for networks and
    training loops of your own.

    Args:
        n_inducing: P.
        n_outputs: c.
        dtype: of the parameters; None is torch's default.

    >>> output = GramOutput(2, 3)
    >>> mean, variance = output(GramState(torch.eye(2), torch.zeros(5, 2), torch.ones(5)))
    >>> mean.shape, variance.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(self, n_inducing: int, n_outputs: int, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.name = "GramOutput"
        self.mean = nn.Parameter(torch.zeros(n_outputs, n_inducing, dtype=dtype))
        self.factor = LowerFactor(n_inducing, dtype=dtype)

    def forward(self, below: GramState) -> tuple[Tensor, Tensor]:
        """Means ``(*rows, c)`` and variances ``(*rows,)`` of the outputs, which differ in their means only.

        Raises:
            ShapeError: another number of inducing points.
            IndefiniteGram: the kernel matrix below is not positive definite.
        """
        if below.n_inducing != self.mean.shape[1]:
            raise ShapeError(
                f"{self.name} has {self.mean.shape[1]} inducing points, but what it is given has {below.n_inducing}."
            )
        _, W, left = below.whitened(self.name)
        return W @ self.mean.mT, left + (W @ self.factor()).square().sum(-1)

    def penalty(self) -> Tensor:
        """Divergence of the values at the inducing points from their prior, summed over the outputs."""
        return len(self.mean) * self.factor.kl() + 0.5 * self.mean.square().sum()


def gram_penalty(model: nn.Module) -> Tensor:
    """What all layers of a deep kernel machine take from its objective: ``nu`` times the divergence of each.

    Raises:
        ValueError: there is no such layer.
    """
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "penalty")]
    found = [layer.penalty() for layer in layers]
    if not found:
        raise ValueError("gram_penalty: the model has no GramLayer and no GramOutput.")
    return torch.stack(found).sum()


def gram_objective(model: nn.Module, log_density: Tensor, *, n_data: int) -> Tensor:
    """What training maximises: the expected log density of the data minus what the layers take; differentiable.

    Args:
        model: of :class:`GramLayer`, :class:`GramOutput` and others.
        log_density: ``E log p(y | f)`` of each row of the minibatch, ``(b,)``.
        n_data: rows in all, for which these stand.

    Raises:
        ShapeError: no row.

    >>> Z = torch.linspace(-2.0, 2.0, 10, dtype=torch.float64)[:, None]
    >>> options = {"dtype": torch.float64}
    >>> model = torch.nn.Sequential(
    ...     FeaturesToGram(Z), GramKernel(**options), GramLayer(10, **options), GramKernel(**options),
    ...     GramOutput(10, 1, **options),
    ... )
    >>> mean, variance = model(Z)
    >>> density = -0.5 * ((torch.sin(Z) - mean).square().sum(1) + variance) / 0.1  # up to a constant
    >>> gram_objective(model, density, n_data=10) < 0
    tensor(True)
    """
    if not log_density.numel():
        raise ShapeError("gram_objective: the minibatch has no row.")
    return n_data * log_density.mean() - gram_penalty(model)
