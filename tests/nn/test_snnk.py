"""Kernel layers: what they stand for, and that they can be trained, compiled, moved, saved and exported."""

import io
import math

import pytest
import torch
from torch import nn

from mercer.errors import ApproximationWarning, ShapeError
from mercer.kernels import ArcCosine
from mercer.kernels.features import UniversalRandomFeatures
from mercer.nn import BundledNetwork, RandomFeatureLayer, SNNKAdapter, SNNKLinear
from mercer.nn.models import SNNKTransformer, SNNKTransformerBlock, create_model

LAYERS = {
    "relu": lambda: SNNKLinear(6, 5, 8),
    "relu_hadamard": lambda: SNNKLinear(6, 5, 20, method="hadamard", offset=-1.0, bias=False),
    "cos": lambda: SNNKLinear(6, 5, 8, activation="cos", length=1.0),
    "sin_both": lambda: SNNKLinear(6, 5, 8, activation="sin", split="both", gaussian_scale=0.02, length=1.0),
    "gelu": lambda: SNNKLinear(6, 5, 8, activation="gelu", init="normal"),
    "adapter": lambda: SNNKAdapter(6, 4),
    "adapter_bottleneck": lambda: SNNKAdapter(6, 4, bottleneck=3, activation="cos", gaussian_scale=0.01),
    "bundled": lambda: BundledNetwork(6, 5, layers=(8, 7)),
    "block": lambda: SNNKTransformerBlock(6, 2, n_features=8, adapter_features=2),
}


@pytest.fixture(params=LAYERS, ids=str)
def layer(request):
    torch.manual_seed(0)
    made = LAYERS[request.param]()
    for parameter in made.parameters():  # adapters begin as the identity, which would hide their features
        if not bool(parameter.detach().any()):
            nn.init.normal_(parameter, std=0.3)
    return made


def test_a_layer_acts_on_the_last_axis_in_the_dtype_of_the_input(layer):
    x = torch.randn(2, 3, 6)
    assert layer(x).shape[:2] == (2, 3)
    assert layer(x[:, :0]).shape[1] == 0
    rows = layer(x.reshape(1, 6, 6)) if "Block" not in type(layer).__name__ else None
    if rows is not None:
        torch.testing.assert_close(rows.reshape(2, 3, -1), layer(x))
    double = layer.double()(x.double())
    assert double.dtype == torch.float64


def test_features_beyond_half_precision_have_their_products():
    """Features of 1e5 and more, which float16 cannot hold, though it holds their products with the weights."""
    torch.manual_seed(0)
    layer = SNNKLinear(6, 4, 64, activation="gaussian", split="weight")
    x = torch.randn(16, 6)
    with torch.no_grad():
        expected = layer(x)
        assert float(layer.features(x).abs().max()) > 1e5
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(layer(x), expected)  # float32 throughout
        half = layer.half()(x.half())
    # Inputs, weights and draws have 11 bits; exponents of 12 are off by a percent.
    torch.testing.assert_close(half.float(), expected, rtol=0.0, atol=0.01 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_agree_with_float32(layer, dtype):
    x = torch.randn(4, 3, 6)
    expected = layer(x)
    found = layer.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    # 8 bits of bfloat16 in weights, buffers and inputs: some percent of the largest output.
    size = float(expected.detach().abs().max())
    torch.testing.assert_close(
        found.float(), expected, rtol=0.0, atol=(0.08 if dtype == torch.bfloat16 else 0.01) * size
    )


def test_gradients_are_those_of_finite_differences(layer):
    layer = layer.double()
    x = torch.randn(2, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x, atol=1e-6)
    layer(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in layer.parameters())


def test_what_was_drawn_is_saved_and_the_layer_compiles_to_the_same(layer):
    x = torch.randn(4, 3, 6)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file)
    for value in layer.state_dict().values():
        value.data.zero_()
    layer.load_state_dict(state)
    torch.testing.assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), layer(x))


@pytest.mark.parametrize("split", ["input", "weight", "both"])
def test_a_layer_from_a_linear_one_estimates_its_activation(split):
    linear = nn.Linear(6, 5)
    x = nn.functional.normalize(torch.randn(40, 6), dim=-1)
    layer = SNNKLinear.from_linear(linear, "sin", 20_000, inputs=x, split=split)
    # The error of 20 000 features at |w| |x| below 1, with a factor of 4: see test_universal for unbiasedness.
    torch.testing.assert_close(layer(x), torch.sin(linear(x)), rtol=0.0, atol=0.05)
    assert sum(p.numel() for p in layer.parameters()) == 5 * 20_000


def test_a_relu_layer_is_the_arc_cosine_kernel_of_inputs_and_weights():
    linear = nn.Linear(6, 5)
    x = torch.randn(40, 6)
    layer = SNNKLinear.from_linear(linear, "relu", 20_000)
    ones = torch.ones(40, 1)
    points, units = torch.cat([x, ones], 1), torch.cat([linear.weight, linear.bias[:, None]], 1)
    expected = ArcCosine(1, bias_variance=0.0)(points, units.detach()).to_dense()
    torch.testing.assert_close(layer(x), expected, rtol=0.0, atol=0.05)


def test_length_scales_inputs_and_starting_weights():
    layer = SNNKLinear(6, 5, 8, length=6**0.25)
    x = torch.randn(3, 6)
    torch.testing.assert_close(layer(x), layer(7.0 * x))
    layer = RandomFeatureLayer(UniversalRandomFeatures("cos", 8, d=6), length=2.0)
    W = torch.randn(3, 6)
    torch.testing.assert_close(layer.weight_features(W), layer.weight_features(5.0 * W))


