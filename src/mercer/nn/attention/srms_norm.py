"""The root mean square norm without a gain."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mercer.nn.attention.chunked import accumulator

__all__ = ["SRMSNorm"]


class SRMSNorm(nn.Module):
    r"""Divides the last axis by its root mean square; there is nothing to learn.

    .. math:: y = x / \rho, \quad \rho = \sqrt{\frac{1}{d} \sum_k x_k^2 + \epsilon}

    Its Jacobian is :math:`(I - x x^\top / (d \rho^2)) / \rho`, with eigenvalues :math:`1/\rho` and
    :math:`\epsilon/\rho^3`, so that gradients grow by :math:`1/\sqrt{\epsilon}` at most. (Entry by entry, as the paper
    has it: :math:`|x_j x_k| \le d \rho^2 / 2` off the diagonal, so at most :math:`3 / (2 \sqrt{\epsilon})`.) For
    outputs :math:`o_i = \sum_j s_{ij} v_j` of an attention, :math:`|\partial L / \partial s_{ij}|` is at most
    :math:`|\partial L / \partial y_i|_2 \, |v_j|_2 / \sqrt{\epsilon}`, however small the scores are. The official code
    adds 1e-8 outside the root, where it bounds next to nothing.

    Args:
        eps: :math:`\epsilon`, > 0.

    Raises:
        ValueError: eps that is not positive.

    Squares are summed in float32 under half types.

    >>> SRMSNorm()(torch.tensor([3.0, 4.0])), SRMSNorm(eps=1.0)(torch.zeros(2))
    (tensor([0.8485, 1.1314]), tensor([0., 0.]))
    """

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        if not eps > 0.0:
            raise ValueError(f"SRMSNorm(eps={eps}): it is > 0, for it bounds the gradients.")
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to the same."""
        wide = x.to(accumulator(x.dtype))
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)

    def extra_repr(self) -> str:
        """The eps."""
        return f"eps={self.eps:g}"
