"""The two Triton kernels of causal linear attention in the interpreter, against the definition in float64."""

from functools import partial

import pytest
import torch

from mercer.nn.attention.chunked import Span, loop
from mercer.nn.attention.gpu import fused_walk, why_not_fused
from mercer.nn.attention.gpu.walk import why_not_these
from mercer.nn.functional import linear_attention

triton = pytest.importorskip("triton", reason="fused kernels need triton: pip install 'mercer[gpu]'")

# bfloat16 rounds q, k, v, the scores and the state; float16 nothing but the caller's tensors, since the interpreter
# computes TF32 products in float32.
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 2e-6}
DECAYS = [None, (0.9, 1.0)]


def draw(N=2, n=20, e=5, t=7, dtype=torch.float32):
    """q, k, v and a state."""
    return [torch.randn(N, n, e).to(dtype), torch.randn(N, n, e).to(dtype), torch.randn(N, n, t).to(dtype),
            torch.randn(N, e, t)]  # fmt: skip


def definition(q, k, v, state=None, decay=None):
    """Outputs and the last state with all scores at once; in float64 if the arguments are."""
    n = q.shape[1]
    step = torch.arange(n, dtype=q.dtype)
    d = torch.ones(len(q), 1, 1, dtype=q.dtype) if decay is None else torch.tensor(decay, dtype=q.dtype).view(-1, 1, 1)
    out = ((q @ k.mT) * (d ** (step[:, None] - step).abs()).tril()) @ v
    last = (k * d ** (n - 1 - step[:, None])).mT @ v
    if state is not None:
        out, last = out + (q * d ** (step[:, None] + 1)) @ state, last + d**n * state
    return out, last


def run(q, k, v, state=None, decay=None, chunk=16):
    d = None if decay is None else torch.tensor(decay)
    return loop(Span(q, k, v, state, d, chunk), partial(fused_walk, kind=q.dtype))


def error(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("decay", DECAYS, ids=str)
@pytest.mark.parametrize(("n", "chunk"), [(1, 16), (15, 16), (16, 16), (17, 16), (64, 20), (70, 64), (130, 1000)])
def test_it_is_the_definition_at_chunk_boundaries_and_beside_them(n, chunk, decay):
    q, k, v, state = draw(n=n)
    for start in (None, state):
        found = run(q, k, v, start, decay, chunk)
        expected = definition(q.double(), k.double(), v.double(), None if start is None else start.double(), decay)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.dtype == torch.float32
            assert error(mine, theirs) <= TOLERANCE[torch.float32]


@pytest.mark.parametrize("decay", DECAYS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_gradients_agree_with_autograd_through_the_definition(dtype, decay):
    given = [x.requires_grad_() for x in draw(dtype=dtype)]
    exact = [x.detach().double().requires_grad_() for x in given]
    grads = torch.randn(2, 20, 7).to(dtype).float(), torch.randn(2, 5, 7)
    found = torch.autograd.grad(run(*given, decay), given, grads)
    expected = torch.autograd.grad(definition(*exact, decay), exact, [g.double() for g in grads])
    # float16 gradients are rounded once to their type.
    tolerance = 5e-4 if dtype == torch.float16 else TOLERANCE[dtype]
    for mine, theirs, x in zip(found, expected, given, strict=True):
        assert mine.dtype == x.dtype
        assert error(mine, theirs) <= tolerance


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_wide_heads_take_several_blocks(dtype):
    q, k, v, state = draw(N=1, n=20, e=70, t=65, dtype=dtype)
    found = run(q, k, v, state)
    for mine, theirs in zip(found, definition(*(x.double() for x in (q, k, v, state))), strict=True):
        assert error(mine, theirs) <= TOLERANCE[dtype]


def test_second_derivatives():
    given = [x.requires_grad_() for x in draw(N=1, n=20, e=2, t=2)]
    exact = [x.detach().double().requires_grad_() for x in given]
    results = []
    for (out, last), leaves in ((run(*given, (0.9,)), given), (definition(*exact, (0.9,)), exact)):
        first = torch.autograd.grad(out.square().sum() + last.square().sum(), leaves, create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
    for mine, theirs in zip(*results, strict=True):
        assert error(mine, theirs) <= 1e-5


def test_a_strong_decay_overflows_nowhere():
    q, k, v, state = draw(n=17)
    decay = (1e-30, 0.3)
    for mine, theirs in zip(
        run(q, k, v, state, decay), definition(*(x.double() for x in (q, k, v, state)), decay), strict=True
    ):
        assert error(mine, theirs) <= 2e-6


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_pieces_with_a_state_are_the_whole_and_the_future_is_not_seen(dtype):
    q, k, v, _ = draw(n=40, dtype=dtype)
    whole, last = definition(*(x.double() for x in (q, k, v)), decay=(0.9, 1.0))
    state, rows = None, []
    for part in (slice(0, 1), slice(1, 18), slice(18, 40)):
        row, state = run(q[:, part], k[:, part], v[:, part], state, (0.9, 1.0))
        rows.append(row)
    assert error(torch.cat(rows, 1), whole) <= TOLERANCE[dtype]
    assert error(state, last) <= TOLERANCE[dtype]
    before = run(q, k, v)[0]
    for x in (q, k, v):
        x[:, 23:] = 100.0
    after = run(q, k, v)[0]
    assert torch.equal(after[:, :23], before[:, :23])
    assert not torch.equal(after[:, 23:], before[:, 23:])


def test_no_rows_leave_the_state():
    q, k, v, state = draw(n=0)
    out, last = run(q, k, v, state)
    assert out.shape == (2, 0, 7)
    assert torch.equal(last, state)
    assert not run(q, k, v)[1].any()


def test_results_repeat_to_the_bit():
    given = [x.requires_grad_() for x in draw()]
    first, second = ([x, *torch.autograd.grad(x.sum(), given)] for x in (run(*given)[0], run(*given)[0]))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("plan", ["auto", "fused"])
def test_linear_attention_takes_it_where_it_runs(monkeypatch, plan):
    q, k, v = (x.unflatten(0, (1, 2)) for x in draw()[:3])
    options = {"decay": [0.9, 1.0], "normalize": True, "return_state": True}
    q, k = q.abs(), k.abs()
    expected = linear_attention(q, k, v, plan="direct", **options)
    monkeypatch.setattr("mercer.nn.attention.linear_attention.why_not_fused", lambda *_: None)
    calls = []
    monkeypatch.setattr(
        "mercer.nn.attention.linear_attention.fused_walk",
        lambda span, kind: calls.append(kind) or fused_walk(span, kind=kind),
    )
    found = linear_attention(q, k, v, plan=plan, **options)
    for mine, theirs in zip(found, expected, strict=True):
        assert error(mine, theirs.double()) <= 2e-6
    assert len(calls) == (plan == "fused")  # a CPU's own plan is the loop


def test_the_reason_why_it_does_not_run_is_told():
    q, k, v, state = draw()
    assert "run on CUDA, not on cpu" in why_not_fused(q, k, v)
    assert "must all be float32, bfloat16 or float16" in why_not_these(q, k.double(), v, None)
    assert "the state must be float32" in why_not_these(q, k, v, state.half())
    assert why_not_these(q, k, v, state) is None
    with pytest.raises(ValueError, match=r"plan='fused'.*CUDA.*Use plan='auto'"):
        linear_attention(q[None], k[None], v[None], plan="fused")
