"""One kernel before, another after."""

import numpy as np
import pandas as pd
import pytest
import torch

from mercer.kernels import RBF, ChangePoint, Linear, Matern, parse

DOUBLE = torch.float64
X = torch.linspace(-3.0, 3.0, 14, dtype=DOUBLE).reshape(7, 2)


def test_far_from_the_change_there_is_one_kernel_only():
    kernel = ChangePoint(RBF(0.7), Matern(1.3), location=100.0, column=1)
    torch.testing.assert_close(kernel(X).to_dense(), RBF(0.7)(X).to_dense())
    torch.testing.assert_close(kernel(X + 300.0).to_dense(), Matern(1.3)(X).to_dense())
    torch.testing.assert_close(kernel(X, X + 300.0).to_dense(), torch.zeros(7, 7, dtype=DOUBLE))


def test_a_change_far_from_zero_keeps_its_digits_in_float32():
    years = torch.tensor([[1999.875], [2000.0], [2000.125]])
    K = ChangePoint(Linear(bias=1.0), Linear(bias=1.0), location=2000.03, steepness=64.0)(years).to_dense()
    sigma = 1.0 / (1.0 + np.exp(-64.0 * (years.double().numpy()[:, 0] - 2000.03)))
    both = np.outer(sigma, sigma) + np.outer(1.0 - sigma, 1.0 - sigma)
    expected = both * (years.double() @ years.double().T + 1.0).numpy()
    np.testing.assert_allclose(K.double().numpy(), expected, rtol=1e-6)


def test_the_column_may_have_a_name():
    table = pd.DataFrame(X.numpy(), columns=["height", "year"])
    kernel = ChangePoint(RBF(0.7).on("height"), Matern(1.3), location=0.4, column="year")
    by_position = ChangePoint(RBF(0.7).on(0), Matern(1.3), location=0.4, column=1)
    torch.testing.assert_close(kernel(table).to_dense(), by_position(X).to_dense())
    assert parse(repr(kernel)) == kernel
    with pytest.raises(TypeError, match="names a column, but X has no names"):
        kernel(X)
    with pytest.raises(ValueError, match=r"there is no one such column among \['a', 'b'\]"):
        kernel(table.set_axis(["a", "b"], axis=1))


def test_it_looks_at_its_column_of_those_it_sees():
    kernel = ChangePoint(RBF(), Matern(), column=0)
    one = X[:, 1:]
    torch.testing.assert_close(kernel.on([1])(X).to_dense(), kernel(one).to_dense())


def test_what_is_no_change_is_refused():
    with pytest.raises(TypeError, match=r"ChangePoint\(after=...\) must be a kernel"):
        ChangePoint(RBF(), 1.0)
    with pytest.raises(ValueError, match="location must be finite"):
        ChangePoint(RBF(), RBF(), location=float("nan"))
    with pytest.raises(ValueError, match="steepness must be > 0"):
        ChangePoint(RBF(), RBF(), steepness=0.0)
    with pytest.raises(TypeError, match="a column is a position or a name"):
        ChangePoint(RBF(), RBF(), column=1.5)
