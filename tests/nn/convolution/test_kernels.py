"""Kernels against their formulas."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import hankel

from mercer.nn import ConvState, LongConvKernel, S4DKernel, SGConv, SGConvKernel
from mercer.nn.convolution.hankel import hankel_basis
from mercer.nn.functional import long_conv


def upsampled(w, scale, nearest=False):
    """Linear interpolation with half-pixel centres and clamped ends, by NumPy."""
    d = len(w)
    x = (np.arange(d * scale) + 0.5) / scale - 0.5
    if nearest:
        return w[np.arange(d * scale) // scale]
    return np.interp(x, np.arange(d), w)


def sgconv_by_formula(kernel, decay, power=None):
    """The paper's formula, channel by channel, not cut, divided by its own norm."""
    C, H, _d = kernel.kernel_list[0].shape
    found = np.zeros((C, H, kernel.uncut_length))
    nearest = kernel.interpolation == "nearest"
    for c in range(C):
        for h in range(H):
            alpha, at = 1.0 / decay[h], 0
            for i, w in enumerate(kernel.kernel_list):
                w = w[c, h].detach().double().numpy()
                scale = 2 ** (i if kernel.layout == "sum" else max(i - 1, 0)) * 2**kernel.init_scale
                piece = alpha**i * upsampled(w, scale, nearest)
                if kernel.layout == "sum":
                    found[c, h, : len(piece)] += piece
                else:
                    found[c, h, at : at + len(piece)] = piece
                    at += len(piece)
            if power is not None:
                found[c, h] *= (1.0 + np.arange(kernel.uncut_length)) ** -power[h]
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


@pytest.mark.parametrize("layout", ["concat", "sum"])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("init", ["normal", "cosine"])
@pytest.mark.parametrize(
    ("d", "L", "decay", "init_scale"), [(8, 100, 2.0, 0), (5, 97, (1.0, 3.0), 0), (8, 128, 2.0, 1), (1, 33, 1.0, 0)]
)
def test_sgconv_is_its_formula(layout, interpolation, init, d, L, decay, init_scale):
    kernel = SGConvKernel(
        3,
        L,
        heads=2,
        kernel_dim=d,
        decay=decay,
        layout=layout,
        interpolation=interpolation,
        init=init,
        init_scale=init_scale,
    ).double()
    kernel.set_norm()
    assert len(kernel.kernel_list) == 1 + math.ceil(math.log2(L / d)) - init_scale
    low, high = decay if isinstance(decay, tuple) else (decay, decay)
    expected = sgconv_by_formula(kernel, np.linspace(low, high, 3))
    for length in (1, L // 2, L):
        np.testing.assert_allclose(kernel(length).detach().numpy(), expected[..., :length], atol=1e-7, rtol=1e-6)


def test_a_power_of_time_and_cosines():
    kernel = SGConvKernel(4, 60, kernel_dim=8, power=(0.5, 2.0), init="cosine", random_state=0).double()
    kernel.set_norm()
    p = kernel.decay.detach().numpy()
    assert p.min() >= 0.5
    assert p.max() <= 2.0
    assert kernel.decay.requires_grad
    np.testing.assert_allclose(
        kernel().detach().numpy(), sgconv_by_formula(kernel, np.ones(4), p)[..., :60], atol=1e-12
    )
    starts = {tuple(np.round(w, 5)) for w in kernel.kernel_list[0][0].detach().numpy()}
    assert starts == {tuple(np.round(np.cos(np.linspace(0, 2 * np.pi * h, 8)), 5)) for h in range(4)}
    assert not SGConvKernel(4, 60, kernel_dim=8, power=1.0, learn_power=False).decay.requires_grad


def test_the_kernel_starts_with_norm_one_and_may_grow():
    kernel = SGConvKernel(3, 64, kernel_dim=8)
    assert torch.allclose(kernel().norm(dim=-1), torch.ones(1, 3), atol=1e-6)
    with torch.no_grad():
        kernel.kernel_list[0].mul_(3.0)
    assert float(kernel().detach().norm(dim=-1).min()) > 1.0


@pytest.mark.parametrize("L", [60, 600])
def test_the_hankel_basis_is_made_of_eigenvectors(L):
    s = np.arange(2, 2 * L + 1, dtype=float)
    entries = 2.0 / (s**3 - s)
    H = hankel(entries[:L], entries[L - 1 :])
    V = hankel_basis(L, 6).numpy()
    values = np.einsum("ij,ij->j", V, H @ V)
    np.testing.assert_allclose(H @ V, V * values, atol=1e-12)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(H)[::-1][:6], atol=1e-12)
    kernel = SGConvKernel(2, L, kernel_dim=6, layout="hankel").double()
    kernel.set_norm()
    combined = kernel.kernel_list[0][0].detach().numpy() @ V.T
    np.testing.assert_allclose(
        kernel()[0].detach().numpy(), combined / np.linalg.norm(combined, axis=1)[:, None], atol=1e-9
    )
    with pytest.raises(ValueError, match="float64 tells"):
        hankel_basis(L, L)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_official_hankel_rows_and_float32_powers_are_there_by_reference(dtype):
    L, d = 40, 5
    s = np.arange(2, 2 * L + 1, dtype=float)
    vectors = np.linalg.eigh(hankel(2.0 / (s**3 - s)[:L], 2.0 / (s**3 - s)[L - 1 :]))[1]
    kernel = SGConvKernel(2, L, kernel_dim=d, layout="hankel", reference=True).to(dtype)
    combined = kernel.kernel_list[0].detach() @ torch.from_numpy(vectors[:d]).to(dtype)
    found = kernel().detach()
    torch.testing.assert_close(found, combined / kernel.kernel_norm)
    assert "basis" in kernel.state_dict()  # another machine may have other signs
    assert "basis" not in SGConvKernel(2, L, kernel_dim=d, layout="hankel").state_dict()
    options = {"kernel_dim": d, "power": 1.5, "learn_power": False, "random_state": 0}
    ours, theirs = (SGConvKernel(2, L, reference=reference, **options).to(dtype)() for reference in (False, True))
    assert float((ours - theirs).detach().abs().max()) < 1e-6
    assert torch.equal(ours, theirs) == (dtype == torch.float32)


