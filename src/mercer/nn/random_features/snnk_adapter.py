"""An adapter of few parameters: a residual layer of random features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.nn.random_features.feature_layer import RandomFeatureLayer, make_features
from mercer.nn.random_features.snnk_linear import INITS, draw_weights

__all__ = ["SNNKAdapter"]


class SNNKAdapter(nn.Module):
    r"""A residual kernel layer that starts as the identity.

    .. math:: y = x + s \odot \Phi(x) \Psi^T, \quad s = 0 \text{ at first}

    Psi ``(width, m)`` and s ``(width,)`` are trained. With a ``bottleneck`` r, Psi is ``(r, m)`` and a linear map from
    r to the width, zero at first, takes the place of s. Two for each layer of BERT-base with m = 8 are 166 thousand
    parameters; bottleneck adapters of width 24 are 904 thousand.

    Args:
        width: columns of x.
        n_features: m.
        activation: as in :class:`mercer.nn.SNNKLinear`.
        bottleneck: r, or None.
        normalize: Phi of x standardised along its last axis (a layer norm without weights) instead of x.
        init: as in :class:`mercer.nn.SNNKLinear`.
        length: to which the input of Phi and starting weights are scaled; None leaves them. Standardised inputs have
            the length ``sqrt(width)``, which all power series ("gelu", "tanh", "sigmoid") are useless at: give 1.0.
        **arguments: ``bias`` (False here by default), ``offset``, ``method``, ``random_state``, ``gaussian_scale``,
            ``split``, ``balance`` of the features.

    Raises:
        ValueError: sizes below 1, an unknown activation, init or method.

    Warns:
        ApproximationWarning: a power series that is of no use for inputs of this length.

    Source: Sehanobish et al., Scalable neural network kernels (ICLR 2024), section 4, from memory of it.

    >>> adapter = SNNKAdapter(768)
    >>> x = torch.randn(2, 5, 768)
    >>> torch.equal(adapter(x), x), sum(p.numel() for p in adapter.parameters())
    (True, 6912)
    """

    def __init__(
        self,
        width: int,
        n_features: int = 8,
        *,
        activation: Any = "relu",
        bottleneck: int | None = None,
        normalize: bool = True,
        init: str = "kaiming",
        length: float | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        rows = width if bottleneck is None else bottleneck
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise ValueError(f"SNNKAdapter(width={width!r}, bottleneck={bottleneck!r}): whole numbers >= 1.")
        if init not in INITS:
            raise ValueError(f"SNNKAdapter(init={init!r}): choose from: {', '.join(INITS)}.")
        self.width, self.bottleneck, self.normalize, self.init = width, bottleneck, normalize, init
        self.features = RandomFeatureLayer(
            make_features(activation, n_features, width, **{"bias": False, **arguments}), length=length
        )
        self.weight = nn.Parameter(torch.empty(rows, n_features))
        self.scale = nn.Parameter(torch.zeros(width)) if bottleneck is None else None
        self.up = None if bottleneck is None else nn.Parameter(torch.zeros(width, bottleneck))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Psi of weights drawn anew, and the identity."""
        W, _ = draw_weights(len(self.weight), self.width, self.init, like=self.weight)
        input_length = math.sqrt(self.width) if self.normalize else 1.0
        self.weight.copy_(self.features.weight_features(W, input_length=input_length))
        for start in (self.scale, self.up):
            if start is not None:
                start.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to the same.

        Raises:
            ShapeError: another width.
        """
        if x.shape[-1] != self.width:
            raise ShapeError(f"SNNKAdapter({self.width}): x is (..., {self.width}), not {tuple(x.shape)}.")
        seen = nn.functional.layer_norm(x, (self.width,)) if self.normalize else x
        update = self.features.project(seen, self.weight)
        if self.up is not None:
            update = nn.functional.linear(update, self.up)
        return x + (update if self.scale is None else self.scale * update)

    @torch.no_grad()
    def merge(self) -> None:
        """Multiply s, or the map up, into Psi: the same function with one matrix ``(width, m)``; not to be undone."""
        merged: Tensor = self.weight
        if self.up is not None:
            merged = self.up @ self.weight
        elif self.scale is not None:
            merged = self.scale[:, None] * self.weight
        self.weight = nn.Parameter(merged.detach().clone(), requires_grad=self.weight.requires_grad)
        self.scale = self.up = None

    def extra_repr(self) -> str:
        """The sizes."""
        narrow = "" if self.bottleneck is None else f", bottleneck={self.bottleneck}"
        return f"{self.width}{narrow}, normalize={self.normalize}"
