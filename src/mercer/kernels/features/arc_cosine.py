"""Random units as features of the arc-cosine kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.arc_cosine import ArcCosine
from mercer.kernels.features.base import require_count
from mercer.kernels.features.layer_features import LayerFeatures
from mercer.kernels.features.projection import PROJECTIONS, draw_projection, project
from mercer.kernels.points import as_points

__all__ = ["ArcCosineFeatures"]


class ArcCosineFeatures(LayerFeatures):
    r"""A layer of random units as features of an arc-cosine kernel; the "relu" kernel of networks of features.

    .. math:: \Phi(x) = \sqrt{2 / m} \; \max(G \bar x, a)^n, \quad \bar x = [\sqrt{w} \, x, \sqrt{b}], \quad
        G_{ij} \sim N(0, 1)

    at order n = 1 and 2; at order 0 steps, ``G x > a``. At a = 0 the mean of <Phi(x), Phi(y)> is the kernel. Between
    inputs and weights it is the same kernel: not ``relu(w . x)``, but a function of ``|w|``, ``|x|`` and their angle. A
    bias of a unit takes the place of the constant coordinate.

    Args:
        kernel: :class:`mercer.kernels.ArcCosine`; with a bias variance > 0 points get a constant coordinate.
        n_features: m.
        d: columns of the points.
        offset: a. Another value than 0 gives features of another kernel; the authors use -5 where a trained layer is
            replaced, since nearly nothing is cut off then, and 0 for adapters.
        method: "orthogonal" (the default), "iid", "quasi", or "hadamard": products with signs and Hadamard matrices in
            ``m log d`` operations, nothing stored but signs.
        random_state: int, generator or None.

    Raises:
        TypeError: another kernel.
        ValueError: an unknown method, or an offset that is not finite.

    Cost: ``n * d * m`` multiply-adds.
    Source: Sehanobish et al., Scalable neural network kernels (ICLR 2024), from memory; Cho & Saul, Kernel methods for
    deep learning (NIPS 2009), eq. 1.

    >>> features = ArcCosineFeatures(mc.kernels.ArcCosine(bias_variance=0.0), 20_000, d=2, random_state=0)
    >>> features.estimate(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))  # 2 and 1 / pi
    tensor([[1.9918, 0.3083]])
    """

    kernel: ArcCosine

    def __init__(
        self,
        kernel: ArcCosine,
        n_features: int,
        *,
        d: int,
        offset: float = 0.0,
        method: str = "orthogonal",
        random_state: Any = None,
    ) -> None:
        self.kernel, self.n_features, self.d, self.offset = kernel, n_features, d, offset
        self.method, self.random_state = method, random_state
        self.check()

    def check(self) -> None:
        """Raise for an argument outside its domain; draw anew where another draw is asked for."""
        super().check()
        if not isinstance(self.kernel, ArcCosine):
            raise TypeError(f"ArcCosineFeatures are of ArcCosine, not of {self.kernel!r}.")
        require_count("ArcCosineFeatures", "n_features", self.n_features)
        require_count("ArcCosineFeatures", "d", self.d)
        if not math.isfinite(self.offset):
            raise ValueError(f"ArcCosineFeatures(offset={self.offset!r}): offset must be a finite number.")
        if self.method not in PROJECTIONS:
            raise ValueError(f"ArcCosineFeatures(method={self.method!r}): choose from: {', '.join(PROJECTIONS)}.")
        has_bias = bool(self.kernel.hyperparameter("bias_variance").detach().gt(0.0).any())
        asked = (self.n_features, self.d, has_bias, self.method, self.random_state)
        if asked != getattr(self, "_asked", None):
            self._asked, self._has_bias = asked, has_bias
            self._state = draw_projection(
                self.n_features, self.d + has_bias, method=self.method, random_state=self.random_state
            )

    @property
    def state(self) -> dict[str, Tensor]:
        """The projection, and the roots of the variances of weights and bias where they matter."""
        weight = self.kernel.hyperparameter("weight_variance")
        found = dict(self._state)
        if weight.requires_grad or bool((weight != 1.0).any()):
            found["scale"] = weight.sqrt()
        if self._has_bias:
            found["constant"] = self.kernel.hyperparameter("bias_variance").sqrt()
        return found

    def input_map(self, state: Mapping[str, Tensor], X: Tensor) -> Tensor:
        """The units of inputs with the constant coordinate."""
        scaled = X * state["scale"].to(X) if "scale" in state else X
        if "constant" in state:
            scaled = torch.cat([scaled, state["constant"].to(X).expand(*X.shape[:-1], 1)], -1)
        return self._units(state, scaled)

    def weight_map(self, state: Mapping[str, Tensor], W: Tensor, b: Tensor | None) -> Tensor:
        """The units of weights with their biases."""
        scaled = W * state["scale"].to(W) if "scale" in state else W
        if "constant" in state:
            column = W.new_zeros(len(W)) if b is None else b
            scaled = torch.cat([scaled, column[:, None]], -1)
        elif b is not None:
            raise ValueError("ArcCosineFeatures of a kernel without bias take no b: give ArcCosine(bias_variance=1.0).")
        return self._units(state, scaled)

    def expected(self, X: Any, W: Any, b: Any = None) -> Tensor:
        """The kernel between inputs and weights, in closed form; of an offset of 0 only.

        Raises:
            ValueError: another offset.
        """
        if self.offset != 0.0:
            raise ValueError(f"ArcCosineFeatures(offset={self.offset}): no closed form is known but for offset=0.")
        weights, bias = self._layer(W, b)
        points = as_points(X, "X", like=weights)
        scale = self.kernel.hyperparameter("weight_variance").sqrt().to(points)
        rows, columns = points * scale, weights * scale
        if self._has_bias:
            constant = self.kernel.hyperparameter("bias_variance").sqrt().to(points)
            rows = torch.cat([rows, constant.expand(*rows.shape[:-1], 1)], -1)
            columns = torch.cat([columns, (torch.zeros_like(weights[:, 0]) if bias is None else bias)[:, None]], -1)
        return torch.as_tensor(ArcCosine(self.kernel.order, bias_variance=0.0)(rows, columns).to_dense())

    def _units(self, state: Mapping[str, Tensor], X: Tensor) -> Tensor:
        projected, size = project(state, X), math.sqrt(2.0 / self.n_features)
        if self.kernel.order == 0:
            return (projected > self.offset).to(X.dtype) * size
        kept = projected.clamp(min=self.offset)
        return (kept if self.kernel.order == 1 else kept.square()) * size
