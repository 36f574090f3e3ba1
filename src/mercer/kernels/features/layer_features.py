"""Features of both sides of a layer: its inputs, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels.features.base import Features
from mercer.kernels.points import as_points

__all__ = ["LayerFeatures"]


class LayerFeatures(Features):
    r"""Base of feature maps that separate a layer's inputs from its weights.

    .. math:: f(w \cdot x + b) \approx \langle \Psi(w, b), \Phi(x) \rangle

    ``features(X)`` is Phi, as for every feature map. What was drawn stands in :attr:`state`, and both maps are
    functions of it: a torch layer keeps it as its buffers.

    Attributes:
        d: columns of the inputs.
        n_features: columns of Phi and Psi.
    """

    _state: dict[str, Tensor]

    @property
    def state(self) -> dict[str, Tensor]:
        """What the maps are made of, float64, by name."""
        return self._state

    def input_map(self, state: Mapping[str, Tensor], X: Tensor) -> Tensor:
        """Phi of ``(..., d)`` in float32 or float64, from a state of this shape."""
        raise NotImplementedError

    def weight_map(self, state: Mapping[str, Tensor], W: Tensor, b: Tensor | None) -> Tensor:
        """Psi of ``(o, d)`` and ``(o,)`` (None: 0), from a state of this shape."""
        raise NotImplementedError

    def expected(self, X: Any, W: Any, b: Any = None) -> Tensor:
        """What :meth:`estimate` approaches as features are added, ``(n, o)``."""
        raise NotImplementedError

    def deviation(self, reach: float) -> float | None:
        """About how far :meth:`estimate` is off where ``|w| |x|`` is ``reach``; None where no formula is known."""
        return None

    def compute(self, X: Tensor) -> Tensor:
        """Phi."""
        return self.input_map(self.state, X)

    def input_features(self, X: Any) -> Tensor:
        """Phi of the inputs ``(*batch, n, d)``: the same as ``features(X)``."""
        return self(X)

    def weight_features(self, W: Any, b: Any = None) -> Tensor:
        """Psi of a layer's weights.

        Args:
            W: ``(o, d)``, a row a unit.
            b: ``(o,)``; None is 0.

        Returns:
            ``(o, n_features)``, in the dtype of W.

        Raises:
            ShapeError: W or b of another shape.
            ValueError: biases where the features were made for none.
        """
        weights, bias = self._layer(W, b)
        wide = weights.float() if weights.dtype in (torch.float16, torch.bfloat16) else weights
        return self.weight_map(self.state, wide, None if bias is None else bias.to(wide)).to(weights.dtype)

    def estimate(self, X: Any, W: Any, b: Any = None) -> Tensor:
        """The layer's output by features, ``(*batch, n, o)``: ``input_features(X) @ weight_features(W, b).mT``."""
        Phi = self.input_features(X)
        return Phi @ self.weight_features(W, b).to(Phi).mT

    def _layer(self, W: Any, b: Any) -> tuple[Tensor, Tensor | None]:
        """Checked weights and biases."""
        weights = as_points(W, "W")
        bias = None if b is None else as_tensor(b, device=weights.device)
        if weights.dim() != 2 or weights.shape[1] != self.d:
            raise ShapeError(f"{type(self).__name__}: W must be (o, {self.d}), not {tuple(weights.shape)}.")
        if bias is not None and bias.shape != weights.shape[:1]:
            raise ShapeError(f"{type(self).__name__}: b must be ({len(weights)},) like W, not {tuple(bias.shape)}.")
        return weights, bias
