"""Long convolutions of images: the function, the kernels and the layer, against sums written out."""

import io
from functools import partial

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from mercer.errors import ApproximationWarning, ShapeError
from mercer.nn import LongConv2d, LongConvKernel2d, OuterKernel2d, S4DKernel, SGConvKernel
from mercer.nn.functional import long_conv, long_conv2d

DOUBLE = torch.float64
KERNELS = {
    "dense": partial(LongConvKernel2d, dropout=0.0),
    "exp, smooth": partial(LongConvKernel2d, dropout=0.0, init="exp", smooth=3),
    "outer": partial(OuterKernel2d, kernel=partial(S4DKernel, state_dim=4)),
    "outer, rank 2": partial(OuterKernel2d, kernel=partial(SGConvKernel, kernel_dim=2), rank=2),
}
bare = partial(LongConv2d, output=None, activation=None)


def definition(u, k):
    """``(B, heads, C, H, W)`` of ``(B, C, H, W)`` with ``(heads, C, K, J)``, pixel by pixel in float64."""
    (B, C, H, W), (heads, _, K, J) = u.shape, k.shape
    y = torch.zeros(B, heads, C, H, W, dtype=DOUBLE)
    for s in range(H):
        for t in range(W):
            for i in range(max(0, s + K // 2 - K + 1), min(H, s + K // 2 + 1)):  # rows of u whose lag has a tap
                for j in range(max(0, t + J // 2 - J + 1), min(W, t + J // 2 + 1)):
                    taps = k.double()[:, :, s - i + K // 2, t - j + J // 2]
                    y[..., s, t] += taps * u.double()[:, None, :, i, j]
    return y


def gap(found, expected):
    found, expected = found.detach().double(), expected.detach()
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("plan", ["auto", "fft", "direct"])
@pytest.mark.parametrize(("H", "W", "K", "J"), [(1, 1, 1, 1), (1, 5, 3, 1), (4, 3, 7, 5), (5, 4, 3, 13)])
def test_it_is_the_sum_at_any_size(H, W, K, J, plan):
    u, k = torch.randn(2, 3, H, W, dtype=DOUBLE), torch.randn(2, 3, K, J, dtype=DOUBLE)
    expected = definition(u, k)
    assert gap(long_conv2d(u, k, plan=plan), expected) <= 1e-13
    assert gap(long_conv2d(u, k[1], plan=plan), expected[:, 1]) <= 1e-13
    D = torch.randn(2, 3, dtype=DOUBLE)
    assert gap(long_conv2d(u, k, skip=D, plan=plan), expected + D[..., None, None] * u[:, None]) <= 1e-13
    assert torch.allclose(long_conv2d(u[0], k, plan=plan), expected[0])
    # float32 transforms; then bfloat16 and float16 images, rounded once, under a float32 kernel.
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 4e-3), (torch.float16, 5e-4)):
        x = u.to(dtype)
        found = long_conv2d(x, k.float(), plan=plan)
        assert found.dtype == dtype
        assert gap(found, definition(x, k.float())) <= tolerance


def test_scipy_agrees():
    u, k = torch.randn(1, 1, 9, 14, dtype=DOUBLE), torch.randn(1, 5, 7, dtype=DOUBLE)
    expected = convolve2d(u[0, 0].numpy(), k[0].numpy(), mode="same")
    assert np.abs(long_conv2d(u, k)[0, 0].numpy() - expected).max() <= 1e-13


def test_one_row_is_the_convolution_of_a_sequence():
    u, k = torch.randn(2, 3, 1, 12, dtype=DOUBLE), torch.randn(3, 23, dtype=DOUBLE)
    cyclic = torch.cat([k[:, 11:], torch.zeros(3, 1, dtype=DOUBLE), k[:, :11]], -1)  # lag -12 meets nothing
    expected = long_conv(u[:, :, 0], cyclic, causal=False, layout="bhl")
    assert gap(long_conv2d(u, k[:, None])[:, :, 0], expected) <= 1e-13


def test_derivatives_of_both_orders():
    kind = {"dtype": DOUBLE, "requires_grad": True}
    given = torch.randn(2, 2, 3, 4, **kind), torch.randn(1, 2, 5, 3, **kind), torch.randn(1, 2, **kind)
    assert torch.autograd.gradcheck(lambda u, k, D: long_conv2d(u, k, skip=D), given)
    assert torch.autograd.gradgradcheck(lambda u, k, D: long_conv2d(u, k, skip=D), given)


@pytest.mark.parametrize("name", KERNELS)
def test_a_smaller_image_meets_the_taps_of_its_lags(name):
    kernel = KERNELS[name](3, (6, 4), heads=2, random_state=0)
    whole = kernel()
    assert whole.shape == (2, 3, 11, 7)
    assert torch.equal(kernel((6, 4)), whole)
    part = kernel((3, 2))
    assert part.shape == (2, 3, 5, 3)
    # State space kernels are formed again, from as many powers as are asked for.
    assert torch.allclose(part, whole[..., 3:8, 2:5], atol=1e-6)
    with pytest.raises(ValueError, match=r"taps for images up to \(6, 4\), not for \(7, 4\)"):
        kernel((7, 4))


def test_dense_taps_are_averaged_then_squashed_then_dropped():
    kernel = LongConvKernel2d(2, (5, 7), init_std=1.0, squash=0.1, smooth=3, dropout=0.5).double().eval()
    padded = torch.nn.functional.pad(kernel.kernel, (1, 1, 1, 1))
    mean = sum(padded[..., i : i + 9, j : j + 13] for i in range(3) for j in range(3)) / 9
    expected = mean.sign() * (mean.abs() - 0.1).clamp(min=0)
    assert torch.allclose(kernel(), expected, atol=1e-15)
    assert kernel.alive_fraction() == pytest.approx(float((mean.abs() > 0.1).double().mean()))
    dropped = kernel.train()()
    assert 0.2 < float((dropped == 0).double().mean()) < 0.9
    assert torch.allclose(dropped[dropped != 0], 2.0 * expected[dropped != 0])
    # A mean of nine taps is three times narrower, and so is the threshold.
    assert LongConvKernel2d(2, 9, smooth=3).squash == pytest.approx(0.002 / 3 / 2)
    assert LongConvKernel2d(2, 20, smooth=3, random_state=0).alive_fraction() > 0.5


def test_exponential_starts_decay_at_a_rate_of_their_channel():
    kernel = LongConvKernel2d(4, (40, 40), init="exp", init_std=1.0, squash=None, random_state=0)
    taps = kernel.kernel.detach().abs()
    rate = (4 / 2) ** (torch.arange(4) / 4)
    # |N(0, 1)| has the mean 0.80; the corners stand at twice the height.
    corner = taps[..., :5, :5].mean((0, 2, 3))
    expected = 0.8 * torch.exp(-2 * rate * 37 / 40)
    assert torch.allclose(corner, expected, rtol=0.4)
    assert torch.allclose(taps[..., 37:42, 37:42].mean(), torch.tensor(0.8 * 0.95), rtol=0.2)


def test_an_outer_kernel_is_a_sum_of_products_of_its_two_sided_kernels():
    kernel = OuterKernel2d(2, (4, 3), kernel=partial(SGConvKernel, kernel_dim=2), rank=2, heads=3).double()
    a, b = kernel.rows(4).double(), kernel.columns(3).double()  # (2 * heads * rank, channels, n)
    expected = torch.zeros(3, 2, 7, 5, dtype=DOUBLE)
    for head in range(3):
        for r in range(2):
            at = 2 * head + r
            for i in range(-3, 4):
                for j in range(-2, 3):
                    # Lag -1 is the first tap of the second half.
                    row = a[at, :, i] if i >= 0 else a[6 + at, :, -i - 1]
                    column = b[at, :, j] if j >= 0 else b[6 + at, :, -j - 1]
                    expected[head, :, i + 3, j + 2] += row * column
    assert torch.allclose(kernel(), expected, atol=1e-14)
    assert int(torch.linalg.matrix_rank(kernel()[0, 0])) == 2
    groups = kernel.parameter_groups()
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in kernel.parameters())
    assert all(g["lr"] == 1e-3 for g in groups)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("size", [(1, 1), (5, 6), (3, 4)])
def test_a_layer_is_its_formula(name, size):
    layer = LongConv2d(3, (5, 6), kernel=KERNELS[name], heads=2, random_state=0).double().eval()
    u = torch.randn(2, 3, *size, dtype=DOUBLE)
    y = definition(u, layer.kernel(size)) + layer.D[..., None, None] * u[:, None]
    y = torch.nn.functional.gelu(y.flatten(1, 2))
    linear = layer.output_linear[0]
    y = torch.einsum("oc,bchw->bohw", linear.weight[..., 0, 0], y) + linear.bias[:, None, None]
    expected = y[:, :3] * torch.sigmoid(y[:, 3:])
    assert gap(layer(u), expected) <= 1e-12
    # Float32 kernels have entries of a few eps, not sums.
    assert gap(layer.float()(u.float()), expected) <= 2e-5


def test_every_pixel_sees_every_other():
    layer = bare(1, (5, 4), kernel=partial(LongConvKernel2d, dropout=0.0, squash=None))
    u = torch.zeros(1, 1, 5, 4)
    u[..., 0, 0] = 1.0
    assert bool((layer(u) != 0).all())
    assert torch.allclose(layer(u)[0, 0, 1:], layer.kernel_()[0, 0, 5:, 3:], atol=1e-7)


@pytest.mark.parametrize("name", ["dense", "outer"])
def test_half_types_autocast_and_training(name):
    layer = LongConv2d(4, (7, 5), kernel=KERNELS[name], random_state=0)
    u = torch.randn(2, 4, 7, 5)
    expected = layer(u)
    expected.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(layer(u).float(), expected, atol=0.05)
    for dtype in (torch.bfloat16, torch.float16):
        found = layer.to(dtype)(u.to(dtype))
        assert found.dtype == dtype
        assert torch.allclose(found.float(), expected, atol=0.1)


def test_parameter_groups_hold_every_parameter_once():
    layer = LongConv2d(4, 6, kernel=partial(LongConvKernel2d, learning_rate=5e-4))
    groups = layer.parameter_groups()
    found = {tuple((k, v) for k, v in sorted(g.items()) if k != "params"): len(g["params"]) for g in groups}
    assert found == {(("lr", 5e-4), ("weight_decay", 0.0)): 1, (("weight_decay", 0.0),): 2, (): 1}


def test_tied_dropout_leaves_out_whole_channels():
    layer = bare(64, 5, dropout=0.5, tie_dropout=True)
    y = layer(torch.randn(2, 64, 5, 5))
    dead = (y == 0).all((2, 3))
    assert 0.2 < float(dead.double().mean()) < 0.8
    assert not bool((y == 0).flatten(2).any(2)[~dead].any())


def test_a_larger_image_is_not_seen_through_with_one_warning():
    layer = bare(2, (4, 9), kernel=partial(LongConvKernel2d, dropout=0.0))
    u = torch.randn(1, 2, 6, 5)
    with pytest.warns(ApproximationWarning, match=r"the image is 6 x 5, the layer was built for 4 x 9.*size=\(6, 5\)"):
        y = layer(u)
    # Lags up to three rows have a tap.
    expected = definition(u, layer.kernel((4, 5)))[:, 0] + layer.D[0, :, None, None] * u
    assert gap(y, expected) <= 1e-6
    layer(u)  # and no second one


@pytest.mark.slow(reason="torch.compile takes seconds to start")
@pytest.mark.parametrize("name", ["dense", "outer", "outer, rank 2"])
def test_layers_compile_without_a_break_for_all_sizes(name):
    torch._dynamo.reset()
    layer = LongConv2d(4, (9, 8), kernel=KERNELS[name], random_state=0).double()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for size in ((9, 7), (6, 5)):
        u = torch.randn(2, 4, *size, dtype=torch.float64)
        found, expected = compiled(u), layer(u)
        assert torch.allclose(found, expected, atol=1e-10)
        gradients = [
            torch.autograd.grad(y.square().sum(), list(layer.parameters()), materialize_grads=True)
            for y in (found, expected)
        ]
        assert all(torch.allclose(a, b, rtol=1e-7, atol=1e-8) for a, b in zip(*gradients, strict=True))


def test_a_folded_layer_gives_the_same_without_transforms():
    layer = LongConv2d(4, (6, 5), heads=2, random_state=0).eval()
    folded = layer.fold()
    for size in ((1, 1), (6, 5), (3, 4)):
        u = torch.randn(2, 4, *size)
        assert torch.allclose(folded(u), layer(u), atol=1e-5)
    names = {str(node.target) for node in torch.export.export(folded, (u,)).graph.nodes}
    assert any("conv2d" in name for name in names)
    assert not any("fft" in name for name in names)


@pytest.mark.slow(reason="traces, converts and loads a graph")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch's exporter
def test_a_folded_layer_exports_to_onnx():
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    layer = LongConv2d(4, (6, 5), random_state=0).eval()
    u, buffer = torch.randn(2, 4, 6, 5), io.BytesIO()
    torch.onnx.export(layer.fold(), (u,), buffer, dynamo=True, verbose=False)
    session = runtime.InferenceSession(buffer.getvalue())
    found = session.run(None, {session.get_inputs()[0].name: u.numpy()})[0]
    assert gap(torch.from_numpy(found), layer(u)) <= 1e-5


def test_the_same_seed_gives_the_same_layer():
    a, b = (LongConv2d(4, 6, kernel=kind, random_state=3) for kind in ("outer", "outer"))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert LongConv2d(4, 6).load_state_dict(LongConv2d(4, 6).state_dict())


def test_a_kernel_of_ones_own():
    class Box(torch.nn.Module):
        def forward(self, size):
            return torch.ones(1, 2, 2 * size[0] - 1, 2 * size[1] - 1)

    layer = bare(2, 8, kernel=Box())
    u = torch.randn(1, 2, 3, 4)
    assert torch.allclose(layer(u), u.sum((2, 3), keepdim=True) + layer.D[0, :, None, None] * u, atol=1e-5)


def test_what_does_not_fit_is_refused():
    u, k = torch.randn(2, 3, 5, 4), torch.randn(3, 5, 5)
    for arguments, message in (
        ((u.movedim(1, -1), k), r"5 channels, but k .* has 3. Channels stand before .* u.movedim\(-1, -3\)"),
        ((u, k[:2]), "has 3 channels, but k .* has 2.$"),
        ((u, k[..., :4]), "has no centre: K and J are odd"),
        ((u[0, 0], k), r"u is \(B, C, H, W\)"),
        ((u, k[0]), r"u is \(B, C, H, W\)"),
        ((u[..., :0], k), "needs a pixel and a tap at least"),
    ):
        with pytest.raises(ShapeError, match=message):
            long_conv2d(*arguments)
    with pytest.raises(ShapeError, match=r"skip is \(2,\), but goes with k's \(3,\)"):
        long_conv2d(u, k, skip=torch.ones(2))
    with pytest.raises(ValueError, match="plan='monarch' is not one of 'auto', 'fft', 'direct'"):
        long_conv2d(u, k, plan="monarch")
    layer = LongConv2d(3, 5)
    with pytest.raises(ShapeError, match=r"u is \(B, 3, H, W\), not \(2, 5, 4, 3\). Did you mean u.movedim\(-1, 1\)"):
        layer(u.movedim(1, -1))
    with pytest.raises(ShapeError, match=r"u is \(B, 3, H, W\), not \(2, 3, 20\)"):
        layer(u.flatten(2))


def test_what_makes_no_layer_is_refused():
    for options, message in (
        ({"kernel": "sgconv"}, "kernel='sgconv' is not one of 'dense', 'outer'"),
        ({"activation": "tanh"}, "activation='tanh' is not one of"),
        ({"output": "mean"}, "output='mean' is not one of"),
        ({"plan": "quick"}, "plan='quick' is not one of"),
        ({"heads": 0}, "heads=0 must be 1 or more"),
        ({"size": (4, 4, 4)}, r"size=\(4, 4, 4\) is \(height, width\)"),
        ({"size": 0}, r"size=0 is \(height, width\)"),
        ({"kernel": LongConvKernel2d(4, 8, heads=2)}, "has 2 heads and 4 channels, but 1 and 4 are needed"),
        ({"kernel": LongConvKernel2d(4, (8, 7))}, r"taps for images up to \(8, 7\), but size=\(8, 8\)"),
    ):
        with pytest.raises(ValueError, match=message):
            LongConv2d(4, **({"size": 8} | options))
    for options, message in (
        ({"squash": 0.1}, "LongConvKernel2d: squash=0.1 lies outside 0 to 0.006, .* the kernel would not train"),
        ({"smooth": 4}, "odd width"),
        ({"init": "ones"}, "init='ones' is not 'random' or 'exp'"),
        ({"dropout": 1.0}, "dropout=1.0 is from 0"),
        ({"init_std": 0.0}, "must be above 0"),
        ({"heads": 0}, "heads=0 must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            LongConvKernel2d(4, 8, **options)
    with pytest.raises(ValueError, match="rank=0 must be 1 or more"):
        OuterKernel2d(4, 8, rank=0)
