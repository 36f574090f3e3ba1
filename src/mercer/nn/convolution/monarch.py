"""The Fourier transform as products of small matrices, in the order that needs no bit reversal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = [
    "complex_of",
    "dft_matrix",
    "monarch_convolve",
    "monarch_factors",
    "monarch_fft",
    "monarch_ifft",
    "natural_order",
]

HALF = (torch.float16, torch.bfloat16)
LARGEST_HALF = 6e4  # a little below the largest float16


def monarch_factors(N: int, *, radix: int = 16, order: int | None = None) -> tuple[int, ...]:
    """N as a product of matrix sizes, largest first.

    Args:
        N: the length of the transform, >= 1.
        radix: no factor is larger, except a prime that is.
        order: exactly so many factors, as equal as the divisors of N allow, whatever their size.

    Raises:
        ValueError: no length, or an order below 1.

    >>> monarch_factors(4096), monarch_factors(1000), monarch_factors(8192, order=2)
    ((16, 16, 16), (10, 10, 10), (128, 64))
    """
    if N < 1 or radix < 2 or (order is not None and order < 1):
        raise ValueError(f"monarch_factors(N={N}, radix={radix}, order={order}): N and order are >= 1, radix >= 2.")
    factors: list[int] = []
    if order is not None:
        for left in range(order, 1, -1):
            target = N ** (1.0 / left)
            factors.append(min((abs(d / target - 1.0), d) for d in _divisors(N))[1])
            N //= factors[-1]
        return tuple(sorted([*factors, N], reverse=True))
    while N > 1:
        fitting = [d for d in _divisors(N) if 1 < d <= radix]
        factors.append(max(fitting) if fitting else min(d for d in _divisors(N) if d > 1))
        N //= factors[-1]
    return tuple(sorted(factors, reverse=True)) or (1,)


def _divisors(N: int) -> list[int]:
    small = [d for d in range(1, int(N**0.5) + 1) if N % d == 0]
    return [*small, *(N // d for d in small)]


def complex_of(dtype: torch.dtype) -> torch.dtype:
    """The complex type of as many digits; compilers do not know ``dtype.to_complex()``."""
    return torch.promote_types(dtype, torch.complex32)


def dft_matrix(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``exp(-2 pi i f t / n)``, complex ``(n, n)``; angles in float64, since float32 ones cost a digit or two."""
    return _constant(_dft_matrix, n, dtype, device)


