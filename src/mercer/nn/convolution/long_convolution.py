"""The long convolution as a function: gates, skip and state around the transforms of :mod:`mercer.operators`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from mercer.config import require_memory
from mercer.errors import ShapeError
from mercer.nn.convolution.gpu import device_plan, fused_long_conv, tile_plan, why_not_fused
from mercer.nn.convolution.gpu.plans import DTYPES
from mercer.nn.convolution.monarch import monarch_convolve
from mercer.nn.precision import without_autocast
from mercer.operators import ConvolutionPlan, convolution_plan, convolve
from mercer.operators.convolution_op import convolution
from mercer.operators.convolution_plan import smooth_length

__all__ = ["fft_convolution_plan", "long_conv"]

Layout: TypeAlias = Literal["blh", "bhl"]
PlanName: TypeAlias = Literal["auto", "fft", "monarch", "toeplitz", "direct"]
PLANS = ("auto", "fft", "monarch", "toeplitz", "direct")
# Padded entries up to which transforms that autograd keeps train faster on a CPU than blocks that stay in cache: 1.3
# times at 8 x 64 x 2048, 0.6 times at 8 x 64 x 8192 (forward and backward, one core).
SHORT = 1 << 22
METHODS: dict[str, Any] = {"auto": None, "fft": "whole", "direct": "direct"}


def long_conv(
    u: Tensor,
    k: Tensor,
    *,
    skip: Tensor | None = None,
    gate_in: Tensor | None = None,
    gate_out: Tensor | None = None,
    causal: bool = True,
    layout: Layout = "blh",
    plan: PlanName = "auto",
    state: Tensor | None = None,
) -> Any:
    r"""Convolve every channel of a sequence with a kernel of its own, of any length.

    .. math:: y_t = g^{out}_t \Bigl(\sum_j k_j x_{t - j} + D x_t\Bigr), \quad x_t = g^{in}_t u_t

    Args:
        u: ``(B, L, H)``, or ``(B, H, L)`` with ``layout="bhl"`` (a little faster); any L >= 1. Instead of B there may
            be any batch dimensions, or none.
        k: ``(H, K)``, or ``(C, H, K)`` for C heads; K may be smaller or larger than L. Causal: lags 0 to K - 1.
            Two-sided: K is even, and the lags are 0 to K/2 - 1, then -K/2 to -1, as in a cyclic transform of size K.
        skip: D, ``(H,)`` or with heads ``(C, H)``.
        gate_in, gate_out: as u.
        causal: False lets later times in. A causal result does not depend on them in exact arithmetic; by transforms
            the past changes by round-off of the largest value in the sequence, 1e-7 of it in float32, and a NaN or an
            infinity anywhere makes all of a channel NaN. ``plan="direct"``, and steps, know nothing of the future.
        layout: where the time axis stands.
        plan: "auto" is the planner of :func:`mercer.operators.convolve`; "fft" one transform a row; "direct" the sum;
            "toeplitz" a matrix product with L x L entries a channel; "monarch" the transform as products of small
            matrices (on a CPU slower by far; in half types with half operands). On CUDA with triton, "auto" and
            "monarch" are one fused kernel, gates and skip included, wherever a channel fits on chip (8 192 steps of
            bfloat16 on an H100) and there is no state; three passes up to 4 194 304 steps of bfloat16
            (:func:`mercer.nn.convolution.gpu.why_not_fused`); bfloat16 then has bfloat16 operands.
        state: the inputs ``x`` before this chunk in the layout of u, ``(B, P, H)``; to begin with ``(B, 0, H)``. What
            comes back is the state for the next chunk, so that chunk by chunk equals the whole.

    Returns:
        As u; with heads ``(B, L, C, H)`` or ``(B, C, H, L)``. With a state ``(y, state)``.

    Raises:
        ShapeError: channels, gates or a state that do not fit, or a two-sided kernel with an odd number of taps.
        TypeError: whole numbers.
        ValueError: an unknown layout or plan, a state with ``causal=False``, or "monarch" in float16 where the
            spectrum may overflow.

    Half types are computed in float32 and rounded once at the end (bfloat16 in the fused kernel more often); a float32
    kernel stays so. Gradients of any order, ``torch.func`` and ``torch.compile`` (one node of the graph) work. Complex
    u or k give a complex y.
    Cost: ``O(L log L)`` a channel.
    Source: Fu et al., Simple Hardware-Efficient Long Convolutions for Sequence Modeling (ICML 2023).

    >>> u = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> long_conv(u, torch.tensor([[1.0, -1.0]])).flatten()
    tensor([1., 1., 1.])
    >>> y, state = long_conv(u[:, :2], torch.tensor([[1.0, -1.0]]), state=u[:, :0])
    >>> long_conv(u[:, 2:], torch.tensor([[1.0, -1.0]]), state=state)[0].flatten()
    tensor([1.])
    """
    _check(u, k, skip, (gate_in, gate_out), causal, layout, plan, state)
    is_last = layout == "bhl"
    if plan in ("auto", "monarch") and state is None:
        y = _fused(u, k, skip, gate_in, gate_out, causal, is_last)
        if y is not None:
            return y
    x = u if is_last else u.mT  # (..., H, L)
    if gate_in is not None:
        x = x * (gate_in if is_last else gate_in.mT)
    L, past = x.shape[-1], 0
    whole = x
    if state is not None:
        whole = torch.cat([state if is_last else state.mT, x], -1)
        past = whole.shape[-1] - L
    has_heads, n_taps = k.dim() == 3, k.shape[-1]
    k, start = _taps(k, whole.shape[-1], causal)
    y = _convolve(whole.unsqueeze(-3) if has_heads else whole, k, start, plan)[..., past:]
    if skip is not None:
        y = y + skip.unsqueeze(-1) * (x.unsqueeze(-3) if has_heads else x)
    if gate_out is not None:
        gate = gate_out if is_last else gate_out.mT
        y = y * (gate.unsqueeze(-3) if has_heads else gate)
    if not is_last:
        y = y.movedim(-1, -3) if has_heads else y.mT
    y = y if y.is_complex() else y.to(u.dtype)
    if state is None:
        return y
    kept = whole[..., max(0, whole.shape[-1] - n_taps + 1) :]
    return y, kept if is_last else kept.mT


def fft_convolution_plan(
    L: int, H: int = 1, B: int = 1, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> ConvolutionPlan:
    """How :func:`long_conv` will convolve B sequences of H channels with kernels as long as they are, and why.

    Args:
        L: length; ``H`` channels with a kernel each, ``B`` sequences.
        dtype: of u.
        device: on CUDA the fused kernel or three passes; elsewhere than there and on the CPU torch's transforms. Nobody
            has measured their time: ``seconds`` is NaN.

    Raises:
        ShapeError: no length.

    >>> plan = fft_convolution_plan(4096, 64, 8)
    >>> plan.name, plan.transform
    ('whole', (8192,))
    """
    plan = convolution_plan(L, L, rows=H * B, n_kernels=H, dtype=dtype)
    if torch.device(device).type != "cpu":
        reason = _elsewhere(L, dtype, torch.device(device)) or f"torch's transforms of {plan.transform[0]}"
        reason = f"{reason} on {torch.device(device).type}; not timed"
        plan = replace(plan, name="whole", reason=reason, seconds=math.nan)
    if dtype in (torch.float16, torch.bfloat16):
        # The sum is float32; what is left is one rounding of the result.
        plan = replace(plan, error=max(plan.error, torch.finfo(dtype).eps / 2))
    return plan


def _elsewhere(L: int, dtype: torch.dtype, device: torch.device) -> str | None:
    """What the kernels of mercer do there; None if they do not run."""
    if device.type != "cuda" or dtype not in DTYPES:
        return None
    tile = device_plan(L, dtype, device) if torch.cuda.is_available() else tile_plan(L, dtype)
    if tile is None:
        return None
    if tile.outer == 1:
        return f"one fused kernel, products of {tile.n1} x {tile.n2}"
    return f"three passes, {tile.outer} rows of {tile.n1} x {tile.n2}"


def _fused(
    u: Tensor,
    k: Tensor,
    skip: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    causal: bool,
    is_last: bool,
) -> Tensor | None:
    """The fused kernel's result in the layout of u; None where it does not run."""
    if why_not_fused(u, k, (skip, gate_in, gate_out), length=u.shape[-1 if is_last else -2]) is not None:
        return None
    x, before, after = (t if t is None or is_last else t.mT for t in (u, gate_in, gate_out))
    assert x is not None
    y = fused_long_conv(x, k, skip=skip, gate_in=before, gate_out=after, causal=causal)
    if is_last:
        return y
    return y.movedim(-1, -3) if k.dim() == 3 else y.mT


