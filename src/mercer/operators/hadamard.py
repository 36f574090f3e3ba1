"""The Walsh-Hadamard transform: all sums and differences of a vector, in n log n operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mercer.errors import ShapeError

__all__ = ["hadamard_transform"]

_FACTOR = 32  # a product with a stored matrix of this size is one pass; radix 2 would read the data five times


def hadamard_transform(x: Tensor, *, scale: float = 1.0) -> Tensor:
    r"""The product of the last axis with the Hadamard matrix of its length, in the natural (Sylvester) order.

    .. math:: y = \text{scale} \cdot H_n x, \quad H_1 = (1), \quad
        H_{2n} = \begin{pmatrix} H_n & H_n \\ H_n & -H_n \end{pmatrix}

    H is symmetric and ``H H = n I``: with ``scale=n**-0.5`` the transform is orthogonal and its own inverse.
    Differentiable any number of times.

    Args:
        x: ``(..., n)``, n a power of 2; real or complex, any dtype.
        scale: what the result is multiplied by.

    Returns:
        ``(..., n)``, in the dtype and on the device of x.

    Raises:
        ShapeError: n is no power of 2; pad with zeros.

    Cost: ``32 n log32(n)`` multiply-adds a vector (log of base 32), by products with matrices of at most 32 x 32.
    Source: Fino & Algazi, Unified matrix treatment of the fast Walsh-Hadamard transform (IEEE Trans. Comput., 1976).

    >>> hadamard_transform(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([10., -2., -4.,  0.])
    """
    n = x.shape[-1] if x.dim() else 0
    if n < 1 or n & (n - 1):
        above = 1 << max(0, n - 1).bit_length()
        raise ShapeError(
            f"hadamard_transform: the last axis must be a power of 2, but x has shape {tuple(x.shape)}. "
            f"Pad it with zeros to {above}: torch.nn.functional.pad(x, (0, {above - n}))."
        )
    factors = _factors(n)
    # H of a product of sizes is the Kronecker product of theirs: one axis after the other is transformed.
    y = x.reshape(*x.shape[:-1], *factors)
    for axis, size in enumerate(factors, start=x.dim() - 1):
        H = _matrix(size, x)
        y = (y.movedim(axis, -1) @ H).movedim(-1, axis)
    y = y.reshape(x.shape)
    return y if scale == 1.0 else y * scale


def _factors(n: int) -> list[int]:
    """Powers of 2 of at most 32 whose product is n; as equal as may be."""
    exponent = n.bit_length() - 1
    count = max(1, math.ceil(exponent / (_FACTOR.bit_length() - 1)))
    return [1 << (exponent // count + (i < exponent % count)) for i in range(count)]


def _matrix(n: int, like: Tensor) -> Tensor:
    """The Hadamard matrix of n, ``(n, n)``."""
    H = torch.ones(1, 1, dtype=like.dtype, device=like.device)
    while len(H) < n:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)], 0)
    return H