def test_a_short_kernel_by_default_has_as_many_numbers_as_taps():
    assert SGConvKernel(2, 32).kernel_dim == 32
    assert SGConvKernel(2, 100).kernel_dim == 64


def test_parameters_grow_like_the_logarithm_of_the_length():
    for L in (1024, 65_536):
        kernel = SGConvKernel(1, L, kernel_dim=64)
        assert sum(p.numel() for p in kernel.parameters()) == 64 * (math.log2(L / 64) + 1)


def test_dense_taps_are_smoothed_then_squashed_then_dropped():
    kernel = LongConvKernel(2, 40, init_std=1.0, squash=0.3, smooth=5, dropout=0.5).double().eval()
    k = kernel.kernel.detach().numpy()
    padded = np.pad(k, ((0, 0), (0, 0), (2, 2)))
    mean = np.mean([padded[..., i : i + 40] for i in range(5)], axis=0)
    expected = np.sign(mean) * np.maximum(np.abs(mean) - 0.3, 0.0)
    np.testing.assert_allclose(kernel().detach().numpy(), expected, atol=1e-12)
    assert kernel.alive_fraction() == pytest.approx((np.abs(mean) > 0.3).mean())
    kernel.train()
    dropped = kernel().detach().numpy()
    assert set(np.round(np.unique(dropped[expected != 0] / expected[expected != 0]), 6)) == {0.0, 2.0}


