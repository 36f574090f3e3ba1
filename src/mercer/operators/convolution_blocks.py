"""Convolutions on a CPU, a few rows at a time so that a row never leaves the cache between its transforms.

A real linear convolution of length up to ``n = 2 m`` needs complex transforms of length m only (the right-angle trick):
with ``w_j = exp(i pi j / n)``, ``ifft(fft(w u) * fft(w k)) / w`` has the lags 0 to m - 1 as its real part and the lags
m to n - 1 as its imaginary part. It is the convolution modulo ``x^m - i``; in real terms, one of period n whose
overflow comes back with its sign changed. Transforms are in place, by pocketfft (scipy), which keeps its plans; torch
makes a new MKL plan at every call (0.4 ms at 32,768 points, 2.7 ms at 131,072, against 0.1 and 0.5 ms for a row). Only
short real ones go to torch: there MKL is faster, and many rows share its plan.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from mercer.operators.machine import parallel

if TYPE_CHECKING:
    from mercer.operators.convolution_plan import ConvolutionPlan, Geometry

Array = npt.NDArray[Any]
KEPT_BYTES = 1 << 26  # larger work buffers are given back
_kept = threading.local()


def convolve_blocks(
    u: Array, kernel: Array, geometry: Geometry, plan: ConvolutionPlan, spectrum: Array | None = None
) -> Array:
    """The window of ``u * kernel`` that ``geometry`` names.

    Args:
        u: ``(P, Q, *signal)``.
        kernel: ``(Q, *kernel)`` of the same dtype.
        spectrum: what :func:`kernel_spectrum` gave for this kernel and plan; else it is computed block by block.

    Returns:
        ``(P, Q, *length)``, a new array.
    """
    out: Array = np.empty((*u.shape[:2], *geometry.length), u.dtype)
    if out.size == 0:
        return out
    if geometry.is_empty or not geometry.covers_window:
        out.fill(0)
    if geometry.is_empty:
        return out
    jobs = list(_row_blocks(u.shape[0], u.shape[1], plan.rows))
    workers = min(plan.workers, parallel.n_workers(), len(jobs))
    share = -(-len(jobs) // workers)

    def work(worker: int, check: Callable[[], None]) -> None:
        last, S = None, np.empty(0)
        for q, p in jobs[worker * share : (worker + 1) * share]:
            check()
            if plan.name == "direct":
                _direct(u[p, q], kernel[q], geometry, out[p, q])
                continue
            if spectrum is not None:
                S = spectrum[:, q]
            elif q != last:  # jobs come by kernel, so a spectrum is computed once and stays in cache
                S, last = _kernel_block(kernel[q], plan), q
            _by_transforms(u[p, q], S, geometry, plan, out[p, q])

    if workers == 1:
        work(0, lambda: None)
    else:
        parallel.run(work, workers)
    return out


def kernel_spectrum(kernel: Array, plan: ConvolutionPlan) -> Array:
    """The transformed parts ``(parts, Q, *m)`` of the kernels ``(Q, *kernel)``, scaled for the way back."""
    kept: Array = np.empty((plan.parts, len(kernel), *plan.spectrum_shape), plan.complex_dtype)
    for q, _ in _row_blocks(1, len(kernel), plan.rows):
        kept[:, q] = _kernel_block(kernel[q], plan)
    return kept


def _kernel_block(kernel: Array, plan: ConvolutionPlan) -> Array:
    if plan.by_torch:
        short: Array = torch.fft.rfft(torch.from_numpy(kernel), plan.transform[-1]).unsqueeze(0).numpy()
        return short
    S = _buffer("kernel", (plan.parts, len(kernel), *plan.complex_shape), plan.complex_dtype)
    for j in range(plan.parts):
        part = kernel[..., j * plan.part : (j + 1) * plan.part]
        _load(part, S[j], plan)
        _forward(S[j], part.shape[1:])
        S[j] *= 1.0 / prod(plan.complex_shape)
    return S


def _by_transforms(u: Array, S: Array, geometry: Geometry, plan: ConvolutionPlan, out: Array) -> None:
    """Overlap-add: signal block i and kernel part j meet in block i + j of the result."""
    if plan.by_torch:
        return _by_torch(u, torch.from_numpy(S[0]), geometry, plan, out)
    s = plan.block
    n_blocks = -(-u.shape[-1] // s)
    shape = (*u.shape[:2], *plan.complex_shape)
    several = plan.parts > 1
    X = _buffer("signal", (n_blocks if several else 1, *shape), plan.complex_dtype)
    Z = _buffer("sum", shape, plan.complex_dtype) if several else X[0]
    T = _buffer("term", shape, plan.complex_dtype) if several else Z
    loaded = written = 0
    for d in range(n_blocks + plan.parts - 1):
        if d < n_blocks:
            X_d = X[d if several else 0]
            part = u[..., d * s : (d + 1) * s]
        first, last = d * s, d * s + plan.transform[-1]
        wanted = last > geometry.start[-1] and first < geometry.start[-1] + geometry.length[-1]
        if d < n_blocks and (several or wanted):
            _load(part, X_d, plan)
            _forward(X_d, part.shape[2:])
            loaded = d + 1
        if not wanted:
            continue
        pairs = [(i, d - i) for i in range(max(0, d - plan.parts + 1), min(d + 1, loaded if several else d + 1))]
        for number, (i, j) in enumerate(pairs):
            if number == 0:
                np.multiply(X[i if several else 0], S[j], out=Z)
            else:
                np.multiply(X[i], S[j], out=T)
                Z += T
        _backward(Z, geometry)
        written = _store(Z, first, written, geometry, plan, out)


def _by_torch(u: Array, S: torch.Tensor, geometry: Geometry, plan: ConvolutionPlan, out: Array) -> None:
    """Overlap-add with short real transforms."""
    n, s = plan.transform[-1], plan.block
    padded = _buffer("signal", (*u.shape[:2], n), out.dtype)
    written = 0
    for first in range(0, u.shape[-1], s):
        if first + n <= geometry.start[-1] or first >= geometry.start[-1] + geometry.length[-1]:
            continue
        part = u[..., first : first + s]
        padded[..., : part.shape[-1]] = part
        padded[..., part.shape[-1] :] = 0
        F = torch.fft.rfft(torch.from_numpy(padded))  # with out=, torch copies the result once more
        F *= S
        written = _add(torch.fft.irfft(F, n).numpy(), first, written, geometry, out)


def _load(part: Array, X: Array, plan: ConvolutionPlan) -> None:
    """Put a signal or kernel, padded with zeros, folded and twisted, into its work buffer."""
    inner = part.shape[part.ndim - len(plan.transform) :]
    for axis, n in enumerate(inner[:-1]):  # what is padded along one axis is zero along the next ones too
        before = tuple(slice(0, k) for k in inner[:axis])
        X[_index(*before, slice(n, None), *(slice(None),) * (len(inner) - axis - 1))] = 0
    filled = X[_index(*(slice(0, n) for n in inner[:-1]), slice(None))]
    n, m = inner[-1], X.shape[-1]
    if plan.is_complex:
        filled[..., :n] = part
        filled[..., n:] = 0
        return
    w = _twist(m, plan.complex_dtype)[0]
    if n <= m:
        np.multiply(part, w[:n], out=filled[..., :n])
        filled[..., n:] = 0
    else:
        filled.real = part[..., :m]
        filled.imag[..., : n - m] = part[..., m:]
        filled.imag[..., n - m :] = 0
        filled *= w


def _forward(X: Array, filled: tuple[int, ...]) -> None:
    """Transform in place; rows that hold only padding are skipped."""
    d = len(filled)
    for axis in reversed(range(d)):
        _fft(X[_index(*(slice(0, n) for n in filled[:axis]), *(slice(None),) * (d - axis))], axis - d, True)


def _backward(X: Array, geometry: Geometry) -> None:
    """Transform back in place, unscaled; rows outside the window are skipped."""
    d = len(geometry.signal)
    for axis in range(d):
        _fft(X[_index(*geometry.support[:axis], *(slice(None),) * (d - axis))], axis - d, False)


def _fft(X: Array, axis: int, forward: bool) -> None:
    from scipy import fft  # takes long to import

    if forward:
        Y = fft.fft(X, axis=axis, overwrite_x=True, workers=1)
    else:
        Y = fft.ifft(X, axis=axis, overwrite_x=True, workers=1, norm="forward")
    if Y is not X and not np.may_share_memory(X, Y):
        X[...] = Y


def _store(Z: Array, first: int, written: int, geometry: Geometry, plan: ConvolutionPlan, out: Array) -> int:
    """Add block ``first:`` of the result to ``out``; positions from ``written`` on are new. Returns the next one."""
    m = plan.complex_shape[-1]
    outer = geometry.support[:-1]
    Z = Z[_index(*outer, slice(None))]
    shifted = (slice(a.start - s, a.stop - s) for a, s in zip(outer, geometry.start, strict=False))
    out = out[_index(*shifted, slice(None))]
    halves = [(Z, first)]
    if not plan.is_complex:
        Z *= _twist(m, plan.complex_dtype)[1]
        halves = [(Z.real, first), (Z.imag, first + m)]
    for values, at in halves:
        written = _add(values, at, written, geometry, out)
    return written


def _add(values: Array, at: int, written: int, geometry: Geometry, out: Array) -> int:
    start, window = geometry.start[-1], geometry.support[-1]
    low, high = max(at, window.start), min(at + values.shape[-1], window.stop)
    old = min(max(written, low), high)
    if old > low:
        out[..., low - start : old - start] += values[..., low - at : old - at]
    if high > old:
        out[..., old - start : high - start] = values[..., old - at : high - at]
    return int(max(written, high))


def _index(*parts: Any) -> Any:
    """An index of the last axes."""
    return (..., *parts)


def _direct(u: Array, kernel: Array, geometry: Geometry, out: Array) -> None:
    """The sum over the entries of a short kernel, shift by shift."""
    out.fill(0)
    T = _buffer("term", out.shape, out.dtype)
    for shift in product(*(range(n) for n in geometry.kernel)):
        into, source = [], []
        for j, n, start, length in zip(shift, geometry.signal, geometry.start, geometry.length, strict=True):
            low, high = max(0, j - start), min(length, n + j - start)
            into.append(slice(low, max(low, high)))
            source.append(slice(low + start - j, max(low, high) + start - j))
        k = kernel[_index(*shift)][_index(*(None,) * len(shift))]
        term = T[_index(*into)]
        np.multiply(u[_index(*source)], k, out=term)
        out[_index(*into)] += term


def _row_blocks(P: int, Q: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of about ``rows`` rows, kernels outermost."""
    q = -(-Q // -(-Q // rows))
    q = min(Q, -(-q // 4) * 4)  # pocketfft transforms 4 rows at once in float32, 2 in float64
    p = min(P, max(1, rows // q))
    for q0 in range(0, Q, q):
        for p0 in range(0, P, p):
            yield slice(q0, min(q0 + q, Q)), slice(p0, min(p0 + p, P))


@lru_cache(maxsize=64)
def _twist(m: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """``exp(i pi j / 2m)`` and its conjugate; float32 angles would cost a digit, so float64 here."""
    w = np.exp(0.5j * np.pi / m * np.arange(m)).astype(dtype)
    return w, w.conj()


def _buffer(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Work memory of this thread, kept between calls: fresh pages cost as much as a transform."""
    size = prod(shape) * np.dtype(dtype).itemsize
    if size > KEPT_BYTES:
        return np.empty(shape, dtype)
    kept: dict[str, Array] = _kept.__dict__
    if name not in kept or kept[name].nbytes < size:
        kept[name] = np.empty(size, np.uint8)
    return kept[name][:size].view(dtype).reshape(shape)
