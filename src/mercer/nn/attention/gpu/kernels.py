"""The Triton kernels of causal linear attention; imported only where they are launched.

Rows come in chunks of C. ``chunk_states`` walks over the chunks with one state, ``S <- d^C S + (W K)' V``, and writes
it down before each; ``chunk_outputs`` then makes each chunk's outputs on its own, ``R Q S + (mask * Q K') V``. In
reverse the walk goes from the last chunk to the first, and a row sees those after it. Products have operands that are
rounded to ``ROUNDED`` and float32 sums. (``OPERAND`` is the same type, but in Triton's interpreter, which has no
bfloat16 product.)
"""

import triton
import triton.language as tl


@triton.jit
def chunk_states(
    K, V, START, LOG, STATES, LAST, n, E, T, chunks,
    HAS_START: tl.constexpr, HAS_DECAY: tl.constexpr, REVERSE: tl.constexpr,
    C: tl.constexpr, BE: tl.constexpr, BT: tl.constexpr,
    ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """STATES ``(N, chunks, E, T)`` and LAST ``(N, E, T)`` of K ``(N, n, E)`` and V ``(N, n, T)``; LOG is log2 d."""
    b = tl.program_id(0).to(tl.int64)
    e, t, step = tl.program_id(1) * BE + tl.arange(0, BE), tl.program_id(2) * BT + tl.arange(0, BT), tl.arange(0, C)
    place = e[:, None] * T + t[None, :]
    inside = (e < E)[:, None] & (t < T)[None, :]
    state = tl.zeros((BE, BT), tl.float32)
    if HAS_START:
        state += tl.load(START + b * E * T + place, mask=inside, other=0.0).to(tl.float32)
    if HAS_DECAY:
        log = tl.load(LOG + b)
    for i in range(chunks):
        c = chunks - 1 - i if REVERSE else i
        tl.store(STATES + (b * chunks + c) * E * T + place, state, mask=inside)
        at = c * C + step
        row = b * n + at
        k = tl.load(K + row[:, None] * E + e[None, :], mask=(at < n)[:, None] & (e < E)[None, :], other=0.0)
        v = tl.load(V + row[:, None] * T + t[None, :], mask=(at < n)[:, None] & (t < T)[None, :], other=0.0)
        k = k.to(tl.float32)
        if HAS_DECAY:
            count = tl.minimum(n - c * C, C)
            power = step + 1 if REVERSE else tl.maximum(count - 1 - step, 0)  # below 0 it would overflow
            k *= tl.exp2(log * power.to(tl.float32))[:, None]
            state *= tl.exp2(log * count.to(tl.float32))
        k, v = k.to(ROUNDED).to(OPERAND), v.to(ROUNDED).to(OPERAND)
        state += tl.dot(tl.trans(k), v, input_precision=PRECISION)
    tl.store(LAST + b * E * T + place, state, mask=inside)


@triton.jit
def chunk_outputs(
    Q, K, V, LOG, STATES, OUT, n, E, T, chunks,
    HAS_DECAY: tl.constexpr, REVERSE: tl.constexpr,
    C: tl.constexpr, BE: tl.constexpr, BT: tl.constexpr,
    ROUNDED: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """OUT ``(N, n, T)``: program 0 is the sequence, 1 the chunk, 2 the block of columns of V."""
    b, c = tl.program_id(0).to(tl.int64), tl.program_id(1)
    t, step = tl.program_id(2) * BT + tl.arange(0, BT), tl.arange(0, C)
    at = c * C + step
    row = b * n + at
    scores = tl.zeros((C, C), tl.float32)
    out = tl.zeros((C, BT), tl.float32)
    for e0 in range(0, E, BE):
        e = e0 + tl.arange(0, BE)
        place, inside = row[:, None] * E + e[None, :], (at < n)[:, None] & (e < E)[None, :]
        q = tl.load(Q + place, mask=inside, other=0.0).to(ROUNDED).to(OPERAND)
        k = tl.load(K + place, mask=inside, other=0.0).to(ROUNDED).to(OPERAND)
        state = (b * chunks + c) * E * T + e[:, None] * T + t[None, :]
        s = tl.load(STATES + state, mask=(e < E)[:, None] & (t < T)[None, :], other=0.0).to(ROUNDED).to(OPERAND)
        scores = tl.dot(q, tl.trans(k), scores, input_precision=PRECISION)
        out = tl.dot(q, s, out, input_precision=PRECISION)
    gap = step[:, None] - step[None, :]
    if REVERSE:
        gap = -gap
    if HAS_DECAY:
        log = tl.load(LOG + b)
        scores *= tl.exp2(log * tl.maximum(gap, 0).to(tl.float32))
        power = tl.maximum(tl.minimum(n - c * C, C) - 1 - step, 0) if REVERSE else step + 1
        out *= tl.exp2(log * power.to(tl.float32))[:, None]
    scores = tl.where(gap >= 0, scores, 0.0)
    inside = (at < n)[:, None] & (t < T)[None, :]
    place = row[:, None] * T + t[None, :]
    v = tl.load(V + place, mask=inside, other=0.0).to(ROUNDED).to(OPERAND)
    out = tl.dot(scores.to(ROUNDED).to(OPERAND), v, out, input_precision=PRECISION)
    tl.store(OUT + place, out, mask=inside)
