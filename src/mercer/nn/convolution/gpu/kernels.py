"""The Triton kernels of a long convolution whose transform stays on chip; imported only where they are launched.

A real sequence x of length N = N1 N2 lies row by row in a tile X, ``(N1, N2)``. Its transform is taken at the
frequencies f - 1/4: what wraps around comes back multiplied by i or -i, so that the real part of the inverse is the
convolution without wrap-around, and nothing is padded to 2N. With j = N2 n1 + n2, f = f1 + N1 f2,

    S = (T * (F1 X)) F2,  F1[f1, n1] = w(n1 (f1 - 1/4) / N1),  T[f1, n2] = w(n2 (f1 - 1/4) / N),  F2 = w(n2 f2 / N2),

w(a) = exp(-2 pi i a). X is real and only the real part is wanted back, so that the first and the last product are two
real ones each: twelve real products a convolution, where complex ones would be sixteen. Spectra stay in the order (f1,
f2). Products have operands that are rounded to ``ROUNDED`` and float32 sums; all else is float32. (``OPERAND`` is
the same type, but in Triton's interpreter, which has no bfloat16 product.)

A program owns one kernel (program 0) and a block of sequences (program 1). Nothing is added atomically.
"""

import triton
import triton.language as tl


@triton.jit
def load_matrix(M, SIZE: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr):
    """Real and imaginary plane of a matrix ``(2, SIZE, SIZE)``."""
    i = tl.arange(0, SIZE)
    at = M + i[:, None] * SIZE + i[None, :]
    return tl.load(at).to(ROUNDED).to(OPERAND), tl.load(at + SIZE * SIZE).to(ROUNDED).to(OPERAND)


@triton.jit
def load_planes(M, at, SIZE: tl.constexpr):
    """Real and imaginary plane of a tile ``(2, N1, N2)``."""
    return tl.load(M + at), tl.load(M + SIZE + at)


