import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mercer import config
from mercer.errors import MemoryBudgetError, NotConverged, ShapeError
from mercer.kernels import RBF
from mercer.operators.functions import inv_quad_logdet
from mercer.operators.solvers import NotPositiveDefinite, exact

METHODS = ("cholesky", "lanczos")


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def positive(A: Tensor) -> Tensor:
    return A @ A.mT / A.shape[-1] + torch.eye(A.shape[-1], dtype=A.dtype)


def dense_kernel(X: Tensor, lengthscale: Tensor) -> Tensor:
    return torch.exp(-0.5 * (X[:, None] - X).square().sum(-1) / lengthscale**2)


def kernel_problem(n: int = 200) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points, lengthscale, targets and noise; all want gradients."""
    X, y = leaf(n, 2), leaf(n, 2)
    lengthscale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    return X, lengthscale, y, torch.tensor(0.05, dtype=torch.float64, requires_grad=True)


class Gaussian:
    """An operator of points and a lengthscale, both differentiable, built as linear_operator builds its own."""

    def __new__(cls, X: Tensor, lengthscale: Tensor) -> Any:
        from linear_operator.operators import DenseLinearOperator, LinearOperator

        class Operator(LinearOperator):  # type: ignore[misc]
            def __init__(self, X: Tensor, lengthscale: Tensor) -> None:
                super().__init__(X, lengthscale)
                self.X, self.lengthscale = X, lengthscale

            def _matmul(self, rhs: Tensor) -> Tensor:
                return dense_kernel(self.X, self.lengthscale) @ rhs

            def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> Any:
                return DenseLinearOperator(dense_kernel(self.X, self.lengthscale)[row_index][:, col_index])

            def _size(self) -> torch.Size:
                return torch.Size((len(self.X), len(self.X)))

            def _transpose_nonbatch(self) -> Any:
                return self

        return Operator(X, lengthscale)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise", ["scalar", "vector"])
def test_values_are_those_of_dense_algebra(method: str, noise: str) -> None:
    K = RBF(lengthscale=0.5)(torch.randn(150, 2, dtype=torch.float64))
    y = torch.randn(150, 3, dtype=torch.float64)
    variance = (
        torch.full((150,), 0.1, dtype=torch.float64) if noise == "vector" else torch.tensor(0.1, dtype=torch.float64)
    )
    result = inv_quad_logdet(K, y, noise=variance, method=method, rtol=1e-8)  # type: ignore[arg-type]
    M = K.to_dense() + 0.1 * torch.eye(150, dtype=torch.float64)
    torch.testing.assert_close(result.inv_quad, (y * torch.linalg.solve(M, y)).sum(0))
    torch.testing.assert_close(result.x, torch.linalg.solve(M, y), rtol=1e-5, atol=1e-5)
    error = abs(float(result.logdet - torch.logdet(M)))
    assert error <= 4.0 * float(result.standard_error) + 1e-9
    assert float(result.standard_error) < 1.0
    assert result.method == method


def test_standard_error_falls_with_the_rank() -> None:
    K, y = RBF()(torch.randn(300, 2, dtype=torch.float64)), torch.randn(300, 1, dtype=torch.float64)
    errors = [
        float(inv_quad_logdet(K, y, noise=0.1, method="lanczos", rank=rank).standard_error) for rank in (2, 30, 80)
    ]
    assert errors[0] > 2.0 * errors[1] > 20.0 * errors[2]


def test_standard_error_is_honest() -> None:
    K, y = RBF(lengthscale=0.5)(torch.randn(60, 2, dtype=torch.float64)), torch.zeros(60, 0)
    exact_value = float(inv_quad_logdet(K, y, noise=0.1).logdet)
    scores = []
    for seed in range(20):
        result = inv_quad_logdet(K, y, noise=0.1, method="lanczos", rank=5, random_state=seed)
        scores.append((float(result.logdet) - exact_value) / float(result.standard_error))
    spread = torch.tensor(scores)
    assert abs(float(spread.mean())) < 1.0
    assert 0.5 < float(spread.square().mean().sqrt()) < 2.0


@pytest.mark.parametrize("method", METHODS)
def test_gradient_is_that_of_dense_algebra(method: str) -> None:
    X, lengthscale, y, noise = kernel_problem()
    result = inv_quad_logdet(
        Gaussian(X, lengthscale),
        y,
        noise=noise,
        method=method,
        rtol=1e-8,
        n_probes=20,  # type: ignore[arg-type]
    )
    M = dense_kernel(X, lengthscale) + noise * torch.eye(len(X), dtype=torch.float64)
    quad, logdet = (y * torch.linalg.solve(M, y)).sum(), torch.logdet(M)
    leaves = (X, lengthscale, y, noise)
    for ours, theirs in zip(
        torch.autograd.grad(result.inv_quad.sum(), leaves, retain_graph=True),
        torch.autograd.grad(quad, leaves, retain_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
    tolerance = 1e-6 if method == "cholesky" else 0.02
    leaves = (X, lengthscale, noise)
    for ours, theirs in zip(
        torch.autograd.grad(result.logdet, leaves), torch.autograd.grad(logdet, leaves), strict=True
    ):
        assert float((ours - theirs).norm()) <= tolerance * max(float(theirs.norm()), 1.0)


def test_exact_gradients_can_be_differentiated_again() -> None:
    def function(A: Tensor, y: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        result = inv_quad_logdet(positive(A), y, noise=root.square())
        return result.inv_quad, result.logdet

    arguments = (leaf(2, 4, 4), leaf(4, 2), leaf(4))
    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


def test_exact_in_panels_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    A, y = leaf(30, 30), leaf(30, 2)
    whole = inv_quad_logdet(positive(A), y)
    expected = torch.autograd.grad(whole.logdet + whole.inv_quad.sum(), (A, y))
    monkeypatch.setattr(exact, "_IN_PANELS", 20)
    panels = inv_quad_logdet(positive(A), y)
    torch.testing.assert_close(panels.logdet, whole.logdet)
    for ours, theirs in zip(torch.autograd.grad(panels.logdet + panels.inv_quad.sum(), (A, y)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("method", METHODS)
def test_shapes_follow_batch_and_columns(method: str) -> None:
    A = positive(torch.randn(2, 3, 10, 10, dtype=torch.float64))
    result = inv_quad_logdet(A, torch.randn(10, 4), noise=torch.ones(3, 10), method=method)  # type: ignore[arg-type]
    assert result.inv_quad.shape == (2, 3, 4)
    assert result.logdet.shape == result.standard_error.shape == (2, 3)
    assert result.x.shape == (2, 3, 10, 4)
    torch.testing.assert_close(result.logdet, torch.logdet(A + torch.eye(10)), rtol=0.02, atol=0.02)
    vector = inv_quad_logdet(A[0, 0], torch.ones(10), method=method)  # type: ignore[arg-type]
    assert vector.inv_quad.shape == ()
    assert vector.x.shape == (10,)


def test_same_seed_gives_the_same_value() -> None:
    K, y = RBF()(torch.randn(100, 2)), torch.randn(100)
    first, second, other = (
        inv_quad_logdet(K, y, noise=0.1, method="lanczos", rank=5, random_state=seed).logdet for seed in (0, 0, 1)
    )
    assert float(first) == float(second) != float(other)


def test_float64_takes_over_where_float32_is_too_coarse() -> None:
    X = torch.randn(150, 1, dtype=torch.float64)
    K, y = RBF(lengthscale=3.0)(X), torch.randn(150, dtype=torch.float64)
    result = inv_quad_logdet(K, y, noise=1e-7, method="lanczos", rank=6)
    M = K.to_dense() + 1e-7 * torch.eye(150, dtype=torch.float64)
    assert abs(float(result.logdet - torch.logdet(M))) <= 4.0 * float(result.standard_error) + 0.1


# what is raised


def test_indefinite_matrices_raise() -> None:
    A = torch.diag(torch.linspace(-1.0, 1.0, 30, dtype=torch.float64))
    with pytest.raises(NotPositiveDefinite, match="Give a larger noise"):
        inv_quad_logdet(A, torch.ones(30))
    with pytest.raises(NotConverged, match=r"not positive definite.*Give a larger noise"):
        inv_quad_logdet(A, torch.ones(30), method="lanczos", rank=2)


def test_too_few_iterations_raise_with_the_argument_to_change() -> None:
    A = torch.diag(torch.logspace(0, -6, 60, dtype=torch.float64))
    with pytest.raises(NotConverged, match=r"probes did not reach .* larger noise, rank or max_iter"):
        inv_quad_logdet(A, torch.ones(60), method="lanczos", rank=2, max_iter=5)


def test_y_that_does_not_converge_raises_with_its_best() -> None:
    A = torch.diag(torch.logspace(0, -12, 60, dtype=torch.float64))
    with pytest.raises(NotConverged, match=r"1e-17 was asked for.*larger noise, rank, max_iter or rtol") as error:
        inv_quad_logdet(A, torch.ones(60), method="lanczos", noise=1e-7, rank=50, rtol=1e-17, max_iter=50)
    assert error.value.solution.shape == (60, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"A": torch.ones(2, 3)}, ShapeError, "A must be square"),
        ({"y": torch.ones(4)}, ShapeError, "does not fit"),
        ({"n_probes": 0}, ValueError, "n_probes must be 1 or more"),
        ({"method": "magic"}, ValueError, "method must be"),
        ({"noise": -1.0}, ValueError, "not negative"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        inv_quad_logdet(**{"A": torch.eye(3), "y": torch.ones(3), **arguments})


def test_exact_beyond_the_memory_budget_names_lanczos() -> None:
    config.set_memory_budget("1MB")
    with pytest.raises(MemoryBudgetError, match="method='lanczos'"):
        inv_quad_logdet(RBF()(torch.randn(1000, 2)), torch.randn(1000), noise=1.0)


def test_one_probe_has_an_unknown_error() -> None:
    result = inv_quad_logdet(torch.eye(10), torch.ones(10), method="lanczos", n_probes=1)
    assert math.isinf(float(result.standard_error))
