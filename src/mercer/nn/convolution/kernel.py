"""What a kernel of a long convolution is: a module that gives its taps."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

__all__ = ["ConvolutionKernel"]


class ConvolutionKernel(nn.Module):
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
        super().__init__()
        if min(channels, heads, 1 if length is None else length) < 1:
            raise ValueError(
                f"{type(self).__name__}: channels={channels}, length={length} and heads={heads} must be 1 or more."
            )
        self.channels, self.length, self.heads, self.learning_rate = channels, length, heads, learning_rate

    def forward(self, length: int | None = None) -> Tensor:
        """The first ``length`` taps, ``(heads, channels, length)``; None is all there are."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Its parameters with their own learning rate and no decay."""
        own: dict[str, Any] = {} if self.learning_rate is None else {"lr": self.learning_rate}
        return [{"params": list(self.parameters()), **own, "weight_decay": 0.0}]

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
