"""What a kernel of a long convolution is: a module that gives its taps."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any, TypeVar

from torch import Tensor, nn

from mercer.arguments import check_sizes

__all__ = ["ConvolutionKernel", "TapModule", "stretched"]


class TapModule(nn.Module):
    """What kernels of one axis and of two have: sizes, and their own learning rate."""

    def __init__(self, channels: int, heads: int, learning_rate: float | None, **sizes: Any) -> None:
        super().__init__()
        check_sizes(type(self).__name__, channels=channels, **sizes, heads=heads)
        self.channels, self.heads, self.learning_rate = channels, heads, learning_rate

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Its parameters with their own learning rate and no decay."""
        own: dict[str, Any] = {} if self.learning_rate is None else {"lr": self.learning_rate}
        return [{"params": list(self.parameters()), **own, "weight_decay": 0.0}]


class ConvolutionKernel(TapModule):
    """The base of kernels for :class:`mercer.nn.LongConv`; a kernel of your own needs ``forward`` only.

    Args:
        channels: H.
        length: the most taps it has; None where it never ends.
        heads: C, kernels a channel.
        learning_rate: of all its parameters, which have no weight decay; None leaves it to the optimiser.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(
        self, channels: int, length: int | None, *, heads: int = 1, learning_rate: float | None = None
    ) -> None:
        super().__init__(channels, heads, learning_rate, length=length)
        self.length = length

    def forward(self, length: int | None = None) -> Tensor:
        """The first ``length`` taps, ``(heads, channels, length)``; None is all there are."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"channels={self.channels}, length={self.length}, heads={self.heads}"

    def _cut(self, length: int | None) -> int:
        """How many taps to give.

        Raises:
            ValueError: more than there are, or none.
        """
        most = self.length
        wanted = most if length is None else length
        if wanted is None or wanted < 1 or (most is not None and wanted > most):
            raise ValueError(f"{type(self).__name__} has taps 1 to {most}, not length={length}.")
        return wanted


Kernel = TypeVar("Kernel", bound=ConvolutionKernel)


def stretched(kernel: Kernel, factor: float) -> Kernel:
    """A copy that has ``factor`` times as many taps; what they are is left to the kernel.

    Raises:
        ValueError: a factor that is not above 0.
    """
    if not 0.0 < factor < math.inf:
        raise ValueError(f"{type(kernel).__name__}.at_rate: factor={factor} must be above 0.")
    made = deepcopy(kernel)
    made.length = None if kernel.length is None else max(1, round(factor * kernel.length))
    return made
