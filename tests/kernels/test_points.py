"""What a kernel takes as data, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Hamming, Linear, White


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused_with_their_place(case, bad):
    X = case.points(5, 3)
    X[3, 0] = bad
    kernel = case.kernel(3)
    if case.width == 0:
        assert bool(torch.isfinite(kernel(X).to_dense()).all())  # looks at no column
        return
    word = "NaN" if bad != bad else "infinity"
    with pytest.raises(ValueError, match=rf"X contains {word} \(row 3, column 0, counted from 0; 1 such values"):
        kernel(X)
    with pytest.raises(ValueError, match=rf"Y contains {word} \(row 3, column 0"):
        kernel(case.points(2, 3), X)


def test_a_column_is_named_where_it_has_a_name():
    frame = pd.DataFrame({"carat": [1.0, 2.0], "cut": [1.0, np.nan]})
    with pytest.raises(ValueError, match=r"X contains NaN \(row 1, column 1 \('cut'\)"):
        (RBF().on("carat") * Hamming().on("cut"))(frame)


def test_what_the_kernel_does_not_look_at_may_be_missing():
    X = torch.tensor([[1.0, float("nan")], [2.0, 3.0]])
    K = (RBF().on([0]) + White())(X)
    assert torch.isfinite(K.to_dense()).all()
    assert torch.isfinite(K @ torch.ones(2)).all()


def test_numbers_whose_squares_overflow_are_refused():
    X = torch.tensor([[1.0, 0.0], [1e20, 0.0]])
    with pytest.raises(ValueError, match=r"X contains 1e\+20 \(row 1, column 0.*whose square overflows torch.float32"):
        RBF()(X)
    with pytest.raises(ValueError, match=r"whose square overflows torch.float64"):
        RBF()(X.double() * 1e150)
    torch.testing.assert_close(RBF()(X.double()).to_dense(), torch.eye(2, dtype=torch.float64))
    assert torch.equal(RBF().on(1)(X).to_dense(), torch.ones(2, 2))


def test_denormal_numbers_are_as_good_as_zero():
    X = torch.tensor([[1e-310], [2e-310], [0.0]], dtype=torch.float64)
    assert torch.equal(RBF()(X).to_dense(), torch.ones(3, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("X", "Y", "error", "message"),
    [
        (torch.zeros(3), None, ShapeError, r"X has shape \(3,\), but a kernel needs points .*X.reshape\(-1, 1\)"),
        (torch.zeros(3, 2), torch.zeros(2), ShapeError, r"Y has shape \(2,\)"),
        (torch.zeros(3, 2), torch.zeros(3, 4), ShapeError, "X has 2 columns and Y has 4; they must agree"),
        (torch.zeros(3, 2, dtype=torch.complex64), None, TypeError, "X is complex .* Give real and imaginary part"),
        ([["a"], ["b"]], None, TypeError, "must hold numbers"),
    ],
)
def test_data_of_another_shape_or_type_is_refused(X, Y, error, message):
    with pytest.raises(error, match=message):
        RBF()(X, Y)


def test_tables_with_other_columns_are_refused():
    one, other = pd.DataFrame({"a": [1.0], "b": [2.0]}), pd.DataFrame({"b": [1.0], "a": [2.0]})
    with pytest.raises(ValueError, match=r"the columns of X are \['a', 'b'\], those of Y are \['b', 'a'\]"):
        RBF()(one, other)
    assert RBF()(one, one.to_numpy()).shape == (1, 1)


def test_y_takes_the_dtype_of_x():
    K = RBF()(torch.zeros(2, 1, dtype=torch.float32), np.zeros((3, 1)))
    assert K.dtype == torch.float32


def test_points_without_columns_are_all_alike():
    X = torch.zeros(3, 0, dtype=torch.float64)
    assert torch.equal(RBF()(X).to_dense(), torch.ones(3, 3, dtype=torch.float64))
    assert torch.equal(RBF()(X).diagonal(), torch.ones(3, dtype=torch.float64))
    assert torch.equal(Linear(bias=2.0)(X).to_dense(), torch.full((3, 3), 2.0, dtype=torch.float64))


def test_values_are_not_looked_at_within_transforms():
    X = torch.randn(3, 4, 2, dtype=torch.float64)
    looped = torch.stack([RBF()(x).to_dense() for x in X])
    torch.testing.assert_close(torch.vmap(lambda x: RBF()(x).to_dense())(X), looped)
