"""The Fourier transform as products of small real matrices: real and imaginary parts are planes of their own.

What :func:`monarch_fft` does with complex numbers, which takes two thirds of the time where each operation runs by
itself (128 against 187 ms for a training step of 8 x 64 x 1024). Graphs take this form: ONNX knows no products of
complex numbers, and compilers do not fuse them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

__all__ = ["Planes", "dft_planes", "fft_planes", "ifft_planes", "times"]

Planes: TypeAlias = tuple[Tensor, Tensor | None]  # real and imaginary part; None where the latter is 0


def dft_planes(n: int, like: Tensor, *, inverse: bool = False) -> Tensor:
    """``exp(-2 pi i f t / n)``, or its conjugate over n, as ``(n, n, 2)``; angles in float64, as in all of these."""
    t = torch.arange(n, dtype=torch.float64, device=like.device)
    angle = 2.0 * torch.pi / n * torch.remainder(t[:, None] * t[None, :], n)
    circle = _circle(angle, inverse)
    return (circle / n if inverse else circle).to(like.dtype)


def fft_planes(x: Planes, matrices: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The transform of ``(..., n <= N)``, padded with zeros, as ``(..., *factors)`` in the order of the products.

    Args:
        x: its planes.
        matrices: ``(N_i, N_i, 2)``, learnt or :func:`dft_planes`; the product of the sizes is N.
    """
    F, n2 = matrices[0], prod([M.shape[0] for M in matrices[1:]])  # a list: compilers know no generator here
    if len(matrices) == 1:
        return _last(F[:, : x[0].shape[-1]], x)
    rows = -(-x[0].shape[-1] // n2)
    re, im = (None if part is None else pad(part, (0, rows * n2 - part.shape[-1])) for part in x)
    assert re is not None
    X = (re.unflatten(-1, (rows, n2)), None if im is None else im.unflatten(-1, (rows, n2)))
    return fft_planes(_turned(_product(F[:, :rows], X)), matrices[1:])


def ifft_planes(x: Planes, matrices: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The inverse: ``(..., *factors)`` to ``(..., N)``, with the inverse's matrices, which hold the factor 1 / N."""
    if len(matrices) == 1:
        return _last(matrices[0], x)
    inner = ifft_planes(x, matrices[1:])  # (..., N1, N2)
    re, im = _product(matrices[0], _turned(inner, inverse=True))
    return re.flatten(-2), im.flatten(-2)


def times(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The product, entry by entry."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _turned(x: tuple[Tensor, Tensor], *, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """``(..., N1, N2)`` times the twiddle factors between its two transforms."""
    n1, n2 = x[0].shape[-2:]
    f, t = (torch.arange(n, dtype=torch.float64, device=x[0].device) for n in (n1, n2))
    cos, sin = _circle(2.0 * torch.pi / (n1 * n2) * f[:, None] * t[None, :], inverse).to(x[0].dtype).unbind(-1)
    return times(x, (cos, sin))


def _product(F: Tensor, x: Planes) -> tuple[Tensor, Tensor]:
    """``(N1, rows, 2)`` times ``(..., rows, N2)``, in one real product."""
    re, im = (_real_form(F, x) @ (x[0] if x[1] is None else torch.cat([x[0], x[1]], -2))).chunk(2, -2)
    return re, im


def _last(F: Tensor, x: Planes) -> tuple[Tensor, Tensor]:
    """``(N1, n, 2)`` times each ``(..., n)``: without a second axis, one product of all rows."""
    re, im = linear(x[0] if x[1] is None else torch.cat([x[0], x[1]], -1), _real_form(F, x)).chunk(2, -1)
    return re, im


def _real_form(F: Tensor, x: Planes) -> Tensor:
    """What takes the planes of x, one below the other, to those of F x."""
    re, im = F.unbind(-1)
    below = torch.cat([re, im], -2)
    return below if x[1] is None else torch.cat([below, torch.cat([-im, re], -2)], -1)


def _circle(angle: Tensor, inverse: bool) -> Tensor:
    return torch.stack([angle.cos(), angle.sin() if inverse else -angle.sin()], -1)
