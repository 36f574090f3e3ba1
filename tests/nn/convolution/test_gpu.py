"""The fused long convolution in Triton's interpreter, against float64 sums written out."""

import pytest
import torch

from mercer.nn.convolution.gpu import fused_long_conv, tile_plan, why_not_fused
from mercer.nn.convolution.gpu.plans import PLANS, kernel_spectrum, matrices, quarter
from mercer.nn.functional import long_conv

triton = pytest.importorskip("triton", reason="fused kernels need triton: pip install 'mercer[gpu]'")

DOUBLE = torch.float64
# bfloat16 rounds the operands of four products one after the other; float16 only its input and its result, since the
# interpreter computes TF32 products in float32.
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 1.5e-2, torch.float16: 5e-4}


def definition(u, k, skip=None, gate_in=None, gate_out=None, causal=True):
    """``(B, C, H, L)`` from ``(B, H, L)`` and ``(C, H, K)``, as a product with Toeplitz matrices in float64."""
    L, K = u.shape[-1], k.shape[-1]
    x = (u if gate_in is None else u * gate_in).unsqueeze(1)
    lag = torch.arange(L)[:, None] - torch.arange(L)
    inside = (lag >= 0) & (lag < K) if causal else (lag < K // 2) & (lag >= -(K // 2))
    y = (k[..., lag.remainder(K)] * inside @ x.unsqueeze(-1)).squeeze(-1)
    y = y if skip is None else y + skip.unsqueeze(-1) * x
    return y if gate_out is None else y * gate_out.unsqueeze(1)


def draw(B, C, H, L, K, dtype=torch.float32):
    """u, k, skip and both gates."""
    shapes = ((B, H, L), (C, H, K), (C, H), (B, H, L), (B, H, L))
    return [torch.randn(shape).to(dtype) for shape in shapes]


def error(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


def doubles(tensors):
    return [x.double() for x in tensors]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("L", "K"), [(1, 2), (16, 16), (100, 30), (256, 600), (300, 512), (1000, 1000), (1024, 2048)])
def test_it_is_the_sum_at_any_length(L, K, causal):
    u, k, *_ = draw(3, 1, 1, L, K)
    y = fused_long_conv(u, k[0], causal=causal, sequences=2)
    assert y.shape == u.shape
    assert error(y, definition(u.double(), k.double(), causal=causal)[:, 0]) <= TOLERANCE[torch.float32]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_gates_skip_and_heads_in_every_type(dtype):
    given = draw(3, 2, 2, 37, 40, dtype)
    u, k, skip, gate_in, gate_out = given
    y = fused_long_conv(u, k, skip=skip, gate_in=gate_in, gate_out=gate_out)
    assert y.dtype == dtype
    assert error(y, definition(*doubles(given))) <= TOLERANCE[dtype]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_gradients_agree_with_autograd_through_the_definition(dtype, causal):
    given = [x.requires_grad_() for x in draw(3, 2, 1, 133, 150, dtype)]
    exact = [x.detach().double().requires_grad_() for x in given]
    grad = torch.randn(3, 2, 1, 133).to(dtype)
    u, k, skip, gate_in, gate_out = given
    y = fused_long_conv(u, k, skip=skip, gate_in=gate_in, gate_out=gate_out, causal=causal, sequences=2)
    found = torch.autograd.grad(y, given, grad)
    expected = torch.autograd.grad(definition(*exact, causal=causal), exact, grad.double())
    for mine, theirs, x in zip(found, expected, given, strict=True):
        assert mine.dtype == dtype
        assert mine.shape == x.shape
        assert error(mine, theirs) <= TOLERANCE[dtype]


@pytest.mark.parametrize("names", [(), ("skip",), ("gate_in",), ("gate_out", "skip")], ids=str)
def test_gradients_where_some_of_gates_and_skip_are_missing(names):
    given = dict(zip(("u", "k", "skip", "gate_in", "gate_out"), draw(2, 1, 2, 20, 20), strict=True))
    given = {name: x.requires_grad_() for name, x in given.items() if name in ("u", "k", *names)}
    exact = {name: x.detach().double().requires_grad_() for name, x in given.items()}
    y = fused_long_conv(**given)
    grad = torch.randn(y.shape)
    found = torch.autograd.grad(y, list(given.values()), grad)
    expected = torch.autograd.grad(definition(**exact), list(exact.values()), grad.double())
    for mine, theirs in zip(found, expected, strict=True):
        assert error(mine, theirs) <= 1e-6


def test_second_derivatives_go_through_transforms():
    given = [x.requires_grad_() for x in draw(2, 2, 1, 5, 4)]
    exact = [x.detach().double().requires_grad_() for x in given]
    u, k, *rest = given
    y = fused_long_conv(u, k, **dict(zip(("skip", "gate_in", "gate_out"), rest, strict=True)))
    results = []
    for out, leaves in ((y, given), (definition(*exact), exact)):
        first = torch.autograd.grad(out.square().sum(), leaves, create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
    for mine, theirs in zip(*results, strict=True):
        assert error(mine, theirs) <= 1e-5


def test_the_future_does_not_change_the_past_beyond_round_off():
    u, k, *_ = draw(1, 1, 1, 200, 200)
    changed = u.clone()
    changed[..., 120:] = 100.0
    before, after = (fused_long_conv(x, k[0])[..., :120] for x in (u, changed))
    assert (before - after).abs().max() <= 1e-6 * 100.0 * k.norm() * 80**0.5


def test_float16_does_not_overflow_where_its_spectrum_would():
    u = torch.full((1, 1, 256), 100.0, dtype=torch.float16)
    k = torch.full((1, 1, 256), 2.0, dtype=torch.float16)
    y = fused_long_conv(u, k[0])
    assert error(y, definition(u.double(), k.double())[:, 0]) <= 5e-4


def test_results_repeat_to_the_bit_whatever_a_program_takes():
    given = [x.requires_grad_() for x in draw(4, 1, 1, 50, 50)]
    u, k, skip, gate_in, gate_out = given
    results = []
    for sequences in (1, 1, 3):
        y = fused_long_conv(u, k, skip=skip, gate_in=gate_in, gate_out=gate_out, sequences=sequences)
        results.append((y, *torch.autograd.grad(y.sum(), given)))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    for a, b in zip(results[0], results[2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


def test_what_is_kept_from_inference_serves_training():
    matrices.cache_clear()
    quarter.cache_clear()
    u, k, *_ = draw(1, 1, 1, 20, 20)
    with torch.inference_mode():
        expected = fused_long_conv(u, k).clone()
    y = fused_long_conv(u.requires_grad_(), k.requires_grad_())
    assert torch.equal(y, expected)
    first = torch.autograd.grad(y.square().sum(), (u, k), create_graph=True)
    assert all(g.isfinite().all() for g in torch.autograd.grad(sum(g.square().sum() for g in first), (u, k)))


def test_batch_dimensions_and_none():
    u, k, *_ = draw(6, 2, 1, 20, 20)
    y = fused_long_conv(u, k)
    assert torch.equal(fused_long_conv(u.unflatten(0, (2, 3)), k).flatten(0, 1), y)
    assert torch.equal(fused_long_conv(u[0], k), y[0])


def test_every_plan_inverts_its_own_transform():
    for plan in PLANS:
        u, k, *_ = draw(1, 1, 1, plan.length, 1)
        assert error(fused_long_conv(u, k[0]), u.double() * k.double()[0]) <= 1e-6


def test_the_plan_is_the_shortest_that_holds_the_length_and_fits_the_device():
    assert [tile_plan(L, torch.float32).length for L in (1, 256, 257, 4096, 4097)] == [256, 256, 512, 4096, 8192]
    # An H100's 227 kB.
    assert tile_plan(8192, torch.bfloat16, 227 * 1024) == PLANS[-1]
    assert all(plan.shared(torch.bfloat16) <= plan.shared(torch.float32) for plan in PLANS)


@pytest.mark.parametrize(
    ("length", "dtype", "shared", "expected"),
    [
        (8193, torch.bfloat16, None, (16, 1024)),
        (131_072, torch.bfloat16, 227 * 1024, (32, 4096)),
        (1_000_000, torch.bfloat16, 227 * 1024, (256, 4096)),
        (4_194_304, torch.bfloat16, 227 * 1024, (1024, 4096)),
        (8192, torch.float32, 227 * 1024, (16, 512)),
        (131_072, torch.float32, 227 * 1024, (64, 2048)),
        (131_072, torch.float32, 99 * 1024, (128, 1024)),  # consumer cards
        (4096, torch.float32, 48 * 1024, (16, 256)),
    ],
    ids=str,
)
def test_what_does_not_fit_is_split_into_the_longest_rows_that_do(length, dtype, shared, expected):
    plan = tile_plan(length, dtype, shared)
    assert (plan.outer, plan.tile) == expected
    assert shared is None or plan.shared(dtype) <= shared


def test_beyond_the_longest_rows_there_is_no_plan():
    assert tile_plan(1024 * 4096 + 1, torch.bfloat16) is None
    assert tile_plan(1024 * 2048 + 1, torch.float32, 227 * 1024) is None
    assert tile_plan(100, torch.float32, 1000) is None


def test_spectra_of_kernels_that_are_longer_than_the_sequence_are_cut():
    plan = tile_plan(256, torch.float32)
    k = torch.randn(1, 300)
    assert torch.equal(
        kernel_spectrum(k, 256, causal=True, plan=plan), kernel_spectrum(k[:, :256], 256, causal=True, plan=plan)
    )


def test_the_reason_why_it_does_not_run_is_told():
    u, k, *_ = draw(1, 1, 1, 20, 20)
    assert "run on CUDA, not on cpu" in why_not_fused(u, k[0], length=20)


def test_long_conv_takes_it_where_it_runs(monkeypatch):
    u, k, skip, gate_in, gate_out = draw(1, 2, 2, 40, 40)
    expected = long_conv(u, k, skip=skip, gate_in=gate_in, gate_out=gate_out, layout="bhl")
    monkeypatch.setattr("mercer.nn.convolution.long_convolution.why_not_fused", lambda *_, **__: None)
    calls = []

    def spy(*arguments, **options):
        calls.append(options)
        return fused_long_conv(*arguments, **options)

    monkeypatch.setattr("mercer.nn.convolution.long_convolution.fused_long_conv", spy)
    for plan in ("auto", "monarch"):
        options = {"skip": skip, "plan": plan}
        y = long_conv(u, k, gate_in=gate_in, gate_out=gate_out, layout="bhl", **options)
        assert error(y, expected.double()) <= 1e-6
        turned = long_conv(u.mT, k, gate_in=gate_in.mT, gate_out=gate_out.mT, **options)
        assert error(turned.movedim(1, -1), expected.double()) <= 1e-6
    long_conv(u, k, layout="bhl", plan="fft")
    long_conv(u, k, layout="bhl", state=u[..., :0])
    assert len(calls) == 4
