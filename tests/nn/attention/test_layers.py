"""Attention layers: what every one of them must do."""

from functools import partial

import pytest
import torch
from torch import nn

from mercer.errors import ShapeError
from mercer.nn import (
    DiagAttention,
    LinearAttention,
    NormAttention,
    RotaryPositions,
    SoftmaxAttention,
    SoftmaxFreeAttention,
)
from mercer.nn.attention.states import BlockState, LinearState

WIDTH, HEADS = 16, 2
CAUSAL = {
    "norm": partial(NormAttention),
    "norm, elu": partial(NormAttention, activation="elu", positions="rope"),
    "norm, relu": partial(NormAttention, activation="relu", positions=None),
    "norm, decay": partial(NormAttention, activation=torch.sigmoid, decay=(0.9, 0.99)),
    "norm, gate": partial(NormAttention, activation="swish", gate=True),
    "linear": partial(LinearAttention),
    "linear, no positions": partial(LinearAttention, positions=None),
    "diag": partial(DiagAttention, block=8),
    "diag, relu": partial(DiagAttention, block=8, score="relu", positions="rope"),
    "diag, window": partial(DiagAttention, block=8, window=True),
    "diag, relu window": partial(DiagAttention, block=5, window=True, score="relu", positions=None),
    "diag, one block": partial(DiagAttention, block=1000),
    "softmax": partial(SoftmaxAttention),
}
TWO_SIDED = {name: partial(build, causal=False) for name, build in CAUSAL.items() if name != "norm, decay"}
causal = pytest.mark.parametrize("build", CAUSAL.values(), ids=CAUSAL)
both = pytest.mark.parametrize(
    "build", [*CAUSAL.values(), *TWO_SIDED.values()], ids=[*CAUSAL, *(f"{name}, two-sided" for name in TWO_SIDED)]
)


def make(build, dtype=torch.float64):
    layer = build(WIDTH, HEADS)
    if layer.rotary is not None:  # angles that are no longer those of the start
        layer.rotary.angles.data.mul_(1.1)
    for parameter in layer.parameters():  # biases too
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return layer.to(dtype)


def rows(B=3, n=37, dtype=torch.float64):
    return torch.randn(B, n, WIDTH, dtype=dtype)


def gap(found, expected):
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


@both
@pytest.mark.parametrize("n", [1, 37])
def test_a_layer_is_its_weights_times_the_values(build, n):
    layer, x = make(build), rows(n=n)
    o = (layer.weights(x) @ layer._heads(x)[2]).transpose(1, 2).flatten(2)
    normed = o if getattr(layer, "norm", None) is None else layer.norm(o)
    gate = 1.0 if getattr(layer, "gate", None) is None else layer.gate(x)
    assert gap(layer(x), layer.out(normed * gate)) <= 1e-12


def test_blocks_are_torchs_attention_of_each_block():
    layer, x = make(partial(DiagAttention, block=8), torch.float32), rows(n=40, dtype=torch.float32)
    q, k, v = layer._turned(x, None)
    cut = [t.unflatten(2, (5, 8)) for t in (q, k, v)]  # positions begin anew in each block
    o = torch.nn.functional.scaled_dot_product_attention(*cut, is_causal=True).flatten(2, 3)
    expected = layer.out(o.transpose(1, 2).flatten(2))
    assert gap(layer(x), expected) <= 1e-6


@causal
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_token_by_token_and_piece_by_piece_are_the_whole(build, dtype, most):
    layer, x = make(build, dtype), rows(dtype=dtype)
    whole = layer(x)
    state, steps = None, []
    for t in range(x.shape[1]):
        y, state = layer.step(x[:, t], state)
        steps.append(y)
    assert gap(torch.stack(steps, 1), whole) <= most
    state, pieces = layer.initial_state(3), []
    for piece in x.split([1, 15, 8, 13], 1):
        y, state = layer.prefill(piece, state)
        pieces.append(y)
    assert gap(torch.cat(pieces, 1), whole) <= most
    assert state.position.tolist() == [37] * 3
    assert gap(layer(x[:, 20:], state=layer.prefill(x[:, :20])[1]), whole[:, 20:]) <= most


