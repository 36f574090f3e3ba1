"""The long convolution as a function, against sums written out and torch's own convolution."""

import pytest
import torch

from mercer.errors import MemoryBudgetError, ShapeError
from mercer.nn.functional import fft_convolution_plan, long_conv

PLANS = ["auto", "fft", "direct", "toeplitz", "monarch"]
# Half types: one rounding of the result; "monarch" rounds every operand, as tensor cores do.
TOLERANCE = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}


def definition(u, k, causal):
    """(B, L, C, H) in float64, lag by lag; two-sided taps in cyclic order."""
    u, k = u.double(), k.double()
    L, K = u.shape[1], k.shape[-1]
    y = torch.zeros(u.shape[0], L, k.shape[0], u.shape[2], dtype=torch.float64)
    for j in range(K):
        lag = j if causal or j < K // 2 else j - K
        for t in range(max(0, lag), min(L, L + lag)):
            y[:, t] += k[:, :, j] * u[:, t - lag].unsqueeze(1)
    return y


def error(y, expected):
    return float((y.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("L", "K"), [(1, 1), (7, 3), (7, 20), (33, 33)])
def test_it_is_the_sum_in_every_plan_and_type(plan, causal, L, K):
    for dtype, tolerance in TOLERANCE.items():
        u = torch.randn(2, L, 3).to(dtype)
        k = torch.randn(2, 3, K if causal else 2 * K).to(dtype)
        y = long_conv(u, k, causal=causal, plan=plan)
        assert y.dtype == dtype
        rounds_twice = plan == "monarch" and dtype in (torch.float16, torch.bfloat16)
        assert error(y, definition(u, k, causal)) <= tolerance * (3 if rounds_twice else 1)


def test_layouts_heads_gates_and_skip_are_what_they_say():
    u, g, h = torch.randn(3, 2, 30, 4, dtype=torch.float64)
    k, D = torch.randn(3, 4, 11, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    y = long_conv(u, k, skip=D, gate_in=g, gate_out=h)
    expected = (definition(u * g, k, True) + D * (u * g).unsqueeze(2)) * h.unsqueeze(2)
    assert error(y, expected) < 1e-14
    turned = long_conv(u.mT, k, skip=D, gate_in=g.mT, gate_out=h.mT, layout="bhl")
    assert torch.allclose(turned.movedim(-1, 1), y, atol=1e-13)
    alone = long_conv(u, k[1], skip=D[1], gate_in=g, gate_out=h)
    assert torch.allclose(alone, y[:, :, 1], atol=1e-13)
    assert torch.allclose(long_conv(u[0], k[1]), long_conv(u, k[1])[0], atol=1e-13)


def test_it_agrees_with_the_grouped_convolution_of_torch():
    u, k = torch.randn(2, 4, 50), torch.randn(4, 50)
    expected = torch.nn.functional.conv1d(torch.nn.functional.pad(u, (49, 0)), k.flip(-1).unsqueeze(1), groups=4)
    assert torch.allclose(long_conv(u, k, layout="bhl"), expected, atol=1e-4)


def test_complex_kernels():
    u, k = torch.randn(1, 20, 2, dtype=torch.float64), torch.randn(2, 20, dtype=torch.complex128)
    both = torch.complex(long_conv(u, k.real), long_conv(u, k.imag))
    for plan in PLANS:
        assert torch.allclose(long_conv(u, k, plan=plan), both, atol=1e-12)


@pytest.mark.parametrize(("plan", "causal"), [("auto", True), ("auto", False), ("toeplitz", True), ("monarch", True)])
def test_gradients_of_second_order(plan, causal):
    kind = {"dtype": torch.float64, "requires_grad": True}
    u, k, D, g = (torch.randn(*s, **kind) for s in ((1, 4, 1), (2, 1, 4), (2, 1), (1, 4, 1)))

    def run(u, k, D, g):
        return long_conv(u, k, skip=D, gate_in=g, gate_out=g, causal=causal, plan=plan)

    assert torch.autograd.gradcheck(run, (u, k, D, g))
    assert torch.autograd.gradgradcheck(run, (u, k, D, g))


def test_vmap_and_functional_gradients():
    u, k = torch.randn(3, 2, 9, 2, dtype=torch.float64), torch.randn(3, 2, 9, dtype=torch.float64)
    each = torch.stack([long_conv(a, b) for a, b in zip(u, k, strict=True)])
    assert torch.allclose(torch.vmap(long_conv)(u, k), each, atol=1e-13)
    grad = torch.func.vmap(torch.func.grad(lambda k, u: long_conv(u, k).square().sum()))(k, u)
    k.requires_grad_(True)
    total = sum(long_conv(a, b).square().sum() for a, b in zip(u, k, strict=True))
    assert torch.allclose(grad, torch.autograd.grad(total, k)[0], atol=1e-12)


@pytest.mark.slow(reason="torch.compile takes seconds to start")
def test_it_compiles_as_one_graph_with_its_gradients():
    u, k = torch.randn(2, 30, 3, requires_grad=True), torch.randn(2, 3, 30, requires_grad=True)
    compiled = torch.compile(long_conv, backend="aot_eager", fullgraph=True)
    for causal in (True, False):
        found, expected = compiled(u, k, causal=causal), long_conv(u, k, causal=causal)
        assert torch.allclose(found, expected, atol=1e-5)
        pairs = zip(*(torch.autograd.grad(y.square().sum(), (u, k)) for y in (found, expected)), strict=True)
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-3) for a, b in pairs)