def test_an_adapter_begins_as_the_identity_and_has_few_parameters():
    x = torch.randn(2, 3, 768)
    adapter = SNNKAdapter(768)
    assert torch.equal(adapter(x), x)
    assert 24 * sum(p.numel() for p in adapter.parameters()) == 24 * (768 * 8 + 768)  # 166 thousand for BERT-base
    assert torch.equal(SNNKAdapter(768, bottleneck=16)(x), x)
    assert sum(p.numel() for p in SNNKAdapter(768, bottleneck=16).parameters()) == 16 * 8 + 768 * 16


@pytest.mark.parametrize("bottleneck", [None, 3])
def test_a_merged_adapter_is_the_same_function_of_one_matrix(bottleneck):
    adapter = SNNKAdapter(6, 4, bottleneck=bottleneck)
    nn.init.normal_(adapter.scale if bottleneck is None else adapter.up)
    x = torch.randn(2, 3, 6)
    expected = adapter(x)
    adapter.merge()
    torch.testing.assert_close(adapter(x), expected)
    assert [tuple(p.shape) for p in adapter.parameters()] == [(6, 4)]
    adapter.merge()
    torch.testing.assert_close(adapter(x), expected)


@pytest.mark.parametrize(("feed_forward", "count"), [("dense", 8 * 32 + 32 + 32 * 8 + 8), ("bundled", 8 * 16)])
def test_a_transformer_has_kernel_layers_by_one_argument(feed_forward, count):
    options = {"vocabulary": 11, "width": 8, "depth": 2, "n_heads": 2, "n_features": 16, "max_length": 12}
    model = create_model("snnk_transformer", n_outputs=3, feed_forward=feed_forward, **options)
    assert sum(p.numel() for p in model.blocks[1].feed_forward.parameters()) == count
    partly = SNNKTransformer(3, n_snnk_blocks=1, **options)
    assert [type(block.feed_forward[0]) for block in partly.blocks] == [nn.Linear, SNNKLinear]
    tokens = torch.randint(1, 11, (4, 9))
    padded = nn.functional.pad(tokens, (0, 3))
    torch.testing.assert_close(model(padded), model(tokens), rtol=1e-5, atol=1e-6)
    assert bool(model(0 * tokens).isfinite().all())
    states = SNNKTransformer(in_features=5, **{**options, "vocabulary": None})
    assert states(torch.randn(2, 7, 5)).shape == (2, 7, 8)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: SNNKLinear(6, 0, 8), ValueError, "whole number >= 1"),
        (lambda: SNNKLinear(6, 5, 8, init="zeros"), ValueError, "kaiming, normal"),
        (lambda: SNNKLinear(6, 5, 8, gaussian_scale=0.1), ValueError, "'relu' has no gaussian_scale"),
        (lambda: SNNKLinear(6, 5, 8, activation="cos", offset=1.0), ValueError, "of activation='relu' only"),
        (lambda: SNNKLinear(6, 5, 8, length=0.0), ValueError, "length is > 0"),
        (lambda: SNNKLinear(6, 5, 8)(torch.zeros(2, 5)), ShapeError, r"\(..., d\), not \(2, 5\)"),
        (lambda: SNNKLinear(6, 5, 8)(torch.zeros(2, 6, dtype=torch.complex64)), TypeError, "real numbers"),
        (lambda: SNNKAdapter(6, bottleneck=0), ValueError, "whole numbers >= 1"),
        (lambda: SNNKAdapter(6, init="zeros"), ValueError, "kaiming, normal"),
        (lambda: RandomFeatureLayer(nn.ReLU()), TypeError, "ArcCosineFeatures or UniversalRandomFeatures"),
        (lambda: BundledNetwork(6, 5, layers=()), ValueError, "at least one hidden layer"),
        (lambda: SNNKTransformerBlock(6, 4), ValueError, "no multiple"),
        (lambda: SNNKTransformerBlock(6, 2, feed_forward="moe"), ValueError, "dense, snnk, bundled"),
        (lambda: SNNKTransformer(3), ValueError, "vocabulary for tokens or in_features"),
        (lambda: SNNKTransformer(3, vocabulary=5, n_snnk_blocks=9), ValueError, "from 0 to depth=4"),
        (
            lambda: SNNKTransformer(3, vocabulary=5, max_length=4, depth=1)(torch.ones(1, 5, dtype=torch.int64)),
            ShapeError,
            "1 to 4 positions",
        ),
    ],
)
def test_what_does_not_fit_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_a_kernel_layer_learns():
    x = torch.randn(256, 6)
    y = x[:, :1].abs()
    model = nn.Sequential(SNNKLinear(6, 16, 64), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    first = math.inf
    for step in range(150):
        loss = (model(x) - y).square().mean()
        first = float(loss.detach()) if step == 0 else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5 * first


def test_a_layer_from_weights_and_inputs_too_long_for_a_power_series_warns():
    linear, x = nn.Linear(8, 5), torch.randn(20, 8)
    with pytest.warns(ApproximationWarning, match=r"inputs of length 1\d: the error of 64 features"):
        SNNKLinear.from_linear(linear, "gelu", 64, inputs=5.0 * x)
    SNNKLinear.from_linear(linear, "gelu", 64, inputs=0.3 * x)
    SNNKLinear.from_linear(linear, "gelu", 64, inputs=5.0 * x, length=1.0)
    with pytest.warns(ApproximationWarning, match=r"weights of length 4 and inputs of length 4"):
        SNNKLinear.from_linear(linear, "gelu", 64, length=4.0)
