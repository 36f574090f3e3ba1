"""Whole sequence networks: TransNormer, language models, their states and what they generate."""

from functools import partial

import pytest
import torch
from torch import nn

from mercer.errors import FileFormatError, ShapeError
from mercer.nn import DiagAttention, NormAttention, S4DKernel, SNNKLinear, SoftmaxAttention
from mercer.nn.models import LanguageModel, SequenceState, TransNormer, create_model, list_models
from mercer.nn.models.generation import sample
from mercer.nn.training import next_token_loss, train

SMALL = {"layers": 2, "width": 16, "heads": 2, "block": 8}
MIXERS = ["transnormer", "softmax", "linear", "norm", "diag"]


class Shift(nn.Module):
    """A mixer of somebody else: the row before, by one number a column."""

    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.gain * nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]

    def step(self, x, state):
        return self.gain * state, x

    def initial_state(self, batch):
        return self.gain.new_zeros(batch, len(self.gain))


class LastRow(Shift):
    """The same, with a prefill of its own."""

    def prefill(self, x):
        return self(x), x[:, -1]


def models():
    yield "T1", partial(TransNormer, 11, variant="T1", **SMALL)
    yield "T2", partial(TransNormer, 11, variant="T2", order=["norm", "diag"], **SMALL)
    for mixer in MIXERS:
        yield mixer, partial(LanguageModel, 11, mixer=mixer, **SMALL)
    yield "shift", partial(LanguageModel, 11, mixer=Shift, **SMALL)
    yield "last row", partial(LanguageModel, 11, mixer=LastRow, **SMALL)


MODELS = dict(models())
each = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)


def tokens(B=3, n=30):
    return torch.randint(11, (B, n))


@each
def test_step_by_step_and_in_pieces_is_the_whole(build):
    model, x = build().double().eval(), tokens()
    whole = model(x)
    assert whole.shape == (3, 30, 11)
    state, steps = None, []
    for t in range(30):
        logits, state = model.step(x[:, t], state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), whole, rtol=0, atol=1e-12)
    first, state = model.prefill(x[:, :13])
    second, _ = model.prefill(x[:, 13:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(x[:, 13:], state=state), whole[:, 13:], rtol=0, atol=1e-12)


@each
def test_the_future_does_not_change_the_past(build):
    model, x = build().train(), tokens()
    before = model(x)
    x[:, 20:] = (x[:, 20:] + 1) % 11
    after = model(x)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 20:], after[:, 20:])


@each
def test_the_most_probable_tokens_are_those_of_the_whole(build):
    model, prompt = build().double().eval(), tokens(2, 5)
    drawn = model.generate(prompt, 20, temperature=0.0)
    assert drawn.shape == (2, 20)
    whole = torch.cat([prompt, drawn], 1)
    assert torch.equal(model(whole)[:, 4:-1].argmax(-1), drawn)
    assert torch.equal(model.generate(prompt[0], 20, temperature=0.0), drawn[0])


def test_prompts_of_unequal_length():
    model, prompt = MODELS["T2"]().double().eval(), tokens(2, 9)
    drawn = model.generate(prompt, 12, temperature=0.0, lengths=torch.tensor([4, 9]))
    assert torch.equal(drawn[0], model.generate(prompt[0, :4], 12, temperature=0.0))
    assert torch.equal(drawn[1], model.generate(prompt[1], 12, temperature=0.0))
    assert torch.equal(drawn, model.generate(prompt, 12, temperature=0.0, lengths=[4, 9]))
    with pytest.raises(ShapeError, match=r"at least one token, but lengths are \[0, 4\]"):
        model.generate(prompt, 2, lengths=torch.tensor([0, 4]), stream=True)
    with pytest.raises(ValueError, match="Shift takes prompts of one length only"):
        MODELS["shift"]().generate(prompt, 2, lengths=torch.tensor([4, 9]))


def test_a_stream_gives_the_same_tokens_one_by_one():
    model = MODELS["T2"]().eval()
    prompt = tokens(1, 5)[0]
    drawn = model.generate(prompt, 10, top_k=3, random_state=4)
    stream = model.generate(prompt, 10, top_k=3, random_state=4, stream=True)
    assert [int(token) for token in stream] == drawn.tolist()
    assert not torch.equal(drawn, model.generate(prompt, 10, top_k=3, random_state=5))
    assert model.generate(prompt, 0).shape == (0,)