@causal
def test_the_future_does_not_change_the_past(build):
    layer, x = make(build), rows()
    before = layer(x)
    x[:, 20:] += 3.0
    assert torch.equal(layer(x)[:, :20], before[:, :20])


@both
def test_padding_is_seen_by_no_row(build):
    layer, x, lengths = make(build), rows(), torch.tensor([5, 21, 37])
    x[0, 5:], x[1, 21:] = torch.nan, 1e6
    found = layer(x, lengths=lengths)
    for b, n in enumerate(lengths):
        assert gap(found[b, :n], layer(x[b : b + 1, :n])[0]) <= 1e-12


@causal
def test_sequences_of_unequal_length_go_on_as_if_alone(build):
    layer, x, more = make(build), rows(), rows(n=11)
    lengths = torch.tensor([5, 21, 37])
    _, state = layer.prefill(x, lengths=lengths)
    step, after = layer.step(more[:, 0], state)
    rest, _ = layer.prefill(more[:, 1:], after, lengths=torch.tensor([10, 3, 7]))
    for b, (n, m) in enumerate(zip(lengths, (10, 3, 7), strict=True)):
        alone = layer(torch.cat([x[b, :n], more[b, : m + 1]])[None])[0]
        assert gap(step[b], alone[n]) <= 1e-12
        assert gap(rest[b, :m], alone[n + 1 :]) <= 1e-12


@causal
def test_states_can_be_stacked_and_picked_from(build):
    layer, x = make(build), rows(n=6)
    states = [layer.prefill(x[b : b + 1, : 4 + b])[1] for b in range(3)]
    stacked = type(states[0]).stack(states).select([2, 0]).to("cpu")
    assert stacked.position.tolist() == [6, 4]
    y, _ = layer.step(x[[2, 0], 0], stacked)
    for b, found in zip((2, 0), y, strict=True):
        assert gap(found, layer.step(x[b : b + 1, 0], states[b])[0][0]) <= 1e-12


@causal
def test_a_state_keeps_its_size(build):
    layer = make(build)
    if isinstance(layer, SoftmaxAttention):
        pytest.skip("softmax attention needs all that has been")
    sizes = [sum(x.numel() for x in layer.prefill(rows(n=n))[1].tensors().values()) for n in (1, 40, 200)]
    assert len(set(sizes)) == 1


@both
def test_gradients_are_those_of_finite_differences(build):
    layer = make(build)
    assert torch.autograd.gradcheck(layer, (rows(1, 11).requires_grad_(),), fast_mode=True)
    layer(rows()).square().sum().backward()
    # The bias of the keys moves all scores of a softmax alike, so its gradient may be no more than round-off.
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types(build, dtype):
    layer, x = make(build, torch.float32), rows(1, 300, torch.float32)
    expected = layer(x)
    found = layer.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    assert gap(found.float(), expected) <= (0.06 if dtype is torch.bfloat16 else 0.01)
    if layer.causal:
        step, _ = layer.step(x[:, 5].to(dtype), layer.prefill(x[:, :5].to(dtype))[1])
        assert step.dtype == dtype