def _taps(k: Tensor, L: int, causal: bool) -> tuple[Tensor, int]:
    """The taps that can meet an input, by lag, and where in the full convolution the first output stands."""
    if causal:
        return k[..., :L], 0
    half = k.shape[-1] // 2
    used = min(half, L)
    # One zero more than there are lags, so that the centre of an odd number of taps is lag 0.
    return pad(torch.cat([k[..., k.shape[-1] - used :], k[..., :used]], -1), (0, 1)), used


def _convolve(x: Tensor, k: Tensor, start: int, plan: str) -> Tensor:
    """``(..., H, L)`` with ``(..., H, K)``; outputs ``start`` to ``start + L - 1`` of the full convolution."""
    dtype = torch.promote_types(x.dtype, k.dtype)
    x, k = x.to(dtype), k.to(dtype)
    if x.numel() == 0:  # which transforms refuse
        return x * k[..., :1]
    if plan == "toeplitz":
        return _by_matrix(x, k, start)
    if plan == "monarch":
        return monarch_convolve(x, k, start=start)
    if plan == "auto" and _is_trained_short(x, k):
        return _by_spectra(x, k, start)
    if torch.compiler.is_compiling():
        y: Tensor = convolution(x, k, [start], [x.shape[-1]], METHODS[plan] or "")
        return y
    return convolve(x, k, mode="same" if start else "causal", method=METHODS[plan])


