"""Causal linear attention in chunks: how it runs, and how it is differentiated.

Everything here has one leading axis for batch and heads together, and computes in at least float32: without a
denominator the outputs grow with the length, beyond what half types hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

__all__ = ["Span", "Walk", "accumulator", "batched", "loop", "one_chunk"]


class Span(NamedTuple):
    """Rows that are walked over, N sequences and heads at once.

    Attributes:
        q, k: ``(N, n, e)``.
        v: ``(N, n, t)``.
        state: ``(N, e, t)`` before the first row; None is zero.
        decay: ``(N,)`` or None.
        chunk: rows at a time.
        reverse: from the last row to the first, each seeing those after it.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    state: Tensor | None = None
    decay: Tensor | None = None
    chunk: int = 64
    reverse: bool = False


#: Outputs and the last state.
Walk: TypeAlias = Callable[[Span], tuple[Tensor, Tensor]]


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type that sums are kept in: float32 for half types, else their own."""
    return torch.promote_types(dtype, torch.float32)


class _Powers:
    """What a decay makes of the places in a chunk of c: weights of reading the state, writing it, and in between."""

    def __init__(self, decay: Tensor, c: int, *, reverse: bool) -> None:
        steps = torch.arange(c, dtype=decay.dtype, device=decay.device)
        rise = decay[:, None, None] ** (steps[:, None] + 1.0)  # (N, c, 1)
        fall = decay[:, None, None] ** (c - 1.0 - steps[:, None])
        self.read, self.write = (fall, rise) if reverse else (rise, fall)
        gaps = (steps[:, None] - steps).abs()
        between = decay[:, None, None] ** gaps  # (N, c, c)
        self.between = between.triu() if reverse else between.tril()
        self.chunk = (decay**c)[:, None, None]


def loop(span: Span, walk: Walk | None = None) -> tuple[Tensor, Tensor]:
    """One state, updated in place from chunk to chunk; the backward pass recomputes it, so nothing but inputs is kept.

    Args:
        span: the rows.
        walk: what makes outputs and state, for the gradients too; None is torch's products.

    Returns:
        ``(N, n, t)`` and the state after the last row, both in the accumulator's type. Differentiable any number of
        times: the gradients are such attentions themselves, forwards for q and backwards for k and v.
    """
    return _apply(walk or _walk, span)


class _Walk(torch.autograd.Function):
    r"""``o_i = sum_j decay^|i-j| (q_i . k_j) v_j`` over ``j <= i``, or in reverse ``j >= i``, and the state's part.

    With ``A_ij = q_i . k_j`` on one side of the diagonal, ``dq_i = sum_j (do_i . v_j) k_j`` over the same side, and
    ``dk_j``, ``dv_j`` are sums over the other side. So a walk's gradients are three walks, and so is its derivative
    along a direction.
    """

    @staticmethod
    def forward(walk: Walk, *span: Any) -> tuple[Tensor, Tensor]:
        return walk(Span(*span))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.walk, *tensors, ctx.chunk, ctx.reverse = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, grad_state: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, state, decay = ctx.saved_tensors
        if grad is None:
            grad = torch.zeros(v.shape, dtype=accumulator(v.dtype), device=v.device)
        dq = dk = dv = dstate = None
        span = Span(q, k, v, None, decay, ctx.chunk, ctx.reverse)
        back = span._replace(reverse=not ctx.reverse)
        if ctx.needs_input_grad[1]:
            before = None if state is None else state.mT
            dq = _apply(ctx.walk, span._replace(q=grad, k=v, v=k, state=before))[0].to(q.dtype)
        if ctx.needs_input_grad[2]:
            after = None if grad_state is None else grad_state.mT
            dk = _apply(ctx.walk, back._replace(q=v, k=grad, v=q, state=after))[0].to(k.dtype)
        if ctx.needs_input_grad[3] or ctx.needs_input_grad[4]:
            dv, dstate = _apply(ctx.walk, back._replace(q=k, k=q, v=grad, state=grad_state))
            dv = dv.to(v.dtype)
        return None, dq, dk, dv, None if state is None else dstate, None, None, None

    @staticmethod
    def jvp(ctx: Any, _: None, dq: Tensor | None, dk: Tensor | None, dv: Tensor | None, *rest: Any) -> Any:
        q, k, v, state, decay = ctx.saved_tensors
        dstate = rest[0]
        span = Span(q, k, v, None, decay, ctx.chunk, ctx.reverse)
        parts = []
        if dq is not None:
            out, after = _apply(ctx.walk, span._replace(q=dq, state=state))
            parts.append((out, torch.zeros_like(after)))  # no query reaches the state
        if dk is not None:
            parts.append(_apply(ctx.walk, span._replace(k=dk)))
        if dv is not None or dstate is not None:
            parts.append(_apply(ctx.walk, span._replace(v=torch.zeros_like(v) if dv is None else dv, state=dstate)))
        return tuple(map(sum, zip(*parts, strict=True)))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], walk: Walk, *span: Any) -> Any:
        """The rule for torch.vmap: more sequences, which know nothing of each other."""

        def folded(x: Any, dim: int | None) -> Any:
            if not isinstance(x, Tensor):
                return x
            x = x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            return x.flatten(0, 1)

        found = _Walk.apply(walk, *map(folded, span, in_dims[1:]))  # type: ignore[no-untyped-call]
        return tuple(x.unflatten(0, (info.batch_size, x.shape[0] // info.batch_size)) for x in found), (0, 0)


def _apply(walk: Walk, span: Span) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = _Walk.apply(walk, *span)  # type: ignore[no-untyped-call]
    return found


def _walk(span: Span) -> tuple[Tensor, Tensor]:
    q, k, v, state, decay, chunk, reverse = span
    (N, n, e), t = q.shape, v.shape[-1]
    dtype = torch.promote_types(accumulator(q.dtype), accumulator(v.dtype))
    S = torch.zeros(N, e, t, dtype=dtype, device=q.device) if state is None else state.to(dtype, copy=True)
    out = torch.empty(N, n, t, dtype=dtype, device=q.device)
    starts = range(0, n, chunk)
    for start in reversed(starts) if reverse else starts:
        Q, K, V = (x[:, start : start + chunk].to(dtype) for x in (q, k, v))
        A = Q @ K.mT
        if decay is None:
            A = A.triu_() if reverse else A.tril_()
        else:
            powers = _Powers(decay.to(dtype), Q.shape[1], reverse=reverse)
            A, Q, K = A.mul_(powers.between), Q * powers.read, K * powers.write
        # A product of its own and a copy: writing it into the slice takes half as long again.
        out[:, start : start + chunk] = torch.baddbmm(Q @ S, A, V)
        if decay is not None:
            S.mul_(powers.chunk)
        S.baddbmm_(K.mT, V)
    return out, S


def batched(
    q: Tensor, k: Tensor, v: Tensor, state: Tensor | None, decay: Tensor | None, chunk: int
) -> tuple[Tensor, Tensor]:
    """All chunks at once, in operations that compilers and exporters know; arguments as for :func:`loop`.

    Its states take ``n / chunk`` times ``e t`` numbers, and with a decay their sum is a product with a triangle of
    ``(n / chunk)^2``.
    """
    dtype = torch.promote_types(accumulator(q.dtype), accumulator(v.dtype))
    (N, n, e), t = q.shape, v.shape[-1]
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    S = torch.zeros(N, e, t, dtype=dtype, device=q.device) if state is None else state.to(dtype)
    decay = None if decay is None else decay.to(dtype)
    m = n // chunk
    if m < 2:
        return one_chunk(q, k, v, S, decay)
    whole = m * chunk
    Q, K, V = (x[:, :whole].reshape(N, m, chunk, -1) for x in (q, k, v))
    A = Q @ K.mT  # (N, m, chunk, chunk)
    if decay is None:
        A = A.tril()
        states = torch.cat([S[:, None], K.mT @ V], 1).cumsum(1)  # (N, m + 1, e, t): before each chunk, and after all
    else:
        powers = _Powers(decay, chunk, reverse=False)
        A, Q, K = A * powers.between[:, None], Q * powers.read[:, None], K * powers.write[:, None]
        parts = torch.cat([S[:, None], K.mT @ V], 1).flatten(2)
        states = (_Powers(decay**chunk, m + 1, reverse=False).between @ parts).unflatten(2, (e, t))
    out = (A @ V + Q @ states[:, :m]).reshape(N, whole, t)
    if whole == n:
        return out, states[:, m]
    rest, S = one_chunk(q[:, whole:], k[:, whole:], v[:, whole:], states[:, m], decay)
    return torch.cat([out, rest], 1), S


def one_chunk(q: Tensor, k: Tensor, v: Tensor, state: Tensor, decay: Tensor | None) -> tuple[Tensor, Tensor]:
    """The definition, with all scores at once: quadratic in the length."""
    n = q.shape[1]
    if decay is None:
        return (q @ k.mT).tril() @ v + q @ state, state + k.mT @ v
    powers = _Powers(decay, n, reverse=False)
    out = (q @ k.mT * powers.between) @ v + (q * powers.read) @ state
    return out, state * powers.chunk + (k * powers.write).mT @ v