@causal
def test_steps_under_autocast_are_the_whole(build):
    layer, x = make(build, torch.float32), rows(2, 12, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        whole = layer(x)
        first, state = layer.prefill(x[:, :9])
        second, state = layer.prefill(x[:, 9:11], state)
        last, _ = layer.step(x[:, 11], state)
    assert gap(torch.cat([first, second, last[:, None]], 1).float(), whole.float()) <= 0.03


@pytest.mark.slow(reason="compiles")
@pytest.mark.parametrize("name", ["norm", "diag", "diag, relu window", "softmax"])
def test_it_compiles_in_one_graph(name):
    torch._dynamo.reset()
    layer, x = make(CAUSAL[name], torch.float32), rows(2, 37, torch.float32)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert gap(compiled(x), layer(x)) <= 1e-5


@pytest.mark.slow(reason="compiles")
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("activation", ["1+elu", "elu"])
@pytest.mark.parametrize("kind", [NormAttention, LinearAttention])
def test_compiled_training_has_the_same_gradients(kind, activation, is_causal):
    torch._dynamo.reset()
    layer, x = make(partial(kind, activation=activation, causal=is_causal), torch.float32), rows(2, 12, torch.float32)
    if activation == "elu":  # scores that change sign divide by anything: positive ones, for a mild comparison
        for part in (layer.query, layer.key):
            part.bias.data.add_(3.0)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, expected = (torch.autograd.grad(f(x).square().sum(), list(layer.parameters())) for f in (compiled, layer))
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: NormAttention(10, 4), r"NormAttention\(width=10, heads=4\): the width must be a multiple"),
        (lambda: DiagAttention(6, 2), "turn pairs, but heads have 3 features"),
        (lambda: NormAttention(6, 2, positions="sine"), 'choose "lrpe", "rope" or None'),
        (
            lambda: NormAttention(8, 2, activation="softmax"),
            "choose one of 1\\+elu, elu, relu, swish, or give a function",
        ),
        (lambda: NormAttention(8, 2, decay=(0.5,)), "give one value, or 2, above 0 and at most 1"),
        (lambda: NormAttention(8, 2, decay=0.5, causal=False), "a decay needs an order"),
        (lambda: DiagAttention(8, 2, block=0), r"block=0\): it is a whole number of rows >= 1"),
        (lambda: DiagAttention(8, 2, score="exp"), 'choose "softmax" or "relu"'),
    ],
)
def test_layers_that_cannot_be_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


@pytest.mark.parametrize("build", TWO_SIDED.values(), ids=TWO_SIDED)
def test_two_sided_layers_have_no_steps(build):
    layer, x = build(WIDTH, HEADS), rows(dtype=torch.float32)
    for call in (lambda: layer.step(x[:, 0]), lambda: layer.prefill(x), lambda: layer.initial_state(1)):
        with pytest.raises(ValueError, match=r"rows wait for later ones\. Make it causal=True"):
            call()
    with pytest.raises(ValueError, match="has no a state"):
        layer(x, state=CAUSAL["norm"](WIDTH, HEADS).initial_state(3))


@causal
def test_inputs_of_another_form_are_refused(build):
    layer = build(WIDTH, HEADS)
    with pytest.raises(ShapeError, match=r"x must be \(B, n, 16\), but is \(3, 37, 15\)"):
        layer(torch.zeros(3, 37, 15))
    with pytest.raises(ShapeError, match=r"x must be \(B, n, 16\)"):
        layer.step(torch.zeros(3, 15))
    for lengths in ([1, 2], [1, 2, 38], [1, 2, -1]):
        with pytest.raises(ShapeError, match="whole numbers from 0 to 37, one a sequence"):
            layer(torch.zeros(3, 37, 16), lengths=torch.tensor(lengths))


@causal
def test_states_that_are_not_its_own_are_refused(build):
    layer, x = build(WIDTH, HEADS), rows(dtype=torch.float32)
    is_linear = isinstance(layer, NormAttention | LinearAttention)
    other = CAUSAL["diag" if is_linear else "norm"](WIDTH, HEADS).initial_state(3)
    kinds = ("LinearState", "BlockState") if is_linear else ("BlockState", "LinearState")
    wrong = [(state, TypeError, rf"its state is a .*\.{kinds[0]}, .*not a") for state in (other, x)]
    wrong += [(layer.initial_state(2), ShapeError, "for 3 sequences its state has")]
    wrong += [(build(2 * WIDTH, HEADS).initial_state(3), ShapeError, "a layer with other arguments")]
    for state, error, match in wrong:
        for call in (lambda s: layer.step(x[:, 0], s), lambda s: layer.prefill(x, s), lambda s: layer(x, state=s)):
            with pytest.raises(error, match=match):
                call(state)