def _by_matrix(x: Tensor, k: Tensor, start: int) -> Tensor:
    """A Toeplitz matrix a channel, times all sequences of that channel."""
    L, K = x.shape[-1], k.shape[-1]
    require_memory(
        k.shape[:-1].numel() * L * L * x.element_size(),
        asked=f"plan='toeplitz' with {k.shape[:-1].numel()} matrices of {L} x {L}",
        instead="Use plan='auto', which needs O(L) memory.",
    )
    # Row t of a Toeplitz matrix is the padded kernel from place t on, and the input runs the other way.
    padded = pad(k, (L - 1 - start, max(0, L + start - K)))[..., : 2 * L - 1]
    T = padded.unfold(-1, L, 1)  # (..., H, t, L - 1 - s)
    with without_autocast(x):
        if k.dim() == 2:
            return torch.einsum("...hs,hts->...ht", x.flip(-1), T)
        return torch.einsum("...hs,chts->...cht", x.squeeze(-3).flip(-1), T)


def _is_trained_short(x: Tensor, k: Tensor) -> bool:
    if torch.compiler.is_compiling() or x.dtype not in (torch.float32, torch.float64):
        return False
    if not (torch.is_grad_enabled() and (x.requires_grad or k.requires_grad)):
        return False
    return x.device.type != "cpu" or x.numel() * 2 <= SHORT


def _by_spectra(x: Tensor, k: Tensor, start: int) -> Tensor:
    """Transforms that autograd sees: it keeps spectra and sums the kernel's gradient over the batch before it
    transforms back, so that training takes four transforms a row in place of seven."""
    L, n = x.shape[-1], 2 * smooth_length(-(-(x.shape[-1] + k.shape[-1] - 1) // 2))
    y: Tensor = torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(k, n), n)
    return y[..., start : start + L]


def _check(
    u: Tensor,
    k: Tensor,
    skip: Tensor | None,
    gates: tuple[Tensor | None, ...],
    causal: bool,
    layout: str,
    plan: str,
    state: Tensor | None,
) -> None:
    if layout not in ("blh", "bhl"):
        raise ValueError(f"long_conv: layout={layout!r} is not 'blh' (time, then channels) or 'bhl'.")
    if plan not in PLANS:
        raise ValueError(f"long_conv: plan={plan!r} is not one of {', '.join(map(repr, PLANS))}.")
    if not all(t.is_floating_point() or t.is_complex() for t in (u, k)):
        raise TypeError(f"long_conv needs real or complex numbers, not {u.dtype} and {k.dtype}. Use u.float().")
    if u.dim() < 2 or k.dim() not in (2, 3):
        raise ShapeError(
            f"long_conv: u is (B, L, H) and k (H, K) or (C, H, K), but they are {tuple(u.shape)}, {tuple(k.shape)}."
        )
    H, L = (u.shape[-1], u.shape[-2]) if layout == "blh" else (u.shape[-2], u.shape[-1])
    if k.shape[-2] != H:
        raise ShapeError(
            f"long_conv: u {tuple(u.shape)} has {H} channels in layout {layout!r}, but k {tuple(k.shape)} has "
            f"{k.shape[-2]}. Did you mean layout={'bhl' if layout == 'blh' else 'blh'!r}?"
        )
    if 0 in (L, k.shape[-1]):
        raise ShapeError(f"long_conv needs a step and a tap at least, but u is {tuple(u.shape)}, k {tuple(k.shape)}.")
    if skip is not None and skip.shape != k.shape[:-1]:
        raise ShapeError(f"long_conv: skip is {tuple(skip.shape)}, but goes with k's {tuple(k.shape[:-1])}.")
    for gate in gates:
        if gate is not None and gate.shape != u.shape:
            raise ShapeError(f"long_conv: a gate is as u {tuple(u.shape)}, not {tuple(gate.shape)}.")
    if not causal and k.shape[-1] % 2:
        raise ShapeError(
            f"long_conv: a two-sided kernel has as many taps on either side, but K = {k.shape[-1]} is odd. Append a 0 "
            f"in its middle."
        )
    if state is not None:
        if not causal:
            raise ValueError(
                "long_conv: a two-sided convolution needs the future, so it has no state. Use causal=True."
            )
        time = -1 if layout == "bhl" else -2
        if [n for i, n in enumerate(state.shape) if i != state.dim() + time] != [
            n for i, n in enumerate(u.shape) if i != u.dim() + time
        ]:
            raise ShapeError(f"long_conv: state is as u {tuple(u.shape)} but for the time, not {tuple(state.shape)}.")
