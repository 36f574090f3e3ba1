"""Step by step and chunk by chunk: every kind of state against one convolution of the whole."""

import pytest
import torch

from mercer.errors import ShapeError
from mercer.nn import ConvState, LongConvKernel, S4DKernel, SGConvKernel
from mercer.nn.functional import long_conv

# Round-off relative to the largest output.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
STEPS = [1] * 37 + [13, 1, 1, 64, 0, 1] + [1] * 40 + [50] + [1] * 20
SG = {"kernel_dim": 8}
KERNELS = {
    "dense": lambda: LongConvKernel(3, 90, dropout=0.0),
    "sgconv": lambda: SGConvKernel(3, 90, heads=2, **SG),
    "odd": lambda: SGConvKernel(3, 91, kernel_dim=7, decay=(1.0, 3.0)),
    "nearest": lambda: SGConvKernel(3, 90, interpolation="nearest", **SG),
    "sum": lambda: SGConvKernel(3, 90, layout="sum", init_scale=1, **SG),
    "one number": lambda: SGConvKernel(3, 64, kernel_dim=1),
    "one scale": lambda: SGConvKernel(3, 33, kernel_dim=33),
    "power": lambda: SGConvKernel(3, 90, power=(0.5, 1.0), **SG),
    "hankel": lambda: SGConvKernel(3, 90, layout="hankel", **SG),
    "s4d": lambda: S4DKernel(3, 300, state_dim=8),
    "one tap": lambda: LongConvKernel(3, 1, dropout=0.0),
}
STRUCTURED = {"sgconv", "odd", "nearest", "sum", "one number", "one scale", "s4d"}
CASES = [(name, method) for name in KERNELS for method in ("ring", "relaxed", "block")]
CASES += [(name, "structured") for name in KERNELS if name in STRUCTURED]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_any_mixture_of_steps_and_chunks_is_the_whole(name, method):
    for dtype, tolerance in TOLERANCE.items():
        kernel = KERNELS[name]().to(dtype)
        u = torch.randn(2, sum(STEPS), 3, dtype=dtype)
        whole = long_conv(u, kernel(None).detach()).movedim(1, -1)  # (B, C, H, L)
        state = ConvState.start(kernel, 2, method=method, block=16)
        found = []
        for n, chunk in zip(STEPS, u.mT.split(STEPS, -1), strict=True):
            found.append(state.step(chunk[..., 0]).unsqueeze(-1) if n == 1 else state.advance(chunk))
        assert state.position == len(u[0])
        gap = (torch.cat(found, -1) - whole).abs().max() / whole.abs().max()
        assert float(gap) < tolerance


@pytest.mark.parametrize("method", ["ring", "relaxed", "structured", "block"])
def test_it_does_not_drift(method):
    kernel = SGConvKernel(1, 64, kernel_dim=4, random_state=0)
    u = 100.0 + torch.randn(1, 1, 1200)
    state = ConvState.start(kernel, method=method)
    state.advance(u[..., :1])
    found = torch.stack([state.step(u[..., t]) for t in range(1, 1200)], -1)
    exact = long_conv(u.double(), kernel().detach().double()[0], layout="bhl")[..., 1:]
    assert float((found[:, 0] - exact)[..., -300:].abs().max() / exact.abs().max()) < 1e-5


def test_a_structured_step_takes_fewer_multiply_adds():
    kernel = SGConvKernel(1, 16_384, kernel_dim=64)
    state = ConvState.start(kernel, method="structured")
    assert state.multiply_adds < 2 * 64 * 9 + 2 * 9  # two for each number of the nine scales, and the ends
    assert state.n_numbers < 10 * 16_384
    assert ConvState.start(S4DKernel(1, 16_384)).n_numbers == 64
    assert "n_numbers=64" in repr(ConvState.start(S4DKernel(1, 16_384)))


def test_a_copy_goes_its_own_way():
    state = ConvState.start(torch.ones(1, 1, 4))
    state.step(torch.ones(1, 1))
    other = state.clone()
    other.step(torch.full((1, 1), 5.0))
    assert float(state.step(torch.ones(1, 1))) == 2.0


def test_half_types_are_summed_in_float32():
    kernel = LongConvKernel(2, 50, dropout=0.0).bfloat16()
    u = torch.randn(1, 2, 50).bfloat16()
    for method in ("ring", "relaxed", "block"):
        state = ConvState.start(kernel, method=method)
        found = torch.stack([state.step(u[..., t]) for t in range(50)], -1)
        assert found.dtype == torch.bfloat16
        exact = long_conv(u.double(), kernel().detach().double()[0], layout="bhl")
        assert float((found[:, 0] - exact).norm() / exact.norm()) < 4e-3


def test_what_cannot_go_on_is_refused():
    kernel = LongConvKernel(3, 10)
    with pytest.raises(ValueError, match="method='fast' is not one of"):
        ConvState.start(kernel, method="fast")
    with pytest.raises(ValueError, match="batch=0 and block=128"):
        ConvState.start(kernel, 0)
    with pytest.raises(ValueError, match=r"is for an SGConvKernel or an S4DKernel, not LongConvKernel. Use 'relaxed'"):
        ConvState.start(kernel, method="structured")
    with pytest.raises(ValueError, match=r"with power .* is not made of pieces"):
        ConvState.start(SGConvKernel(3, 64, power=1.0, **SG), method="structured")
    with pytest.raises(ShapeError, match=r"taps are .C, H, L."):
        ConvState.start(torch.ones(3, 4))
    state = ConvState.start(kernel, 2)
    with pytest.raises(ShapeError, match=r"a step is .B, H., not .2, 4."):
        state.step(torch.ones(2, 4))
    with pytest.raises(ShapeError, match=r"a chunk is .B, H, n."):
        state.advance(torch.ones(2, 4, 5))
    cut = ConvState.start(S4DKernel(3, 10, state_dim=4), method="ring")
    cut.advance(torch.ones(1, 3, 10))
    with pytest.raises(ValueError, match=r"step 11 is beyond the 10 taps .* Use method='structured'"):
        cut.step(torch.ones(1, 3))
