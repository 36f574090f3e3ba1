"""Linear attention: keys and values are summed before queries read them, so that time is linear in the length."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, overload

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.nn.attention.chunked import Span, accumulator, batched, loop
from mercer.nn.attention.gpu import fused_walk, why_not_fused
from mercer.nn.precision import without_autocast

__all__ = ["Plan", "attend", "linear_attention", "two_sided"]

Plan = Literal["auto", "loop", "batched", "direct", "fused"]
PLANS = ("auto", "loop", "batched", "direct", "fused")


@overload
def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    decay: float | Sequence[float] | Tensor | None = None,
    normalize: bool = False,
    state: Tensor | None = None,
    chunk: int = 64,
    plan: Plan = "auto",
    return_state: Literal[False] = False,
) -> Tensor:
    """The outputs alone."""


@overload
def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    decay: float | Sequence[float] | Tensor | None = None,
    normalize: bool = False,
    state: Tensor | None = None,
    chunk: int = 64,
    plan: Plan = "auto",
    return_state: Literal[True],
) -> tuple[Tensor, Tensor]:
    """The outputs, and the state after the last row."""


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    decay: float | Sequence[float] | Tensor | None = None,
    normalize: bool = False,
    state: Tensor | None = None,
    chunk: int = 64,
    plan: Plan = "auto",
    return_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Attention whose scores are plain inner products, in time and memory linear in the length.

    .. math:: o_i = \sum_{j \le i} \lambda^{i-j} \, (q_i \cdot k_j) \, v_j + \lambda^{i+1} q_i S_0

    or over all j where it is not causal. Feature maps and positions are the caller's: q and k come as they are to be
    multiplied. Nothing is scaled.

    Args:
        q, k: ``(B, H, n, e)``.
        v: ``(B, H, n, t)``.
        causal: row i sees rows up to itself.
        decay: :math:`\lambda` of all heads, or one a head, ``(H,)``, above 0 and at most 1: retention (Sun et al.
            2023). It gets no gradient. None is 1.
        normalize: divide each row by the sum of its scores, as softmax does; meant for scores >= 0. A row whose sum
            is exactly 0 is left as it is.
        state: what ``return_state`` gave for the rows before; None where there are none.
        chunk: rows at a time; it changes round-off and speed, nothing else.
        plan: ``"loop"``, one state walked from chunk to chunk, whose backward pass keeps the inputs only;
            ``"batched"``, all chunks at once, for compilers, exporters and GPUs; ``"direct"``, the definition,
            quadratic in the length; ``"fused"``, two Triton kernels on CUDA, forward and backward; ``"auto"``, the
            loop on a CPU, on CUDA fused where that runs, and else batched.
        return_state: also give the state after the last row, ``(B, H, e, t)``, with one column more if normalised.

    Returns:
        ``(B, H, n, t)`` in the type of v. Sums are kept in float32 under half types, and so is the state.

    Raises:
        ShapeError: sizes that do not fit together.
        ValueError: a chunk below 1, an unknown plan, "fused" where it does not run, a decay outside its range or that
            wants a gradient, and a decay or a state where it is not causal.

    Cost: ``4 e t + 2 c (e + t)`` multiply-adds a row for chunks of c, three times that for the gradients, which are
    differentiable again. ``torch.func`` and forward mode work, but not with "fused".

    Source: Katharopoulos et al. 2020; the chunks are those of Hua et al. 2022; Qin et al. 2022 (arXiv 2210.10340).

    >>> q, k, v = torch.randn(3, 1, 2, 100, 8, dtype=torch.float64).unbind()
    >>> whole = linear_attention(q, k, v)
    >>> first, state = linear_attention(q[:, :, :37], k[:, :, :37], v[:, :, :37], return_state=True)
    >>> second = linear_attention(q[:, :, 37:], k[:, :, 37:], v[:, :, 37:], state=state)
    >>> torch.allclose(torch.cat([first, second], 2), whole), state.shape
    (True, torch.Size([1, 2, 8, 8]))
    """
    _check(q, k, v, chunk, plan)
    dtype = v.dtype
    if normalize:
        v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    if causal:
        out, state = attend(q, k, v, state=state, decay=_decay(decay, q), chunk=chunk, plan=plan)
    elif state is not None or decay is not None or return_state:
        raise ValueError("linear_attention(causal=False): a state and a decay need an order. Give causal=True.")
    else:
        out, _ = two_sided(q, k, v)
    if normalize:
        total = out[..., -1:]
        out = out[..., :-1] / total.masked_fill(total == 0.0, 1.0)
    out = out.to(dtype)
    return (out, state) if return_state and state is not None else out


