"""The Triton kernels of a long convolution in three passes; imported only where they are launched.

A sequence x of length N = M n lies row by row in a matrix X, ``(M, n)``, too large for a chip. With j = n m + t and
f = g + M h, its transform at the frequencies f - 1/4 (:mod:`mercer.nn.convolution.gpu.kernels`) is

    Z = F X, F[g, m] = w(m (g - 1/4) / M), and of row g of Z the transform of length n at h + (g - 1/4) / M.

So what is left after the outer product are M transforms of complex rows, each at frequencies with a shift of its own,
which stands in the matrices F1 and T of that row: there are no outer twiddles. Three passes: ``outer`` writes Z, gate
included; ``convolve_rows`` (backwards ``pull_rows``) takes one row of Z at a time on chip; ``outer_adjoint`` takes the
real part of the adjoint of F and multiplies by gates. Rows of X beyond the sequence's end are never read, and padding
to 2N does not exist.

Z has planes ``(sequences, channels, 2, M, n)``. Every other tensor comes with its number of channels: channel r of R
reads channel r % its own.
"""

import triton
import triton.language as tl

from mercer.nn.convolution.gpu.kernels import first_products, later_products, load_matrix, load_planes


@triton.jit(do_not_specialize=["L", "rows"])
def outer(
    X, G, Z, F, L, rows, R, HX, HG, SIZE,
    M: tl.constexpr, BM: tl.constexpr, BT: tl.constexpr, HAS_GATE: tl.constexpr,
    ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Z = F (X * G), planes ``(B, R, 2, M, SIZE)``, of X ``(B, HX, L)`` and G ``(B, HG, L)``, which fill ``rows``."""
    q = tl.program_id(0).to(tl.int64)
    b, r = q // R, q % R
    t = tl.program_id(1) * BT + tl.arange(0, BT)
    g = tl.program_id(2) * BM + tl.arange(0, BM)
    real = tl.zeros((BM, BT), tl.float32)
    imaginary = tl.zeros((BM, BT), tl.float32)
    for first in range(0, rows, BM):
        m = first + tl.arange(0, BM)
        at = m[:, None] * SIZE + t[None, :]
        inside = at < L
        x = tl.load(X + (b * HX + r % HX) * L + at, mask=inside, other=0.0).to(tl.float32)
        if HAS_GATE:
            x *= tl.load(G + (b * HG + r % HG) * L + at, mask=inside, other=0.0).to(tl.float32)
        x = x.to(ROUNDED).to(OPERAND)
        place = F + g[:, None] * M + m[None, :]
        real = tl.dot(tl.load(place).to(ROUNDED).to(OPERAND), x, real, input_precision=PRECISION)
        wave = tl.load(place + M * M).to(ROUNDED).to(OPERAND)
        imaginary = tl.dot(wave, x, imaginary, input_precision=PRECISION)
    there = Z + q * 2 * M * SIZE + g[:, None] * SIZE + t[None, :]
    tl.store(there, real.to(Z.dtype.element_ty))
    tl.store(there + M * SIZE, imaginary.to(Z.dtype.element_ty))


@triton.jit(do_not_specialize=["L"])
def outer_adjoint(
    Z, P, Q, YP, YQ, F, L, R, HP, HQ, SIZE,
    M: tl.constexpr, BM: tl.constexpr, BT: tl.constexpr, HAS_P: tl.constexpr, HAS_Q: tl.constexpr,
    ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The real part y of the adjoint of F times Z, as YP = y P (y alone without P) and, with Q, as YQ = y Q."""
    q = tl.program_id(0).to(tl.int64)
    b, r = q // R, q % R
    t = tl.program_id(1) * BT + tl.arange(0, BT)
    m = tl.program_id(2) * BM + tl.arange(0, BM)
    y = tl.zeros((BM, BT), tl.float32)
    for first in range(0, M, BM):
        g = first + tl.arange(0, BM)
        place = F + g[None, :] * M + m[:, None]
        here = Z + q * 2 * M * SIZE + g[:, None] * SIZE + t[None, :]
        wave = tl.load(place).to(ROUNDED).to(OPERAND)
        y = tl.dot(wave, tl.load(here).to(OPERAND), y, input_precision=PRECISION)
        wave = tl.load(place + M * M).to(ROUNDED).to(OPERAND)
        y = tl.dot(wave, tl.load(here + M * SIZE).to(OPERAND), y, input_precision=PRECISION)
    at = m[:, None] * SIZE + t[None, :]
    inside = at < L
    if HAS_Q:
        other = tl.load(Q + (b * HQ + r % HQ) * L + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(YQ + q * L + at, (y * other).to(YQ.dtype.element_ty), mask=inside)
    if HAS_P:
        y *= tl.load(P + (b * HP + r % HP) * L + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(YP + q * L + at, y.to(YP.dtype.element_ty), mask=inside)


@triton.jit
def _row_transform(
    xr, xi, f1r, f1i, f2r, f2i, T, at,
    SIZE: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The spectrum of a complex tile."""
    xr, xi = xr.to(OPERAND), xi.to(OPERAND)
    ar = tl.dot(f1r, xr, input_precision=PRECISION) - tl.dot(f1i, xi, input_precision=PRECISION)
    ai = tl.dot(f1i, xr, tl.dot(f1r, xi, input_precision=PRECISION), input_precision=PRECISION)
    return later_products(ar, ai, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION)


@triton.jit
def _row_adjoint(
    pr, pi, f1r, f1i, f2r, f2i, T, at,
    SIZE: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """n times the inverse transform, real and imaginary part."""
    er, ei = first_products(pr, pi, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION)
    f1r, f1i = tl.trans(f1r), tl.trans(f1i)
    real = tl.dot(f1i, ei, tl.dot(f1r, er, input_precision=PRECISION), input_precision=PRECISION)
    imaginary = tl.dot(f1r, ei, input_precision=PRECISION) - tl.dot(f1i, er, input_precision=PRECISION)
    return real, imaginary


@triton.jit(do_not_specialize=["count", "B"])
def convolve_rows(
    Z, S, Y, F1, F2, T, count, B, H, R, M,
    N1: tl.constexpr, N2: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Rows of Z ``(B, H, 2, M, n)`` with spectra S ``(R, M, 2, N1, N2)``: Y ``(B, R, 2, M, n)``.

    A program owns a row of a kernel (program 0) and a block of sequences (program 1).
    """
    SIZE: tl.constexpr = N1 * N2
    p = tl.program_id(0).to(tl.int64)
    r, g = p // M, p % M
    at = tl.arange(0, N1)[:, None] * N2 + tl.arange(0, N2)[None, :]
    f1r, f1i = load_matrix(F1 + g * 2 * N1 * N1, N1, ROUNDED, OPERAND)
    f2r, f2i = load_matrix(F2, N2, ROUNDED, OPERAND)
    waves = T + g * 2 * SIZE
    first = tl.program_id(1).to(tl.int64) * count
    for b in range(first, tl.minimum(first + count, B)):
        here = Z + ((b * H + r % H) * 2 * M + g) * SIZE + at
        xr, xi = _row_transform(
            tl.load(here), tl.load(here + M * SIZE), f1r, f1i, f2r, f2i, waves, at, SIZE, ROUNDED, OPERAND, PRECISION
        )
        sr, si = load_planes(S + p * 2 * SIZE, at, SIZE)
        pr, pi = xr * sr - xi * si, xr * si + xi * sr
        yr, yi = _row_adjoint(pr, pi, f1r, f1i, f2r, f2i, waves, at, SIZE, ROUNDED, OPERAND, PRECISION)
        there = Y + ((b * R + r) * 2 * M + g) * SIZE + at
        tl.store(there, yr.to(Y.dtype.element_ty))
        tl.store(there + M * SIZE, yi.to(Y.dtype.element_ty))


@triton.jit(do_not_specialize=["count", "B"])
def pull_rows(
    Z, S, G, DZ, DS, F1, F2, T, count, B, H, R, M,
    N1: tl.constexpr, N2: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """From G ``(B, R, 2, M, n)``, the outer product of y's gradient: DZ as G, and of the spectra a sum each program,
    DS ``(programs, R, M, 2, N1, N2)``."""
    SIZE: tl.constexpr = N1 * N2
    p = tl.program_id(0).to(tl.int64)
    r, g = p // M, p % M
    at = tl.arange(0, N1)[:, None] * N2 + tl.arange(0, N2)[None, :]
    f1r, f1i = load_matrix(F1 + g * 2 * N1 * N1, N1, ROUNDED, OPERAND)
    f2r, f2i = load_matrix(F2, N2, ROUNDED, OPERAND)
    waves = T + g * 2 * SIZE
    dsr = tl.zeros((N1, N2), tl.float32)
    dsi = tl.zeros((N1, N2), tl.float32)
    first = tl.program_id(1).to(tl.int64) * count
    for b in range(first, tl.minimum(first + count, B)):
        here = Z + ((b * H + r % H) * 2 * M + g) * SIZE + at
        xr, xi = _row_transform(
            tl.load(here), tl.load(here + M * SIZE), f1r, f1i, f2r, f2i, waves, at, SIZE, ROUNDED, OPERAND, PRECISION
        )
        place = ((b * R + r) * 2 * M + g) * SIZE + at
        gr, gi = _row_transform(
            tl.load(G + place), tl.load(G + place + M * SIZE),
            f1r, f1i, f2r, f2i, waves, at, SIZE, ROUNDED, OPERAND, PRECISION,
        )  # fmt: skip
        dsr += xr * gr + xi * gi
        dsi += xr * gi - xi * gr
        sr, si = load_planes(S + p * 2 * SIZE, at, SIZE)
        pr, pi = gr * sr + gi * si, gi * sr - gr * si
        dr, di = _row_adjoint(pr, pi, f1r, f1i, f2r, f2i, waves, at, SIZE, ROUNDED, OPERAND, PRECISION)
        tl.store(DZ + place, dr.to(DZ.dtype.element_ty))
        tl.store(DZ + place + M * SIZE, di.to(DZ.dtype.element_ty))
    there = DS + (tl.program_id(1) * R * M + p) * 2 * SIZE + at
    tl.store(there, dsr)
    tl.store(there + SIZE, dsi)
