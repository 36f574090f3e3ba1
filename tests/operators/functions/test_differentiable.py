import pytest
import torch
from linear_operator.operators import DenseLinearOperator
from torch import Tensor

from mercer.errors import NotConverged
from mercer.kernels import RBF
from mercer.operators.functions import logdet_tensor, solve_tensor, take_apart
from mercer.operators.functions.representation import bilinear_gradients


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def positive(A: Tensor) -> Tensor:
    """A symmetric positive definite function of any square matrices."""
    return A @ A.mT / A.shape[-1] + torch.eye(A.shape[-1], dtype=A.dtype)


@pytest.mark.parametrize("method", ["cholesky", "cg"])
def test_first_and_second_derivatives_by_everything(method: str) -> None:
    A, y, root = leaf(3, 3), leaf(3, 2), leaf(3)

    def function(A: Tensor, y: Tensor, root: Tensor) -> Tensor:
        return solve_tensor(positive(A), y, noise=root.square(), rtol=1e-12, method=method)

    assert torch.autograd.gradcheck(function, (A, y, root))
    assert torch.autograd.gradgradcheck(function, (A, y, root))


@pytest.mark.parametrize(
    ("matrix", "right", "noise"),
    [((2, 4, 4), (4, 3), ()), ((4, 4), (2, 4, 3), (4,)), ((2, 1, 3, 3), (3, 3, 1), (3, 3))],
)
def test_derivatives_sum_over_what_was_broadcast(
    matrix: tuple[int, ...], right: tuple[int, ...], noise: tuple[int, ...]
) -> None:
    A, y, root = leaf(*matrix), leaf(*right), leaf(*noise)

    def function(A: Tensor, y: Tensor, root: Tensor) -> Tensor:
        return solve_tensor(positive(A), y, noise=root.square(), rtol=1e-12)

    assert torch.autograd.gradcheck(function, (A, y, root))


def test_gradients_by_points_and_hyperparameters_of_a_kernel() -> None:
    X = leaf(12, 2)
    y = leaf(12)
    K = RBF(lengthscale=0.7)(X)
    x = solve_tensor(K, y, noise=0.1)
    dense = torch.linalg.solve(
        torch.exp(-0.5 * torch.cdist(X, X) ** 2 / 0.49) + 0.1 * torch.eye(12, dtype=torch.float64), y
    )
    torch.testing.assert_close(x, dense)
    g = torch.randn(12, dtype=torch.float64)
    for ours, theirs in zip(torch.autograd.grad(x, (X, y), g), torch.autograd.grad(dense, (X, y), g), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_left_multiplies_the_solution() -> None:
    A, y, left = positive(leaf(5, 5)).detach(), leaf(5), leaf(3, 5)
    result = solve_tensor(A, y, left, noise=0.5)
    torch.testing.assert_close(result, left @ torch.linalg.solve(A + 0.5 * torch.eye(5, dtype=torch.float64), y))
    result.sum().backward()
    assert left.grad is not None
    assert y.grad is not None


def test_answer_comes_in_the_type_of_y() -> None:
    A = torch.eye(3)
    assert solve_tensor(A, torch.ones(3)).dtype == torch.float32
    assert solve_tensor(A, torch.ones(3, dtype=torch.float64)).dtype == torch.float64


def test_failure_in_backward_raises() -> None:
    A = torch.diag(torch.logspace(0, -8, 30, dtype=torch.float64))
    y = torch.zeros(30, dtype=torch.float64)
    y[0] = 1.0
    y.requires_grad_()
    x = solve_tensor(A, y, method="cg", rank=0, max_iter=2)
    with pytest.raises(NotConverged, match="Give max_iter above 2"):
        x.sum().backward()


def test_logdet_tensor_has_the_type_of_the_matrix() -> None:
    A = positive(leaf(2, 4, 4)).float()
    value = logdet_tensor(A, noise=0.5)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, torch.logdet(A + 0.5 * torch.eye(4)))


@pytest.mark.parametrize("wrap", [lambda A: A, DenseLinearOperator])
def test_bilinear_gradients_are_those_of_autograd(wrap: object) -> None:
    A, W, V = leaf(4, 4), torch.randn(4, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    rebuild, tensors = take_apart(wrap(A))  # type: ignore[operator]
    (gradient,) = bilinear_gradients(rebuild, tensors, [True], W, V)
    torch.testing.assert_close(gradient, W @ V.mT)
    assert bilinear_gradients(rebuild, tensors, [False], W, V) == [None]
