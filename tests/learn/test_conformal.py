import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor

from mercer.learn import KernelRidge, SplitConformal
from mercer.learn.intervals import error_quantile


class Remembers(RegressorMixin, BaseEstimator):
    """Predicts 0 and tells how many rows it was given."""

    def fit(self, X, y, sample_weight=None):
        self.rows_, self.weights_ = len(X), sample_weight
        return self

    def predict(self, X):
        return np.zeros(len(X))


def table(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.sin(X[:, 0]) + 0.3 * rng.standard_t(3, size=n)


@pytest.mark.parametrize(("level", "rank"), [(0.9, 9), (0.5, 5), (0.8, 8), (0.75, 8)])
def test_the_quantile_is_the_finite_sample_one(level, rank):
    errors = torch.tensor([[-9.0], [1.0], [2.0], [-3.0], [4.0], [5.0], [-6.0], [7.0], [8.0]])
    assert float(error_quantile(errors, level)) == rank  # the ceil(10 level)-th of nine


def test_too_few_errors_give_infinite_intervals():
    assert float(error_quantile(torch.ones(8, 1), 0.9)) == np.inf


def test_coverage_over_many_calibrations_is_the_level():
    # Exact for exchangeable rows: 1000 draws of 19 errors and one new row have a standard error of 0.01.
    rng = np.random.default_rng(0)
    model = SplitConformal(Remembers()).fit(np.zeros((5, 1)), np.zeros(5))
    covered = []
    for _ in range(1000):
        y = rng.standard_cauchy(20)
        _, lower, upper = model.calibrate(np.zeros((19, 1)), y[:19]).predict(np.zeros((1, 1)), interval=0.8)
        covered.append(lower[0] <= y[19] <= upper[0])
    assert abs(np.mean(covered) - 0.8) < 0.035


def test_fit_holds_no_row_out_and_passes_arguments_on():
    model = SplitConformal(Remembers()).fit(np.zeros((5, 1)), np.zeros(5), sample_weight=np.ones(5))
    assert model.estimator_.rows_ == 5
    assert model.estimator_.weights_.sum() == 5


@pytest.mark.parametrize("estimator", [RandomForestRegressor(20, random_state=0), KernelRidge(kernel="rbf")], ids=repr)
def test_calibrated_intervals_cover_new_rows(estimator):
    model = SplitConformal(estimator).fit(*table(300, 0)).calibrate(*table(400, 1))
    X, y = table(2000, 2)
    middle, lower, upper = model.predict(X, interval=0.9)
    np.testing.assert_array_equal(middle, model.predict(X))
    assert abs(np.mean((lower <= y) & (y <= upper)) - 0.9) < 0.05
    assert model.method_ == "calibrated"


def test_leave_one_out_errors_are_taken_where_there_are_any():
    X, y = table(300, 0)
    model = SplitConformal(KernelRidge(kernel="rbf"), level=0.7).fit(X, y)
    expected = KernelRidge(kernel="rbf").fit(X, y).predict(X[:5], interval=0.7)
    np.testing.assert_allclose(model.predict(X[:5], interval=True), expected)
    assert model.method_ == "leave-one-out"


def test_errors_of_an_earlier_fit_are_forgotten():
    model = SplitConformal(Remembers()).fit(np.zeros((5, 1)), np.zeros(5)).calibrate(np.zeros((9, 1)), np.ones(9))
    model.fit(np.zeros((5, 1)), np.zeros(5))
    with pytest.raises(ValueError, match=r"Remembers has no leave-one-out errors: call calibrate\(X, y\)"):
        model.predict(np.zeros((1, 1)), interval=0.9)


def test_several_targets_and_tensors():
    X = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    Y = torch.stack([X[:, 0], 10 * X[:, 1] ** 2], 1)
    _, lower, upper = SplitConformal(KernelRidge(kernel="rbf")).fit(X, Y).predict(X, interval=0.9)
    assert isinstance(lower, torch.Tensor)
    widths = (upper - lower)[0]
    assert widths[1] > 2 * widths[0]


def test_bad_arguments():
    with pytest.raises(ValueError, match="level must be a share above 0 and below 1"):
        SplitConformal(Remembers(), level=90).fit(np.zeros((5, 1)), np.zeros(5))
    model = SplitConformal(Remembers()).fit(np.zeros((5, 1)), np.zeros(5))
    with pytest.raises(ValueError, match=r"calibrate: y has shape \(2, 1\), the predictions have \(3, 1\)"):
        model.calibrate(np.zeros((3, 1)), np.zeros(2))