def two_sided(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """``q (k' v)`` and ``k' v``, in the accumulator's type."""
    wide = accumulator(q.dtype)
    with without_autocast(q):
        memory = k.to(wide).mT @ v.to(wide)
        return q.to(wide) @ memory, memory


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    state: Tensor | None = None,
    decay: Tensor | None = None,
    chunk: int = 64,
    plan: Plan = "auto",
) -> tuple[Tensor, Tensor]:
    """The causal part of :func:`linear_attention`: outputs and state, both in the accumulator's type."""
    B, H, n, e = q.shape
    t = v.shape[-1]
    if state is not None and state.shape != (B, H, e, t):
        raise ShapeError(
            f"linear_attention: the state has shape {tuple(state.shape)}, but q, k and v ask for {(B, H, e, t)}. "
            f"Was it made with another `normalize` or for another batch?"
        )
    if plan == "auto":
        plan = "batched"
        if not torch.compiler.is_compiling():
            plan = "loop" if q.device.type == "cpu" else plan if why_not_fused(q, k, v, state) else "fused"
    elif plan == "fused" and (reason := why_not_fused(q, k, v, state)) is not None:
        raise ValueError(f"linear_attention(plan='fused'): {reason}. Use plan='auto'.")
    q, k, v = q.reshape(B * H, n, e), k.reshape(B * H, n, e), v.reshape(B * H, n, t)
    state = None if state is None else state.reshape(B * H, e, t)
    decay = None if decay is None else decay.to(q.device).expand(B, H).reshape(B * H)
    with without_autocast(q):
        if plan in ("loop", "fused"):
            walk = partial(fused_walk, kind=q.dtype) if plan == "fused" else None
            out, state = loop(Span(q, k, v, state, decay, chunk), walk)
        else:
            out, state = batched(q, k, v, state, decay, max(n, 1) if plan == "direct" else chunk)
    return out.reshape(B, H, n, t), state.reshape(B, H, e, t)


def _check(q: Tensor, k: Tensor, v: Tensor, chunk: int, plan: str) -> None:
    if q.dim() != 4 or q.shape != k.shape or v.dim() != 4 or v.shape[:3] != q.shape[:3]:
        raise ShapeError(
            f"linear_attention: q and k must be (B, H, n, e) and v (B, H, n, t), but they are {tuple(q.shape)}, "
            f"{tuple(k.shape)} and {tuple(v.shape)}."
        )
    if chunk < 1:
        raise ValueError(f"linear_attention(chunk={chunk}): it is a number of rows >= 1.")
    if plan not in PLANS:
        raise ValueError(f"linear_attention(plan={plan!r}): choose one of {', '.join(PLANS)}.")


def _decay(decay: float | Sequence[float] | Tensor | None, q: Tensor) -> Tensor | None:
    """The decay of each head, ``(H,)`` or ``()``, checked."""
    if decay is None:
        return None
    found = torch.as_tensor(decay, dtype=accumulator(q.dtype))
    if found.shape not in ((), (q.shape[1],)):
        raise ShapeError(f"linear_attention: decay has shape {tuple(found.shape)}; give one value or {q.shape[1]}.")
    if found.requires_grad:
        raise ValueError("linear_attention: decay gets no gradient. Give decay.detach().")
    if not torch.compiler.is_compiling() and not bool(((found > 0.0) & (found <= 1.0)).all()):
        raise ValueError(f"linear_attention: decay lies above 0 and is at most 1, but is {decay}.")
    return found
