"""Models of sequences with any mixer: shapes, steps, padding, what they refuse, and that they learn."""

from functools import partial

import pytest
import torch

from mercer.errors import ShapeError
from mercer.nn import GatedMLP, H3Conv, LongConv, SGConvKernel, parameter_groups
from mercer.nn.models import MIXERS, LanguageModel, MixerBlock, SequenceModel, create_model, list_models
from mercer.nn.training import TensorBatches, train

SG = partial(SGConvKernel, kernel_dim=4)
CAUSAL = partial(LongConv, length=40, kernel=SG)
TWO_SIDED = partial(LongConv, length=40, kernel=SG, causal=False)
SMALL = {"layers": 2, "width": 8, "random_state": 0}


class Shift(torch.nn.Module):
    """A mixer that knows nothing of mercer."""

    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, u):
        return self.weight * u.roll(1, 1)


@pytest.mark.parametrize("prenorm", [True, False])
@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("feedforward", [None, 16])
def test_steps_are_the_whole_and_the_future_is_not_seen(prenorm, norm, feedforward):
    model = SequenceModel(3, 5, layer=CAUSAL, pool=None, norm=norm, prenorm=prenorm, feedforward=feedforward, **SMALL)
    assert model.causal
    model = model.double().eval()
    x = torch.randn(2, 40, 3).double()
    whole = model(x)
    states, found = model.initial_state(2), []
    for t in range(40):
        y, states = model.step(x[:, t], states)
        found.append(y)
    assert torch.allclose(torch.stack(found, 1), whole, atol=1e-12)
    other = torch.cat([x[:, :17], torch.randn(2, 23, 3).double()], 1)
    assert torch.allclose(model(other)[:, :17], whole[:, :17], atol=1e-12)


def test_a_language_model_generates_token_by_token():
    for gated in (False, True):
        mixer = partial(H3Conv if gated else LongConv, length=30, kernel=SG)
        model = SequenceModel(11, 11, layer=mixer, pool=None, tokens=True, **SMALL).eval()
        tokens = torch.randint(11, (2, 30))
        whole = model(tokens)
        states = model.initial_state(2)
        for t in range(30):
            y, states = model.step(tokens[:, t], states)
        assert whole.shape == (2, 30, 11)
        assert torch.allclose(y, whole[:, -1], atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_padding_changes_nothing(pool):
    for layer in (CAUSAL, TWO_SIDED):
        model = SequenceModel(2, 3, layer=layer, pool=pool, **SMALL).eval()
        x = torch.randn(2, 40, 2)
        lengths = torch.tensor([25, 40])
        y = model(x, lengths=lengths)
        assert torch.allclose(model(x[:1, :25]), y[:1], atol=1e-5)
        x[0, 25:] = 100.0
        assert torch.allclose(model(x, lengths=lengths), y, atol=1e-5)
        assert not torch.allclose(model(x), y, atol=1e-2)


def test_padding_stays_out_of_batch_norms_in_training():
    options = {**SMALL, "layer": "sgconv", "length": 16, "norm": "batch"}
    for prenorm in (True, False):
        model, other = (SequenceModel(1, 3, prenorm=prenorm, **options).train() for _ in range(2))
        x, lengths = torch.randn(2, 10, 1), torch.tensor([4, 10])
        changed = x.clone()
        changed[0, 4:] = 9.0
        torch.testing.assert_close(other(changed, lengths=lengths), model(x, lengths=lengths))
        for a, b in zip(model.buffers(), other.buffers(), strict=True):  # the running means too
            torch.testing.assert_close(a, b)


def test_a_class_of_layers_is_given_the_length():
    model = SequenceModel(1, 3, layer=LongConv, length=64, **SMALL)
    assert [block.mixer.length for block in model.blocks] == [64, 64]


def test_pools_are_what_they_say():
    every = SequenceModel(2, 3, layer=TWO_SIDED, pool=None, norm="batch", **SMALL).eval()
    x = torch.randn(2, 40, 2)
    for pool, expected in (("mean", every(x).mean(1)), ("last", every(x)[:, -1])):
        model = SequenceModel(2, 3, layer=TWO_SIDED, pool=pool, norm="batch", **SMALL).eval()
        assert torch.allclose(model(x), expected, atol=1e-5)


def test_any_mixer_will_do():
    model = SequenceModel(2, 3, layer=Shift, **SMALL)
    assert model(torch.randn(2, 10, 2)).shape == (2, 3)
    assert not model.causal
    with pytest.raises(ValueError, match="Shift has no steps"):
        model.eval().initial_state()
    assert SequenceModel(2, 3, layer=partial(H3Conv, length=20), **SMALL)(torch.randn(1, 20, 2)).shape == (1, 3)


def test_batch_norm_in_a_causal_model_is_refused():
    for norm in ("batch", torch.nn.BatchNorm1d):
        with pytest.raises(ValueError, match="in training the model would see the future"):
            SequenceModel(2, 3, layer=CAUSAL, norm=norm, **SMALL)
    # What it would do: in training an early output depends on later inputs.
    layer = torch.nn.BatchNorm1d(1)
    x = torch.randn(1, 1, 10)
    other = torch.cat([x[..., :5], torch.randn(1, 1, 5)], -1)
    assert not torch.allclose(layer(x)[..., :5], layer(other)[..., :5])


def test_kernels_keep_their_learning_rate_inside_a_model():
    model = SequenceModel(2, 3, layer=CAUSAL, **SMALL)
    groups = model.parameter_groups()
    rates = {group.get("lr"): len(group["params"]) for group in groups}
    assert rates[1e-3] == 2 * 5
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    assert [len(g["params"]) for g in parameter_groups(torch.nn.Linear(2, 2))] == [1, 1]


def test_it_learns_where_a_pulse_was():
    x = torch.zeros(64, 40, 1)
    places = torch.randint(2, (64,), generator=torch.Generator().manual_seed(0))
    x[torch.arange(64), 5 + 20 * places] = 1.0
    model = SequenceModel(1, 2, layer=CAUSAL, pool="last", **SMALL)

    def loss(model, batch):
        return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])

    history = train(
        model, TensorBatches([x, places], 32), loss=loss, n_epochs=40, optimizer=partial(torch.optim.Adam, lr=0.01)
    )
    assert history.losses[-1] < 0.1
    assert bool((model(x).argmax(1) == places).all())


