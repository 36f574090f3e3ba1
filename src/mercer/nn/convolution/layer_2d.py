"""The long convolution of images as a layer: a kernel as large as the image, a skip, and what mixes the channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.functional import conv2d

from mercer.errors import ShapeError
from mercer.nn.convolution.dense_kernel_2d import LongConvKernel2d
from mercer.nn.convolution.kernel_2d import ConvolutionKernel2d, sides
from mercer.nn.convolution.layer_parts import (
    ACTIVATIONS,
    OUTPUTS,
    ConvolutionLayer,
    make_kernel,
    require_options,
)
from mercer.nn.convolution.long_convolution_2d import PLANS_2D, PlanName2d, long_conv2d
from mercer.nn.convolution.outer_kernel import OuterKernel2d

__all__ = ["FoldedConv2d", "LongConv2d"]

KERNELS_2D: dict[str, type[ConvolutionKernel2d]] = {"dense": LongConvKernel2d, "outer": OuterKernel2d}


class LongConv2d(ConvolutionLayer):
    r"""A depthwise convolution whose kernel reaches from every pixel to every other, then a map across channels.

    .. math:: y = \mathrm{GLU}(W\,\mathrm{dropout}(\mathrm{gelu}(k * u + D u)) + b)

    Args:
        channels: C.
        size: height and width of the largest image; one number for both. Pixels of a larger image do not see further
            than that, with one warning.
        kernel: "dense" (:class:`LongConvKernel2d`) or "outer" (:class:`OuterKernel2d`) with their defaults; or what
            makes a kernel, called with ``(channels, size, heads=...)``, such as
            ``partial(LongConvKernel2d, smooth=3)``; or a module that gives ``(heads, channels, 2 h - 1, 2 w - 1)`` for
            ``kernel((h, w))``.
        heads: kernels a channel; the output map takes ``heads C`` channels.
        activation: "gelu", "relu", "silu" or None.
        output: "glu" is linear to 2 C channels, half of which gate the others; "linear"; None gives the heads C ones.
        dropout: after the activation, in training; with ``tie_dropout`` whole channels.
        plan: as in :func:`mercer.nn.functional.long_conv2d`.
        random_state: of all weights; None draws from torch's global generator.

    Attributes:
        kernel: the module.
        D: the skip, ``(heads, channels)``.
        output_linear: the map, a 1 x 1 convolution.

    Raises:
        ValueError: an unknown option, or a kernel of other sizes.

    Images have no order, so there is no causal form and no state. Cost: ``O(H W log(H W))`` a channel and
    ``O(H W C^2)`` for the map.
    Source: as :class:`LongConv`, with two axes; the papers' own code flattens images.

    >>> layer = LongConv2d(16, 32, random_state=0)
    >>> layer(torch.randn(2, 16, 32, 20)).shape
    torch.Size([2, 16, 32, 20])
    """

    def __init__(
        self,
        channels: int,
        size: int | tuple[int, int],
        *,
        kernel: str | nn.Module | Callable[..., nn.Module] = "dense",
        heads: int = 1,
        activation: Literal["gelu", "relu", "silu"] | None = "gelu",
        output: Literal["glu", "linear"] | None = "glu",
        dropout: float = 0.0,
        tie_dropout: bool = False,
        plan: PlanName2d = "auto",
        random_state: Any = None,
    ) -> None:
        if channels < 1 or heads < 1:
            raise ValueError(f"LongConv2d: channels={channels} and heads={heads} must be 1 or more.")
        require_options(
            "LongConv2d",
            activation=(activation, tuple(ACTIVATIONS)),
            output=(output, OUTPUTS),
            plan=(plan, PLANS_2D),
        )
        size = sides("LongConv2d", size)
        super().__init__(
            channels,
            heads,
            partial(_make_kernel, kernel, channels, size, heads),
            activation=activation,
            output=output,
            dropout=nn.Dropout2d(dropout) if tie_dropout else nn.Dropout(dropout),
            mix=partial(nn.Conv2d, kernel_size=1),
            dim=1,
            random_state=random_state,
        )
        self.size, self.plan = size, plan

    def forward(self, u: Tensor) -> Tensor:
        """The output ``(B, C, H, W)`` of images ``(B, C, H, W)`` of any size.

        Raises:
            ShapeError: another number of channels, or channels that stand last.
        """
        if u.dim() != 4 or u.shape[1] != self.channels or 0 in u.shape[2:]:
            last = u.dim() == 4 and u.shape[-1] == self.channels
            raise ShapeError(
                f"LongConv2d({self.channels}): u is (B, {self.channels}, H, W), not {tuple(u.shape)}."
                + (" Did you mean u.movedim(-1, 1)?" if last else "")
            )
        mixed = long_conv2d(u, self._taps(u.shape[2], u.shape[3]), skip=self.D, plan=self.plan)
        y: Tensor = self.output_linear(self.dropout(self.activation(mixed.flatten(1, 2))))
        return y

    def kernel_(self, size: tuple[int, int] | None = None) -> Tensor:
        """The kernel as it is, ``(heads, channels, 2 h - 1, 2 w - 1)``, lag 0 in the centre; None is all of it."""
        return self._fixed_taps(self.size if size is None else size)

    def fold(self, size: tuple[int, int] | None = None) -> FoldedConv2d:
        """This layer with its kernel fixed, made of torch's own grouped convolution: for export where FFTs are not
        known.

        Args:
            size: of the largest image; None is the layer's. Smaller images are fine.
        """
        return FoldedConv2d(self.kernel_(size), self.D, self._fixed_output()).eval()

    def _taps(self, height: int, width: int) -> Tensor:
        h, w = min(height, self.size[0]), min(width, self.size[1])
        if (h, w) != (height, width):
            self.warn_once(
                f"LongConv2d: the image is {height} x {width}, the layer was built for {self.size[0]} x "
                f"{self.size[1]}: pixels that are farther away do not count. Build it with size={(height, width)} if "
                f"they should."
            )
        k: Tensor = self.kernel((h, w))
        return k

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"channels={self.channels}, size={self.size}, heads={self.heads}"


class FoldedConv2d(nn.Module):
    """What :meth:`LongConv2d.fold` gives: one grouped convolution, and the map across channels.

    Cost: ``O(H W K J)`` a channel for K x J taps; it is made for export, and for small images.
    """

    weight: Tensor

    def __init__(self, kernel: Tensor, skip: Tensor, output: nn.Module) -> None:
        super().__init__()
        heads, channels, K, J = kernel.shape
        self.heads, self.channels, self.padding = heads, channels, (K // 2, J // 2)
        # Torch's convolution is a correlation, and its groups stand channel by channel.
        weight = kernel.flip(-1, -2).clone()
        weight[..., K // 2, J // 2] += skip.detach()
        self.register_buffer("weight", weight.transpose(0, 1).reshape(channels * heads, 1, K, J))
        self.output = output

    def forward(self, u: Tensor) -> Tensor:
        """``(B, C, H, W)`` to what the layer gives."""
        y = conv2d(u, self.weight, padding=self.padding, groups=self.channels)
        y = y.unflatten(1, (self.channels, self.heads)).transpose(1, 2).flatten(1, 2)
        found: Tensor = self.output(y)
        return found


def _make_kernel(kernel: Any, channels: int, size: tuple[int, int], heads: int) -> nn.Module:
    made = make_kernel("LongConv2d", kernel, KERNELS_2D, channels, size, heads)
    largest = getattr(made, "size", size)
    if largest[0] < size[0] or largest[1] < size[1]:
        raise ValueError(f"LongConv2d: the kernel has taps for images up to {tuple(largest)}, but size={size}.")
    return made
