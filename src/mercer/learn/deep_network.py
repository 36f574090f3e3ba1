"""The network inside of the estimators of deep kernel machines, and its training state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mercer.arguments import check_whole
from mercer.kernels.gram import kernel_of_gram
from mercer.learn.deep_images import Images
from mercer.learn.sparse_training import InducingState
from mercer.learn.variational import Expected, Variational
from mercer.nn import (
    FeaturesToGram,
    GramConvolution,
    GramKernel,
    GramLayer,
    GramPooling,
    GramStandardization,
    GramState,
    PatchesToGram,
    gram_penalty,
)
from mercer.nn.gram_output import check_objective

_VARIANCE_OF_IMAGES = 10.0  # of latent functions at the start

__all__ = ["DeepState", "build_network", "check_depth", "column_scales", "each_nu", "layers_of"]


def check_depth(depth: Any, kernel: Any) -> None:
    """Raise ValueError for a depth or a kernel that no network has."""
    check_whole("depth", depth)
    kernel_of_gram(kernel)


def each_nu(nu: Any, depth: int) -> list[float]:
    """One ``nu`` for each Gram layer, from numbers of Python, NumPy or torch.

    Raises:
        ValueError: one that is not positive, or another number of them than layers.
    """
    if isinstance(nu, str) and nu == "auto":
        raise ValueError(
            "nu='auto' is for DeepKernelMachineRegressor and DeepKernelMachineClassifier, which choose it by rows left "
            "out. Give a number, or one for each layer."
        )
    given = _plain(nu)
    is_many = isinstance(given, Sequence) and not isinstance(given, str)
    values = [_plain(value) for value in given] if is_many else [given] * depth
    if len(values) != depth:
        raise ValueError(f"nu must be one number, or one for each of the {depth} layers, not {nu!r}.")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0.0:
            raise ValueError(f"nu must be positive (math.inf is the fixed kernel of a wide network), not {nu!r}.")
    return [float(value) for value in values]


def _plain(value: Any) -> Any:
    """Numbers of NumPy and torch as Python's, arrays as lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def column_scales(values: Tensor, *, standardize: bool) -> list[Tensor]:
    """Center and width of each column ``(n, d)``; a constant one has the width 1, and not to standardise is (0, 1)."""
    center, width = values.mean(0), values.std(0, correction=0)
    if not standardize:
        return [torch.zeros_like(center), torch.ones_like(width)]
    return [center, torch.where(width > 1e-12 * center.abs(), width, 1.0)]


def build_network(
    inducing: Tensor,
    *,
    kernel: str,
    nu: list[float],
    learn: bool,
    learn_inducing: bool,
    jitter: float | None = None,
    images: Images | None = None,
    reference: Tensor | None = None,
    seed: int = 0,
) -> nn.Sequential:
    """Inputs to the last kernel: a kernel, then for each layer a Gram layer and a kernel.

    Of images, every kernel but the last is followed by a convolution, and the last by the mean over places,
    standardised.

    Args:
        inducing: ``(P, d)``, or patches of images; the network is on its device and in its type.
        kernel: of each layer.
        nu: of each Gram layer.
        learn: whether scales, heights and weights are learnt.
        learn_inducing: whether the points move.
        jitter: of the kernels.
        images: what the rows are, if they are images.
        reference: rows of which the mean and the spread are those of images.
        seed: of the convolutions.
    """
    P = len(inducing)
    moving: dict[str, Any] = {"learn": learn, "learn_inducing": learn_inducing}

    def kernel_of(number: int) -> nn.Module:
        """The kernel above Gram layer ``number``, and what images need there."""
        own = GramKernel(kernel, learn=learn, jitter=jitter, dtype=inducing.dtype)
        options: dict[str, Any]
        if images is None or reference is None:
            return own
        if number == len(nu):
            options = {"learn": learn, "dtype": inducing.dtype, "height": _VARIANCE_OF_IMAGES}
            return nn.Sequential(own, GramPooling(remainder=False), GramStandardization(len(reference), **options))
        options = {"learn": learn_inducing, "dtype": inducing.dtype, "random_state": seed + number}
        return nn.Sequential(own, GramConvolution(P, size=images.size, **options))

    made: list[nn.Module] = [FeaturesToGram(inducing, **moving)]
    if images is not None:
        made = [PatchesToGram(inducing, shape=images.shape, reference=reference, **moving)]
    made.append(kernel_of(0))
    for number, value in enumerate(nu, start=1):
        layer = GramLayer(P, value, dtype=inducing.dtype)
        layer.name = f"layer {number} of {len(nu)}"
        made += [layer, kernel_of(number)]
    return nn.Sequential(*made).to(inducing.device)


def layers_of(network: nn.Sequential, X: Tensor) -> list[GramState]:
    """The state after each module, for rows ``(n, d)``: G_0, K(G_0), G_1, K(G_1), ..., K(G_L)."""
    found: list[Any] = []
    state: Any = X
    for module in network:
        state = module(state)
        found.append(state)
    return found


@dataclass
class DeepState(InducingState):
    """A deep kernel machine in training: q over whitened values at the inducing points of the last kernel.

    Attributes:
        network: of :func:`build_network`.
        log_parameters: of the likelihood.
        q: over inducing values.
        expected: makes the expected log density of given rows from the likelihood's logarithms.
        adam: None where nothing but q moves.
    """

    network: nn.Sequential
    log_parameters: Tensor
    q: Variational
    expected: Callable[[Tensor, Tensor], Expected]
    adam: torch.optim.Adam | None = None

    def whitened(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """By the last kernel."""
        _, W, left = self.network(X).whitened("the last kernel")
        return W.mT, left

    def penalty(self) -> Tensor:
        """``nu`` times the divergence of each layer."""
        return gram_penalty(self.network)

    def _value(self, A: Tensor, left: Tensor, expected: Expected, n: int) -> Tensor:
        value = super()._value(A, left, expected, n)
        check_objective(value, self.network)
        return value

    def start_adam(self, learning_rate: float) -> None:
        """Make an optimiser of all that can move."""
        learnt: list[Tensor] = [p for p in self.network.parameters() if p.requires_grad]
        learnt += [self.log_parameters] if self.log_parameters.requires_grad else []
        self.adam = torch.optim.Adam(learnt, lr=learning_rate) if learnt else None
