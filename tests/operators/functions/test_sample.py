from importlib import import_module

import pytest
import torch
from torch import Tensor

from mercer.errors import NotConverged
from mercer.kernels import RBF
from mercer.operators.functions import sample
from mercer.operators.solvers import NotPositiveDefinite

METHODS = ("cholesky", "pivoted", "lanczos")


def kernel(n: int = 30) -> tuple[object, Tensor]:
    K = RBF()(torch.randn(n, 2, dtype=torch.float64))
    return K, K.to_dense()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_draws_have_the_covariance_asked_for(method: str, noise: float) -> None:
    K, dense = kernel()
    draws = sample(K, 2000, noise=noise, method=method, random_state=0)  # type: ignore[arg-type]
    values = draws.values
    assert values.shape == (2000, 30)
    expected = dense + noise * torch.eye(30, dtype=torch.float64)
    torch.testing.assert_close(values.mT @ values / 2000, expected, rtol=0, atol=0.18)
    assert float(values.mean(0).abs().max()) < 0.1
    assert draws.method == method
    assert 0.0 <= draws.error <= 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_noise_of_every_row(method: str) -> None:
    noise = torch.linspace(0.0, 3.0, 30)
    K, dense = kernel()
    values = sample(K, 2000, noise=noise, method=method, random_state=1).values  # type: ignore[arg-type]
    torch.testing.assert_close(values.square().mean(0), dense.diagonal() + noise, rtol=0.18, atol=0.0)


def test_lanczos_draws_are_white_in_the_metric_of_the_matrix() -> None:
    K = RBF(lengthscale=0.2)(torch.randn(60, 2, dtype=torch.float64))
    draws = sample(K, 60, noise=0.01, method="lanczos", rank=10, rtol=1e-10, random_state=0)
    M = K.to_dense() + 0.01 * torch.eye(60, dtype=torch.float64)
    whitened = (draws.values @ torch.linalg.inv(M) * draws.values).sum(1)
    assert float(whitened.mean()) == pytest.approx(60.0, rel=0.1)


def test_singular_covariance_gets_a_stated_jitter() -> None:
    draws = sample(torch.ones(20, 20), 5, random_state=0)
    assert 0.0 < draws.error < 1e-8
    torch.testing.assert_close(draws.values, draws.values[:, :1].expand(5, 20), rtol=0, atol=1e-3)


def test_indefinite_covariance_raises() -> None:
    with pytest.raises(NotPositiveDefinite, match="Give a larger noise"):
        sample(-torch.eye(4))


def test_large_matrices_take_the_factor_if_it_reaches_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("mercer.operators.functions.sample"), "_EXACT", 10)
    K, _ = kernel(100)
    assert sample(K, 2, random_state=0).method == "pivoted"
    rough = RBF(lengthscale=0.05)(torch.randn(100, 2, dtype=torch.float64))
    assert sample(rough, 2, noise=0.1, rank=10, random_state=0).method == "lanczos"


@pytest.mark.parametrize(("method", "change"), [("pivoted", "a larger rank"), ("lanczos", "a larger max_iter or rank")])
def test_error_above_the_tolerance_raises_with_the_draws(method: str, change: str) -> None:
    rough = RBF(lengthscale=0.05)(torch.randn(100, 2, dtype=torch.float64))
    with pytest.raises(NotConverged, match=change) as error:
        sample(rough, 2, method=method, rank=3, max_iter=2, random_state=0)  # type: ignore[arg-type]
    assert error.value.solution.values.shape == (2, 100)
    assert error.value.solution.error > 1e-4


def test_same_seed_gives_the_same_draws() -> None:
    K, _ = kernel()
    first, again = (sample(K, 3, noise=0.1, random_state=5).values for _ in range(2))
    assert torch.equal(first, again)


def test_number_of_samples_must_be_positive() -> None:
    with pytest.raises(ValueError, match="n_samples must be 1 or more"):
        sample(torch.eye(3), 0)
