"""Kernels from Python functions."""

import pickle

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, FunctionKernel, from_callable

X = torch.linspace(0.1, 2.0, 8, dtype=torch.float64).reshape(4, 2)
Y = X[:3] + 0.3


def of_points(x, y):
    assert isinstance(x, np.ndarray)
    assert x.shape == y.shape == (2,)
    return float(np.minimum(x, y).sum())


def of_blocks(X, Y):
    return torch.exp(-(X[:, None] - Y[None]).square().sum(-1))


def test_a_function_of_points_is_called_for_each_pair():
    expected = np.minimum(X.numpy()[:, None], Y.numpy()[None]).sum(-1)
    K = from_callable(of_points)(X, Y)
    np.testing.assert_allclose(K.to_dense().numpy(), expected)
    v = torch.randn(3, 2, dtype=torch.float64)
    np.testing.assert_allclose((K.with_plan("tiles") @ v).numpy(), expected @ v.numpy())
    np.testing.assert_allclose(from_callable(of_points)(X).diagonal().numpy(), X.numpy().sum(1))


def test_pairs_of_a_symmetric_matrix_are_called_once():
    calls = []

    def counting(x, y):
        calls.append((float(x[0]), float(y[0])))
        return of_points(x, y)

    K = from_callable(counting)(X).to_dense()
    assert len(calls) == 4 * 5 / 2
    np.testing.assert_allclose(K.numpy(), np.minimum(X.numpy()[:, None], X.numpy()[None]).sum(-1))


def test_a_function_of_points_is_stored_because_calls_are_dear():
    points = torch.zeros(500, 2)
    assert from_callable(of_points)(points).plan.name == "dense"


def test_a_function_of_blocks_has_gradients_of_any_order():
    inputs = [X.clone().requires_grad_(True), Y.clone().requires_grad_(True)]
    kernel = 2.0 * from_callable(of_blocks, blocks=True) + RBF()
    assert torch.autograd.gradcheck(lambda X, Y: kernel(X, Y).to_dense(), inputs)
    assert torch.autograd.gradgradcheck(lambda X, Y: kernel(X, Y) @ torch.ones(3, dtype=torch.float64), inputs)


def test_functions_compose_with_other_kernels():
    kernel = 0.5 * from_callable(of_blocks, blocks=True).on([1]) ** 2 + RBF()
    expected = 0.5 * of_blocks(X[:, [1]], Y[:, [1]]) ** 2 + RBF()(X, Y).to_dense()
    torch.testing.assert_close(kernel(X, Y).to_dense(), expected)


def test_a_function_of_blocks_may_return_an_array_and_then_has_no_gradients():
    kernel = from_callable(lambda X, Y: np.ones((len(X), len(Y))), blocks=True)
    assert torch.equal(kernel(X).to_dense(), torch.ones(4, 4, dtype=torch.float64))
    Z = X.clone().requires_grad_(True)
    with pytest.raises(TypeError, match=r"returns no tensor, so it has no gradients. Write it in torch"):
        (kernel(Z) @ torch.ones(4, dtype=torch.float64)).sum().backward()


def test_a_function_of_points_has_no_gradients():
    Z = X.clone().requires_grad_(True)
    with pytest.raises(TypeError, match=r"has no gradients in X.* use from_callable\(function, blocks=True\)"):
        (from_callable(of_points)(Z) @ torch.ones(4, dtype=torch.float64)).sum().backward()


def test_what_is_no_function_of_blocks_is_refused():
    with pytest.raises(ShapeError, match=r"must return \(4, 4\) values, but returned \(4,\)"):
        from_callable(lambda X, Y: X[:, 0], blocks=True)(X).to_dense()
    with pytest.raises(TypeError, match="needs a function"):
        from_callable("rbf")


def test_two_kernels_are_equal_when_their_functions_are():
    assert from_callable(of_points) == from_callable(of_points)
    assert from_callable(of_points) != from_callable(of_blocks)
    assert from_callable(of_points) != from_callable(of_points, flops_per_pair=1.0)
    assert isinstance(pickle.loads(pickle.dumps(from_callable(of_points))), FunctionKernel)


@pytest.mark.parametrize("blocks", [True, False])
def test_no_points_are_no_calls(blocks):
    kernel = from_callable(of_blocks if blocks else of_points, blocks=blocks)
    assert kernel(X[:0]).to_dense().shape == (0, 0)
    assert kernel(X[:0]).diagonal().shape == (0,)
