"""Sequences that do not fit on a chip, in Triton's interpreter with rows of 256, against torch.fft in float64."""

from dataclasses import replace

import pytest
import torch

from mercer.nn.convolution.gpu import fused_long_conv, tile_plan
from mercer.nn.convolution.gpu.plans import PLANS
from mercer.nn.functional import long_conv

pytest.importorskip("triton", reason="fused kernels need triton: pip install 'mercer[gpu]'")

PLAN = replace(PLANS[0], outer=16)  # 16 rows of 256: three passes at a length that an interpreter can do
# bfloat16 is rounded thirteen times one after the other, by 1e-3 of an entry each; float16 at both ends.
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 5e-4}


@pytest.fixture(autouse=True)
def _rounding(monkeypatch):
    """The interpreter cuts off what bfloat16 has no digits for; a device rounds, which errs by half as much."""
    from triton.runtime import interpreter

    cut = interpreter._convert_float

    def rounded(data, source, target, mode):
        if str(target) != "bf16" or mode is not None:
            return cut(data, source, target, mode)
        return torch.from_numpy(data.copy()).to(torch.bfloat16).view(torch.uint16).numpy()

    monkeypatch.setattr(interpreter, "_convert_float", rounded)


def by_transforms(u, k, skip=None, gate_in=None, gate_out=None, causal=True):
    """``(B, C, H, L)`` from ``(B, H, L)`` and ``(C, H, K)`` in float64, without wrap-around."""
    L, K = u.shape[-1], k.shape[-1]
    N = 2 * (L + K)
    if not causal:
        k = torch.cat([k[..., : K // 2], k.new_zeros(*k.shape[:-1], N - K), k[..., K // 2 :]], -1)
    x = (u if gate_in is None else u * gate_in).unsqueeze(1)
    y = torch.fft.irfft(torch.fft.rfft(x, N) * torch.fft.rfft(k, N), N)[..., :L]
    y = y if skip is None else y + skip.unsqueeze(-1) * x
    return y if gate_out is None else y * gate_out.unsqueeze(1)


def draw(B, C, H, L, K, dtype=torch.float32):
    """u, k, skip and both gates."""
    given = [torch.randn(shape) for shape in ((B, H, L), (C, H, K), (C, H), (B, H, L), (B, H, L))]
    given[1] /= K**0.5
    return [x.to(dtype) for x in given]


def error(found, expected):
    return float((found.detach().double() - expected.detach()).norm() / expected.detach().norm())


@pytest.mark.parametrize(("L", "K", "causal"), [(4096, 4096, True), (2501, 5001, True), (257, 600, False)])
def test_it_is_the_convolution_at_any_length(L, K, causal):
    u, k, *_ = draw(1, 1, 1, L, K)
    y = fused_long_conv(u, k[0], causal=causal, plan=PLAN)
    assert error(y, by_transforms(u.double(), k.double(), causal=causal)[:, 0]) <= TOLERANCE[torch.float32]


@pytest.mark.slow(reason="an interpreter runs a hundred programs, and rounds every entry")
@pytest.mark.parametrize(
    ("dtype", "B", "C"), [(torch.float32, 2, 2), (torch.float16, 1, 1), (torch.bfloat16, 1, 1)], ids=str
)
def test_values_and_gradients_with_gates_skip_and_heads_in_every_type(dtype, B, C):
    given = [x.requires_grad_() for x in draw(B, C, 1, 1500, 1400, dtype)]
    exact = [x.detach().double().requires_grad_() for x in given]
    u, k, skip, gate_in, gate_out = given
    y = fused_long_conv(u, k, skip=skip, gate_in=gate_in, gate_out=gate_out, sequences=1, plan=PLAN)
    expected = by_transforms(*exact)
    assert y.dtype == dtype
    assert error(y, expected) <= TOLERANCE[dtype]
    grad = torch.randn(y.shape).to(dtype)
    found = torch.autograd.grad(y, given, grad)
    for mine, theirs, x in zip(found, torch.autograd.grad(expected, exact, grad.double()), given, strict=True):
        assert mine.dtype == dtype
        assert mine.shape == x.shape
        assert error(mine, theirs) <= TOLERANCE[dtype]


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_without_gates(causal):
    u, k = (x.requires_grad_() for x in draw(1, 1, 1, 700, 1000)[:2])
    exact = [x.detach().double().requires_grad_() for x in (u, k)]
    found = torch.autograd.grad(fused_long_conv(u, k, causal=causal, plan=PLAN).square().sum(), (u, k))
    expected = torch.autograd.grad(by_transforms(*exact, causal=causal).square().sum(), exact)
    assert max(error(a, b) for a, b in zip(found, expected, strict=True)) <= 1e-6


def test_second_derivatives_go_through_transforms():
    given = [x.requires_grad_() for x in draw(1, 1, 1, 300, 300)]
    exact = [x.detach().double().requires_grad_() for x in given]
    u, k, skip, gate_in, gate_out = given
    y = fused_long_conv(u, k, skip=skip, gate_in=gate_in, gate_out=gate_out, plan=PLAN)
    results = []
    for out, leaves in ((y, given), (by_transforms(*exact), exact)):
        first = torch.autograd.grad(out.square().sum(), leaves, create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
    for mine, theirs in zip(*results, strict=True):
        assert error(mine, theirs) <= 1e-5


def test_the_future_does_not_change_the_past_beyond_round_off():
    u, k, *_ = draw(1, 1, 1, 3000, 3000)
    changed = u.clone()
    changed[..., 1200:] = 100.0
    before, after = (fused_long_conv(x, k[0], plan=PLAN)[..., :1200] for x in (u, changed))
    assert (before - after).abs().max() <= 1e-6 * 100.0 * k.norm() * 1800**0.5


def test_blocks_of_the_outer_product_are_summed(monkeypatch):
    monkeypatch.setattr("mercer.nn.convolution.gpu.three_passes.LARGEST_BLOCK", 16)
    u, k, *_ = draw(1, 1, 1, 5003, 1)  # 20 of 32 rows
    y = fused_long_conv(u, k[0], plan=replace(PLAN, outer=32))
    assert error(y, u.double() * k.double()[0]) <= 1e-6


def test_long_conv_takes_it_where_it_runs(monkeypatch):
    u, k, skip, gate_in, gate_out = draw(1, 1, 1, 600, 600)
    expected = long_conv(u, k, skip=skip, gate_in=gate_in, gate_out=gate_out, layout="bhl")
    monkeypatch.setattr("mercer.nn.convolution.long_convolution.why_not_fused", lambda *_, **__: None)
    chip = {"shared_memory": 5000}  # that of the smallest tile in bfloat16 is 4096 bytes
    plans = []

    def small(length, dtype, _device):
        plans.append(tile_plan(length, torch.bfloat16, **chip))
        return plans[-1]

    monkeypatch.setattr("mercer.nn.convolution.gpu.function.device_plan", small)
    for plan in ("auto", "monarch"):
        y = long_conv(u.mT, k, skip=skip, gate_in=gate_in.mT, gate_out=gate_out.mT, plan=plan)
        assert error(y.movedim(1, -1), expected.double()) <= 1e-6
    assert [(plan.outer, plan.tile) for plan in plans] == [(16, 256)] * 2
