"""Layers of long convolutions: what they compute, how they step, what they load."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch

from mercer.errors import ApproximationWarning, ShapeError
from mercer.nn import H3Conv, LongConv, LongConvKernel, S4DKernel, SGConv, SGConvKernel, at_rate, identify_filter
from mercer.nn.functional import long_conv
from mercer.nn.models import SequenceModel

LAYERS = {
    "dense": partial(LongConv, kernel=partial(LongConvKernel, dropout=0.0)),
    "sgconv": partial(SGConv, kernel_dim=8, heads=2),
    "s4d": partial(LongConv, kernel=partial(S4DKernel, state_dim=8)),
    "linear": partial(SGConv, kernel_dim=8, output="linear", activation="silu"),
    "bare": partial(SGConv, kernel_dim=8, output=None, activation=None),
    "h3": partial(H3Conv, head_dim=2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_steps_and_chunks_are_the_whole_and_the_future_is_not_seen(name):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        layer = LAYERS[name](4, 70, random_state=0).to(dtype).eval()
        u = torch.randn(2, 70, 4, dtype=dtype)
        with torch.no_grad():
            whole = layer(u)
            scale = float(whole.abs().max())
            for method in ("ring", "relaxed", "block"):
                state = layer.initial_state(2, method=method)
                y, state = layer(u[:, :33], state=state)
                found = [y]
                for t in range(33, 50):
                    y, state = layer.step(u[:, t], state)
                    found.append(y.unsqueeze(1))
                found.append(layer(u[:, 50:], state=state)[0])
                assert float((torch.cat(found, 1) - whole).abs().max()) < tolerance * scale
            for L in (1, 2, 31, 70):
                for t in {0, L // 2, L - 1}:
                    other = torch.cat([u[:, :t], torch.randn(2, L - t, 4, dtype=dtype)], 1)
                    gap = (layer(other) - layer(u[:, :L]))[:, :t].abs()
                    assert gap.numel() == 0 or float(gap.max()) < tolerance * scale


def test_a_two_sided_layer_is_two_convolutions():
    layer = LongConv(3, 20, kernel=partial(SGConvKernel, kernel_dim=4), causal=False, output=None)
    layer.activation = torch.nn.Identity()
    u = torch.randn(2, 20, 3)
    k = layer.kernel(20)
    forward = long_conv(u, k[:1])
    # Lag -1 is the first tap of the second half.
    later = torch.cat([u[:, 1:], torch.zeros(2, 1, 3)], 1)
    backward = long_conv(later.flip(1), k[1:]).flip(1)
    assert torch.allclose(layer(u), (forward + backward)[:, :, 0] + layer.D * u, atol=1e-5)
    lags = layer.kernel_()
    assert lags.shape == (1, 3, 40)
    assert torch.equal(lags[0, :, 20:], k[0])
    assert torch.equal(lags[0, :, :20].flip(-1), k[1])
    with pytest.raises(ValueError, match="needs the future: it has no steps"):
        layer.eval().initial_state()
    with pytest.raises(ValueError, match="needs the future"):
        layer.step(u[:, 0], None)


@pytest.mark.parametrize("causal", [True, False])
def test_a_folded_layer_gives_the_same_without_transforms(causal):
    layer = SGConv(4, 30, kernel_dim=4, heads=2, causal=causal, random_state=0).eval()
    folded = layer.fold()
    for L in (1, 7, 30):
        u = torch.randn(2, L, 4)
        assert torch.allclose(folded(u), layer(u), atol=1e-5)
    program = torch.export.export(folded, (torch.randn(1, 30, 4),))
    names = {str(node.target) for node in program.graph.nodes}
    assert any("conv1d" in name for name in names)
    assert not any("fft" in name for name in names)


def test_padding_is_not_mixed_in():
    layer = LongConv(3, 20, kernel=partial(SGConvKernel, kernel_dim=4), causal=False).eval()
    u = torch.randn(2, 20, 3)
    lengths = torch.tensor([13, 20])
    y = layer(u, lengths=lengths)
    u[0, 13:] = 100.0
    assert torch.equal(layer(u, lengths=lengths), y)
    for wrong in ([3], [21, 3], [-1, 3], [3.5, 2.0], [True, False]):
        with pytest.raises(ShapeError, match=r"lengths must be \(2,\), whole numbers from 0 to 20"):
            layer(u, lengths=wrong)
    u[0, 13:] = torch.nan
    assert torch.equal(layer(u, lengths=[13, 20]), y)
    causal = LongConv(3, 20).eval()
    with pytest.raises(ValueError, match="so lengths have no say"):
        causal(u, state=causal.initial_state(2), lengths=lengths)


def test_a_longer_sequence_meets_the_end_of_the_kernel_with_one_warning():
    layer = SGConv(2, 16, kernel_dim=4, output=None, activation=None)
    u = torch.randn(1, 40, 2)
    with pytest.warns(ApproximationWarning, match="40 steps, the kernel 16 taps"):
        y = layer(u)
    assert torch.allclose(y, long_conv(u, layer.kernel()[0], skip=layer.D[0]), atol=1e-5)
    layer(u)  # and no second one
    LongConv(2, 16, kernel="s4d")(u)  # it never ends
    with pytest.warns(ApproximationWarning, match="H3Conv: the sequence has 40 steps, the kernel 16 taps"):
        H3Conv(2, 16)(u)
    H3Conv(2, 16, kernel=S4DKernel)(u)


def test_states_of_other_layers_are_refused():
    one, two = (LongConv(4, 16, heads=heads).eval() for heads in (1, 2))
    for call in (lambda s: one(torch.zeros(3, 2, 4), state=s), lambda s: one.step(torch.zeros(3, 4), s)):
        with pytest.raises(ShapeError, match="the state is of 2 kernels a channel, the layer has 1"):
            call(two.initial_state(3))
        with pytest.raises(TypeError, match="its state is a ConvState"):
            call(H3Conv(4, 16).eval().initial_state(3))
    h3 = H3Conv(4, 16).eval()
    empty, state = h3.prefill(torch.zeros(3, 0, 4))
    assert empty.shape == (3, 0, 4)
    for call in (lambda: h3.train().step(torch.zeros(3, 4), state), lambda: h3(torch.zeros(3, 1, 4), state=state)):
        with pytest.raises(ValueError, match=r"call .eval"):
            call()


def test_parameter_groups_hold_every_parameter_once():
    layer = SGConv(4, 64, kernel_dim=8, learning_rate=5e-4)
    groups = layer.parameter_groups()
    found = {tuple((k, v) for k, v in sorted(g.items()) if k != "params"): len(g["params"]) for g in groups}
    assert found == {(("lr", 5e-4), ("weight_decay", 0.0)): 4, (("weight_decay", 0.0),): 2, (): 1}
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in layer.parameters())
    own = LongConv(4, 64, kernel=SGConvKernel(4, 64, kernel_dim=8, power=1.0, learn_power=False))
    assert len([p for g in own.parameter_groups() for p in g["params"]]) == len(list(own.parameters())) - 1


@pytest.mark.parametrize("name", ["dense", "sgconv", "s4d"])
def test_half_types_autocast_and_training(name):
    layer = LAYERS[name](4, 50, random_state=0)
    u = torch.randn(2, 50, 4)
    expected = layer(u)
    expected.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(layer(u).float(), expected, atol=0.05)
    assert layer.bfloat16()(u.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "kind", [partial(S4DKernel, state_dim=8), partial(SGConvKernel, kernel_dim=8, layout="hankel")]
)
def test_autocast_leaves_kernels_and_steps_alone(kind):
    layer = LongConv(4, 64, kernel=kind, activation=None, output=None, state="ring", random_state=0).eval()
    u = torch.randn(2, 64, 4)
    with torch.no_grad():
        expected = [layer(u), layer.kernel(), long_conv(u, layer.kernel()[0], plan="toeplitz")]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            state, rows = layer.initial_state(2), []
            for t in range(64):
                y, state = layer.step(u[:, t], state)
                rows.append(y)
            found = [torch.stack(rows, 1), layer.kernel(), long_conv(u, layer.kernel()[0], plan="toeplitz")]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_nothing_gives_nothing_and_whole_numbers_are_refused():
    assert LongConv(4, 8)(torch.randn(0, 5, 4)).shape == (0, 5, 4)
    assert long_conv(torch.randn(0, 500, 4), torch.randn(2, 4, 500)).shape == (0, 500, 2, 4)
    assert LongConv(3, 8, output=None, heads=2).eval().prefill(torch.randn(2, 0, 3))[0].shape == (2, 0, 6)
    with pytest.raises(TypeError, match=r"Use u.float\(\)"):
        long_conv(torch.ones(1, 5, 4, dtype=torch.long), torch.randn(4, 3))
    k = SGConvKernel(4, 64, kernel_dim=4, decay=[1.0, 3.0], random_state=0)()  # as read from JSON
    assert torch.equal(k, SGConvKernel(4, 64, kernel_dim=4, decay=(1.0, 3.0), random_state=0)())


@pytest.mark.slow(reason="torch.compile takes seconds to start")
@pytest.mark.parametrize("name", ["dense", "sgconv", "s4d", "h3"])
def test_layers_compile_without_a_break_for_all_lengths(name):
    torch._dynamo.reset()
    layer = LAYERS[name](4, 50, random_state=0).double().eval()  # kernels of H3 drop taps in training
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for L in (50, 23):
        u = torch.randn(2, L, 4, dtype=torch.float64)
        found, expected = compiled(u), layer(u)
        assert torch.allclose(found, expected, atol=1e-10)
        gradients = [
            torch.autograd.grad(y.square().sum(), list(layer.parameters()), materialize_grads=True)
            for y in (found, expected)
        ]
        assert all(torch.allclose(a, b, rtol=1e-7, atol=1e-8) for a, b in zip(*gradients, strict=True))


def gconv_by_its_formula(u, weights, *, is_cat=True):
    """The official forward pass in plain torch: (B, H, L), geometric decay or a power, GELU, linear (and GLU)."""
    parts = [weights[f"kernel_list.{i}"] for i in range(sum(n.startswith("kernel_list") for n in weights))]
    m, pieces = weights["multiplier"], []
    for i, w in enumerate(parts):
        scale = 2 ** (max(0, i - 1) if is_cat else i)
        piece = torch.nn.functional.interpolate(w, scale_factor=scale, mode="linear") if scale > 1 else w
        pieces.append(piece * m ** (len(parts) - 1 - i))
    total = parts[0].shape[-1] * 2 ** (len(parts) - 1)
    k = torch.cat(pieces, -1) if is_cat else sum(torch.nn.functional.pad(p, (0, total - p.shape[-1])) for p in pieces)
    if "decay" in weights:
        k = k * torch.exp(-weights["decay"].view(1, -1, 1) * torch.log(torch.arange(k.shape[-1]) + 1.0))
    if not weights["kernel_norm_initialized"]:
        weights["kernel_norm"] = k.norm(dim=-1, keepdim=True)
    L = u.shape[-1]
    k = torch.nn.functional.pad(k[..., :L], (0, max(0, L - k.shape[-1]))) / weights["kernel_norm"]
    D = weights["D"]
    if k.shape[0] == 2 * D.shape[0]:
        k0, k1 = k.chunk(2)
        k = torch.nn.functional.pad(k0, (0, L)) + torch.nn.functional.pad(k1.flip(-1), (L, 0))
    y = torch.fft.irfft(torch.einsum("bhl,chl->bchl", torch.fft.rfft(u, 2 * L), torch.fft.rfft(k, 2 * L)), 2 * L)[
        ..., :L
    ]
    y = (y + torch.einsum("bhl,ch->bchl", u, D)).flatten(1, 2)
    y = torch.nn.functional.gelu(y).mT
    name = "output_linear.0" if "output_linear.0.weight" in weights else "output_linear"
    y = torch.nn.functional.linear(y, weights[f"{name}.weight"], weights[f"{name}.bias"])
    return torch.nn.functional.glu(y, -1) if name.endswith("0") else y


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["cat", "sum", "power", "fresh"])
def test_official_weights_of_gconv_give_its_outputs(bidirectional, kind):
    H, C, d, length = 3, 2, 4, 20  # 32 taps, cut to a sequence and not to the length
    n_kernels = C * (2 if bidirectional else 1)
    weights = {f"kernel_list.{i}": torch.randn(n_kernels, H, d, dtype=torch.float64) for i in range(4)}
    weights |= {"D": torch.randn(C, H).double(), "multiplier": torch.linspace(1.0, 3.0, H).view(1, -1, 1).double()}
    weights |= {
        "kernel_norm": torch.rand(n_kernels, H, 1).double() + 1.0,
        "kernel_norm_initialized": torch.tensor(True),
    }
    outputs = 2 * H if kind != "sum" else H
    name = "output_linear.0" if kind != "sum" else "output_linear"
    weights |= {f"{name}.weight": torch.randn(outputs, C * H).double(), f"{name}.bias": torch.randn(outputs).double()}
    options = {"layout": "sum"} if kind == "sum" else {}
    if kind == "power":
        weights |= {"multiplier": torch.tensor(1.0).double(), "decay": torch.rand(H).double()}
    if kind == "fresh":
        weights |= {"kernel_norm": torch.ones(H, 1).double(), "kernel_norm_initialized": torch.tensor(False)}
    layer = SGConv.from_official(weights, length=length, **options)
    for L in (1, 17, 20, 29, 32):
        u = torch.randn(2, H, L).double()
        expected = gconv_by_its_formula(u, dict(weights), is_cat=kind != "sum")
        # The powers of the official code are float32 in a double model too.
        assert torch.allclose(layer(u.mT), expected, rtol=1e-12, atol=1e-6 if kind == "power" else 1e-12)


def test_official_weights_tell_their_length_and_bring_their_eigenvectors():
    H, d, L = 3, 4, 20
    weights = {f"kernel_list.{i}": torch.randn(1, H, d) for i in range(4)}
    weights |= {"D": torch.randn(1, H), "multiplier": torch.linspace(1.0, 3.0, H).view(1, -1, 1)}
    layer = SGConv.from_official(weights)
    assert layer.length == 32
    torch.testing.assert_close(layer(u := torch.randn(2, 9, H)), SGConv.from_official(weights, length=20)(u))
    with pytest.raises(ValueError, match="needs length=, its l_max"):
        SGConv.from_official(weights, resample="length")
    vectors = torch.linalg.qr(torch.randn(L, L))[0][:d]  # theirs are of one machine: they come with the weights
    norm = torch.rand(1, H, 1) + 1.0
    weights = {"kernel_list.0": weights["kernel_list.0"], "D": weights["D"], "multiplier": weights["multiplier"]}
    layer = SGConv.from_official({**weights, "eigvecs": vectors, "kernel_norm": norm}, decay=2.0)
    torch.testing.assert_close(layer.kernel(), weights["kernel_list.0"] @ vectors / norm)
    assert layer.length == L


@pytest.mark.parametrize("bidirectional", [False, True])
def test_official_weights_of_safari_give_its_outputs(bidirectional):
    H, C, L = 3, 2, 16
    k = torch.randn(C * (2 if bidirectional else 1), H, L)
    weights = {"kernel.kernel": k, "D": torch.randn(C, H)}
    weights |= {"output_linear.0.weight": torch.randn(2 * H, C * H), "output_linear.0.bias": torch.randn(2 * H)}
    layer = LongConv.from_official(weights, kernel_options={"squash": 0.4})
    squashed = torch.relu(k.abs() - 0.4) * k.sign()
    taps = squashed if not bidirectional else torch.cat([squashed[:C], squashed[C:].flip(-1)], -1)
    u = torch.randn(2, L, H)
    y = long_conv(u, taps, skip=weights["D"], causal=not bidirectional).flatten(-2)
    y = torch.nn.functional.linear(torch.nn.functional.gelu(y), *list(weights.values())[2:])
    assert torch.allclose(layer(u), torch.nn.functional.glu(y, -1), atol=1e-5)


def test_the_official_standalone_layer_is_two_sided():
    H, L = 3, 16
    weights = {"kernel": torch.randn(1, H, 2 * L), "D": torch.randn(1, H)}
    layer = LongConv.from_official(weights, activation=None)
    assert not layer.causal
    u = torch.randn(2, L, H)
    spectrum = torch.fft.rfft(u.mT, 2 * L) * torch.fft.rfft(weights["kernel"][0], 2 * L)
    expected = torch.fft.irfft(spectrum, 2 * L)[..., :L].mT + weights["D"] * u
    assert torch.allclose(layer(u), expected, atol=1e-4)


def test_official_weights_of_s4d_give_its_outputs():
    H, N, L = 3, 8, 20
    weights = {
        "D": torch.randn(H),
        "kernel.log_dt": torch.rand(H) - 3.0,
        "kernel.log_A_real": torch.full((H, N // 2), 0.5).log() + 0.1 * torch.randn(H, N // 2),
        "kernel.A_imag": torch.pi * torch.arange(N // 2).expand(H, -1),
        "kernel.C": torch.randn(H, N // 2, 2),
        "output_linear.0.weight": torch.randn(2 * H, H, 1),
        "output_linear.0.bias": torch.randn(2 * H),
    }
    u = torch.randn(2, H, L)
    # The forward pass of state-spaces/s4, models/s4/s4d.py, in plain torch and float64.
    w = {name: x.double() for name, x in weights.items()}
    A = torch.complex(-w["kernel.log_A_real"].exp(), w["kernel.A_imag"])
    dtA = A * w["kernel.log_dt"].exp().unsqueeze(-1)
    C = torch.view_as_complex(w["kernel.C"]) * (dtA.exp() - 1.0) / A
    k = 2.0 * torch.einsum("hn,hnl->hl", C, (dtA.unsqueeze(-1) * torch.arange(L)).exp()).real
    y = torch.fft.irfft(torch.fft.rfft(u.double(), 2 * L) * torch.fft.rfft(k, 2 * L), 2 * L)[..., :L]
    y = torch.nn.functional.gelu(y + u * w["D"].unsqueeze(-1))
    y = torch.nn.functional.conv1d(y, w["output_linear.0.weight"], w["output_linear.0.bias"])
    layer = LongConv.from_official(weights, length=L)
    assert isinstance(layer.kernel, S4DKernel)
    assert torch.allclose(layer(u.mT).mT.double(), torch.nn.functional.glu(y, 1), atol=1e-4)
    with pytest.raises(ValueError, match=r"there is no 'kernel.A_imag'"):
        LongConv.from_official({n: x for n, x in weights.items() if n != "kernel.A_imag"}, length=L)


def test_steps_of_h3_with_endless_kernels_are_the_whole_beyond_its_length():
    layer = H3Conv(4, 8, kernel=S4DKernel, random_state=0).double().eval()
    u = torch.randn(2, 20, 4).double()
    assert torch.allclose(layer.prefill(u)[0], layer(u), atol=1e-12)


def test_h3_is_its_formula():
    layer = H3Conv(4, 20, head_dim=2, random_state=0).double().eval()
    u = torch.randn(2, 20, 4).double()
    q, k, v = layer.q_proj(u), layer.k_proj(u), layer.v_proj(u)
    k = long_conv(k, layer.k_kernel()[0], skip=layer.k_D)
    y = torch.zeros_like(u)
    for head in range(2):
        for i in range(2):
            for j in range(2):
                kv = (k[..., 2 * head + i] * v[..., 2 * head + j]).unsqueeze(-1)
                mixed = long_conv(kv, layer.kernel()[0, head : head + 1], skip=layer.D[head : head + 1])[..., 0]
                # The official code puts entry j of all heads side by side.
                y[..., 2 * j + head] += q[..., 2 * head + i] * mixed
    assert torch.allclose(layer(u), layer.output_linear(y), atol=1e-12)
    assert len([p for g in layer.parameter_groups() for p in g["params"]]) == len(list(layer.parameters()))
    with pytest.raises(ValueError, match="head_dim=3 does not divide"):
        H3Conv(4, 20, head_dim=3)
    with pytest.raises(ValueError, match=r"call .eval"):
        layer.train().initial_state()
    with pytest.raises(ShapeError, match=r"u is .B, L, 4."):
        layer(u[..., :3])


@pytest.mark.parametrize("L", [5, 10, 16, 20, 23])
def test_h3_as_the_official_code_has_it_sees_the_future_in_short_sequences(L):
    layer = H3Conv(3, 20, reference=True, random_state=0).double().eval()
    u = torch.randn(2, L, 3).double()

    def cyclic(x, kernel, skip):  # safari, src/models/sequence/h3_conv.py, without its compiled part
        spectrum = torch.fft.rfft(x, 2 * L) * torch.fft.rfft(kernel()[0], 2 * L)
        return torch.fft.irfft(spectrum, 2 * L)[..., :L] + skip.unsqueeze(-1) * x

    q, k, v = (part(u).mT for part in (layer.q_proj, layer.k_proj, layer.v_proj))
    y = q * cyclic(cyclic(k, layer.k_kernel, layer.k_D) * v, layer.kernel, layer.D)
    assert torch.allclose(layer(u), layer.output_linear(y.mT), atol=1e-12)
    ours = H3Conv(3, 20).double().eval()
    ours.load_state_dict(layer.state_dict())
    with pytest.warns(ApproximationWarning) if L > 20 else nullcontext():
        found = ours(u)
    assert bool(torch.allclose(layer(u), found, atol=1e-12)) == (L >= 20)
    with pytest.raises(ValueError, match="sees the future: it has no steps"):
        layer.initial_state()
    with pytest.raises(ValueError, match="head_dim=1 only, not 3"):
        H3Conv(3, 20, head_dim=3, reference=True)


def smooth_signal(rate):
    """``(1, 64 rate, 3)``: the same waves at ``rate`` values a step, each in the middle of its part of the step."""
    t = (torch.arange(64 * rate).double() + 0.5) / rate
    return torch.stack([torch.sin(w * t + w) for w in (0.05, 0.11, 0.17)], -1).unsqueeze(0)


@pytest.mark.filterwarnings("ignore:LongConv. the sequence has:mercer.errors.ApproximationWarning")  # as it is
@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    "kernel",
    [
        "s4d",
        partial(SGConvKernel, kernel_dim=8, init="cosine"),
        partial(LongConvKernel, init_std=0.05, squash=0.001, smooth=7, dropout=0.0),
    ],
)
def test_a_layer_at_another_rate_gives_what_it_gave(kernel, causal):
    error = 0.05  # a value that is held and one that is interpolated differ by up to half a step of 0.17 radians
    layer = LongConv(3, 64, kernel=kernel, causal=causal, output=None, activation=None, random_state=0).double().eval()
    slow = layer(smooth_signal(1))
    for factor in (2, 4):
        fast = layer.at_rate(factor)(smooth_signal(factor))
        found = fast.unflatten(1, (64, factor)).mean(2)
        at_once = layer(smooth_signal(factor))[:, ::factor]
        gap, without = (float((y - slow).norm() / slow.norm()) for y in (found, at_once))
        assert gap <= error, (factor, gap)
        assert without > 3.0 * gap
    back = layer.at_rate(4).at_rate(0.5)
    assert torch.allclose(back(smooth_signal(2)), layer.at_rate(2)(smooth_signal(2)), rtol=error, atol=error)


def vowel(rate):
    """A tenth of a second of a gliding voice of 110 Hz and more, with a formant at 500 Hz and two syllables."""
    t = (torch.arange(rate // 10).double() + 0.5) / rate
    pitch = 110.0 * t + 40.0 * t**2  # cycles so far
    overtones = torch.arange(1, 9).double()
    strength = torch.exp(-(((110.0 * overtones - 500.0) / 200.0) ** 2))
    waves = strength[:, None] * torch.sin(2.0 * torch.pi * overtones[:, None] * pitch)
    return (waves.sum(0) * (1.0 - torch.cos(2.0 * torch.pi * 20.0 * t))).view(1, -1, 1)


@torch.no_grad()
def test_a_layer_for_speech_at_16_khz_hears_the_same_at_8_khz():
    layer = SGConv(1, 1600, kernel_dim=16, init_scale=2, output=None, activation=None, random_state=0).double().eval()
    at_16 = layer(vowel(16_000)).unflatten(1, (800, 2)).mean(2)
    at_8, unchanged = (one(vowel(8_000)) for one in (layer.at_rate(0.5), layer))
    gap, without = (float((y - at_16).norm() / at_16.norm()) for y in (at_8, unchanged))
    assert gap <= 0.2  # half a step of 0.39 radians: the formant's, between what is held and what is interpolated
    assert without >= 0.5


@torch.no_grad()
def test_first_pieces_join_at_half_the_rate():
    for interpolation in ("nearest", "linear"):
        options = {"kernel_dim": 16, "interpolation": interpolation, "random_state": 0}
        layer = SGConv(1, 1600, output=None, activation=None, **options).double().eval()
        half, taps = layer.at_rate(0.5), layer.kernel()
        assert len(half.kernel.kernel_list) == len(layer.kernel.kernel_list) - 1
        pairs = 2.0 * taps.unflatten(-1, (-1, 2)).mean(-1)  # half as many taps, each twice as strong
        n = 800 if interpolation == "nearest" else 16  # between numbers a line has other means than its ends
        torch.testing.assert_close(half.kernel()[..., :n], pairs[..., :n])
        at_16 = layer(vowel(16_000)).unflatten(1, (800, 2)).mean(2)
        gap, without = (float((one(vowel(8_000)) - at_16).norm() / at_16.norm()) for one in (half, layer))
        assert gap <= 0.2 < 0.5 <= without


def test_a_state_space_kernel_is_exact_at_twice_the_rate_for_what_is_held():
    layer = LongConv(4, 100, kernel="s4d", random_state=0).double().eval()
    slow = torch.randn(1, 50, 4).double()
    fast = slow.repeat_interleave(2, 1)
    assert torch.allclose(layer.at_rate(2)(fast)[:, 1::2], layer(slow), atol=1e-12)


@torch.no_grad()
def test_whole_networks_change_their_rate_and_others_say_that_they_cannot():
    model = SequenceModel(3, 2, layer="s4d", length=64, layers=2, width=6, norm="layer").double().eval()
    slow, fast = model(smooth_signal(1)), at_rate(model, 2)(smooth_signal(2))
    assert float((fast - slow).norm() / slow.norm()) < 0.05
    assert torch.equal(model(smooth_signal(1)), slow)
    for build, message in (
        (lambda: at_rate(torch.nn.Linear(2, 2), 2), "Linear has no LongConv"),
        (lambda: LongConv(4, 64, kernel="s4d").at_rate(0.0), "factor=0.0 must be above 0"),
        (lambda: SGConv(4, 64, kernel_dim=7).at_rate(0.5), "at least 1 with init_scale=0, unless pieces can be joined"),
        (lambda: SGConv(4, 64, kernel_dim=8, layout="sum").at_rate(0.5), "here 'sum', 8 and 4"),
        (lambda: SGConv(4, 64, kernel_dim=8).at_rate(0.0625), "more pieces than halvings"),
        (lambda: SGConv(4, 64, kernel_dim=8).at_rate(3), "factor=3 must be a power of 2"),
        (lambda: SGConv(4, 64, kernel_dim=8, power=1.0).at_rate(2), "nor a power of the lag"),
        (lambda: LongConv(4, 64, kernel=lambda *sizes, heads: torch.nn.Identity()).at_rate(2), "does not say how"),
    ):
        with pytest.raises(ValueError, match=message):
            build()


def test_filters_are_found_from_records():
    u = torch.randn(4, 2, 40)
    truth = torch.exp(-torch.arange(40) / 5.0) * torch.tensor([[1.0], [-0.5]])
    y = long_conv(u, truth, layout="bhl")
    kernel = LongConvKernel(2, 40, heads=1, squash=None, dropout=0.0, learning_rate=0.03, random_state=0)
    found = identify_filter(kernel, u, y, n_steps=200)
    assert found.shape == (2, 40)
    assert float((found - truth).norm() / truth.norm()) < 0.05
    for wrong in (u[:, :1], u[0]):
        with pytest.raises(ShapeError, match=r"u and y are .records, 2, L. and the kernel has one head"):
            identify_filter(kernel, wrong, wrong)


def test_a_kernel_of_ones_own():
    class Exponential(torch.nn.Module):
        def forward(self, length):
            return torch.exp(-torch.arange(length) / 5.0).expand(1, 3, length)

    layer = LongConv(3, 40, kernel=Exponential(), output=None, activation=None).eval()
    u = torch.randn(1, 40, 3)
    k = torch.exp(-torch.arange(40) / 5.0).expand(3, 40)
    assert torch.allclose(layer(u), long_conv(u, k, skip=layer.D[0]), atol=1e-5)
    _y, state = layer.prefill(u[:, :39], method="relaxed")
    assert torch.allclose(layer.step(u[:, 39], state)[0], layer(u)[:, 39], atol=1e-5)
    assert layer.prefill(u[:, :0])[0].shape == (1, 0, 3)


def test_tied_dropout_leaves_out_whole_channels():
    layer = LongConv(64, 20, kernel=partial(SGConvKernel, kernel_dim=4), dropout=0.5,
                     tie_dropout=True, output=None, activation=None)  # fmt: skip
    y = layer(torch.randn(2, 20, 64))
    dead = (y == 0).all(1)
    assert 0.2 < float(dead.double().mean()) < 0.8
    assert not bool((y == 0).any(1)[~dead].any())


def test_a_kernel_can_be_drawn():
    pytest.importorskip("matplotlib")
    axes = SGConv(4, 64, kernel_dim=8).plot_kernel(channels=2)
    assert len(axes.lines) == 2
    assert axes.get_xscale() == "log"
    both = SGConv(4, 64, kernel_dim=8, causal=False).plot_kernel()
    assert both.lines[0].get_xdata()[0] == -64


def test_the_same_seed_gives_the_same_layer():
    a, b = (SGConv(4, 64, kernel_dim=8, random_state=3) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_what_makes_no_layer_is_refused():
    for options, message in (
        ({"kernel": "gauss"}, "kernel='gauss' is not one of 'dense', 'sgconv', 's4d'"),
        ({"activation": "tanh"}, "activation='tanh' is not one of"),
        ({"output": "mean"}, "output='mean' is not one of"),
        ({"plan": "quick"}, "plan='quick' is not one of"),
        ({"state": "none"}, "state='none' is not one of"),
        ({"heads": 0}, "heads=0 must be 1 or more"),
        ({"kernel": SGConvKernel(4, 64, kernel_dim=8), "causal": False}, "1 heads and 4 channels, but 2 and 4"),
        ({"kernel": SGConvKernel(4, 32, kernel_dim=8)}, "the kernel has 32 taps, but length=64"),
    ):
        with pytest.raises(ValueError, match=message):
            LongConv(4, 64, **options)
    layer = LongConv(4, 64, kernel="sgconv")
    with pytest.raises(ShapeError, match=r"u is .B, L, 4., not"):
        layer(torch.randn(2, 10, 3))
    with pytest.raises(ValueError, match=r"call .eval"):
        layer.initial_state()
    for weights, message in (
        ({"D": torch.ones(1, 4)}, "there is no kernel_list.0"),
        ({}, "there is no 'D'"),
        ({"D": torch.ones(2, 4), "kernel_list.0": torch.ones(3, 4, 8)}, "3 kernels a channel do not go with D"),
        ({"D": torch.ones(1, 4), "kernel_list.0": torch.ones(1, 4, 8)}, "1 scales of 8 numbers do not make length=64"),
    ):
        with pytest.raises(ValueError, match=message):
            SGConv.from_official(weights, length=64)


def test_a_folded_kernel_that_is_resampled_is_for_one_length():
    layer = SGConv(4, 64, resample="sequence", random_state=0).eval()
    with pytest.raises(ValueError, match="has other taps for each length"):
        layer.fold()
    folded, u = layer.fold(30), torch.randn(1, 30, 4)
    torch.testing.assert_close(folded(u), layer(u))
    with pytest.raises(ShapeError, match="for sequences of 30 steps, not 20"):
        folded(u[:, :20])