TWO_FORMS = [name for name in MIXERS if name not in ("soft", "h3", "butterfly")]


@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer_is_one_argument(name):
    options = {"layer": name, "heads": 2, "block": 8, "length": 40, "feedforward": GatedMLP, **SMALL}
    x, lengths = torch.randn(2, 40, 2), torch.tensor([40, 23])
    if name != "h3":
        model = SequenceModel(2, 3, **options).eval()
        assert model(x).shape == (2, 3)
        assert not model.causal
    if name in (*TWO_FORMS, "soft"):
        padded = model(x, lengths=lengths)
        x[1, 23:] = 50.0
        torch.testing.assert_close(model(x, lengths=lengths), padded)
    if name in (*TWO_FORMS, "h3"):
        assert SequenceModel(2, 3, causal=True, **options).causal
        assert LanguageModel(11, mixer=name, layers=1, width=8, heads=2, block=8, length=40).causal
    else:
        with pytest.raises(ValueError, match="no causal form"):
            SequenceModel(2, 3, causal=True, **options)
        with pytest.raises(ValueError, match="no causal form"):
            LanguageModel(11, mixer=name, layers=1, width=8, heads=2, length=40)


def test_a_mixer_that_would_mix_padding_in_is_refused():
    model = SequenceModel(2, 3, layer="butterfly", length=40, **SMALL)
    with pytest.raises(ValueError, match="takes neither lengths nor a mask, so padding would be mixed in"):
        model(torch.randn(2, 40, 2), lengths=torch.tensor([40, 23]))
    with pytest.raises(ValueError, match="'h3' has a causal form only"):
        SequenceModel(2, 3, layer="h3", length=40, **SMALL)
    with pytest.raises(ValueError, match="give length, that of the longest sequence"):
        SequenceModel(2, 3, layer="sgconv", **SMALL)
    # A causal mixer needs no lengths: what is padded comes later.
    causal = SequenceModel(2, 3, layer=partial(H3Conv, length=40), **SMALL).eval()
    x, lengths = torch.randn(2, 40, 2), torch.tensor([40, 23])
    y = causal(x, lengths=lengths)
    x[1, 23:] = 50.0
    torch.testing.assert_close(causal(x, lengths=lengths), y)


