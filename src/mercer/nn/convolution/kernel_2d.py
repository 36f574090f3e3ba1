"""What a kernel of a long convolution of images is: a module that gives its taps, lag 0 in the centre."""

from __future__ import annotations

from torch import Tensor

from mercer.nn.convolution.kernel import TapModule

__all__ = ["ConvolutionKernel2d", "sides"]


class ConvolutionKernel2d(TapModule):
    """The base of kernels for :class:`mercer.nn.LongConv2d`; a kernel of your own needs ``forward`` only.

    Args:
        channels: C.
        size: height and width of the largest image; one number for both.
        heads: kernels a channel.
        learning_rate: of all its parameters, which have no weight decay; None leaves it to the optimiser.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(
        self, channels: int, size: int | tuple[int, int], *, heads: int = 1, learning_rate: float | None = None
    ) -> None:
        super().__init__(channels, heads, learning_rate)
        self.size = sides(type(self).__name__, size)

    def forward(self, size: tuple[int, int] | None = None) -> Tensor:
        """The taps of images of ``size``, ``(heads, channels, 2 height - 1, 2 width - 1)``; None is the largest."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"channels={self.channels}, size={self.size}, heads={self.heads}"

    def _cut(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """Of which image to give the taps.

        Raises:
            ValueError: a larger one than the kernel was built for, or none.
        """
        if size is None:
            return self.size
        if min(size) < 1 or size[0] > self.size[0] or size[1] > self.size[1]:
            raise ValueError(f"{type(self).__name__} has taps for images up to {self.size}, not for {tuple(size)}.")
        return size


def sides(owner: str, size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width.

    Raises:
        ValueError: other than one or two numbers of 1 or more.
    """
    found = (size, size) if isinstance(size, int) else tuple(size)
    if len(found) != 2 or min(found) < 1:
        raise ValueError(f"{owner}: size={size} is (height, width) of the largest image, or one number for both.")
    return found[0], found[1]
