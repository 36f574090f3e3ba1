"""Adapters in trained models: found places, frozen rest, merged, removed, saved."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from mercer.errors import ApproximationWarning, FileFormatError, ShapeError
from mercer.kernels.features import PowerSeries
from mercer.nn import LowRankLinear, SNNKAdapter, add_adapters, add_low_rank, load_adapters
from mercer.nn.models import LanguageModel, SequenceModel, SNNKTransformer, SoftSize, SoftTransformer, TransNormer


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, x):
        return x + self.inner(x)


class BertOutput(nn.Module):
    """As in transformers: dense, dropout, then the residual."""

    def __init__(self):
        super().__init__()
        self.dense, self.dropout, self.LayerNorm = nn.Linear(8, 6), nn.Dropout(0.1), nn.LayerNorm(6)

    def forward(self, hidden, x):
        return self.LayerNorm(self.dropout(self.dense(hidden)) + x)


class VisionBlock(nn.Module):
    """As in timm."""

    def __init__(self):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = nn.LayerNorm(6), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 6)


class VisionLayer(nn.Module):
    """As in transformers 5."""

    def __init__(self):
        super().__init__()
        self.layernorm_before, self.layernorm_after = nn.LayerNorm(6), nn.LayerNorm(6)
        self.attention, self.mlp = Pair(), nn.Linear(6, 6)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(x), "kept"


def network():
    torch.manual_seed(1)
    return nn.Sequential(Block(), Block(), nn.Linear(6, 3))


def train(report, model, x, y):
    optimizer = torch.optim.Adam(report.parameters(), lr=0.02)
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def is_block(name, module):
    return isinstance(module, Block)


def test_adapters_train_while_the_rest_is_frozen_and_come_out_again(tmp_path):
    model, x = network(), torch.randn(50, 6)
    before, y = model(x).detach(), (x[:, 0] > 0).long()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    report = add_adapters(model, is_block, n_features=5, also_train=["2.*"])
    assert torch.equal(model(x), before)
    assert report.names == ["0", "1"]
    assert report.n_adapter_parameters == 2 * (6 * 5 + 6)
    assert report.n_trainable == report.n_adapter_parameters + 21
    assert report.n_parameters == report.n_adapter_parameters + sum(v.numel() for v in state.values())
    draws = [adapter.features.G for adapter in report.adapters.values()]
    assert not torch.equal(*draws)
    train(report, model, x, y)
    trained = model(x).detach()
    assert not torch.allclose(trained, before, atol=0.1)
    report.save_adapter(tmp_path / "adapter.safetensors")
    fresh = network()
    again = load_adapters(fresh, tmp_path / "adapter.safetensors")
    assert torch.equal(fresh(x), trained)
    assert again.n_trainable == report.n_trainable
    report.merge()
    assert report.n_adapter_parameters == 2 * 6 * 5
    assert report.n_trainable == report.n_adapter_parameters + 21
    torch.testing.assert_close(model(x), trained)
    report.save_adapter(tmp_path / "merged.safetensors")
    merged = network()
    load_adapters(merged, tmp_path / "merged.safetensors")
    torch.testing.assert_close(merged(x), trained)
    report.remove()
    assert all(p.requires_grad for p in model.parameters())
    found = model.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[k], state[k]) for k in state if not k.startswith("2."))
    with pytest.raises(ValueError, match="it was removed"):
        report.merge()


@pytest.mark.parametrize("wrong", [{"n_features": 0}, {"activation": "unknown"}, {"init": "none"}, {"bottleneck": -1}])
def test_a_call_that_fails_leaves_the_model_as_it_was(wrong):
    model = network()
    names = [name for name, _ in model.named_modules()]
    with pytest.raises(ValueError, match=r"n_features|activation|init|bottleneck"):
        add_adapters(model, is_block, **wrong)
    assert all(p.requires_grad for p in model.parameters())
    assert [name for name, _ in model.named_modules()] == names


def test_adapters_that_do_not_fit_their_file_are_not_left_in_the_model(tmp_path):
    add_adapters(network(), is_block).save_adapter(tmp_path / "adapter.safetensors")
    other = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 6))
    with pytest.raises(FileFormatError, match=r"written for another model"):
        load_adapters(other, _edited(tmp_path / "adapter.safetensors", 9))
    assert isinstance(other[0], nn.Linear)
    assert all(p.requires_grad for p in other.parameters())


def test_a_second_set_of_adapters_waits_until_the_first_is_removed(tmp_path):
    model = network()
    first = add_adapters(model, is_block)
    first.save_adapter(tmp_path / "adapter.safetensors")
    with pytest.raises(ValueError, match=r"adapters already, such as that of 0,.*remove\(\) of the first"):
        add_adapters(model, lambda name, _: name == "2")
    with pytest.raises(ValueError, match="adapters already"):
        load_adapters(model, tmp_path / "adapter.safetensors")
    first.remove()
    second = add_adapters(model, is_block, n_features=3)
    with pytest.raises(ValueError, match="no adapter of this report any more"):
        first.merge()
    assert second.n_adapter_parameters == 2 * (6 * 3 + 6)


def test_what_was_frozen_before_is_frozen_again():
    model = network()
    model[2].requires_grad_(False)
    add_adapters(model, is_block, also_train=["2.*"]).remove()
    assert not any(p.requires_grad for p in model[2].parameters())
    assert all(p.requires_grad for p in model[0].parameters())


def test_a_seed_may_be_a_number_of_numpy(tmp_path):
    reports = [add_adapters(network(), is_block, random_state=seed) for seed in (np.int64(3), 3)]
    draws = [[adapter.features.G for adapter in report.adapters.values()] for report in reports]
    assert not torch.equal(*draws[0])
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))
    reports[0].save_adapter(tmp_path / "adapter.safetensors")
    load_adapters(network(), tmp_path / "adapter.safetensors")


def test_parameters_inside_an_adapted_module_can_be_trained_and_saved(tmp_path):
    model, x = network(), torch.randn(20, 6)
    report = add_adapters(model, is_block, also_train=["0.inner.0.bias"])
    train(report, model, x, (x[:, 0] > 0).long())
    report.save_adapter(tmp_path / "adapter.safetensors")
    fresh = network()
    load_adapters(fresh, tmp_path / "adapter.safetensors")
    assert torch.equal(fresh(x), model(x))


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_layers_of_torch_are_adapted_in_inference_too(norm_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    model, x = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), torch.randn(3, 5, 8)
    with torch.inference_mode():
        before = model(x)
    report = add_adapters(model)
    assert report.names == [f"layers.{i}.dropout{j}" for i in (0, 1) for j in (1, 2)]
    for adapter in report.adapters.values():
        nn.init.normal_(adapter.scale)
    with torch.inference_mode():
        fused = model(x)
    torch.testing.assert_close(fused, model(x).detach())
    assert not torch.allclose(fused, before, atol=0.01)
    report.remove()
    with torch.inference_mode():
        torch.testing.assert_close(model(x), before)
    assert layer.activation_relu_or_gelu == 1


def test_places_are_found_in_layers_of_other_libraries_and_our_own():
    assert add_adapters(nn.ModuleDict({"output": BertOutput()})).names == ["output.dropout"]
    assert add_adapters(nn.ModuleList([VisionBlock()])).names == ["0.attn", "0.mlp"]
    decoder = nn.TransformerDecoderLayer(8, 2, 16)
    assert add_adapters(decoder).names == ["dropout1", "dropout2", "dropout3"]
    ours = SNNKTransformer(2, vocabulary=5, width=8, n_heads=2, depth=1)
    report = add_adapters(ours, n_features=4)
    assert report.names == ["blocks.0.attention", "blocks.0.feed_forward"]
    assert ours(torch.ones(2, 3, dtype=torch.int64)).shape == (2, 2)
    assert report.n_trainable == 2 * (8 * 4 + 8)


SMALL = SoftSize((1, 2, 1, 1), (8, 8, 8, 8), (2, 2, 2, 2))
TOKENS = torch.randint(20, (2, 13), generator=torch.Generator().manual_seed(0))
MODELS = {
    "transnormer": (lambda: TransNormer(20, layers=2, width=8, heads=2, block=4), TOKENS, 2),
    "softmax": (lambda: LanguageModel(20, mixer="softmax", layers=3, width=8, heads=2), TOKENS, 3),
    "long_conv": (lambda: LanguageModel(20, mixer="long_conv", layers=1, width=8, length=16), TOKENS, 1),
    "sequence": (lambda: SequenceModel(3, 2, layer="s4d", layers=2, width=8, length=16), torch.randn(2, 13, 3), 1),
    "soft": (lambda: SoftTransformer(SMALL, 3), torch.randn(2, 3, 32, 32), 5),
}


@pytest.mark.parametrize("name", MODELS)
def test_each_layer_of_our_models_gets_two_adapters_which_are_all_that_is_trained(name, tmp_path):
    make, x, layers = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    before, state = model(x).detach(), {k: v.clone() for k, v in model.state_dict().items()}
    report = add_adapters(model, n_features=4)
    assert len(report.names) == 2 * layers
    assert report.n_trainable == 2 * layers * (8 * 4 + 8)
    torch.testing.assert_close(model(x).detach(), before, rtol=1e-5, atol=1e-6)  # kernels differ with gradients
    model(x).square().mean().backward()
    assert all(float(adapter.scale.grad.abs().sum()) > 0.0 for adapter in report.adapters.values())
    for adapter in report.adapters.values():
        nn.init.normal_(adapter.scale, generator=torch.Generator().manual_seed(1))
    changed = model(x).detach()
    assert not torch.allclose(changed, before, rtol=1e-2)
    report.save_adapter(tmp_path / "adapter.safetensors")
    report.merge()
    torch.testing.assert_close(model(x).detach(), changed, rtol=1e-4, atol=1e-5)
    report.remove()
    torch.testing.assert_close(model(x).detach(), before, rtol=1e-5, atol=1e-6)  # kernels differ with gradients
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    load_adapters(model, tmp_path / "adapter.safetensors")
    torch.testing.assert_close(model(x).detach(), changed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["transnormer", "softmax", "long_conv"])
def test_an_adapted_language_model_streams_what_it_computes_at_once(name):
    model = MODELS[name][0]().eval()
    for adapter in add_adapters(model, n_features=4).adapters.values():
        nn.init.normal_(adapter.scale)
    with torch.no_grad():
        whole = model(TOKENS)
        state = model.prefill(TOKENS[:, :5])[1] if name == "transnormer" else None
        rows = []
        for t in range(5 if name == "transnormer" else 0, 13):
            y, state = model.step(TOKENS[:, t], state)
            rows.append(y)
    torch.testing.assert_close(torch.stack(rows, 1), whole[:, -len(rows) :], rtol=1e-4, atol=1e-5)
    assert torch.equal(model.generate(TOKENS[0], 3, temperature=0.0)[:1], whole[0, -1].argmax()[None])


def test_of_a_tuple_the_first_part_is_adapted():
    model, x = nn.Sequential(Pair()), torch.randn(4, 6)
    report = add_adapters(model, lambda name, module: isinstance(module, Pair))
    nn.init.normal_(report.adapters["0"].scale)
    adapted, rest = model(x)
    assert rest == "kept"
    assert isinstance(report.adapters["0"], SNNKAdapter)
    assert not torch.allclose(adapted, model[0].module(x)[0])


def test_what_cannot_be_adapted_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"where=lambda name, module: .*Block"):
        add_adapters(network())
    with pytest.raises(ValueError, match=r"it is 'auto', or a function"):
        add_adapters(network(), "everywhere")
    with pytest.raises(ValueError, match=r"fits no parameter of the model, such as '0.inner.0.weight'"):
        add_adapters(network(), is_block, also_train=["head.*"])
    with pytest.raises(ValueError, match=r"lies within another place"):
        add_adapters(network(), lambda name, _: name in ("0", "0.inner"))
    with pytest.raises(ValueError, match=r"give width="):
        add_adapters(nn.Sequential(nn.ReLU(), nn.Linear(3, 3)), lambda name, _: name == "0")
    assert add_adapters(nn.Sequential(nn.ReLU(), nn.Linear(3, 3)), lambda name, _: name == "0", width=3).names == ["0"]
    report = add_adapters(network(), is_block)
    report.save_adapter(tmp_path / "adapter.safetensors")
    with pytest.raises(ValueError, match=r"has adapters for 0, 1, which"):
        load_adapters(nn.ModuleDict({"a": nn.Linear(6, 6)}), tmp_path / "adapter.safetensors")
    with pytest.raises(FileFormatError, match=r"written for another model"):
        load_adapters(nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 6)), _edited(tmp_path / "adapter.safetensors", 9))


@pytest.mark.parametrize("name", ["activation", "method"])
def test_what_no_file_can_hold_is_told_by_name(name, tmp_path):
    report = add_adapters(network(), is_block, activation="tanh", length=1.0)
    report._arguments[name] = PowerSeries((0.0, 1.0))
    with pytest.raises(TypeError, match=rf"save_adapter: {name} is a PowerSeries, which a file cannot hold"):
        report.save_adapter(tmp_path / "adapter.safetensors")
    assert not (tmp_path / "adapter.safetensors").exists()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("seed", [None, torch.Generator(), np.random.default_rng(0)], ids=["none", "torch", "numpy"])
def test_adapters_drawn_from_any_source_are_loaded_as_they_were(seed, activation, tmp_path):
    model, x = network(), torch.randn(5, 6)
    report = add_adapters(model, is_block, n_features=np.int64(9), activation=activation, length=1.0, random_state=seed)
    for adapter in report.adapters.values():
        nn.init.normal_(adapter.scale)
    report.save_adapter(tmp_path / "adapter.safetensors")
    fresh = network()
    load_adapters(fresh, tmp_path / "adapter.safetensors")
    assert torch.equal(fresh(x), model(x))


def test_patterns_are_no_single_text():
    with pytest.raises(TypeError, match=r"give a tuple of patterns, such as \('2\.\*',\)"):
        add_adapters(network(), is_block, also_train="2.*")


def test_a_power_series_of_standardised_inputs_warns_and_names_the_length():
    with pytest.warns(ApproximationWarning, match=r"'gelu' is of no use .*inputs of length 8: .*Give length=1.0"):
        SNNKAdapter(64, 16, activation="gelu")
    adapter = SNNKAdapter(64, 16, activation="gelu", length=1.0)
    nn.init.ones_(adapter.scale)
    x = torch.randn(50, 64)
    assert float((adapter(x) - x).detach().abs().max()) < 20.0


def _edited(path, width):
    """The same file, saying another width."""
    from mercer.store import load_state, save_state

    tensors, meta = load_state(path, kind="adapters", version=1)
    meta = json.loads(json.dumps(meta))
    meta["places"] = dict.fromkeys(meta["places"], width)
    save_state(path.with_name("edited"), tensors=tensors, meta=meta)
    return path.with_name("edited")


def test_an_adapter_of_another_width_says_so():
    with pytest.raises(ShapeError, match=r"SNNKAdapter\(8\): x is \(\.\.\., 8\), not \(2, 9\)"):
        SNNKAdapter(8)(torch.randn(2, 9))


def test_vision_layers_of_transformers_are_known():
    assert add_adapters(nn.Sequential(VisionLayer())).names == ["0.attention", "0.mlp"]


def test_low_rank_updates_begin_as_nothing_and_are_all_that_is_trained():
    model = network()
    x = torch.randn(5, 6)
    before = model(x).detach()
    names = add_low_rank(model, lambda name, layer: layer.in_features == layer.out_features, rank=2, alpha=4.0)
    assert names == ["0.inner.0", "1.inner.0"]
    torch.testing.assert_close(model(x).detach(), before)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * 2 * (6 + 6)
    layer = model.get_submodule(names[0])
    nn.init.normal_(layer.up)
    whole = layer.linear.weight + 2.0 * layer.up @ layer.down
    torch.testing.assert_close(layer(x), nn.functional.linear(x, whole, layer.linear.bias))
    with pytest.raises(ValueError, match="chose no linear layer"):
        add_low_rank(network(), lambda name, layer: False)
    with pytest.raises(ValueError, match="rank=0"):
        LowRankLinear(nn.Linear(2, 2), rank=0)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")  # torch's own
def test_an_adapted_encoder_of_torch_takes_masks_of_padding():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2).eval()
    x, padding = torch.randn(2, 5, 32), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        expected = encoder(x, src_key_padding_mask=padding)
        report = add_adapters(encoder)
        found = encoder(x, src_key_padding_mask=padding)
    torch.testing.assert_close(found[~padding], expected[~padding])
    assert not encoder.use_nested_tensor
    report.remove()
    assert encoder.use_nested_tensor
