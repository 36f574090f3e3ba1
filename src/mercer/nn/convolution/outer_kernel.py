"""A kernel of two axes made of kernels of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mercer.nn.convolution.kernel_2d import ConvolutionKernel2d
from mercer.nn.convolution.s4d_kernel import S4DKernel
from mercer.nn.parameter_groups import parameter_groups
from mercer.nn.seeding import seeded

__all__ = ["OuterKernel2d"]


class OuterKernel2d(ConvolutionKernel2d):
    r"""Outer products of one kernel along the rows and one along the columns.

    .. math:: k_{ij} = \sum_{r=1}^{\mathrm{rank}} a_{r,i} \, b_{r,j}

    Each is two-sided: made of two kernels, one for lags 0, 1, ... and one for -1, -2, ...

    Args:
        channels, size, heads: as in :class:`ConvolutionKernel2d`.
        kernel: what makes a kernel of one axis, called with ``(channels, length, heads=...)``: :class:`S4DKernel`, or
            such as ``partial(SGConvKernel, kernel_dim=8)``.
        rank: how many products are summed.
        random_state: of the start; None draws from torch's global generator.

    Raises:
        ValueError: a rank below 1.

    Source: Nguyen et al., S4ND: Modeling Images and Videos as Multidimensional Signals Using State Spaces (NeurIPS
    2022), for state space kernels of rank 1.

    >>> OuterKernel2d(4, (8, 10))((3, 5)).shape
    torch.Size([1, 4, 5, 9])
    """

    def __init__(
        self,
        channels: int,
        size: int | tuple[int, int],
        *,
        heads: int = 1,
        kernel: Callable[..., nn.Module] = S4DKernel,
        rank: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(channels, size, heads=heads)
        if rank < 1:
            raise ValueError(f"OuterKernel2d: rank={rank} must be 1 or more.")
        self.rank = rank
        with seeded(random_state):
            self.rows, self.columns = (kernel(channels, length, heads=2 * heads * rank) for length in self.size)

    def forward(self, size: tuple[int, int] | None = None) -> Tensor:
        """The taps of images of ``size``, ``(heads, channels, 2 height - 1, 2 width - 1)``, lag 0 in the centre."""
        height, width = self._cut(size)
        a, b = self._both_sides(self.rows(height)), self._both_sides(self.columns(width))
        return torch.einsum("crhi,crhj->chij", a, b)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of the kernels of one axis."""
        return parameter_groups(nn.ModuleList([self.rows, self.columns]))

    def _both_sides(self, k: Tensor) -> Tensor:
        """``(heads, rank, channels, 2 n - 1)`` from n taps of every side."""
        ahead, behind = k.unflatten(0, (2, self.heads, self.rank))
        return torch.cat([behind[..., :-1].flip(-1), ahead], -1)