def test_a_state_of_other_blocks_or_without_sums_is_refused():
    x = rows(dtype=torch.float32)
    for window in (False, True):
        layer, state = DiagAttention(WIDTH, HEADS, block=8), DiagAttention(WIDTH, HEADS, block=5, window=window)
        for call in (layer.step, layer.prefill):
            with pytest.raises(ShapeError, match=r"\(3, 2, 8, 8\)"):
                call(x[:, 0] if call == layer.step else x, state.initial_state(3))
    with pytest.raises(ShapeError, match="total"):
        LinearAttention(WIDTH, HEADS).prefill(x, NormAttention(WIDTH, HEADS).initial_state(3))


@causal
def test_lengths_may_be_a_list(build):
    layer, x = build(WIDTH, HEADS), rows(dtype=torch.float32)
    assert torch.equal(layer(x, lengths=[5, 21, 37]), layer(x, lengths=torch.tensor([5, 21, 37])))
    if layer.__dict__.get("decay") is None:
        assert layer.prefill(x, lengths=[5, 21, 37])[1].position.tolist() == [5, 21, 37]


def test_scores_know_distances_only():
    positions = RotaryPositions(8)
    x, y = torch.randn(2, 1, 8, dtype=torch.float64)
    scores = [
        (positions(x, torch.tensor([far + gap])) @ positions(y, torch.tensor([far])).mT).item()
        for far, gap in ((0, 3), (5, 3), (1_000_000, 3), (0, 4))
    ]
    assert scores[:3] == pytest.approx([scores[0]] * 3, abs=1e-9)
    assert abs(scores[3] - scores[0]) > 1e-3


def test_angles_keep_their_digits_in_half_types():
    positions = nn.Sequential(RotaryPositions(8))
    angles = positions[0].angles.detach().clone()
    assert torch.equal(positions.half()[0].angles, angles)
    assert positions.double()[0].angles.dtype == torch.float64
    far = torch.tensor([63_999, 64_000])
    x = torch.ones(2, 8)
    fine = positions.float()[0].rotate(x, positions[0].table(far, torch.float32))
    coarse = positions.half()[0].rotate(x.half(), positions[0].table(far, torch.float16))
    assert gap(coarse.float(), fine) <= 2e-3


def test_the_states_of_the_two_kinds():
    x = rows(1, 10)
    state = make(CAUSAL["norm"]).prefill(x)[1]
    assert isinstance(state, LinearState)
    assert state.memory.shape == (1, 2, 8, 8)
    assert state.total is None
    state = make(CAUSAL["diag, window"]).prefill(x)[1]
    assert isinstance(state, BlockState)
    assert state.keys.shape == (1, 2, 16, 8)


@pytest.mark.parametrize("name", ["norm", "linear", "norm, decay", "diag, relu", "soft", "soft, steps"])
def test_gradients_of_each_sample_are_those_of_batches_of_one(name):
    soft = partial(SoftmaxFreeAttention, WIDTH, HEADS, landmarks=3)
    made = {"soft": soft, "soft, steps": partial(soft, n_iter=20)}
    layer, x = made[name]().double() if name in made else make(CAUSAL[name]), rows(3, 9)
    weights = {key: value.detach() for key, value in layer.named_parameters()}

    def loss(weights, row):
        return torch.func.functional_call(layer, weights, (row[None],)).square().mean()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for i in range(3):
        expected = torch.autograd.grad(layer(x[i : i + 1]).square().mean(), list(layer.parameters()))
        for one, other in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(one[i], other, rtol=1e-9, atol=1e-12)
