"""Inner products of gradients from the factors of layers."""

from __future__ import annotations

from torch import Tensor

__all__ = ["block", "is_flat", "pairs"]


def is_flat(n_in: int, n_out: int, n_positions: int, n_cotangents: int) -> bool:
    """Whether whole gradients are cheaper than products of all pairs of positions."""
    return n_positions > 1 and n_positions**2 * (n_in + n_cotangents * n_out) > n_cotangents * n_in * n_out


def block(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> Tensor:
    """``(n, m)`` from factors ``(n, t, in)`` and ``(o, n, t, out)`` of the rows, and the same of the columns."""
    (a, g), (b, h) = left, right
    o, n, t, out = g.shape
    m = len(b)
    if is_flat(a.shape[2], out, t, o):
        return _flat(a, g) @ _flat(b, h).mT
    inputs = a.reshape(n * t, -1) @ b.reshape(m * t, -1).mT
    back = g.permute(1, 2, 0, 3).reshape(n * t, -1) @ h.permute(1, 2, 0, 3).reshape(m * t, -1).mT
    product = inputs * back
    return product if t == 1 else product.view(n, t, m, t).sum((1, 3))


def pairs(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> Tensor:
    """``(n,)``, the product of each row with the one at the same place."""
    (a, g), (b, h) = left, right
    o, _, t, out = g.shape
    if is_flat(a.shape[2], out, t, o):
        return (_flat(a, g) * _flat(b, h)).sum(1)
    return ((a @ b.mT) * (g @ h.mT).sum(0)).sum((1, 2))


def _flat(a: Tensor, g: Tensor) -> Tensor:
    """The gradients, ``(n, o * out * in)``."""
    return (g.mT @ a).movedim(0, 1).reshape(len(a), -1)
