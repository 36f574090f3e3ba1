"""A convolution whose Fourier matrices are learnt, and which thereby is a convolution no more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.nn.convolution.monarch_module import MonarchFFT
from mercer.nn.convolution.monarch_planes import times
from mercer.nn.parameter_groups import group_parameters
from mercer.nn.seeding import seeded

__all__ = ["ButterflyConv"]


class ButterflyConv(nn.Module):
    r"""A cyclic convolution by products with small matrices, all of which are learnt.

    .. math:: y = \mathrm{Re}\, V \bigl( (F u) \odot (G k) \bigr) + D u

    The matrices start as Fourier ones, so at first it is the convolution of period ``size``. Trained, it costs the same
    and can treat each position in its own way; then every output depends on every input, the later ones too. In a graph
    all its products are real, so that it exports to ONNX as it is.

    Args:
        channels: H; the matrices are shared by all channels.
        length: the longest sequence.
        size: of the transform, >= ``length``; None is ``length``. Twice the length keeps the start and the end of a
            sequence apart.
        radix: the largest matrix.
        learn: False keeps the Fourier matrices: a cyclic convolution with a learnt kernel.
        separate: whether the kernel has matrices of its own.
        learn_inverse: whether the inverse is learnt too; the official code keeps it.
        additive, dropout: as in :class:`MonarchFFT`.
        causal: there is no causal form; True raises.
        learning_rate: of matrices and kernel, which have no decay.
        random_state: of the kernel and of what is added.

    Raises:
        ValueError: ``causal=True``, or a size below the length.

    Source: Fu et al., Simple Hardware-Efficient Long Convolutions for Sequence Modeling (ICML 2023).

    >>> layer = ButterflyConv(4, 30)
    >>> layer(torch.randn(2, 30, 4)).shape
    torch.Size([2, 30, 4])
    """

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        size: int | None = None,
        radix: int = 16,
        learn: bool = True,
        separate: bool = True,
        learn_inverse: bool = True,
        additive: bool = False,
        dropout: float = 0.0,
        causal: bool = False,
        learning_rate: float | None = 1e-3,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        if causal:
            raise ValueError(
                "ButterflyConv has no causal form: with learnt matrices every output depends on every input. Use "
                "LongConv(causal=True)."
            )
        size = length if size is None else size
        if channels < 1 or length < 1 or size < length:
            raise ValueError(f"ButterflyConv: channels={channels} and length={length} are >= 1, size={size} >= length.")
        self.channels, self.length, self.size, self.causal = channels, length, size, False
        self.learning_rate = learning_rate
        options: dict[str, Any] = {"radix": radix, "additive": additive, "dropout": dropout, "natural": False}
        with seeded(random_state):
            self.kernel = nn.Parameter(torch.randn(channels, size) / size**0.5)
            self.D = nn.Parameter(torch.randn(channels))
            self.transform_u = MonarchFFT(size, learn=learn, **options)
            self.transform_k = MonarchFFT(size, learn=learn, **options) if separate else self.transform_u
            self.inverse = MonarchFFT(size, learn=learn and learn_inverse, inverse=True, **options)

    def forward(self, u: Tensor) -> Tensor:
        """``(B, L, H)`` to ``(B, L, H)``; L up to ``length``, and a shorter sequence is padded with zeros.

        Raises:
            ShapeError: another number of channels, or a longer sequence.
        """
        if u.dim() != 3 or u.shape[-1] != self.channels or not 1 <= u.shape[1] <= self.length:
            raise ShapeError(
                f"ButterflyConv({self.channels}, {self.length}): u is (B, L, {self.channels}) with L from 1 to "
                f"{self.length}, not {tuple(u.shape)}. Its matrices have one size: build it longer."
            )
        x = u.mT  # (B, H, L)
        k = self.kernel.to(x.dtype)
        if torch.compiler.is_compiling():
            y, _ = self.inverse.planes(*times(self.transform_u.planes(x), self.transform_k.planes(k)))
        else:
            y = self.inverse(self.transform_u(x) * self.transform_k(k)).real
        return (y[..., : u.shape[1]] + self.D.unsqueeze(-1) * x).to(u.dtype).mT

    @property
    def multiply_adds(self) -> int:
        """Complex multiply-adds for one row and its kernel; the same whether matrices are learnt or not."""
        transforms = (self.transform_u, self.transform_k, self.inverse)
        return self.size + sum(transform.multiply_adds for transform in transforms)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices and kernel with their learning rate; nothing decays."""
        own = {"weight_decay": 0.0} | ({} if self.learning_rate is None else {"lr": self.learning_rate})
        pairs = [(p, {"weight_decay": 0.0} if p is self.D else own) for p in self.parameters()]
        return group_parameters(pairs)