def _twiddles(n1: int, n2: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _constant(_new_twiddles, n1, n2, dtype, device)


def _constant(build: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Built once; but a graph that is compiled builds its own, since compilers do not look into what is kept."""
    return build(*arguments) if torch.compiler.is_compiling() else _kept(build, *arguments)


@lru_cache(maxsize=512)
@torch.inference_mode(False)  # what is kept may be saved for a backward pass later
def _kept(build: Callable[..., Tensor], *arguments: Any) -> Tensor:
    return build(*arguments)


def _dft_matrix(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    t = torch.arange(n, dtype=torch.float64, device="cpu")  # whatever the default device, for it is kept
    angle = -2.0 * torch.pi / n * torch.remainder(t[:, None] * t[None, :], n)
    return torch.polar(torch.ones_like(angle), angle).to(device=device, dtype=dtype)


def _new_twiddles(n1: int, n2: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    f, t = (torch.arange(n, dtype=torch.float64, device="cpu") for n in (n1, n2))
    angle = -2.0 * torch.pi / (n1 * n2) * f[:, None] * t[None, :]
    return torch.polar(torch.ones_like(angle), angle).to(device=device, dtype=dtype)


def monarch_fft(
    x: Tensor,
    factors: Sequence[int],
    *,
    matrices: Sequence[Tensor] | None = None,
    operand: torch.dtype | None = None,
) -> Tensor:
    r"""The transform of ``(..., n <= N)``, padded with zeros, as ``(..., *factors)`` in the order of the products.

    With N = N1 N2 and X the input as an N1 x N2 matrix, row by row: ``A = F1 X``, ``B = T * A``, ``C = B F2``, and the
    entry ``C[f1, f2]`` belongs to the frequency ``f1 + N1 f2`` (:func:`natural_order`). Rows of X that are padding are
    not multiplied.

    Args:
        x: real or complex.
        factors: N1, N2, ...; their product is N.
        matrices: complex ``(N_i, N_i)`` in place of DFT matrices.
        operand: half type to which both sides of each product are rounded; sums are float32, as in tensor cores.

    Cost: ``N sum(factors)`` complex multiply-adds.
    Source: Fu et al. (2023), section on FlashButterfly; Dao et al., Monarch (ICML 2022).
    """
    n1, rest = factors[0], list(factors[1:])
    n2 = prod(rest)
    rows = -(-x.shape[-1] // n2)
    complex_dtype = complex_of(x.dtype)
    X = pad(x, (0, rows * n2 - x.shape[-1])).reshape(*x.shape[:-1], rows, n2).to(complex_dtype)
    F = (dft_matrix(n1, complex_dtype, x.device) if matrices is None else matrices[0])[:, :rows]
    A = _rounded(F, operand) @ _rounded(X, operand)  # (..., N1, N2)
    if not rest:
        return A.squeeze(-1)
    B = A * _twiddles(n1, n2, complex_dtype, x.device)
    return monarch_fft(B, rest, matrices=None if matrices is None else matrices[1:], operand=operand)


def monarch_ifft(
    X: Tensor,
    *,
    n_factors: int,
    matrices: Sequence[Tensor] | None = None,
    operand: torch.dtype | None = None,
) -> Tensor:
    """The inverse of :func:`monarch_fft`: ``(..., *factors)`` to ``(..., N)``, complex; with the factor 1 / N."""
    factors = X.shape[X.dim() - n_factors :]
    n1 = factors[0]
    F = dft_matrix(n1, X.dtype, X.device).conj() / n1 if matrices is None else matrices[0]
    if n_factors == 1:
        return (_rounded(F, operand) @ _rounded(X.unsqueeze(-1), operand)).squeeze(-1)
    later = None if matrices is None else matrices[1:]
    inner = monarch_ifft(X, n_factors=n_factors - 1, matrices=later, operand=operand)  # (..., N1, N2)
    B = inner * _twiddles(n1, inner.shape[-1], X.dtype, X.device).conj()
    return (_rounded(F, operand) @ _rounded(B, operand)).flatten(-2)


def natural_order(X: Tensor, n_factors: int) -> Tensor:
    """``(..., *factors)`` as :func:`monarch_fft` gives them, by frequency: ``(..., N)``."""
    first = X.dim() - n_factors
    return X.permute(*range(first), *reversed(range(first, X.dim()))).flatten(first)


def monarch_convolve(
    u: Tensor,
    k: Tensor,
    *,
    start: int = 0,
    factors: Sequence[int] | None = None,
    passes: int = 1,
) -> Tensor:
    """``(..., L)`` with ``(..., K)``: outputs ``start`` to ``start + L - 1`` of their convolution.

    Args:
        u, k: of one type; batches broadcast. In half types the products have half operands and float32 sums.
        start: the first output.
        factors: of a transform of at least ``L + K - 1``; None chooses them, of 16 at most.
        passes: 3 is the way for what does not fit on a chip: one outer transform of the first factor, written once;
            then that many convolutions of the other factors, one after the other; then the outer inverse.

    Raises:
        ValueError: factors that are too short, or a float16 spectrum that may overflow.
    """
    L, K = u.shape[-1], k.shape[-1]
    if factors is None:
        from mercer.operators.convolution_plan import smooth_length

        factors = monarch_factors(smooth_length(L + K - 1))
    N = prod(factors)
    if N < L + K - 1:
        raise ValueError(f"monarch_convolve: factors {tuple(factors)} make {N}, but {L} and {K} need {L + K - 1}.")
    dtype = u.dtype
    operand = dtype if dtype in HALF else None
    if operand is not None:
        u, k = u.float(), k.float()
    if dtype == torch.float16:
        most = float((u.abs().sum(-1).amax() * k.abs().sum(-1).amax()) / N)
        if most > LARGEST_HALF:
            raise ValueError(
                f"the spectrum may reach |u|_1 |k|_1 / N = {most:.1e} and overflow in float16. Use bfloat16 or float32."
            )
    if passes == 3 and len(factors) > 1:
        y = _three_passes(u, k, factors, operand)
    else:
        U, S = monarch_fft(u, factors, operand=operand), monarch_fft(k, factors, operand=operand)
        y = monarch_ifft(U * S, n_factors=len(factors), operand=operand)
    y = y[..., start : start + L]
    return (y if dtype.is_complex else y.real).to(dtype)


def _three_passes(u: Tensor, k: Tensor, factors: Sequence[int], operand: torch.dtype | None) -> Tensor:
    n1, rest = factors[0], list(factors[1:])
    n2 = prod(rest)
    outer = []
    for x in (u, k):
        rows = -(-x.shape[-1] // n2)
        z = complex_of(x.dtype)
        X = pad(x, (0, rows * n2 - x.shape[-1])).reshape(*x.shape[:-1], rows, n2).to(z)
        F = dft_matrix(n1, z, x.device)[:, :rows]
        outer.append((_rounded(F, operand) @ _rounded(X, operand)) * _twiddles(n1, n2, z, x.device))
    inner = []
    for row in range(n1):  # each fits on a chip
        U, S = (monarch_fft(x[..., row, :], rest, operand=operand) for x in outer)
        inner.append(monarch_ifft(U * S, n_factors=len(rest), operand=operand))
    B = torch.stack(inner, -2) * _twiddles(n1, n2, outer[0].dtype, u.device).conj()
    F = dft_matrix(n1, B.dtype, u.device).conj() / n1
    return (_rounded(F, operand) @ _rounded(B, operand)).flatten(-2)


def _rounded(z: Tensor, operand: torch.dtype | None) -> Tensor:
    """Real and imaginary part rounded to a half type."""
    if operand is None:
        return z
    return torch.view_as_complex(torch.view_as_real(z.resolve_conj()).to(operand).float())