def test_generation_goes_on_from_a_state():
    model, x = MODELS["T2"]().double().eval(), tokens(2, 20)
    _, state = model.prefill(x[:, :12])
    expected = model.generate(x, 8, temperature=0.0)
    assert torch.equal(model.generate(x[:, 12:], 8, temperature=0.0, state=state), expected)


def test_draws_follow_temperature_and_top_k():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(4000, 4)
    generator = torch.Generator().manual_seed(0)
    drawn = sample(logits, temperature=0.5, top_k=2, generator=generator)
    # Between the two largest, exp(2 / 0.5) against exp(1 / 0.5): 0.881; four standard deviations are 0.02.
    assert float((drawn == 2).float().mean()) == pytest.approx(0.881, abs=0.02)
    assert set(drawn.tolist()) == {1, 2}
    drawn = sample(logits, temperature=1.0, top_k=9, generator=generator)
    assert drawn.bincount().float() / 4000 == pytest.approx(logits[0].softmax(0), abs=0.03)


def test_a_state_is_saved_loaded_stacked_and_picked_from(tmp_path):
    model, x = MODELS["T2"]().double().eval(), tokens(1, 20)
    states = [model.prefill(x[:, :n])[1] for n in (7, 12)]
    both = SequenceState.stack(states)
    both.save(tmp_path / "state.safetensors")
    again = SequenceState.load(tmp_path / "state.safetensors").to("cpu").select([1, 0])
    logits, _ = model.step(x[0, [12, 7]], again)
    torch.testing.assert_close(logits[0], model(x)[0, 12], rtol=0, atol=1e-12)
    torch.testing.assert_close(logits[1], model(x)[0, 7], rtol=0, atol=1e-12)
    data = bytearray((tmp_path / "state.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "state.safetensors").write_bytes(data)
    with pytest.raises(FileFormatError):
        SequenceState.load(tmp_path / "state.safetensors")
    with pytest.raises(TypeError, match="layer 1 has a list, which has no safe form in a file"):
        SequenceState((torch.zeros(1), [1])).save(tmp_path / "other")
    with pytest.raises(ValueError, match="state is of 2 layers, and the network has 1"):
        TransNormer(11, layers=1, width=16, heads=2).step(x[:, 0], both)


CONVOLUTIONS = {
    "long_conv": {"mixer": "long_conv"},
    **{
        f"sgconv, {method}": {"mixer": "sgconv", "state": method, "kernel_dim": 4}
        for method in ("ring", "relaxed", "structured", "block")
    },
    "s4d": {"mixer": "s4d"},
    "h3": {"mixer": "h3", "head_dim": 2},
    "h3, s4d": {"mixer": "h3", "kernel": partial(S4DKernel, state_dim=8)},
}
STREAMS = {
    **{mixer: {"mixer": mixer} for mixer in (*MIXERS, Shift)},
    **CONVOLUTIONS,
}


@pytest.mark.parametrize("options", STREAMS.values(), ids=map(str, STREAMS))
def test_every_state_goes_on_from_its_file(options, tmp_path):
    model, x = LanguageModel(11, length=30, **SMALL, **options).double().eval(), tokens()
    whole = model(x)
    _, state = model.prefill(x[:, :7])
    _, state = model.prefill(x[:, 7:12], state)
    for t in (12, 13):
        _, state = model.step(x[:, t], state)
    state.save(tmp_path / "state")
    again = SequenceState.load(tmp_path / "state")
    kept = state.clone()
    for t in range(14, 30):
        here, state = model.step(x[:, t], state)
        there, again = model.step(x[:, t], again)
        assert torch.equal(here, there)
        torch.testing.assert_close(here, whole[:, t], rtol=0, atol=1e-12)
    # What was kept has not gone on; sequences are picked, and those that came by other ways join them.
    steps = None
    for t in range(14):
        _, steps = model.step(x[:1, t], steps)
    joined = SequenceState.stack([kept.select([2, 0]), steps]).to("cpu")
    y, joined = model.prefill(x[[2, 0, 0], 14:20], joined)
    torch.testing.assert_close(y, whole[[2, 0, 0], 14:20], rtol=0, atol=1e-12)
    y, _ = model.step(x[[2, 0, 0], 20], joined)
    torch.testing.assert_close(y, whole[[2, 0, 0], 20], rtol=0, atol=1e-12)


def test_a_prompt_that_is_kept_is_gone_on_from_twice():
    model, x = LanguageModel(11, length=30, **SMALL, **CONVOLUTIONS["h3"]).double().eval(), tokens(2, 20)
    _, state = model.prefill(x[:, :12])
    first, second = (model.generate(x[:, 12:], 8, temperature=0.0, state=state) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first, model.generate(x, 8, temperature=0.0))


def test_convolutions_join_only_where_they_have_come_as_far():
    model = LanguageModel(11, length=30, **SMALL, **CONVOLUTIONS["sgconv, ring"]).eval()
    states = [model.prefill(tokens(1, n))[1] for n in (5, 9)]
    with pytest.raises(ValueError, match="after 5 and 9 steps"):
        SequenceState.stack(states)
    other = LanguageModel(11, length=30, **SMALL, **CONVOLUTIONS["sgconv, ring"]).eval()
    with pytest.raises(ValueError, match="of different kernels"):
        SequenceState.stack([states[0], other.prefill(tokens(1, 5))[1]])


def test_generation_takes_constant_memory():
    model = MODELS["T2"]()
    sizes = [
        sum(x.numel() for layer in model.prefill(tokens(1, n))[1].layers for x in layer.tensors().values())
        for n in (5, 500)
    ]
    assert sizes[0] == sizes[1]


def test_series_go_in_as_rows():
    model = TransNormer(d_input=3, **SMALL).double()
    x, lengths = torch.randn(2, 30, 3, dtype=torch.float64), torch.tensor([30, 7])
    assert model(x).shape == (2, 30, 16)
    y, _ = model.step(x[:, 7], model.prefill(x[:, :7])[1])
    torch.testing.assert_close(y, model(x)[:, 7])
    two_sided = TransNormer(d_input=3, causal=False, **SMALL).double()
    padded = two_sided(x, lengths=lengths)
    torch.testing.assert_close(padded[1, :7], two_sided(x[1:, :7])[0])
    assert not torch.allclose(two_sided(x)[1, :7], padded[1, :7])
    with pytest.raises(TypeError, match="has no tokens to generate"):
        model.generate(tokens(), 3)
    for call in (lambda: two_sided.step(x[:, 0]), lambda: two_sided.prefill(x), lambda: two_sided.initial_state(1)):
        with pytest.raises(ValueError, match=r"TransNormer\(causal=False\) has no"):
            call()


def test_the_variants_are_those_of_the_paper():
    t1, t2 = (create_model(f"transnormer_{v}", vocabulary=11, layers=5, width=16, heads=2) for v in ("t1", "t2"))
    kinds = [type(block.mixer) for block in t2.blocks]
    assert kinds == [DiagAttention, DiagAttention, NormAttention, NormAttention, NormAttention]
    assert [block.mixer.score for block in t1.blocks[:2]] == ["relu", "relu"]
    assert (t1.blocks[4].mixer.activation, t2.blocks[4].mixer.activation) == ("elu", "1+elu")
    assert set(list_models()) >= {"transnormer_t1", "transnormer_t2", "language_model"}


def test_all_mixers_have_the_same_number_of_parameters():
    counts = {mixer: sum(p.numel() for p in MODELS[mixer]().parameters()) for mixer in MIXERS}
    assert len(set(counts.values())) == 1


def test_options_reach_the_mixers():
    model = LanguageModel(11, mixer="softmax", positions="rope", **SMALL)
    assert all(isinstance(block.mixer, SoftmaxAttention) and block.mixer.positions == "rope" for block in model.blocks)
    assert LanguageModel(11, variant="T1", **SMALL).blocks[0].mixer.score == "relu"
    assert isinstance(LanguageModel(11, norm="layer", **SMALL).last_norm, nn.LayerNorm)
    assert isinstance(LanguageModel(11, norm=nn.RMSNorm, **SMALL).last_norm, nn.RMSNorm)


@pytest.mark.parametrize("variant", ["T1", "T2"])
def test_it_learns_a_sequence_by_heart(variant):
    torch.manual_seed(1)
    model, batch = TransNormer(11, variant=variant, **SMALL), tokens(2, 25)
    optimizer = partial(torch.optim.Adam, lr=1e-2)
    history = train(model, [batch] * 10, loss=next_token_loss, n_steps=40, optimizer=optimizer)
    # 2.4 nats is guessing; the two first tokens cannot be known better than by half.
    assert history.losses[-1] < 0.5 * history.losses[0]


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: TransNormer(), "give vocabulary or d_input, and not both; got None and None"),
        (lambda: TransNormer(11, d_input=3), "got 11 and 3"),
        (lambda: TransNormer(11, layers=0), "at least one layer"),
        (lambda: TransNormer(11, variant="T3"), 'choose "T1" or "T2"'),
        (lambda: TransNormer(11, layers=2, order=["norm"]), "order has 1 entries; give one a layer"),
        (lambda: TransNormer(11, layers=1, order=["soft"]), '"diag" or "norm", not \'soft\''),
        (
            lambda: LanguageModel(11, mixer="mamba"),
            "choose one of transnormer, softmax, linear, norm, diag, soft, long_conv",
        ),
        (lambda: LanguageModel(11, mixer="long_conv"), "give length, that of the longest sequence"),
        (lambda: LanguageModel(11, norm="batch"), "the model would see the future"),
        (lambda: LanguageModel(11, norm=nn.BatchNorm1d), "the model would see the future"),
        (lambda: LanguageModel(11, mixer=lambda width: nn.BatchNorm1d(width)), "the model would see the future"),
        (lambda: LanguageModel(11, norm="group"), 'choose "rms", "srms", "layer" or "batch"'),
        (lambda: LanguageModel(11, mixer="norm", causal=False), "NormAttention is not causal"),
    ],
)
def test_networks_that_cannot_be_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m: m(torch.zeros(3, dtype=torch.long)), ShapeError, r"x must be \(B, n\) tokens"),
        (lambda m: m.generate(torch.zeros(0, dtype=torch.long), 3), ShapeError, "whole numbers with n >= 1"),
        (lambda m: m.generate(torch.zeros(2, 3), 3), ShapeError, "whole numbers with n >= 1"),
        (lambda m: m.generate(tokens(), 3, temperature=-1.0), ValueError, "temperature=-1.0"),
        (lambda m: m.generate(tokens(), 3, top_k=0, stream=True), ValueError, "top_k is >= 1 or None"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(call, error, match):
    with pytest.raises(error, match=match):
        call(MODELS["T2"]())


def test_long_convolutions_go_on_step_by_step_too():
    model, x = LanguageModel(11, mixer="long_conv", length=30, layers=2, width=16).double().eval(), tokens()
    whole = model(x)
    state, steps = None, []
    for t in range(30):
        logits, state = model.step(x[:, t], state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), whole, rtol=0, atol=1e-12)
    drawn = model.generate(x[:, :20], 6, temperature=0.0)
    assert torch.equal(drawn[:, 0], whole[:, 19].argmax(-1))


