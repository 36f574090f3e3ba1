"""Linear attention: the three forms are one, gradients, states, half types, bad input."""

import pytest
import torch

from mercer.errors import ShapeError
from mercer.nn.attention import chunked
from mercer.nn.attention.chunked import _Walk
from mercer.nn.functional import linear_attention


def draw(B=2, H=3, n=150, e=8, t=8, dtype=torch.float64):
    return (
        torch.randn(B, H, n, e, dtype=dtype),
        torch.randn(B, H, n, e, dtype=dtype),
        torch.randn(B, H, n, t, dtype=dtype),
    )


def recurrent(q, k, v, decay=None):
    """Token by token, in float64: what none of our code has written."""
    q, k, v = q.double(), k.double(), v.double()
    S, rows = torch.zeros(*q.shape[:2], q.shape[-1], v.shape[-1], dtype=torch.float64), []
    for i in range(q.shape[2]):
        S = S if decay is None else S * torch.as_tensor(decay, dtype=torch.float64).view(-1, 1, 1)
        S = S + k[:, :, i, :, None] * v[:, :, i, None]
        rows.append((q[:, :, i, None] @ S)[:, :, 0])
    return torch.stack(rows, 2)


def gap(found, expected):
    return float((found.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("decay", [None, 0.9, [1.0, 0.97, 0.3]], ids=str)
@pytest.mark.parametrize("plan", ["loop", "batched", "direct"])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_every_plan_and_chunk_is_the_recurrence(plan, decay, dtype, most):
    q, k, v = draw(t=5, dtype=dtype)
    expected = recurrent(q, k, v, decay)
    for chunk in (1, 7, 64, 150, 1000):
        found = linear_attention(q, k, v, decay=decay, plan=plan, chunk=chunk)
        assert found.dtype == dtype
        assert gap(found, expected) <= most


@pytest.mark.parametrize("n", [0, 1, 2, 63, 65])
@pytest.mark.parametrize("plan", ["loop", "batched", "direct"])
def test_short_and_odd_lengths(plan, n):
    q, k, v = draw(n=n)
    found, state = linear_attention(q, k, v, plan=plan, return_state=True)
    assert found.shape == v.shape
    assert torch.allclose(state, k.mT @ v)
    if n:
        assert gap(found, recurrent(q, k, v)) <= 1e-12


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("decay", [None, [0.9, 0.8, 1.0]], ids=str)
@pytest.mark.parametrize("plan", ["loop", "batched"])
def test_pieces_with_a_state_are_the_whole(plan, decay, normalize):
    q, k, v = draw()
    q, k = q.abs(), k.abs()
    options = {"decay": decay, "normalize": normalize, "plan": plan, "chunk": 16}
    whole, last = linear_attention(q, k, v, return_state=True, **options)
    state, rows = None, []
    for part in (slice(0, 1), slice(1, 50), slice(50, 50), slice(50, 150)):
        row, state = linear_attention(
            q[:, :, part], k[:, :, part], v[:, :, part], state=state, return_state=True, **options
        )
        rows.append(row)
    assert gap(torch.cat(rows, 2), whole) <= 1e-12
    assert gap(state, last) <= 1e-12


@pytest.mark.parametrize("decay", [None, [0.9, 0.8]], ids=str)
def test_gradients_of_gradients(decay):
    q, k, v = (x.requires_grad_() for x in draw(1, 2, 5, 2, 2))
    state = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)

    def attention(*inputs):
        *rows, before = inputs
        return linear_attention(*rows, state=before, decay=decay, chunk=2, plan="loop", return_state=True)

    assert torch.autograd.gradcheck(attention, (q, k, v, state))
    assert torch.autograd.gradgradcheck(attention, (q, k, v, state))


def test_forward_mode_has_the_same_derivatives():
    inputs = [x.requires_grad_() for x in (*draw(1, 2, 5, 2, 2), torch.randn(1, 2, 2, 2, dtype=torch.float64))]

    def attention(q, k, v, state):
        return linear_attention(q, k, v, state=state, decay=[0.9, 0.5], chunk=2, plan="loop", return_state=True)

    assert torch.autograd.gradcheck(attention, inputs, check_forward_ad=True, check_backward_ad=False)
    for i in range(4):  # along one of them, the others are constants
        alone = [x if i == j else x.detach() for j, x in enumerate(inputs)]
        assert torch.autograd.gradcheck(attention, alone, check_forward_ad=True, check_backward_ad=False)


@pytest.mark.parametrize("transform", ["vmap", "jacrev", "jacfwd", "hessian", "vmap of grad"])
def test_transforms_of_functions_see_the_definition(transform):
    k, state = torch.randn(2, 1, 2, 5, 3, dtype=torch.float64)[..., :2].unbind()
    state = state[:, :, :2]

    def attention(plan):
        return lambda q: linear_attention(q, k * q.sin(), q.cos(), state=state, decay=0.9, chunk=2, plan=plan)

    def loss(plan):
        return lambda q: attention(plan)(q).square().sum()

    func, q = torch.func, torch.randn(1, 2, 5, 2, dtype=torch.float64)
    many = torch.randn(1, 2, 3, 5, 2, dtype=torch.float64)  # mapped over an axis in the middle
    found, expected = (
        {
            "vmap": lambda plan: func.vmap(attention(plan), in_dims=2)(many),
            "jacrev": lambda plan: func.jacrev(attention(plan))(q),
            "jacfwd": lambda plan: func.jacfwd(attention(plan))(q),
            "hessian": lambda plan: func.hessian(loss(plan))(q),
            "vmap of grad": lambda plan: func.vmap(func.grad(loss(plan)), in_dims=2)(many),
        }[transform](plan)
        for plan in ("loop", "direct")
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_of_the_plans_agree(normalize):
    found = {}
    for plan in ("loop", "batched", "direct"):
        torch.manual_seed(0)
        q, k, v = (x.requires_grad_() for x in draw(n=70))
        out = linear_attention(q.abs() + 0.1, k.abs() + 0.1, v, plan=plan, chunk=16, normalize=normalize)
        out.square().sum().backward()
        found[plan] = torch.cat([x.grad.flatten() for x in (q, k, v)])
    assert gap(found["loop"], found["direct"]) <= 1e-12
    assert gap(found["batched"], found["direct"]) <= 1e-12


def test_only_gradients_that_are_asked_for_are_computed(monkeypatch):
    q, k, v = draw(n=20)
    calls = []
    monkeypatch.setattr(chunked, "_apply", lambda walk, span: calls.append(span.reverse) or _Walk.apply(walk, *span))
    linear_attention(q, k, v.requires_grad_()).sum().backward()
    assert calls == [False, True]  # there, and back for v alone


def test_a_state_alone_has_gradients():
    q, k, v = (x.requires_grad_() for x in draw(n=20))
    _, state = linear_attention(q, k, v, return_state=True)
    state.sum().backward()
    assert torch.allclose(k.grad, v.detach().sum(-1, keepdim=True).expand_as(k))
    assert q.grad.abs().max() == 0.0


def test_the_future_does_not_change_the_past():
    q, k, v = draw(dtype=torch.float32)
    before = linear_attention(q, k, v)
    for x in (q, k, v):
        x[:, :, 100:] = 7.0
    after = linear_attention(q, k, v)
    assert torch.equal(before[:, :, :100], after[:, :, :100])
    assert (before[:, :, 100:] - after[:, :, 100:]).abs().min() > 0.0


def test_two_sided_attention_sees_everything():
    q, k, v = draw()
    assert gap(linear_attention(q, k, v, causal=False), (q @ k.mT) @ v) <= 1e-12
    q, k = q.abs(), k.abs()
    weights = q @ k.mT
    expected = weights / weights.sum(-1, keepdim=True) @ v
    assert gap(linear_attention(q, k, v, causal=False, normalize=True), expected) <= 1e-12


def test_rows_without_any_score_stay_zero():
    q, k, v = draw(n=5)
    assert linear_attention(torch.zeros_like(q), k, v, normalize=True).abs().max() == 0.0


@pytest.mark.parametrize("plan", ["loop", "batched"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_float32(plan, dtype):
    q, k, v = (x.abs().to(dtype) for x in draw(n=600))
    found, state = linear_attention(q, k, v, plan=plan, return_state=True)
    expected = recurrent(q, k, v)
    assert (found.dtype, state.dtype) == (dtype, torch.float32)
    # One rounding of the output: 2^-9 of bfloat16.
    assert gap(found, expected) <= 4e-3
    assert gap(state, k.double().mT @ v.double()) <= 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        exact = linear_attention(q.float(), k.float(), v.float(), plan=plan)
    assert gap(exact, expected) <= 1e-5


@pytest.mark.parametrize("plan", ["loop", "batched"])
def test_memory_for_the_backward_pass_is_linear_in_the_length(plan):
    held = []
    for n in (512, 1024):
        q, k, v = (x.requires_grad_() for x in draw(1, 2, n, 16, 16, torch.float32))
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.update({x.data_ptr(): x.untyped_storage().nbytes()}) or x, lambda x: x
        ):
            linear_attention(q, k, v, plan=plan)
        held.append(sum(sizes.values()))
    assert held[1] <= 2.1 * held[0]
    if plan == "loop":
        assert held[1] == 3 * 2 * 1024 * 16 * 4  # q, k and v


@pytest.mark.slow(reason="compiles")
def test_it_compiles_in_one_graph_and_gives_the_same():
    q, k, v = draw(1, 2, 150, 8, 8, torch.float32)
    compiled = torch.compile(linear_attention, fullgraph=True, backend="aot_eager")
    out, state = compiled(q, k, v, decay=0.9, return_state=True)
    expected, after = linear_attention(q, k, v, decay=0.9, return_state=True)
    assert torch.allclose(out, expected, atol=1e-5)
    assert torch.allclose(state, after, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"k": torch.zeros(2, 3, 9, 8)}, ShapeError, r"q and k must be \(B, H, n, e\)"),
        ({"v": torch.zeros(2, 3, 9, 8)}, ShapeError, r"and v \(B, H, n, t\)"),
        ({"state": torch.zeros(2, 3, 8, 7)}, ShapeError, r"state has shape \(2, 3, 8, 7\).*another `normalize`"),
        ({"chunk": 0}, ValueError, r"chunk=0\): it is a number of rows >= 1"),
        ({"plan": "fast"}, ValueError, "choose one of auto, loop, batched, direct"),
        ({"decay": [0.5, 0.5]}, ShapeError, "give one value or 3"),
        ({"decay": 1.5}, ValueError, "lies above 0 and is at most 1, but is 1.5"),
        ({"decay": torch.ones(3, requires_grad=True)}, ValueError, "decay gets no gradient"),
        ({"causal": False, "decay": 0.5}, ValueError, "need an order"),
        ({"causal": False, "return_state": True}, ValueError, "need an order"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, match):
    inputs = {name: torch.zeros(2, 3, 10, 8) for name in "qkv"}
    with pytest.raises(error, match=match):
        linear_attention(**inputs | change)