def test_both_networks_stand_on_the_same_blocks():
    classifier = create_model(
        "sequence_model", d_input=1, d_output=2, layer="norm", causal=True, feedforward=GatedMLP, **SMALL
    )
    language = LanguageModel(11, mixer="norm", layers=2, width=8)
    assert all(type(block) is MixerBlock for model in (classifier, language) for block in model.blocks)
    blocks = {name: value for name, value in language.state_dict().items() if name.startswith("blocks.")}
    assert not classifier.load_state_dict(blocks, strict=False).unexpected_keys
    x = torch.randn(2, 30, 8)
    torch.testing.assert_close(classifier.blocks(x), language.blocks(x), rtol=0, atol=0)


def test_kernels_keep_their_rate_in_a_language_model():
    model = LanguageModel(11, mixer="sgconv", length=64, kernel_dim=8, layers=2, width=8)
    groups = model.parameter_groups()
    kernels = {id(p) for name, p in model.named_parameters() if ".kernel." in name}
    slow = [group for group in groups if group.get("lr") == 1e-3]
    assert {id(p) for group in slow for p in group["params"]} == kernels
    assert all(group["weight_decay"] == 0.0 for group in slow)
    assert all(p.dim() > 1 for group in groups if "weight_decay" not in group for p in group["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_batches_are_all_rows_once_in_an_order_that_is_seeded():
    x = torch.arange(10)
    loader = TensorBatches([x, 2 * x], 4)
    first = [batch[0] for batch in loader]
    assert [len(rows) for rows in first] == [4, 4, 2]
    assert sorted(torch.cat(first).tolist()) == list(range(10))
    loader.generator.manual_seed(3)
    again = torch.cat([batch[1] for batch in loader])
    loader.generator.manual_seed(3)
    assert torch.equal(torch.cat([batch[0] for batch in loader]) * 2, again)
    with pytest.raises(ShapeError, match="equally many rows"):
        TensorBatches([x, x[:3]], 4)
    with pytest.raises(ValueError, match="batch_size=0"):
        TensorBatches([x], 0)


def test_the_same_seed_gives_the_same_model():
    a, b = (SequenceModel(2, 3, layer=CAUSAL, **SMALL) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert "long_conv_classifier" in list_models()


def test_what_makes_no_model_is_refused():
    for options, message in (
        ({"layers": 0}, "layers=0"),
        ({"norm": "group"}, "norm='group': choose"),
        ({"pool": "max"}, "pool='max' is not"),
    ):
        with pytest.raises(ValueError, match=message):
            SequenceModel(2, 3, layer=CAUSAL, **{**SMALL, **options})
    model = SequenceModel(2, 3, layer=CAUSAL, **SMALL)
    with pytest.raises(ShapeError, match=r"x is \(B, L, 2\), not"):
        model(torch.randn(2, 10, 3))
    with pytest.raises(ShapeError, match=r"lengths must be \(2,\)"):
        model(torch.randn(2, 10, 2), lengths=torch.tensor([1]))
    with pytest.raises(ValueError, match="steps are for evaluation"):
        model.train().step(torch.randn(2, 2), [])
    with pytest.raises(ShapeError, match=r"x is \(B, L\), not"):
        SequenceModel(5, 3, layer=CAUSAL, tokens=True, **SMALL)(torch.randn(2, 10, 5))


def test_no_batch_norm_comes_into_a_causal_model_by_another_door():
    class Network(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(width)

        def forward(self, x):
            return self.norm(x.mT).mT

    class Mixer(Network):
        causal = True

    for options in ({"layer": "norm", "feedforward": Network}, {"layer": Mixer}):
        with pytest.raises(ValueError, match="batch norm"):
            SequenceModel(3, 2, layers=2, width=16, causal=True, pool=None, **options)
    SequenceModel(3, 2, layer="norm", layers=2, width=16, feedforward=Network)  # it sees both ways anyway


def test_an_option_that_a_mixer_does_not_take_is_told():
    with pytest.raises(ValueError, match=r"mixer='norm' takes no such option: .*'foo'"):
        SequenceModel(3, 2, layer="norm", width=16, foo=1)
