"""Transforms as products of small matrices, fixed and learnt."""

from math import prod

import pytest
import torch

from mercer.errors import ShapeError
from mercer.nn import ButterflyConv, MonarchFFT
from mercer.nn.functional import monarch_convolve, monarch_factors
from mercer.operators import convolve


@pytest.mark.parametrize("N", [1, 2, 7, 16, 60, 97, 194, 578, 1000, 4096])
def test_any_length_is_a_product_of_small_matrices(N):
    factors = monarch_factors(N)
    assert prod(factors) == N
    assert all(n <= 16 or all(n % d for d in range(2, n)) for n in factors)
    x = torch.randn(2, 3, N, dtype=torch.float64)
    transform, back = MonarchFFT(N), MonarchFFT(N, inverse=True)
    spectrum = torch.fft.fft(x)
    assert float((transform(x) - spectrum).norm() / spectrum.norm()) < 1e-14
    assert float((back(spectrum) - x).norm() / x.norm()) < 1e-14
    assert torch.allclose(back(transform(x)).real, x, atol=1e-12)
    shorter = x[..., : max(1, N // 2)]
    assert torch.allclose(transform(shorter), torch.fft.fft(shorter, N), atol=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_orders_are_as_equal_as_the_divisors_allow(order):
    factors = monarch_factors(512, order=order)
    assert len(factors) == order
    assert prod(factors) == 512
    assert factors == {1: (512,), 2: (32, 16), 3: (8, 8, 8)}[order]


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize(("L", "K"), [(16, 16), (60, 33), (1000, 1000)])
def test_the_convolution_is_that_of_the_core(L, K, passes):
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        u, k = torch.randn(2, 3, L).to(dtype), torch.randn(3, K).to(dtype)
        expected = convolve(u.double(), k.double())
        for order in (2, 3):
            factors = monarch_factors(1 << (L + K - 2).bit_length(), order=order)
            y = monarch_convolve(u, k, factors=factors, passes=passes)
            assert y.dtype == dtype
            assert float((y.double() - expected).norm() / expected.norm()) < tolerance


def test_learnt_matrices_start_as_the_transform():
    x = torch.randn(3, 60)
    for inverse in (False, True):
        exact = MonarchFFT(60, inverse=inverse)
        learnt = MonarchFFT(60, learn=True, inverse=inverse)
        assert torch.allclose(learnt(x.to(torch.complex64) if inverse else x), exact(x.to(torch.complex64)), atol=1e-4)
        assert learnt.multiply_adds == exact.multiply_adds == 60 * sum(exact.factors)
        added = MonarchFFT(60, learn=True, additive=True, inverse=inverse, random_state=0)
        assert float(max(p.detach().abs().max() for p in added.parameters())) < 0.06
        assert not torch.allclose(added(x.to(torch.complex64)), exact(x.to(torch.complex64)), atol=1e-4)
    assert learnt.parameter_groups()[0]["weight_decay"] == 0.0


@pytest.mark.parametrize("N", [1, 7, 60, 1000])
@pytest.mark.parametrize("options", [{}, {"learn": True}, {"learn": True, "additive": True}], ids=str)
def test_planes_are_what_complex_numbers_give(N, options):
    z = torch.randn(2, 3, N, dtype=torch.complex128)
    for natural in (True, False):
        transform, back = (
            MonarchFFT(N, inverse=inverse, natural=natural, random_state=0, **options).double()
            for inverse in (False, True)
        )
        shorter = z[..., : max(1, N // 2)]
        for x in (z, shorter, shorter.real):
            re, im = transform.planes(x.real, x.imag if x.is_complex() else None)
            assert torch.allclose(torch.complex(re, im), transform(x), rtol=0, atol=1e-11)
        assert torch.allclose(torch.complex(*back.planes(re, im)), back(torch.complex(re, im)), rtol=0, atol=1e-11)
        assert torch.allclose(torch.complex(*back.planes(re)), back(re.to(z.dtype)), rtol=0, atol=1e-11)
    with pytest.raises(ShapeError, match="the input has"):
        transform.planes(torch.ones(N + 1))


def test_a_butterfly_starts_as_a_cyclic_convolution_and_can_leave_it():
    layer = ButterflyConv(3, 24, random_state=0).double()
    u = torch.randn(2, 24, 3).double()
    k, D = layer.kernel.detach(), layer.D.detach()
    expected = torch.fft.ifft(torch.fft.fft(u.mT) * torch.fft.fft(k)).real.mT + D * u
    assert torch.allclose(layer(u), expected, atol=1e-5)  # the matrices are float32
    padded = ButterflyConv(3, 24, size=48, random_state=0).double()
    linear = convolve(u.mT, padded.kernel.detach()[:, :24]).mT + padded.D.detach() * u
    with torch.no_grad():
        padded.kernel[:, 24:] = 0
    assert torch.allclose(padded(u), linear, atol=1e-5)
    # A shift of the input is a shift of the output until the matrices move.
    with torch.no_grad():
        layer.transform_u.matrices[0].add_(0.1 * torch.randn_like(layer.transform_u.matrices[0]))
    gap = layer(u.roll(5, 1)) - layer(u).roll(5, 1)
    assert float(gap.detach().abs().max()) > 1e-2
    layer(u).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert len([p for g in layer.parameter_groups() for p in g["params"]]) == len(list(layer.parameters()))
    fixed = ButterflyConv(3, 24, learn=False)
    assert fixed.multiply_adds == layer.multiply_adds
    assert len(list(fixed.parameters())) == 2


def test_matrices_that_inference_has_made_serve_training():
    u, k = torch.randn(2, 3, 23), torch.randn(3, 23)  # a length of this test alone: matrices are kept
    with torch.inference_mode():
        expected = monarch_convolve(u, k).clone()
    y = monarch_convolve(u.requires_grad_(), k.requires_grad_())
    assert torch.equal(y, expected)
    y[..., 0].sum().backward()  # of which the first tap takes part alone
    assert torch.allclose(k.grad[:, 0], u.detach()[..., 0].sum(0), atol=1e-5)
    assert k.grad[:, 1:].abs().max() <= 1e-5


@pytest.mark.slow(reason="torch.compile takes seconds to start")
def test_a_learnt_butterfly_compiles_without_a_break():
    layer = ButterflyConv(3, 24, random_state=0)
    u = torch.randn(2, 24, 3)
    found, expected = torch.compile(layer, backend="aot_eager", fullgraph=True)(u), layer(u)
    assert torch.allclose(found, expected, atol=1e-5)
    gradients = [torch.autograd.grad(y.square().sum(), list(layer.parameters())) for y in (found, expected)]
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(*gradients, strict=True))


def test_what_has_no_transform_is_refused():
    with pytest.raises(ValueError, match="N and order are >= 1"):
        monarch_factors(0)
    with pytest.raises(ValueError, match=r"factors .4, 4. make 16, but 10 and 10 need 19"):
        monarch_convolve(torch.ones(10), torch.ones(10), factors=(4, 4))
    with pytest.raises(ShapeError, match="the input has 9 entries"):
        MonarchFFT(8)(torch.ones(9))
    with pytest.raises(ValueError, match=r"no causal form: .* Use LongConv.causal=True."):
        ButterflyConv(3, 8, causal=True)
    with pytest.raises(ValueError, match="size=4 >= length"):
        ButterflyConv(3, 8, size=4)
    with pytest.raises(ShapeError, match="L from 1 to 8"):
        ButterflyConv(3, 8)(torch.ones(1, 9, 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_butterfly_runs_in_half_precision(dtype):
    layer = ButterflyConv(3, 40, random_state=0)
    u = torch.randn(2, 40, 3)
    expected = layer(u).detach()
    y = layer.to(dtype)(u.to(dtype))
    assert y.dtype == dtype
    # Kernel, matrices and input are rounded.
    assert float((y.detach().float() - expected).norm() / expected.norm()) < 0.02
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