def test_smoothing_over_frequencies_is_an_average_of_the_spectrum():
    kernel = LongConvKernel(2, 64, smooth_freq=True, squash=None, dropout=0.0).double()
    spectrum = np.fft.fft(kernel.kernel.detach().numpy())
    g = np.exp(-0.5 * np.arange(-3, 4) ** 2.0)
    average = sum(weight * np.roll(spectrum, m, axis=-1) for m, weight in zip(range(-3, 4), g / g.sum(), strict=True))
    np.testing.assert_allclose(np.fft.fft(kernel().detach().numpy()), average, atol=1e-12)


def test_an_exponential_start_forgets_at_many_rates():
    kernel = LongConvKernel(8, 2000, init="exp", heads=4, random_state=0)
    t = torch.arange(2000) / 2000
    for h in range(8):
        expected = 0.02 * torch.exp(-t * 4.0 ** (h / 8))
        ratio = (kernel.kernel.detach()[:, h] / expected).std()
        assert 0.95 < float(ratio) < 1.05


def test_a_threshold_that_would_kill_the_kernel_is_refused():
    with pytest.raises(ValueError, match=r"squash=0.1 lies outside 0 to 0.006, .* the kernel would not train"):
        LongConvKernel(2, 10, squash=0.1)
    with pytest.raises(ValueError, match="smooth=7"):
        LongConvKernel(2, 10, squash=0.004, smooth=7)
    assert LongConvKernel(2, 2000, random_state=0).alive_fraction() > 0.55
    assert LongConvKernel(2, 2000, smooth=7, random_state=0).alive_fraction() > 0.5
    assert LongConvKernel(2, 2000, squash=None).alive_fraction() == 1.0


def test_a_dead_tap_has_no_gradient():
    kernel = LongConvKernel(1, 100, dropout=0.0, random_state=0)
    kernel().sum().backward()
    alive = kernel.kernel.detach().abs() > kernel.squash
    assert torch.equal(kernel.kernel.grad != 0, alive)


