"""Functions that repeat."""

import pytest
import torch

from mercer.kernels import Cosine, Exponential, Periodic

X = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kernel", [Periodic(0.8, [0.5, 1.0, 2.0]), Cosine([0.5, 1.0, 2.0])], ids=repr)
def test_a_whole_number_of_periods_changes_nothing(kernel):
    shift = torch.tensor([7 * 0.5, -3 * 1.0, 1000 * 2.0], dtype=torch.float64)
    torch.testing.assert_close(kernel(X, Y + shift).to_dense(), kernel(X, Y).to_dense(), rtol=1e-11, atol=1e-11)


def test_long_series_in_float32_keep_their_phase():
    # a day in steps of a quarter, over a century: times are exact in float32
    days = torch.arange(0.0, 36_500.0, 0.25).reshape(-1, 1)
    K = Periodic(0.7, 1.0)(days[:8], days[-8:]).to_dense()
    torch.testing.assert_close(K, Periodic(0.7, 1.0)(days[:8], days[:8].clone()).to_dense(), rtol=1e-5, atol=1e-6)


def test_close_points_of_a_short_lengthscale_lose_no_digits():
    x = (torch.arange(30.0) * 1e-4).reshape(-1, 1)
    K = Periodic(0.003, 1.0)(x).to_dense().double()
    d = x.double()
    expected = torch.exp(-2.0 * (torch.sin(torch.pi * (d - d.T)) / 0.003) ** 2)
    torch.testing.assert_close(K, expected, rtol=0.0, atol=2e-6)


def test_periods_one_a_column_must_fit():
    with pytest.raises(ValueError, match="period has 2 entries, but the kernel sees 3 columns"):
        Periodic(1.0, [1.0, 2.0])(X)
    with pytest.raises(ValueError, match="period must be > 0"):
        Cosine(period=[1.0, 0.0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_values_are_those_of_gpytorch():
    gpytorch = pytest.importorskip("gpytorch")
    periodic = gpytorch.kernels.PeriodicKernel(ard_num_dims=3).double()
    periodic.lengthscale, periodic.period_length = (
        torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64),
        torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
    )
    ours = Periodic(torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64).sqrt(), [1.0, 2.0, 3.0])
    torch.testing.assert_close(ours(X, Y).to_dense(), periodic(X, Y).to_dense().detach(), rtol=1e-9, atol=1e-10)
    wave = gpytorch.kernels.CosineKernel().double()
    wave.period_length = torch.tensor(1.3, dtype=torch.float64)
    expected = wave(X[:, :1], Y[:, :1]).to_dense().detach()
    torch.testing.assert_close(Cosine(2.6)(X[:, :1], Y[:, :1]).to_dense(), expected, rtol=1e-9, atol=1e-9)
    rough = gpytorch.kernels.MaternKernel(nu=0.5).double()
    rough.lengthscale = torch.tensor(0.7, dtype=torch.float64)
    expected = rough(X, Y).to_dense().detach()
    torch.testing.assert_close(Exponential(0.7)(X, Y).to_dense(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("smoothness", [0, 1, 3])  # at 2, GPyTorch 1.15.2 has j for the j ** 2 of the formula
def test_wendland_kernels_are_those_of_gpytorch(smoothness):
    from mercer.kernels import Wendland

    gpytorch = pytest.importorskip("gpytorch")
    theirs = gpytorch.kernels.PiecewisePolynomialKernel(q=smoothness).double()
    theirs.lengthscale = torch.tensor(3.0, dtype=torch.float64)
    ours = Wendland(3.0, smoothness=smoothness)
    torch.testing.assert_close(ours(X, Y).to_dense(), theirs(X, Y).to_dense().detach(), rtol=1e-9, atol=1e-10)
