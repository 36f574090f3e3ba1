"""The block of SOFT: attention and two linear layers, each normalised after it is added."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from mercer.nn.attention.softmax_free import SoftmaxFreeAttention

__all__ = ["SoftBlock"]


class SoftBlock(nn.Module):
    """``x <- LN(x + attention(x))``, then ``x <- LN(x + W2 gelu(W1 x))`` with ``4 width`` hidden units.

    Args:
        width: of tokens.
        heads: of the attention.
        dropout: of what each branch adds; official code calls this rate ``drop_path``.
        **options: of :class:`SoftmaxFreeAttention`.

    Raises:
        ValueError: an option that cannot be.

    Parameter names are those of the official checkpoints.

    >>> SoftBlock(32, 2, landmarks="average", ratio=2)(torch.randn(1, 64, 32), grid=(8, 8)).shape
    torch.Size([1, 64, 32])
    """

    adapter_places = ("dropout1", "dropout2")  # where mercer.nn.add_adapters puts adapters

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, **options: Any) -> None:
        super().__init__()
        self.width = width
        self.mha = SoftmaxFreeAttention(width, heads, **options)
        self.norm1 = nn.LayerNorm(width)
        self.ff1, self.ff2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, x: Tensor, *, grid: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """``(B, n, width)`` to the same; see :meth:`SoftmaxFreeAttention.forward`."""
        x = self.norm1(x + self.dropout1(self.mha(x, grid=grid, mask=mask)))
        hidden = F.gelu(self.ff1(x), approximate="tanh")
        out: Tensor = self.norm2(x + self.dropout2(self.ff2(hidden)))
        return out