def test_a_loss_by_parts_is_the_loss_and_keeps_no_logits():
    model = LanguageModel(30, layers=2, width=16, heads=2, block=8)
    tokens = torch.randint(30, (3, 12))
    whole, parts = next_token_loss(model, tokens), next_token_loss(model, tokens, n_rows=7)
    assert torch.allclose(parts, whole, rtol=1e-6)
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in (whole, parts)]
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*gradients, strict=True))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        next_token_loss(model, tokens, n_rows=7)
    assert not any(x.shape[-1:] == (30,) for x in kept)
    with pytest.raises(ValueError, match="n_rows=0"):
        next_token_loss(model, tokens, n_rows=0)


def test_a_language_model_with_kernels_in_place_of_gated_layers():
    def network(width):
        return torch.nn.Sequential(SNNKLinear(width, 2 * width, 8), torch.nn.Linear(2 * width, width))

    model = LanguageModel(11, mixer="softmax", layers=2, width=16, heads=2, feedforward=network).eval()
    x = torch.randint(11, (2, 9))
    whole = model(x)
    before, state = model.prefill(x[:, :8])
    torch.testing.assert_close(before, whole[:, :8])
    torch.testing.assert_close(model.step(x[:, 8], state)[0], whole[:, 8])
    assert sum(isinstance(part, SNNKLinear) for part in model.modules()) == 2
