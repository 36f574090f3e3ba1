"""The last layer of a deep kernel machine, and the objective of all of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mercer.arguments import check_whole
from mercer.errors import ShapeError
from mercer.kernels.gram import IndefiniteGram
from mercer.nn.gram_layer import FreeFactor, LowerFactor
from mercer.nn.gram_state import GramState, check_state

__all__ = ["GramOutput", "check_objective", "gram_objective", "gram_penalty"]


class GramOutput(nn.Module):
    """Gaussian processes on the last kernel: mean and variance of each output for each row.

    The values at the inducing points are Gaussian with a mean for each output and one covariance for all, learnt from
    the prior on. In :mod:`mercer.learn` they come from natural gradients instead; this layer is for networks and
    training loops of your own.

    Args:
        n_inducing: P.
        n_outputs: c.
        dtype: of the parameters; None is torch's default.

    Raises:
        ValueError: numbers below 1.

    >>> output = GramOutput(2, 3)
    >>> mean, variance = output(GramState(torch.eye(2), torch.zeros(5, 2), torch.ones(5)))
    >>> mean.shape, variance.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(self, n_inducing: int, n_outputs: int, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        for name, value in (("n_inducing", n_inducing), ("n_outputs", n_outputs)):
            check_whole(f"GramOutput: {name}", value)
        n_inducing, n_outputs = int(n_inducing), int(n_outputs)
        self.name = "GramOutput"
        self.mean = nn.Parameter(torch.zeros(n_outputs, n_inducing, dtype=dtype))
        self.factor = LowerFactor(n_inducing, dtype=dtype)

    def forward(self, below: GramState) -> tuple[Tensor, Tensor]:
        """Means ``(*rows, c)`` and variances ``(*rows,)`` of the outputs, which differ in their means only.

        Raises:
            ShapeError: no state, or another number of inducing points.
            TypeError: another type, or half precision.
            IndefiniteGram: the kernel matrix below is not positive definite.
        """
        check_state(below, self.mean.shape[1], self.name, self.mean.dtype)
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
        log_density: ``E log p(y | f)`` of each row of the minibatch, ``(b,)``, or of each row and output, ``(b, c)``:
            the outputs are summed.
        n_data: rows in all, for which these stand.

    Raises:
        ShapeError: no row.
        ValueError: ``n_data`` below the rows at hand.
        IndefiniteGram: a value that is not finite; the message names the layer next to that, and its smallest
            eigenvalue.

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
    if log_density.dim() == 0 or not log_density.numel():
        raise ShapeError("gram_objective: the minibatch has no row.")
    rows = len(log_density)
    check_whole("gram_objective: n_data, the rows in all,", n_data, least=rows)
    value = n_data / rows * log_density.sum() - gram_penalty(model)
    check_objective(value, model)
    return value


def check_objective(value: Tensor, model: nn.Module) -> None:
    """Raise IndefiniteGram for an objective that is not finite, and name the layer whose Gram matrix is worst."""
    if bool(torch.isfinite(value.detach())):
        return
    found = [
        (_least_eigenvalue(layer.factor), f"{layer.name} at {path!r}")
        for path, layer in model.named_modules()
        if isinstance(getattr(layer, "factor", None), LowerFactor | FreeFactor)
    ]
    least, name = min(found, default=(math.nan, "no layer"))
    raise IndefiniteGram(
        f"The objective is {float(value.detach())}. The smallest eigenvalue of a Gram matrix, whitened by the kernel "
        f"unless it is a free one, is {least:.3g}, in {name} (-inf: it holds NaN or infinity). Take a smaller learning "
        f"rate or a larger nu; if it is not small, the log density of the data is not finite: more noise."
    )


@torch.no_grad()
def _least_eigenvalue(factor: Any) -> float:
    root = factor() if isinstance(factor, LowerFactor) else factor.V * len(factor.V) ** -0.5
    return float(torch.linalg.svdvals(root)[-1]) ** 2 if bool(torch.isfinite(root).all()) else -math.inf
