"""Convolutions against the direct sum in float64, scipy, and finite differences.

Tolerances are normwise. A transform of n points loses about 0.25 log2(n) epsilons of |u| |k|: 5e-7 in float32 and 1e-15
in float64 at 131,072 points. 2e-6 and 1e-13 leave room for unlucky signals and none for a wrong entry.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from mercer.errors import ShapeError
from mercer.operators import KernelSpectrum, convolution_plan, convolve
from mercer.operators.convolution_blocks import convolve_blocks
from mercer.operators.convolution_plan import MODES, choose_plan, smooth_length, window
from mercer.operators.machine import parallel

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13, torch.complex64: 2e-6, torch.complex128: 1e-13}
SIZES = [(1, 1), (7, 3), (3, 7), (64, 64), (257, 33), (100, 301), (700, 5)]
BATCHES = [((), ()), ((2, 3), (3,)), ((2, 3), (2, 1)), ((3,), (4, 2, 1)), ((5,), (1,)), ((2, 3, 4), (2, 1, 4))]


@pytest.fixture(autouse=True)
def _work_buffers_are_nan(monkeypatch):
    """Work memory and results start as NaN, so that reading what nobody wrote shows."""
    empty = np.empty

    def filled(shape, dtype=float, **options):
        array = empty(shape, dtype, **options)
        array.view(np.uint8).fill(255) if array.ndim else None
        return array

    monkeypatch.setattr(np, "empty", filled)
    sys.modules["mercer.operators.convolution_blocks"]._kept.__dict__.clear()


def direct_sum(u, kernel, mode):
    """The definition, entry of the kernel by entry, in float64 or complex128."""
    wide = torch.complex128 if u.is_complex() else torch.float64
    u, kernel = u.to(wide), kernel.to(wide)
    n, k = u.shape[-1], kernel.shape[-1]
    full = torch.zeros(*torch.broadcast_shapes(u.shape[:-1], kernel.shape[:-1]), n + k - 1, dtype=wide)
    for j in range(k):
        full[..., j : j + n] += u * kernel[..., j : j + 1]
    if mode == "circular":
        folded = full[..., :n].clone()
        folded[..., : k - 1] += full[..., n:]
        return folded
    start = {"causal": 0, "full": 0, "same": (k - 1) // 2, "valid": min(n, k) - 1}[mode]
    length = {"causal": n, "full": n + k - 1, "same": n, "valid": abs(n - k) + 1}[mode]
    return full[..., start : start + length]


def assert_near(got, expected, tolerance):
    assert got.shape == expected.shape
    error = (got.to(expected.dtype) - expected).norm() / expected.norm()
    assert error <= tolerance, float(error)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_every_mode_is_the_direct_sum(n, k, mode, dtype):
    if mode == "circular" and k > n:
        pytest.skip("a kernel longer than the period is refused")
    u, kernel = torch.randn(2, 3, n, dtype=dtype), torch.randn(3, k, dtype=dtype)
    expected = direct_sum(u, kernel, mode)
    assert_near(convolve(u, kernel, mode=mode), expected, TOLERANCE[dtype])
    assert_near(convolve(u, KernelSpectrum(kernel, n, mode=mode)), expected, TOLERANCE[dtype])


@pytest.mark.parametrize(("u_batch", "k_batch"), BATCHES)
def test_batches_broadcast(u_batch, k_batch):
    u, kernel = torch.randn(*u_batch, 40, dtype=torch.float64), torch.randn(*k_batch, 25, dtype=torch.float64)
    expected = direct_sum(u, kernel, "same")
    assert_near(convolve(u, kernel, mode="same"), expected, 1e-13)
    assert_near(convolve(u, KernelSpectrum(kernel, 40, mode="same")), expected, 1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128], ids=str)
@pytest.mark.parametrize("mode", ["causal", "full", "same", "valid"])
@pytest.mark.parametrize("method", ["direct", "whole", "blocks"])
def test_all_methods_give_the_same(method, mode, dtype):
    u, kernel = torch.randn(5, 9001, dtype=dtype), torch.randn(5, 13, dtype=dtype)
    assert_near(convolve(u, kernel, mode=mode, method=method), direct_sum(u, kernel, mode), TOLERANCE[dtype])


@pytest.mark.parametrize("mode", ["causal", "full", "same", "valid"])
@pytest.mark.parametrize(("n", "k"), [(40_000, 40_001), (50_000, 20_001)])
def test_parts_of_long_kernels_add_up(n, k, mode):
    u, kernel = torch.randn(3, n), torch.randn(3, k)
    expected = torch.from_numpy(scipy.signal.fftconvolve(u.double(), kernel.double(), axes=-1))
    geometry = window((n,), (k,), mode)
    (start,), (length,) = geometry.start, geometry.length
    got = convolve(u, kernel, mode=mode, method="parts")
    assert_near(got, expected[:, start : start + length], 2e-6)


@pytest.mark.parametrize("rows", [1, 2, 5, 64])
@pytest.mark.parametrize(("n", "k"), [(300, 300), (6000, 6000), (6000, 30)])
def test_blocks_of_rows_change_nothing(n, k, rows):
    u, kernel = torch.randn(3, 7, n, dtype=torch.float64), torch.randn(7, k, dtype=torch.float64)
    geometry = window((n,), (k,), "causal")
    plan = choose_plan(geometry, 21, 7, u.dtype, cached=False, method=None)
    whole = convolve(u, kernel)
    got = convolve_blocks(u.numpy(), kernel.numpy(), geometry, replace(plan, rows=rows))
    assert_near(torch.from_numpy(got), whole, 1e-15)


def test_workers_change_nothing(monkeypatch):
    u, kernel = torch.randn(6, 11, 3000), torch.randn(11, 3000)
    alone = convolve(u, kernel)
    monkeypatch.setattr(parallel, "n_workers", lambda: 3)
    assert convolution_plan(3000, 3000, rows=66, n_kernels=11).workers == 3
    assert_near(convolve(u, kernel), alone.double(), 1e-6)


@pytest.mark.parametrize("mode", ["causal", "full", "same", "valid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize(("size", "kernel_size"), [((11, 16), (11, 16)), ((9, 20), (3, 5)), ((4, 5), (7, 6))])
def test_two_axes_agree_with_scipy(size, kernel_size, dtype, mode):
    u, kernel = torch.randn(2, 3, *size, dtype=dtype), torch.randn(3, *kernel_size, dtype=dtype)
    full = np.stack(
        [[scipy.signal.convolve2d(a, b) for a, b in zip(row, kernel.numpy(), strict=True)] for row in u.numpy()]
    )
    geometry = window(size, kernel_size, mode)
    (a, b), (h, w) = geometry.start, geometry.length
    expected = torch.from_numpy(full)[..., a : a + h, b : b + w]
    for method in ("direct", "whole"):
        got = convolve(u, kernel, mode=mode, dims=2, method=method)
        assert_near(got, expected, 10 * TOLERANCE[dtype] if dtype == torch.float32 else TOLERANCE[dtype])


def test_two_axes_wrap_around():
    u, kernel = torch.randn(3, 8, 11, dtype=torch.float64), torch.randn(3, 5, 4, dtype=torch.float64)
    expected = torch.stack(
        [
            torch.from_numpy(np.fft.ifft2(np.fft.fft2(a) * np.fft.fft2(b, (8, 11))).real)
            for a, b in zip(u, kernel, strict=True)
        ]
    )
    assert_near(convolve(u, kernel, mode="circular", dims=2), expected, 1e-13)


def test_three_axes_agree_with_scipy():
    u, kernel = torch.randn(4, 5, 6, dtype=torch.float64), torch.randn(3, 5, 8, dtype=torch.float64)
    expected = torch.from_numpy(scipy.signal.fftconvolve(u, kernel))
    assert_near(convolve(u, kernel, mode="full", dims=3, method="whole"), expected, 1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_are_computed_in_float32(dtype):
    u, kernel = torch.randn(4, 500).to(dtype), (0.05 * torch.randn(4, 500)).to(dtype)
    got = convolve(u, kernel)
    assert got.dtype == dtype
    expected = direct_sum(u, kernel, "causal")
    assert_near(got, expected, torch.finfo(dtype).eps)


@pytest.mark.parametrize("length", [1, 2, 31, 1000, 5000])
def test_what_comes_later_changes_nothing_before(length):
    u, kernel = torch.randn(3, length), torch.randn(3, length)
    half = length // 2
    changed = u.clone()
    changed[:, half:] = 0.0
    before, after = convolve(u, kernel)[:, :half], convolve(changed, kernel)[:, :half]
    assert (before - after).abs().max().item() <= 2e-6 * u.norm() * kernel.norm() if half else before.numel() == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("method", ["direct", "whole"])
@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_any_order(mode, method, dtype):
    u = torch.randn(2, 2, 4, dtype=dtype, requires_grad=True)
    kernel = torch.randn(2, 3, dtype=dtype, requires_grad=True)

    def f(u, kernel):
        return convolve(u, kernel, mode=mode, method=method)

    fast = dtype.is_complex  # random directions instead of every entry
    assert gradcheck(f, (u, kernel), check_forward_ad=True, fast_mode=fast)
    assert gradgradcheck(f, (u, kernel), fast_mode=fast)


def test_gradients_of_two_axes():
    u = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    for mode in MODES:

        def f(u, kernel, mode=mode):
            return convolve(u, kernel, mode=mode, dims=2, method="whole")

        assert gradcheck(f, (u, kernel), fast_mode=True)


def test_a_spectrum_passes_gradients_to_the_signal():
    u = torch.randn(2, 2, 9, dtype=torch.float64, requires_grad=True)
    for mode in MODES:
        spectrum = KernelSpectrum(torch.randn(2, 4, dtype=torch.float64), 9, mode=mode, method="whole")
        assert gradcheck(lambda u, s=spectrum: convolve(u, s), (u,), fast_mode=True)


def test_vmap_and_grad_of_functions():
    u, kernel = torch.randn(4, 3, 10, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    expected = torch.stack([convolve(a, b) for a, b in zip(u, kernel, strict=True)])
    torch.testing.assert_close(torch.vmap(convolve)(u, kernel), expected)
    torch.testing.assert_close(torch.vmap(convolve, (1, None), 1)(u, kernel), convolve(u, kernel[:, None]))
    spectrum = KernelSpectrum(kernel[:, None], 10)
    torch.testing.assert_close(torch.vmap(lambda a: convolve(a, spectrum), 0)(u[None])[0], expected)

    def loss(kernel, u):
        return convolve(u, kernel).square().sum()

    got = torch.vmap(torch.func.grad(loss))(kernel, u)
    leaf = kernel.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(sum(loss(k, a) for k, a in zip(leaf, u, strict=True)), leaf)
    torch.testing.assert_close(got, wanted)


def test_forward_mode_is_not_dropped_without_gradients():
    u, kernel, tangent = (torch.randn(6, dtype=torch.float64) for _ in range(3))
    with torch.no_grad(), forward_ad.dual_level():
        dual = forward_ad.make_dual(u, tangent)
        got = forward_ad.unpack_dual(convolve(dual, kernel)).tangent
    torch.testing.assert_close(got, convolve(tangent, kernel))


def test_strided_and_conjugate_signals_are_read_right():
    u, kernel = torch.randn(20, 3, dtype=torch.complex128), torch.randn(3, 5, dtype=torch.complex128)
    expected = direct_sum(u.mT.conj().resolve_conj(), kernel, "causal")
    assert_near(convolve(u.mT.conj(), kernel), expected, 1e-13)
    assert_near(convolve(u.mH, KernelSpectrum(kernel.conj().conj(), 20)), expected, 1e-13)


def test_one_kernel_for_a_batch_takes_several_rows_at_a_time():
    spectrum = KernelSpectrum(torch.randn(3000), 3000)
    assert spectrum.plan.rows >= 4
    u = torch.randn(9, 3000)
    assert_near(convolve(u, spectrum), direct_sum(u, spectrum.kernel, "causal"), 2e-6)


def test_a_spectrum_does_not_follow_its_kernel():
    u, kernel = torch.randn(30), torch.randn(30)
    spectrum = KernelSpectrum(kernel, 30)
    before = convolve(u, spectrum)
    kernel.zero_()
    assert torch.equal(convolve(u, spectrum), before)


def test_results_made_in_inference_mode_leave_nothing_behind():
    u, kernel = torch.randn(2, 3000), torch.randn(2, 3000)
    with torch.inference_mode():
        first = convolve(u, kernel)
    torch.testing.assert_close(convolve(u, kernel), first)


def test_empty_batches_give_empty_results():
    assert convolve(torch.zeros(0, 3, 5), torch.zeros(3, 2)).shape == (0, 3, 5)
    assert convolve(torch.zeros(2, 0, 5), torch.zeros(0, 2)).shape == (2, 0, 5)


def test_the_full_convolution_with_nothing_is_zero():
    assert torch.equal(convolve(torch.zeros(2, 0), torch.ones(3), mode="full"), torch.zeros(2, 2))


@pytest.mark.parametrize("n", [*range(1, 40), 1009, 65_537, 123_457])
def test_smooth_length_is_the_least_one(n):
    def is_smooth(m):
        for prime in (2, 3, 5, 7):
            while m % prime == 0:
                m //= prime
        return m == 1

    m = smooth_length(n)
    assert is_smooth(m)
    assert m >= n
    assert not any(is_smooth(k) for k in range(n, m))


def test_the_planner_picks_by_size():
    assert convolution_plan(100_000, 4, rows=64).name == "direct"
    assert convolution_plan(100_000, 500, rows=64).name == "blocks"
    assert convolution_plan(16_384, 16_384, rows=64).name == "whole"
    assert convolution_plan(1 << 20, 1 << 20, rows=64).name == "parts"
    plan = convolution_plan(4096, 4096, rows=64)
    assert plan.transform == (8192,)
    assert plan.flops == pytest.approx(64 * 4096 * (5 * 12 * 3 + 8))
    assert plan.bytes == 3 * 4 * 64 * 4096
    assert "one transform of 8192 a row" in str(plan)


def test_predicted_errors_are_near_what_is_measured():
    for n in (1000, 65_536):
        u, kernel = torch.randn(n), torch.randn(n)
        expected = torch.from_numpy(scipy.signal.fftconvolve(u.double(), kernel.double()))[:n]
        error = float((convolve(u, kernel).double() - expected).norm() / expected.norm())
        assert error < convolution_plan(n, n).error < 10 * error


def test_errors_say_what_to_do():
    u = torch.zeros(2, 3, 8)
    with pytest.raises(ShapeError, match=r"\(2, 3\) and that of the kernels \(4,\) do not broadcast"):
        convolve(u, torch.zeros(4, 5))
    with pytest.raises(ValueError, match="mode='both': a convolution is one of 'causal'"):
        convolve(u, torch.zeros(5), mode="both")
    with pytest.raises(ShapeError, match="longer than the period"):
        convolve(u, torch.zeros(9), mode="circular")
    with pytest.raises(ShapeError, match="at least one entry"):
        convolve(torch.zeros(0), torch.zeros(2))
    with pytest.raises(ShapeError, match="at least as long on every axis"):
        convolve(u, torch.zeros(4, 5), mode="valid", dims=2)
    with pytest.raises(ShapeError, match="convolve over the last 2 axes"):
        convolve(u, torch.zeros(5), dims=2)
    with pytest.raises(ShapeError, match="equally many"):
        convolution_plan((3, 4), 3)
    with pytest.raises(TypeError, match="real or complex"):
        convolve(torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="method='parts' does not apply"):
        convolve(u, torch.zeros(5), method="parts")
    spectrum = KernelSpectrum(torch.zeros(3, 5), 8)
    with pytest.raises(ShapeError, match=r"signals of \(8,\), but u is \(2, 3, 7\)"):
        convolve(u[..., :7], spectrum)
    with pytest.raises(TypeError, match=r"signal is torch\.float64"):
        convolve(u.double(), spectrum)
    with pytest.raises(ShapeError, match="need a kernel of 2 axes"):
        KernelSpectrum(torch.zeros(3), (4, 4))