@pytest.mark.parametrize("L", [1, 2, 37, 400])
def test_s4d_is_its_formula_and_more_exact_than_it(L):
    kernel = S4DKernel(3, L, heads=2, state_dim=16, random_state=0)
    exact = S4DKernel(3, L, heads=2, state_dim=16, definition=True).double()
    exact.load_state_dict(kernel.state_dict())
    expected = exact().detach()
    kernel.definition = False
    assert float((kernel().detach() - expected).abs().max() / expected.abs().max()) < 1e-6
    assert torch.allclose(kernel.double()().detach(), expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(kernel(5 * L)[..., :L], expected, atol=1e-12)


def test_s4d_has_gradients():
    kernel = S4DKernel(1, 9, state_dim=4).double()
    parameters = tuple(kernel.parameters())
    assert torch.autograd.gradcheck(lambda *_: kernel(), parameters)


def test_starts_follow_a_seed_or_the_global_generator():
    for kind in (LongConvKernel, SGConvKernel, S4DKernel):
        a, b = kind(3, 64, random_state=5), kind(3, 64, random_state=5)
        assert torch.equal(a(), b()) or isinstance(a, LongConvKernel)
        torch.manual_seed(1)
        c = kind(3, 64)
        torch.manual_seed(1)
        d = kind(3, 64)
        assert torch.equal(next(c.parameters()), next(d.parameters()))


def test_what_makes_no_kernel_is_refused():
    for options, message in (
        ({"kernel_dim": 0}, "kernel_dim=0 is a whole number from 1"),
        ({"kernel_dim": 65}, "kernel_dim=65 is a whole number from 1 to length=64"),
        ({"decay": 0.5}, "decay=0.5 must be finite and 1 or more"),
        ({"decay": np.inf}, "decay=inf must be finite and 1 or more"),
        ({"layout": "stack"}, "layout='stack' is not one of"),
        ({"init": "zero"}, "init='zero' is not one of"),
        ({"interpolation": "cubic"}, "interpolation='cubic' is not one of"),
        ({"init_scale": 9, "kernel_dim": 8}, "init_scale=9 leaves no piece"),
        ({"heads": 0, "kernel_dim": 8}, "heads=0 must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            SGConvKernel(3, 64, **options)
    for options, message in (
        ({"smooth": 4}, "odd width"),
        ({"smooth": 3, "smooth_freq": True}, "goes without smooth_freq"),
        ({"init": "cosine"}, "init='cosine' is not"),
        ({"init_std": 0.0}, "init_std=0.0 must be above 0"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            LongConvKernel(3, 64, **options)
    with pytest.raises(ValueError, match=r"length=64\.5 and heads=1 must be 1 or more, and whole"):
        SGConvKernel(3, 64.5)
    with pytest.raises(ValueError, match="state_dim=3 is even"):
        S4DKernel(3, 64, state_dim=3)
    with pytest.raises(ValueError, match="length=0"):
        S4DKernel(3, 0)
    with pytest.raises(ValueError, match="has taps 1 to 64, not length=65"):
        LongConvKernel(3, 64)(65)


def resized(k, n):
    """Along the last axis by linear interpolation with half-pixel centres and clamped ends, by NumPy."""
    m = k.shape[-1]
    at = (np.arange(n) + 0.5) * m / n - 0.5
    return np.apply_along_axis(lambda row: np.interp(at, np.arange(m), row), -1, k)


def test_kernels_that_are_resampled_as_in_the_official_preview():
    kernels = {
        how: SGConvKernel(2, 50, kernel_dim=5, resample=how, random_state=0).double()
        for how in (None, "length", "sequence")
    }
    for kernel in kernels.values():
        kernel.set_norm()
    whole = sgconv_by_formula(kernels[None], [2.0, 2.0])
    assert whole.shape[-1] == 80
    found = {(how, n): kernel(n).detach().numpy() for how, kernel in kernels.items() for n in (20, 50)}
    for n in (20, 50):
        np.testing.assert_allclose(found["length", n], resized(whole, 50)[..., :n], atol=1e-7)
        np.testing.assert_allclose(found["sequence", n], resized(whole[..., :50], n) * 50 / n, atol=1e-7)
    longer = kernels["sequence"](90).detach().numpy()
    np.testing.assert_allclose(longer, resized(whole[..., :50], 90) * 50 / 90, atol=1e-7)
    np.testing.assert_allclose(longer.sum(-1), whole[..., :50].sum(-1), rtol=0.05)  # the same filter of a constant
    for run, message in (
        (kernels["length"].parts, "resample='length' is not made of pieces"),
        (lambda: kernels["sequence"].at_rate(2), "resample='sequence' has a rate of its own"),
        (lambda: SGConvKernel(2, 50, kernel_dim=5, resample="steps"), "resample='steps' is not one of"),
        (lambda: ConvState.start(kernels["sequence"]), "other taps for each length"),
        (lambda: kernels["sequence"](0), "not length=0"),
    ):
        with pytest.raises(ValueError, match=message):
            run()


def test_a_layer_whose_kernel_follows_the_sequence_takes_any_length_without_a_warning():
    layer = SGConv(3, 64, kernel_dim=8, resample="sequence", output=None, activation=None, random_state=0).double()
    u = torch.randn(2, 150, 3).double()
    expected = long_conv(u, layer.kernel(150), skip=layer.D)
    torch.testing.assert_close(layer(u), expected.squeeze(2))


@pytest.mark.parametrize(
    ("options", "last"), [({}, 0.5), ({"decay": (1.0, 4.0)}, 0.4), ({"power": (0.5, 2.0)}, 0.8)], ids=str
)
def test_numbers_may_start_weaker_towards_the_end_of_a_piece(options, last):
    plain, tapered = (SGConvKernel(3, 64, kernel_dim=8, taper=on, random_state=0, **options) for on in (False, True))
    for w, full in zip(tapered.kernel_list, plain.kernel_list, strict=True):
        torch.testing.assert_close(w, full * torch.linspace(1.0, last, 8))
    assert torch.allclose(tapered._uncut(tapered.uncut_length).norm(dim=-1), torch.ones(1, 3))
