"""How a convolution will be computed: transform lengths, blocks of rows, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import ceil, log2, prod
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from mercer import config
from mercer.errors import ShapeError
from mercer.operators.machine import parallel
from mercer.operators.planning import Plan

Mode: TypeAlias = Literal["causal", "full", "same", "valid", "circular"]
MODES: tuple[Mode, ...] = ("causal", "full", "same", "valid", "circular")
Method: TypeAlias = Literal["direct", "whole", "blocks", "parts"]
Sizes: TypeAlias = tuple[int, ...]

# Seconds in float32 on one Zen 3 core (AVX2, 512 kB of L2), measured by benchmarks/convolution.py; float64 costs twice
# as much. They only have to rank plans.
PER_LEVEL = 0.3e-9  # a complex point and halving of a transform in cache
PER_PASS = 0.55e-9  # a complex point of an elementwise pass
PER_DIRECT = 0.35e-9  # an entry of the result and of the kernel
PER_CALL = 4e-6  # an array operation, however small
SMALL = 3e-4  # below so many seconds, waking workers costs more than it saves
LONG_BYTES = 1 << 22  # blocks above leave the part of the third-level cache that a core can count on
MOST_PARTS = 64
MKL_ROWS = 32  # at least, between which torch's plan is shared: at 16,384 entries 25 ms against 33 with 8 rows
TORCH_PERIOD = 32_768  # up to here torch's real transforms (MKL) are ahead, though it plans them at every call


@dataclass(frozen=True)
class Geometry:
    """The part of a linear convolution that is wanted, an entry an axis.

    Of ``c[t] = sum_j kernel[j] u[t - j]``, which is zero outside ``0 <= t < signal + kernel - 1``, the positions
    ``start <= t < start + length``.
    """

    signal: Sizes
    kernel: Sizes
    start: Sizes
    length: Sizes

    @cached_property
    def ends(self) -> Sizes:
        """Where the convolution ends."""
        return tuple(n + k - 1 for n, k in zip(self.signal, self.kernel, strict=True))

    @cached_property
    def support(self) -> tuple[slice, ...]:
        """The positions of the window at which the convolution may differ from zero."""
        windows = zip(self.start, self.length, self.ends, strict=True)
        return tuple(slice(max(0, a), max(0, a, min(a + n, e))) for a, n, e in windows)

    @cached_property
    def covers_window(self) -> bool:
        """Whether that is the whole window."""
        windows = zip(self.support, self.start, self.length, strict=True)
        return all(w.start == a and w.stop == a + n for w, a, n in windows)

    @cached_property
    def is_empty(self) -> bool:
        """Whether the result is zero, or has no entries."""
        nothing = 0 in (*self.signal, *self.kernel)
        return nothing or any(w.stop <= w.start for w in self.support)

    @cached_property
    def shortest(self) -> Sizes:
        """The least period at which nothing that wraps around falls into the window."""
        axes = zip(self.signal, self.kernel, self.support, self.ends, strict=True)
        return tuple(max(n, k, w.stop, e - w.start) for n, k, w, e in axes)

    @cached_property
    def for_signal(self) -> Geometry:
        """The geometry of the gradient in ``u``: the incoming one, convolved with the reversed kernel."""
        start = tuple(k - 1 - s for k, s in zip(self.kernel, self.start, strict=True))
        return Geometry(self.length, self.kernel, start, self.signal)

    @cached_property
    def for_kernel(self) -> Geometry:
        """The geometry of the gradient in the kernel: the incoming one, convolved with the reversed signal."""
        start = tuple(n - 1 - s for n, s in zip(self.signal, self.start, strict=True))
        return Geometry(self.length, self.signal, start, self.kernel)


def window(signal: Sizes, kernel: Sizes, mode: Mode) -> Geometry:
    """The geometry of a mode; ``"circular"`` is ``"full"``, folded afterwards.

    Raises:
        ValueError: an unknown mode.
        ShapeError: sizes that do not go with each other, or with the mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode={mode!r}: a convolution is one of {', '.join(map(repr, MODES))}.")
    if not signal or len(signal) != len(kernel):
        raise ShapeError(
            f"The signal has {len(signal)} axes to convolve, the kernel {len(kernel)}: they need equally many, from 1."
        )
    if mode != "full" and 0 in (*signal, *kernel):
        raise ShapeError(f"mode={mode!r} needs at least one entry, but the signal is {signal}, the kernel {kernel}.")
    if mode == "circular" and any(k > n for n, k in zip(signal, kernel, strict=True)):
        raise ShapeError(
            f"mode='circular': the kernel {kernel} is longer than the period {signal}. Add up what wraps around first."
        )
    if mode == "valid":
        larger = [n >= k for n, k in zip(signal, kernel, strict=True) if n != k]
        if any(larger) and not all(larger):
            raise ShapeError(f"mode='valid': of {signal} and {kernel}, one has to be at least as long on every axis.")
    starts, lengths = [], []
    for n, k in zip(signal, kernel, strict=True):
        start, length = {
            "causal": (0, n),
            "full": (0, max(0, n + k - 1)),
            "circular": (0, n + k - 1),
            "same": ((k - 1) // 2, n),
            "valid": (min(n, k) - 1, abs(n - k) + 1),
        }[mode]
        starts.append(start)
        lengths.append(length)
    return Geometry(signal, kernel, tuple(starts), tuple(lengths))


@dataclass(frozen=True)
class ConvolutionPlan(Plan):
    """What a convolution will do.

    Attributes:
        name: ``"direct"`` (the sum), ``"whole"`` (one transform a row), ``"blocks"`` (the signal in blocks, their
            results overlapping) or ``"parts"`` (signal and kernel in blocks).
        flops: operations, ``5 m log2 m`` a complex transform.
        bytes: signal, kernel and result, each moved once.
        transform: the period by axis; a real transform takes complex ones of half of it on the last axis.
        block: entries of a block of the signal on the last axis.
        part: entries of a part of the kernel; ``parts`` of them.
        rows: how many rows are worked on at once by one worker, of ``workers``.
        is_complex: whether the signal is.
    """

    flops: float = 0.0
    bytes: int = 0
    transform: Sizes = ()
    block: int = 0
    part: int = 0
    parts: int = 1
    rows: int = 1
    workers: int = 1
    is_complex: bool = False
    itemsize: int = 8

    @cached_property
    def complex_shape(self) -> Sizes:
        """The size of one complex transform."""
        return self.transform if self.is_complex else (*self.transform[:-1], self.transform[-1] // 2)

    @cached_property
    def by_torch(self) -> bool:
        """Whether the transforms are torch's real ones."""
        return not self.is_complex and len(self.transform) == self.parts == 1 and self.transform[0] <= TORCH_PERIOD

    @cached_property
    def spectrum_shape(self) -> Sizes:
        """The size of a transformed kernel."""
        return (self.transform[0] // 2 + 1,) if self.by_torch else self.complex_shape

    @cached_property
    def complex_dtype(self) -> np.dtype[Any]:
        """The type of the transforms."""
        return np.dtype(np.complex64 if self.itemsize == 8 else np.complex128)


def convolution_plan(
    signal: int | Sizes,
    kernel: int | Sizes,
    *,
    mode: Mode = "causal",
    rows: int = 1,
    n_kernels: int | None = None,
    dtype: torch.dtype = torch.float32,
    cached: bool = False,
    method: Method | None = None,
) -> ConvolutionPlan:
    """How :func:`mercer.operators.convolve` works on signals of one size, on this machine's CPU, and what it costs.

    Args:
        signal: length, or lengths by axis, of one signal; ``kernel`` likewise.
        mode: as in :func:`mercer.operators.convolve`.
        rows: signals (batch times channels), with ``n_kernels`` different kernels (default: one a row).
        cached: whether the kernel is a :class:`mercer.operators.KernelSpectrum`, already transformed.
        method: the plan to use whatever the planner thinks.

    Raises:
        ValueError: a method that is unknown or does not apply.

    >>> convolution_plan(4_096, 4_096, rows=128).name
    'whole'
    >>> convolution_plan(65_536, 3, rows=128).name
    'direct'
    """
    signal = (signal,) if isinstance(signal, int) else tuple(signal)
    kernel = (kernel,) if isinstance(kernel, int) else tuple(kernel)
    geometry = window(signal, kernel, mode)
    return choose_plan(geometry, rows, rows if n_kernels is None else n_kernels, dtype, cached=cached, method=method)


def choose_plan(
    geometry: Geometry, rows: int, n_kernels: int, dtype: torch.dtype, *, cached: bool, method: Method | None
) -> ConvolutionPlan:
    """The plan with the least predicted time, or the cheapest one named ``method``."""
    real = dtype if not dtype.is_complex else dtype.to_real()
    itemsize = 16 if real == torch.float64 else 8
    return _choose(
        geometry,
        rows,
        n_kernels,
        itemsize,
        dtype.is_complex,
        cached,
        method,
        parallel.n_workers(),
        config.cache_bytes(),
    )


@lru_cache(maxsize=512)
def _choose(
    geometry: Geometry,
    rows: int,
    n_kernels: int,
    itemsize: int,
    is_complex: bool,
    cached: bool,
    method: Method | None,
    workers: int,
    cache: int,
) -> ConvolutionPlan:
    plans = [
        _predict(plan, geometry, max(rows, 1), max(n_kernels, 1), cached, workers, cache)
        for plan in _candidates(geometry, is_complex, itemsize)
        if method in (None, plan.name)
    ]
    if not plans:
        raise ValueError(
            f"method={method!r} does not apply to a signal of {geometry.signal} and a kernel of {geometry.kernel}. "
            f"'direct' and 'whole' always do; 'blocks' and 'parts' need one axis and something to cut."
        )
    return min(plans, key=lambda plan: plan.seconds)


def _candidates(geometry: Geometry, is_complex: bool, itemsize: int) -> Iterator[ConvolutionPlan]:
    fold = 1 if is_complex else 2
    base = ConvolutionPlan("", "", 0.0, 0, 0.0, is_complex=is_complex, itemsize=itemsize)
    shortest = geometry.shortest
    outer = (smooth_length(a) for a in shortest[:-1])
    n = (*outer, fold * smooth_length(max(1, -(-shortest[-1] // fold))))
    L, K = geometry.signal[-1], geometry.kernel[-1]
    base = replace(base, transform=n, block=max(L, 1), part=max(K, 1))
    yield replace(base, name="direct", reason="the kernel is short")
    yield replace(base, name="whole", reason=f"one transform of {n[-1]} a row")
    if len(n) > 1:
        return
    for size in (fold << levels for levels in range(8, 40)):
        if size >= n[-1]:
            return
        if size >= 2 * K:
            at = f"the kernel is short: blocks of {size}"
            yield replace(base, name="blocks", reason=at, transform=(size,), block=size - K + 1)
        elif size >= fold << 13 and -(-max(L, K) // (size // 2)) <= MOST_PARTS:
            why = f"a transform of {n[-1]} leaves the cache: parts of {size // 2}"
            parts = -(-K // (size // 2))
            yield replace(
                base, name="parts", reason=why, transform=(size,), block=size // 2, part=size // 2, parts=parts
            )


def _predict(
    plan: ConvolutionPlan, geometry: Geometry, rows: int, n_kernels: int, cached: bool, workers: int, cache: int
) -> ConvolutionPlan:
    slow = plan.itemsize / 8
    points = prod(plan.complex_shape)
    entry = plan.itemsize if plan.is_complex else plan.itemsize // 2
    n_out = prod(geometry.length)
    moved = entry * (rows * (prod(geometry.signal) + n_out) + n_kernels * prod(geometry.kernel))
    eps = 1.2e-7 if plan.itemsize == 8 else 2.2e-16
    if plan.name == "direct":
        fit = max(1, cache // (2 * entry * max(1, n_out)))
        flops = 2.0 * n_out * prod(geometry.kernel)
        row_seconds = 0.5 * flops * PER_DIRECT * slow * (4.0 if plan.is_complex else 1.0)
        calls = 2.0 * prod(geometry.kernel)
        buffers = entry * n_out
        error = eps * prod(geometry.kernel) ** 0.5
    else:
        n_blocks = -(-geometry.signal[-1] // plan.block)
        # Twice the second-level cache: smaller blocks pay more for calls, larger ones leave the cache for good.
        fit = max(MKL_ROWS if plan.by_torch else 4, 2 * cache // (plan.itemsize * points))
        if plan.parts > 1:
            fit = 4  # what pocketfft transforms at once
        transforms = 2.0 * n_blocks + plan.parts - 1
        products = n_blocks * plan.parts / (2 if plan.parts > 1 else 1)
        if not cached:
            transforms += plan.parts * n_kernels / rows
        levels = log2(max(2, points))
        flops = points * (5.0 * levels * transforms + 8.0 * products)
        working = fit * points * plan.itemsize
        far = 1.0 + (working > 2 * cache) + 1.5 * max(0.0, log2(working / LONG_BYTES)) * (working > LONG_BYTES)
        row_seconds = (
            points
            * slow
            * (
                PER_LEVEL * levels * transforms * (1.0 + 0.4 * (far - 1.0))
                + PER_PASS * (2.0 * transforms + (1.0 if plan.parts == 1 else 2.5) * products)
            )
        )
        calls = 6.0 * transforms + 3.0 * products
        buffers = points * plan.itemsize * (1 if plan.parts == 1 else n_blocks + 2 + plan.parts)
        error = eps * 0.25 * log2(max(16, prod(plan.transform)))  # measured 3e-7 at 2048 and 5e-7 at 131,072 in float32
    seconds = rows * row_seconds + ceil(rows / fit) * calls * PER_CALL
    workers = 1 if seconds < SMALL else max(1, min(workers, rows))
    at_once = max(1, min(fit, -(-rows // workers)))
    return replace(
        plan,
        seconds=seconds / workers,
        memory=int(workers * at_once * buffers),
        error=error,
        flops=flops * rows,
        bytes=int(moved),
        rows=at_once,
        workers=workers,
    )


@lru_cache(maxsize=1024)
def smooth_length(n: int) -> int:
    """The least number ``>= n`` whose only prime factors are 2, 3, 5 and 7.

    >>> smooth_length(11), smooth_length(1009)
    (12, 1024)
    """
    best = 1 << max(0, n - 1).bit_length()
    seven = 1
    while seven < best:
        five = seven
        while five < best:
            three = five
            while three < best:
                two = three * (1 << max(0, -(-n // three) - 1).bit_length())
                best = min(best, two)
                three *= 3
            five *= 5
        seven *= 7
    return best
