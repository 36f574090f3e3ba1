"""Random features as a layer: what was drawn are its buffers."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from mercer.errors import ApproximationWarning, ShapeError
from mercer.kernels import ArcCosine
from mercer.kernels.features import ArcCosineFeatures, LayerFeatures, UniversalRandomFeatures
from mercer.nn.precision import without_autocast

__all__ = ["RandomFeatureLayer", "make_features"]


class RandomFeatureLayer(nn.Module):
    """Phi of a feature map on the last axis: random, fixed, saved and moved with the model.

    Nothing in it is trained. Features of half types are computed in float32.

    Args:
        features: :class:`mercer.kernels.features.ArcCosineFeatures` or
            :class:`mercer.kernels.features.UniversalRandomFeatures`.
        length: to which inputs, and rows of weights, are scaled; None leaves them as they are. The authors use
            ``d ** 0.25`` where they replace trained layers.

    Raises:
        TypeError: ``features`` is no map of a layer.
        ValueError: a length that is not positive.

    >>> from mercer.kernels.features import UniversalRandomFeatures
    >>> layer = RandomFeatureLayer(UniversalRandomFeatures("cos", 32, d=3))
    >>> layer(torch.zeros(5, 7, 3)).shape
    torch.Size([5, 7, 32])
    """

    def __init__(self, features: LayerFeatures, *, length: float | None = None) -> None:
        super().__init__()
        if not isinstance(features, LayerFeatures):
            raise TypeError(
                f"RandomFeatureLayer needs ArcCosineFeatures or UniversalRandomFeatures, not {type(features).__name__}."
            )
        if length is not None and not length > 0.0:
            raise ValueError(f"RandomFeatureLayer(length={length!r}): the length is > 0, or None.")
        self.features, self.length = features, length
        self.in_features, self.n_features = features.d, features.n_features
        for name, value in features.state.items():
            # Drawn on the CPU, and moved to where torch makes parameters.
            device = torch.get_default_device() if value.device.type == "cpu" else value.device
            self.register_buffer(name, value.detach().to(device, torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d) -> (..., n_features)``, in the dtype of x."""
        return self._wide(x).to(x.dtype)

    def project(self, x: Tensor, weight: Tensor) -> Tensor:
        """``features(x) weight'`` of weights ``(o, n_features)``: ``(..., d) -> (..., o)``, in the dtype of x.

        Features can be far larger than their product with weights, and than half types can hold: it is of float32.
        """
        with without_autocast(x):
            wide = self._wide(x)
            return nn.functional.linear(wide, weight.to(wide.dtype)).to(x.dtype)

    @torch.no_grad()
    def weight_features(self, W: Tensor, b: Tensor | None = None, *, input_length: float = 1.0) -> Tensor:
        """Psi of a layer's weights ``(o, d)`` and biases ``(o,)``: ``(o, n_features)``, in the dtype of W.

        Args:
            W, b: the weights.
            input_length: typical ``|x|``, for the warning only; not used with a ``length``.

        Warns:
            ApproximationWarning: a power series that is of no use for such weights and inputs: the error of its
                features is larger than what they estimate.
        """
        wide = self._prepared(W)
        if wide.numel() and not wide.is_meta:
            size = float(wide.double().square().sum(-1).mean().sqrt())
            self._warn_of_reach(size, input_length if self.length is None else self.length)
        return self.features.weight_map(self._drawn(), wide, None if b is None else b.to(wide)).to(W.dtype)

    def extra_repr(self) -> str:
        """The map and its sizes."""
        scaled = "" if self.length is None else f", length={self.length:g}"
        return f"{self.in_features}, {self.n_features}, {type(self.features).__name__}{scaled}"

    def _wide(self, x: Tensor) -> Tensor:
        if x.is_complex():
            raise TypeError(f"Random features are of real numbers, but x is {x.dtype}. Give real and imaginary parts.")
        if x.shape[-1] != self.in_features:
            raise ShapeError(f"Features of {self.in_features} columns: x must be (..., d), not {tuple(x.shape)}.")
        with without_autocast(x):
            return self.features.input_map(self._drawn(), self._prepared(x))

    def _warn_of_reach(self, weight_length: float, input_length: float) -> None:
        reach = weight_length * input_length
        error = self.features.deviation(reach)
        if error is not None and error > max(1.0, reach):
            warnings.warn(
                f"The power series of {getattr(self.features, 'activation', None)!r} is of no use for weights of "
                f"length {weight_length:.2g} and inputs of length {input_length:.2g}: the error of {self.n_features} "
                f"features is about {error:.1g}. Give length=1.0, which scales both, or another activation, such as "
                f'"relu".',
                ApproximationWarning,
                stacklevel=3,
            )

    def _drawn(self) -> dict[str, Tensor]:
        return {name: value for name, value in self._buffers.items() if value is not None}

    def _prepared(self, x: Tensor) -> Tensor:
        """In float32 at least (exponents overflow in half), and of the length asked for."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return wide if self.length is None else nn.functional.normalize(wide, dim=-1) * self.length


def make_features(
    activation: Any,
    n_features: int,
    d: int,
    *,
    bias: bool = True,
    offset: float = 0.0,
    method: str = "orthogonal",
    random_state: Any = 0,
    **spectral: Any,
) -> LayerFeatures:
    """The feature map that layers mean by an activation: "relu" is the arc-cosine kernel, all else is universal.

    Args:
        activation: "relu", or what :class:`mercer.kernels.features.UniversalRandomFeatures` takes.
        n_features: columns.
        d: columns of the inputs.
        bias: whether units have biases: a constant coordinate for "relu".
        offset: of "relu" only.
        method: how projections are drawn.
        random_state: of the draw; None is fresh.
        **spectral: ``gaussian_scale``, ``split``, ``balance``, which "relu" has not.

    Raises:
        ValueError: an argument that the activation has not, or an unknown activation.
    """
    if isinstance(activation, str) and activation == "relu":
        if spectral:
            raise ValueError(f"activation='relu' has no {', '.join(spectral)}: these are of universal random features.")
        kernel = ArcCosine(1, bias_variance=1.0 if bias else 0.0)
        return ArcCosineFeatures(kernel, n_features, d=d, offset=offset, method=method, random_state=random_state)
    if offset:
        raise ValueError(f"offset={offset} is of activation='relu' only, not of {activation!r}.")
    return UniversalRandomFeatures(
        activation, n_features, d=d, bias=bias, method=method, random_state=random_state, **spectral
    )