@triton.jit
def _transform(
    x, f1r, f1i, f2r, f2i, T, at,
    SIZE: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The spectrum of a real tile, real and imaginary part."""
    x = x.to(ROUNDED).to(OPERAND)
    ar = tl.dot(f1r, x, input_precision=PRECISION)
    ai = tl.dot(f1i, x, input_precision=PRECISION)
    return later_products(ar, ai, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION)


@triton.jit
def later_products(
    ar, ai, f2r, f2i, T, at,
    SIZE: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The spectrum of a tile, of which F1 X is known."""
    tr, ti = load_planes(T, at, SIZE)
    br = (ar * tr - ai * ti).to(ROUNDED).to(OPERAND)
    bi = (ar * ti + ai * tr).to(ROUNDED).to(OPERAND)
    real = tl.dot(br, f2r, input_precision=PRECISION) - tl.dot(bi, f2i, input_precision=PRECISION)
    imaginary = tl.dot(bi, f2r, tl.dot(br, f2i, input_precision=PRECISION), input_precision=PRECISION)
    return real, imaginary


@triton.jit
def _inverse(
    pr, pi, f1r, f1i, f2r, f2i, T, at,
    SIZE: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """N times the real part of the inverse transform."""
    er, ei = first_products(pr, pi, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION)
    first = tl.dot(tl.trans(f1r), er, input_precision=PRECISION)
    return tl.dot(tl.trans(f1i), ei, first, input_precision=PRECISION)


@triton.jit
def first_products(
    pr, pi, f2r, f2i, T, at,
    SIZE: tl.constexpr, ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The inverse transform of a tile up to its last product, which is with the adjoint of F1."""
    pr, pi = pr.to(ROUNDED).to(OPERAND), pi.to(ROUNDED).to(OPERAND)
    dr = tl.dot(pi, f2i, tl.dot(pr, f2r, input_precision=PRECISION), input_precision=PRECISION)
    di = tl.dot(pi, f2r, input_precision=PRECISION) - tl.dot(pr, f2i, input_precision=PRECISION)
    tr, ti = load_planes(T, at, SIZE)
    er = (dr * tr + di * ti).to(ROUNDED).to(OPERAND)
    ei = (di * tr - dr * ti).to(ROUNDED).to(OPERAND)
    return er, ei


@triton.jit(do_not_specialize=["count", "B"])
def convolve(
    U, S, D, GI, GO, Y, F1, F2, T, L, count, B, H, R,
    N1: tl.constexpr, N2: tl.constexpr, HAS_SKIP: tl.constexpr, HAS_IN: tl.constexpr, HAS_OUT: tl.constexpr,
    ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Y ``(B, R, L)`` of U, GI and GO ``(B, H, L)`` with spectra S ``(R, 2, N1, N2)``; kernel r has channel r % H."""
    SIZE: tl.constexpr = N1 * N2
    r = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, N1)[:, None] * N2 + tl.arange(0, N2)[None, :]
    inside = at < L
    f1r, f1i = load_matrix(F1, N1, ROUNDED, OPERAND)
    f2r, f2i = load_matrix(F2, N2, ROUNDED, OPERAND)
    if HAS_SKIP:
        skip = tl.load(D + r).to(tl.float32)
    first = tl.program_id(1).to(tl.int64) * count
    for b in range(first, tl.minimum(first + count, B)):
        here = (b * H + r % H) * L + at
        x = tl.load(U + here, mask=inside, other=0.0).to(tl.float32)
        if HAS_IN:
            x *= tl.load(GI + here, mask=inside, other=0.0).to(tl.float32)
        xr, xi = _transform(x, f1r, f1i, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION)
        sr, si = load_planes(S + r * 2 * SIZE, at, SIZE)
        pr, pi = xr * sr - xi * si, xr * si + xi * sr
        y = _inverse(pr, pi, f1r, f1i, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION)
        if HAS_SKIP:
            y += skip * x
        if HAS_OUT:
            y *= tl.load(GO + here, mask=inside, other=0.0).to(tl.float32)
        tl.store(Y + (b * R + r) * L + at, y.to(Y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["count", "B"])
def pull(
    U, S, D, GI, GO, DY, DU, DS, DD, DGI, DGO, F1, F2, T, L, count, B, H, R,
    N1: tl.constexpr, N2: tl.constexpr, HAS_SKIP: tl.constexpr, HAS_IN: tl.constexpr, HAS_OUT: tl.constexpr,
    ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradients of sum(DY * Y): DU, DGI and DGO ``(B, R, L)``, a channel's heads apart; of the spectra and the
    skips a sum each program, DS ``(programs, R, 2, N1, N2)`` and DD ``(programs, R)``."""
    SIZE: tl.constexpr = N1 * N2
    r = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, N1)[:, None] * N2 + tl.arange(0, N2)[None, :]
    inside = at < L
    f1r, f1i = load_matrix(F1, N1, ROUNDED, OPERAND)
    f2r, f2i = load_matrix(F2, N2, ROUNDED, OPERAND)
    dsr = tl.zeros((N1, N2), tl.float32)
    dsi = tl.zeros((N1, N2), tl.float32)
    if HAS_SKIP:
        skip = tl.load(D + r).to(tl.float32)
        dskip = tl.zeros((N2,), tl.float32)
    first = tl.program_id(1).to(tl.int64) * count
    for b in range(first, tl.minimum(first + count, B)):
        here = (b * H + r % H) * L + at
        there = (b * R + r) * L + at
        u = tl.load(U + here, mask=inside, other=0.0).to(tl.float32)
        x = u
        if HAS_IN:
            x *= tl.load(GI + here, mask=inside, other=0.0).to(tl.float32)
        xr, xi = _transform(x, f1r, f1i, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION)
        dy = tl.load(DY + there, mask=inside, other=0.0).to(tl.float32)
        if HAS_OUT:
            sr, si = load_planes(S + r * 2 * SIZE, at, SIZE)
            y = _inverse(
                xr * sr - xi * si, xr * si + xi * sr, f1r, f1i, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION
            )
            if HAS_SKIP:
                y += skip * x
            tl.store(DGO + there, (dy * y).to(DGO.dtype.element_ty), mask=inside)
            dy *= tl.load(GO + here, mask=inside, other=0.0).to(tl.float32)
        if HAS_SKIP:
            dskip += tl.sum(dy * x, 0)
        gr, gi = _transform(dy, f1r, f1i, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION)
        dsr += xr * gr + xi * gi
        dsi += xr * gi - xi * gr
        sr, si = load_planes(S + r * 2 * SIZE, at, SIZE)
        dx = _inverse(
            gr * sr + gi * si, gi * sr - gr * si, f1r, f1i, f2r, f2i, T, at, SIZE, ROUNDED, OPERAND, PRECISION
        )
        if HAS_SKIP:
            dx += skip * dy
        if HAS_IN:
            tl.store(DGI + there, (dx * u).to(DGI.dtype.element_ty), mask=inside)
            dx *= tl.load(GI + here, mask=inside, other=0.0).to(tl.float32)
        tl.store(DU + there, dx.to(DU.dtype.element_ty), mask=inside)
    place = tl.program_id(1) * R + r
    tl.store(DS + place * 2 * SIZE + at, dsr)
    tl.store(DS + place * 2 * SIZE + SIZE + at, dsi)
    if HAS_SKIP:
        tl.store(DD + place, tl.sum(dskip, 0))