def test_the_operator_for_compilers_passes_torchs_own_checks():
    from mercer.operators.convolution_op import convolution

    u, k = torch.randn(2, 3, 9, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(convolution, (u, k, [2], [9], ""), test_utils=checks)
    kind = {"dtype": torch.float64, "requires_grad": True}
    assert torch.autograd.gradgradcheck(
        lambda u, k: convolution(u, k, [1], [5], ""), (torch.randn(2, 5, **kind), torch.randn(1, 3, **kind))
    )
    images, taps = torch.randn(2, 1, 3, 2, **kind), torch.randn(2, 3, 3, **kind)
    torch.library.opcheck(convolution, (images, taps, [1, 1], [3, 2], ""), test_utils=checks)
    assert torch.autograd.gradgradcheck(lambda u, k: convolution(u, k, [1, 0], [2, 3], ""), (images, taps))


def test_chunk_by_chunk_is_the_whole():
    u, k = torch.randn(2, 40, 3, dtype=torch.float64), torch.randn(3, 17, dtype=torch.float64)
    for layout in ("blh", "bhl"):
        x = u if layout == "blh" else u.mT
        time = 1 if layout == "blh" else 2
        state, found = x.narrow(time, 0, 0), []
        for chunk in x.split([1, 15, 3, 21], time):
            y, state = long_conv(chunk, k, layout=layout, state=state)
            found.append(y)
        assert torch.allclose(torch.cat(found, time), long_conv(x, k, layout=layout), atol=1e-13)
        assert state.shape[time] == 16


@pytest.mark.parametrize("L", [1, 2, 5, 64, 100, 257])
def test_the_future_never_changes_the_past(L):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        u, k = torch.randn(1, L, 2, dtype=dtype), torch.randn(2, L, dtype=dtype)
        t = L // 2
        other = torch.cat([u[:, :t], 10.0 * torch.randn(1, L - t, 2, dtype=dtype)], 1)
        for plan in PLANS:
            gap = (long_conv(u, k, plan=plan) - long_conv(other, k, plan=plan))[:, :t].abs().max() if t else 0.0
            assert float(gap) <= tolerance * 10.0 * L**0.5  # relative to |u| |k|


def test_autocast_keeps_the_kernel_in_float32():
    u, k = torch.randn(1, 60, 2), torch.randn(2, 60)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = long_conv(u.bfloat16(), k)
    assert y.dtype == torch.bfloat16
    assert error(y, definition(u.bfloat16(), k.unsqueeze(0), True)[:, :, 0]) < 4e-3


def test_the_plan_says_what_and_why():
    plan = fft_convolution_plan(4096, 64, 8)
    assert plan.name == "whole"
    assert plan.transform == (8192,)
    assert plan.flops > 0
    assert plan.bytes > 0
    assert fft_convolution_plan(4096, 64, 8, torch.bfloat16).error == pytest.approx(2**-8)
    assert "one fused kernel, products of 16 x 16 on cuda; not timed" in str(fft_convolution_plan(100, device="cuda"))
    long = fft_convolution_plan(100_000, dtype=torch.bfloat16, device="cuda")
    assert "three passes, 32 rows of 64 x 64" in str(long)
    assert "torch's transforms of 200" in str(fft_convolution_plan(100, dtype=torch.float64, device="cuda"))
    assert "torch's transforms of 200" in str(fft_convolution_plan(100, device="meta"))


def test_what_does_not_fit_is_refused():
    u, k = torch.randn(2, 8, 3), torch.randn(3, 4)
    with pytest.raises(ValueError, match="layout='lbh' is not"):
        long_conv(u, k, layout="lbh")
    with pytest.raises(ValueError, match="plan='fast' is not one of 'auto'"):
        long_conv(u, k, plan="fast")
    with pytest.raises(ShapeError, match=r"has 8 channels in layout 'bhl', .* Did you mean layout='blh'"):
        long_conv(u, k, layout="bhl")
    with pytest.raises(ShapeError, match=r"u is .B, L, H. and k"):
        long_conv(u, k[0])
    with pytest.raises(ShapeError, match="needs a step and a tap"):
        long_conv(u[:, :0], k)
    with pytest.raises(ShapeError, match=r"skip is .2,."):
        long_conv(u, k, skip=torch.ones(2))
    with pytest.raises(ShapeError, match="a gate is as u"):
        long_conv(u, k, gate_out=u[:, :3])
    with pytest.raises(ShapeError, match="K = 5 is odd"):
        long_conv(u, torch.randn(3, 5), causal=False)
    with pytest.raises(ValueError, match="two-sided convolution needs the future"):
        long_conv(u, k, causal=False, state=u[:, :0])
    with pytest.raises(ShapeError, match="state is as u"):
        long_conv(u, k, state=u[:1])
    from mercer import config

    config.set_memory_budget("1MB")
    with pytest.raises(MemoryBudgetError, match="Use plan='auto'"):
        long_conv(torch.randn(1, 1000, 3), k, plan="toeplitz")


def test_a_float16_spectrum_that_would_overflow_is_refused():
    u, k = torch.full((1, 64, 1), 100.0).half(), torch.full((1, 64), 1000.0).half()
    with pytest.raises(ValueError, match=r"overflow in float16. Use bfloat16"):
        long_conv(u, k, plan="monarch")
