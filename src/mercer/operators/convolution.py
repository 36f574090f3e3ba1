"""Convolutions of many channels with kernels of any length, by transforms that stay in cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mercer.arrays import broadcast_shapes
from mercer.errors import ShapeError
from mercer.operators.convolution_blocks import Array, convolve_blocks, kernel_spectrum
from mercer.operators.convolution_plan import (
    ConvolutionPlan,
    Geometry,
    Method,
    Mode,
    choose_plan,
    smooth_length,
    window,
)
from mercer.operators.watchers import is_recorded

HALF = (torch.float16, torch.bfloat16)
AT_ONCE = 1 << 22  # padded entries that torch transforms in one call; beyond, blocks are faster: they stay in cache


@dataclass
class ShortRows:
    """Kernels for few short rows: torch takes 5 us a row, which is what a line of Python out of cache takes."""

    values: Tensor  # the transformed kernels (*batch, period / 2 + 1)
    shape: torch.Size  # of the signals, but for batch axes that the kernels do not have
    dtype: torch.dtype
    most: int  # entries of all signals
    period: int
    start: int  # of the window
    length: int
    known: torch.Size | None = None  # the last whole shape of signals, so that the next of them needs one comparison

    def convolve(self, u: Tensor) -> Tensor | None:
        """Part of a new, longer tensor, which torch differentiates; None if these are not the kernels for all rows."""
        if u.shape != self.known or u.dtype is not self.dtype:
            if u.dtype is not self.dtype or u.shape[-len(self.shape) :] != self.shape or u.numel() > self.most:
                return None
            self.known = u.shape
        return _at_once(u, self.values, self.period, self.start, self.length)


class KernelSpectrum:
    """A kernel, transformed once for all signals of one length.

    The kernel is fixed: gradients flow to signals, not to it. Give :func:`convolve` the tensor to learn it.

    Args:
        kernel: ``(..., *kernel)``.
        length: of the signals, one number an axis.
        mode: as in :func:`convolve`.
        method: the plan, whatever the planner thinks.

    Cost: one transform a kernel; keeps 8 bytes for each entry of the padded kernel in float32 (16 in float64).

    >>> spectrum = KernelSpectrum(torch.tensor([1.0, 0.5]), 3)
    >>> convolve(torch.tensor([1.0, 0.0, 2.0]), spectrum)
    tensor([1.0000, 0.5000, 2.0000])
    """

    def __init__(
        self, kernel: Tensor, length: int | Sequence[int], *, mode: Mode = "causal", method: Method | None = None
    ) -> None:
        sizes = (length,) if isinstance(length, int) else tuple(length)
        if kernel.dim() < len(sizes):
            raise ShapeError(f"Signals of {sizes} need a kernel of {len(sizes)} axes, not {tuple(kernel.shape)}.")
        geometry = window(sizes, tuple(kernel.shape[kernel.dim() - len(sizes) :]), mode)
        self._set(kernel.detach().clone(), geometry, mode, method)

    def _set(self, kernel: Tensor, geometry: Geometry, mode: Mode, method: Method | None) -> None:
        self.kernel, self.geometry, self.mode, self.method = kernel, geometry, mode, method
        n_kernels = kernel.shape[: kernel.dim() - len(geometry.kernel)].numel()
        rows = max(64, n_kernels)  # one kernel mostly serves a batch, whose size is not known yet
        self.plan = choose_plan(geometry, rows, n_kernels, kernel.dtype, cached=True, method=method)

    @cached_property
    def values(self) -> Array | None:
        """The transformed kernels of :func:`mercer.operators.convolution_blocks.kernel_spectrum`."""
        if self.plan.name == "direct" or self.geometry.is_empty or self.kernel.device.type != "cpu":
            return None
        flat = _working(self.kernel).reshape(-1, *self.geometry.kernel)
        return kernel_spectrum(flat.resolve_conj().numpy(), self.plan)

    @cached_property
    def short(self) -> ShortRows | None:
        """The transformed kernels, where torch transforms few rows in one call and nothing is left to do."""
        plan, geometry = self.plan, self.geometry
        if self.values is None or self.kernel.dtype in HALF or self.mode == "circular" or not _is_short(plan, geometry):
            return None
        n, own, signal = plan.transform[0], self.kernel.shape[:-1], geometry.signal[0]
        values = torch.from_numpy(self.values).reshape(*own, self.values.shape[-1])
        shape, most = torch.Size((*own, signal)), signal * (AT_ONCE // n)
        return ShortRows(values, shape, self.kernel.dtype, most, n, geometry.start[0], geometry.length[0])

    @cached_property
    def adjoint(self) -> KernelSpectrum:
        """The reversed, conjugate kernel, for gradients in the signal."""
        other = KernelSpectrum.__new__(KernelSpectrum)
        reverse = _reversed(self.kernel, len(self.geometry.kernel))
        other._set(reverse, self.geometry.for_signal, self.mode, self.method)
        return other


def convolve(
    u: Tensor,
    kernel: Tensor | KernelSpectrum,
    *,
    mode: Mode = "causal",
    dims: int = 1,
    method: Method | None = None,
) -> Tensor:
    r"""The convolution of signals with kernels over the last ``dims`` axes.

    .. math:: c_t = \sum_j k_j u_{t - j}, \quad u = 0 \text{ outside}

    Args:
        u: ``(..., *signal)``, real or complex; float16 and bfloat16 are computed in float32.
        kernel: ``(..., *kernel)``, any length; what stands before broadcasts with the signal's batch. Or a
            :class:`KernelSpectrum`, which brings ``mode``, ``dims`` and ``method`` along.
        mode: which t: ``"causal"``: as many as the signal has, from 0 on; ``"full"``: all ``signal + kernel - 1``;
            ``"same"``: as many as the signal has, from ``(kernel - 1) // 2`` on, so a kernel of odd length is centred;
            ``"valid"``: where the shorter lies within the longer, ``|signal - kernel| + 1``; ``"circular"``: the signal
            repeats, and no kernel is longer than it.
        dims: how many axes are convolved.
        method: a plan of :class:`ConvolutionPlan`, whatever the planner thinks (CPU only).

    Returns:
        A new tensor; differentiable any number of times in ``u`` and a tensor ``kernel``.

    Raises:
        ShapeError: sizes that do not fit together or the mode.
        ValueError: an unknown mode or method.

    Cost: ``O(n log n)`` a row, two transforms (three with a new kernel). On a CPU they are complex ones of half the
    padded length, a few rows at a time, in cache (:func:`convolution_plan`); elsewhere torch's.
    Error: ``0.25 log2(n)`` epsilons of ``|u| |k|``, normwise: entries far below the largest have fewer digits.

    >>> u = torch.tensor([1.0, 2.0, 3.0])
    >>> convolve(u, torch.tensor([1.0, -1.0]))
    tensor([1., 1., 1.])
    >>> convolve(u, torch.tensor([1.0, -1.0]), mode="circular")
    tensor([-2.,  1.,  1.])
    """
    if isinstance(kernel, KernelSpectrum):
        y = None if kernel.short is None else kernel.short.convolve(u)
        return _with_spectrum(u, kernel) if y is None else y
    if dims < 1 or u.dim() < dims or kernel.dim() < dims:
        raise ShapeError(
            f"convolve over the last {dims} axes: the signal is {tuple(u.shape)}, the kernel {tuple(kernel.shape)}. "
            f"Both need {max(dims, 1)} axes or more, and dims at least 1."
        )
    signal, size = tuple(u.shape[u.dim() - dims :]), tuple(kernel.shape[kernel.dim() - dims :])
    geometry = window(signal, size, mode)
    _require_batches(u.shape[: u.dim() - dims], kernel.shape[: kernel.dim() - dims])
    dtype = torch.result_type(u, kernel)
    if not (dtype.is_floating_point or dtype.is_complex):
        raise TypeError(f"convolve needs real or complex numbers, not {u.dtype} and {kernel.dtype}. Use u.float().")
    y = _apply(u.to(dtype), kernel.to(dtype), geometry, method, None)
    return _fold(y, signal) if mode == "circular" else y


def _with_spectrum(u: Tensor, spectrum: KernelSpectrum) -> Tensor:
    geometry = spectrum.geometry
    d = len(geometry.signal)
    if tuple(u.shape[max(0, u.dim() - d) :]) != geometry.signal:
        raise ShapeError(f"This KernelSpectrum is for signals of {geometry.signal}, but u is {tuple(u.shape)}.")
    if u.dtype != spectrum.kernel.dtype:
        raise TypeError(f"The signal is {u.dtype}, the kernel of the spectrum {spectrum.kernel.dtype}.")
    _require_batches(u.shape[: u.dim() - d], spectrum.kernel.shape[: spectrum.kernel.dim() - d])
    y = _apply(u, spectrum.kernel, geometry, spectrum.method, spectrum)
    return _fold(y, geometry.signal) if spectrum.mode == "circular" else y


def _apply(
    u: Tensor, kernel: Tensor, geometry: Geometry, method: Method | None, spectrum: KernelSpectrum | None
) -> Tensor:
    if not is_recorded(u, kernel):
        return convolve_planned(u, kernel, geometry, method, spectrum)
    y: Tensor = _Convolve.apply(u, kernel, geometry, method, spectrum)  # type: ignore[no-untyped-call]
    return y


class _Convolve(Function):
    """(u, kernel, geometry, method, spectrum) -> the window of their convolution; both have one dtype."""

    @staticmethod
    def forward(
        u: Tensor, kernel: Tensor, geometry: Geometry, method: Method | None, spectrum: KernelSpectrum | None
    ) -> Tensor:
        y = convolve_planned(u, kernel, geometry, method, spectrum)
        return y.contiguous()  # a view has no tangents of tangents

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        u, kernel, ctx.geometry, ctx.method, ctx.spectrum = inputs
        ctx.save_for_backward(u, kernel)
        ctx.save_for_forward(u, kernel)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        u, kernel = ctx.saved_tensors
        geometry, method, spectrum = ctx.geometry, ctx.method, ctx.spectrum
        d = len(geometry.signal)
        du = dk = None
        if ctx.needs_input_grad[0]:
            adjoint = None if spectrum is None else spectrum.adjoint
            reverse = _reversed(kernel, d) if adjoint is None else adjoint.kernel
            du = _Convolve.apply(g, reverse, geometry.for_signal, method, adjoint).sum_to_size(u.shape)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1] and spectrum is None:
            every = _Convolve.apply(g, _reversed(u, d), geometry.for_kernel, method, None)  # type: ignore[no-untyped-call]
            dk = every.sum_to_size(kernel.shape)
        return du, dk, None, None, None

    @staticmethod
    def jvp(ctx: Any, du: Tensor | None, dk: Tensor | None, *_: None) -> Tensor | None:
        u, kernel = ctx.saved_tensors
        y = None
        if du is not None:
            y = _Convolve.apply(du, kernel, ctx.geometry, ctx.method, ctx.spectrum)  # type: ignore[no-untyped-call]
        if dk is not None:
            term = _Convolve.apply(u, dk, ctx.geometry, ctx.method, None)  # type: ignore[no-untyped-call]
            y = term if y is None else y + term
        return y

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
        """The rule for torch.vmap: one more batch dimension, in front of both batches."""
        u, kernel, geometry, method, spectrum = args
        d = len(geometry.signal)
        fronts = [t if at is None else t.movedim(at, 0) for t, at in zip((u, kernel), in_dims[:2], strict=True)]
        batches = [t.dim() - d - (at is not None) for t, at in zip(fronts, in_dims[:2], strict=True)]
        most = max(batches)
        padded = [
            t if at is None else t.reshape(t.shape[0], *(1,) * (most - b), *t.shape[1:])
            for t, at, b in zip(fronts, in_dims[:2], batches, strict=True)
        ]
        kept = spectrum if in_dims[1] is None else None
        return _Convolve.apply(*padded, geometry, method, kept), 0  # type: ignore[no-untyped-call]


def convolve_planned(
    u: Tensor, kernel: Tensor, geometry: Geometry, method: Method | None, spectrum: KernelSpectrum | None
) -> Tensor:
    """One convolution without gradients: batches as ``(P, Q)``, where Q kernels serve P signals each."""
    d = len(geometry.signal)
    u_batch, k_batch = u.shape[: u.dim() - d], kernel.shape[: kernel.dim() - d]
    if u_batch[len(u_batch) - len(k_batch) :] == k_batch:  # the usual case, without what takes 0.1 ms below
        Q = k_batch.numel()
        rows = u.reshape(u_batch.numel() // max(1, Q), Q, *geometry.signal)
        y = _rows(rows, kernel.reshape(Q, *geometry.kernel), geometry, method, spectrum)
        return y.reshape(*u_batch, *geometry.length)
    batch = broadcast_shapes(u_batch, k_batch)
    ones = (1,) * (len(batch) - len(k_batch)) + tuple(k_batch)
    own = [i for i, n in enumerate(ones) if n != 1]
    first, last = (own[0], own[-1] + 1) if own else (len(batch), len(batch))
    order = [*range(first), *range(last, len(batch)), *range(first, last)]  # axes on which kernels differ come last
    Q = prod(batch[first:last])
    P = prod(batch) // max(1, Q)
    inner = list(range(len(batch), len(batch) + d))
    rows = u.expand(*batch, *geometry.signal).permute(*order, *inner).reshape(P, Q, *geometry.signal)
    kernels = kernel.reshape(*ones[first:last], *geometry.kernel)
    kernels = kernels.expand(*batch[first:last], *geometry.kernel).reshape(Q, *geometry.kernel)
    y = _rows(rows, kernels, geometry, method, spectrum if prod(k_batch) == Q else None)
    back = sorted(range(len(batch)), key=lambda axis: order[axis])
    return y.reshape(*(batch[i] for i in order), *geometry.length).permute(*back, *inner)


def _rows(
    u: Tensor, kernel: Tensor, geometry: Geometry, method: Method | None, spectrum: KernelSpectrum | None
) -> Tensor:
    """``(P, Q, *signal)`` with ``(Q, *kernel)``."""
    if u.dtype in HALF:
        return _rows(_working(u), _working(kernel), geometry, method, spectrum).to(u.dtype)
    if u.device.type != "cpu":
        return _by_torch(u, kernel, geometry)
    P, Q = u.shape[:2]
    if spectrum is None:
        plan, values = choose_plan(geometry, P * Q, Q, u.dtype, cached=False, method=method), None
    else:
        plan, values = spectrum.plan, spectrum.values
    if _is_short(plan, geometry) and P * Q * plan.transform[0] <= AT_ONCE:
        S = torch.fft.rfft(kernel, plan.transform[0]) if values is None else torch.from_numpy(values[0])
        return _at_once(u, S, plan.transform[0], geometry.start[0], geometry.length[0])
    return torch.from_numpy(convolve_blocks(_numpy(u), _numpy(kernel), geometry, plan, values))


def _is_short(plan: ConvolutionPlan, geometry: Geometry) -> bool:
    return plan.by_torch and plan.name == "whole" and geometry.covers_window


def _at_once(u: Tensor, S: Tensor, n: int, start: int, length: int) -> Tensor:
    """Few short rows: blocks and workers would cost more than they save. The result is part of a new, longer tensor."""
    F = torch.fft.rfft(u, n)
    F *= S
    y: Tensor = torch.fft.irfft(F, n).narrow(-1, start, length)
    return y


def _by_torch(u: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
    """The same by torch's transforms, for devices that are not the CPU."""
    out = u.new_zeros(*u.shape[:2], *geometry.length)
    if geometry.is_empty:
        return out
    axes = list(range(-len(geometry.signal), 0))
    n = [2 * smooth_length(-(-a // 2)) for a in geometry.shortest]
    if u.is_complex():
        y = torch.fft.ifftn(torch.fft.fftn(u, n, axes) * torch.fft.fftn(kernel, n, axes), n, axes)
    else:
        y = torch.fft.irfftn(torch.fft.rfftn(u, n, axes) * torch.fft.rfftn(kernel, n, axes), n, axes)
    into = [slice(w.start - s, w.stop - s) for w, s in zip(geometry.support, geometry.start, strict=True)]
    window: tuple[Any, ...] = (..., *geometry.support)
    place: tuple[Any, ...] = (..., *into)
    out[place] = y[window]
    return out


def _fold(y: Tensor, period: Sequence[int]) -> Tensor:
    """Add to the first ``period`` entries of each axis what runs over."""
    d = len(period)
    for axis, n in enumerate(period):
        at = axis - d
        head, tail = y.narrow(at, 0, n), y.narrow(at, n, y.shape[at] - n)
        short = tail.shape[at]
        y = torch.cat([head.narrow(at, 0, short) + tail, head.narrow(at, short, n - short)], at)
    return y


def _reversed(t: Tensor, d: int) -> Tensor:
    return t.flip(tuple(range(-d, 0))).conj()


def _working(t: Tensor) -> Tensor:
    """Half types lose the digits of a transform; their sums are float32."""
    return t.float() if t.dtype in HALF else t


def _numpy(t: Tensor) -> Array:
    array: Array = t.detach().resolve_conj().resolve_neg().numpy()
    return array


def _require_batches(u: torch.Size, kernel: torch.Size) -> None:
    if u[len(u) - len(kernel) :] == kernel:
        return
    try:
        broadcast_shapes(u, kernel)
    except RuntimeError:
        raise ShapeError(
            f"The batch of the signals {tuple(u)} and that of the kernels {tuple(kernel)} do not broadcast. "
            f"A signal (B, H, L) goes with kernels (H, K), (1, K) or (K,)."
        ) from None
