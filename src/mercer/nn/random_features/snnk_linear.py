"""A linear layer and its activation as one kernel of inputs and weights."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn

from mercer.nn.random_features.feature_layer import RandomFeatureLayer, make_features

__all__ = ["INITS", "SNNKLinear", "draw_weights"]

INITS = ("kaiming", "normal")


class SNNKLinear(nn.Module):
    r"""A scalable neural network kernel: ``f(W x + b)`` as features of x times features of the weights.

    .. math:: y = \Phi(x) \Psi^T, \quad \Psi \in R^{o \times m}

    Phi is random and fixed; Psi is all that is trained, from the features of weights drawn as for a linear layer. It
    stands where a linear layer *and its activation* stand. "relu" is not ``relu(W x)`` but the arc-cosine kernel,
    which sees ``|x|`` too.

    Args:
        in_features: d.
        out_features: o.
        n_features: m, the columns of Psi. With m far below d as a FIRST layer it loses what it does not see.
        activation: "relu", or one of :class:`mercer.kernels.features.UniversalRandomFeatures`.
        bias: whether Psi starts from weights with biases; for "relu" inputs get a constant coordinate. No further
            parameters.
        init: weights from which Psi starts: "kaiming" (torch's own for linear layers) or "normal" of deviation 0.02.
        length: to which inputs and starting weights are scaled; None leaves them. "gelu", "tanh" and "sigmoid" need one
            (1.0) wherever ``|w| |x|`` is above about 1: their power series gives values of 1e10 at ``|x| = 10``.
        offset: of "relu": -5 keeps nearly all of a trained layer's signal, 0 is the kernel.
        method: "orthogonal", "iid", "quasi", or "hadamard": ``m log d`` operations, no stored matrix.
        random_state: of Phi; layers of one model should differ. Psi is drawn by torch's global generator.
        **spectral: ``gaussian_scale``, ``split``, ``balance`` of universal random features.

    Raises:
        ValueError: sizes below 1, an unknown activation, init or method.

    Cost: ``m (d + o)`` multiply-adds a row against ``d o``; parameters ``o m`` against ``o d + o``.
    Source: Sehanobish et al., Scalable neural network kernels (ICLR 2024), section 3, from memory of it.

    >>> layer = SNNKLinear(768, 3072, 64)
    >>> layer(torch.zeros(2, 768)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 3072]), 196608)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_features: int,
        *,
        activation: Any = "relu",
        bias: bool = True,
        init: str = "kaiming",
        length: float | None = None,
        offset: float = 0.0,
        method: str = "orthogonal",
        random_state: Any = 0,
        **spectral: Any,
    ) -> None:
        super().__init__()
        if isinstance(out_features, bool) or not isinstance(out_features, int) or out_features < 1:
            raise ValueError(f"SNNKLinear(out_features={out_features!r}): it must be a whole number >= 1.")
        if init not in INITS:
            raise ValueError(f"SNNKLinear(init={init!r}): choose from: {', '.join(INITS)}.")
        self.in_features, self.out_features, self.n_features = in_features, out_features, n_features
        self.activation, self.bias, self.init = activation, bias, init
        options = {"bias": bias, "offset": offset, "method": method, "random_state": random_state, **spectral}
        self.features = RandomFeatureLayer(make_features(activation, n_features, in_features, **options), length=length)
        self.weight = nn.Parameter(torch.empty(out_features, n_features))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Psi of weights drawn anew."""
        W, b = draw_weights(self.out_features, self.in_features, self.init, like=self.weight)
        self.weight.copy_(self.features.weight_features(W, b if self.bias else None))

    @classmethod
    @torch.no_grad()
    def from_linear(
        cls, linear: nn.Linear, activation: Any, n_features: int, *, inputs: Tensor | None = None, **arguments: Any
    ) -> Self:
        """The layer that stands for ``activation(linear(x))``: Psi are the features of its weights, with the same draw.

        For a closer fit from data see :func:`mercer.nn.compress`.

        Args:
            linear: trained; it is left as it is.
            activation: as in the constructor.
            n_features: m.
            inputs: ``(..., d)``, typical ones, from which the ``balance`` of universal random features is set.
            **arguments: of the constructor.

        Warns:
            ApproximationWarning: the power series of the activation is of no use for these weights, and the inputs (if
                none are given, inputs of length 1).
        """
        input_length = 1.0 if inputs is None else float(inputs.double().square().sum(-1).mean().sqrt())
        if inputs is not None and not (isinstance(activation, str) and activation == "relu"):
            rows = linear.weight.double().square().sum(-1).mean()
            ratio = float(rows.sqrt()) / input_length if input_length > 0.0 else 0.0
            arguments.setdefault("balance", ratio if math.isfinite(ratio) and ratio > 0.0 else 1.0)
        has_bias = linear.bias is not None
        layer = cls(
            linear.in_features, linear.out_features, n_features, activation=activation, bias=has_bias, **arguments
        ).to(linear.weight)
        # In float64: exponents of the features would lose digits that the layer keeps.
        W, b = linear.weight.double(), linear.bias.double() if has_bias else None
        layer.weight.copy_(layer.features.weight_features(W, b, input_length=input_length))
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d) -> (..., o)``."""
        return self.features.project(x, self.weight)

    def extra_repr(self) -> str:
        """The sizes and the activation."""
        return f"{self.in_features}, {self.out_features}, n_features={self.n_features}, activation={self.activation!r}"


def draw_weights(rows: int, columns: int, init: str, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Weights ``(rows, columns)`` and biases as a linear layer starts from them, in float32 at least."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    W = torch.empty(rows, columns, dtype=dtype, device=like.device)
    if init == "normal":
        return nn.init.normal_(W, std=0.02), W.new_zeros(rows)
    nn.init.kaiming_uniform_(W, a=math.sqrt(5.0))
    return W, nn.init.uniform_(W.new_empty(rows), -(columns**-0.5), columns**-0.5)
