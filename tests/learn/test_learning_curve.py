"""Learning curves against power laws that are known, and what they refuse."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression

from mercer.learn import KernelRidge, LearningCurve


class PowerLaw(RegressorMixin, BaseEstimator):
    """Errs by n^(-1/2) times what is fixed for each test row, so that its error falls like 1 / n."""

    def fit(self, X, y):
        self.n_ = len(y)
        return self

    def predict(self, X):
        return X[:, 0] + self.n_**-0.5 * np.sign(X[:, 1])


def data(n=400, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 3))
    return X, X[:, 0]


def test_a_power_law_is_found_again():
    curve = LearningCurve(PowerLaw(), sizes=[10, 20, 40, 160], n_repeats=6, random_state=0).fit(*data())
    assert curve.exponent_ == pytest.approx(1.0, abs=1e-12)
    assert curve.errors_.shape == (4, 6)
    # the error is that over the variance of the test rows, of which six draws have six
    np.testing.assert_allclose(curve.error_at([10, 640]), [curve.errors_[0].mean(), curve.errors_[0].mean() / 64])
    assert curve.exponent_std_ < 1e-12


def test_the_size_of_an_error_is_found_between_those_measured():
    curve = LearningCurve(PowerLaw(), sizes=[10, 20, 40, 160], n_repeats=6, random_state=0).fit(*data())
    for size in (10, 31.0, 40, 100.0, 150.0):
        assert curve.size_at(curve.error_at(size)) == pytest.approx(size)
    assert curve.size_at(curve.error_at(3)) == 10.0  # the first size is there
    assert np.isnan(curve.size_at(curve.error_at(200)))
    flat = LearningCurve(PowerLaw(), sizes=[10, 20], n_repeats=1, random_state=0).fit(*data())
    flat.errors_[1] = 0.0
    assert 10.0 < flat.size_at(1e-3) <= 20.0


def test_tensors_are_measured_as_arrays_are():
    X, y = data()
    options = {"sizes": [20, 60], "n_repeats": 2, "random_state": 0}
    model = KernelRidge(kernel="RBF()", alpha=1e-2)
    expected = LearningCurve(model, **options).fit(X, y)
    found = LearningCurve(model, **options).fit(torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_allclose(found.errors_, expected.errors_, rtol=1e-8)


def test_the_standard_error_covers_what_other_draws_give():
    X, y = data(300, seed=1)
    y = y + np.random.default_rng(2).normal(size=300)
    found = [
        LearningCurve(LinearRegression(), [8, 16, 64], n_repeats=8, random_state=seed).fit(X, y) for seed in range(20)
    ]
    spread = np.std([curve.exponent_ for curve in found], ddof=1)
    assert 0.5 < np.mean([curve.exponent_std_ for curve in found]) / spread < 2.0


def test_errors_are_those_of_a_model_of_nested_rows_tested_on_others():
    X, y = data()
    seen = []

    class Spy(LinearRegression):
        def fit(self, X, y):
            seen.append(X)
            return super().fit(X, y)

        def predict(self, X):
            seen.append(X)
            return super().predict(X)

    LearningCurve(Spy(), sizes=[20, 5], n_repeats=1, test_size=0.5, random_state=3).fit(X, y)
    small, test, large, again = seen
    assert (len(small), len(large), len(test)) == (5, 20, 200)
    np.testing.assert_array_equal(large[:5], small)
    np.testing.assert_array_equal(test, again)
    assert not {tuple(row) for row in test} & {tuple(row) for row in large}


def test_classifiers_count_wrong_labels():
    X, y = data()
    labels = np.where(y > 0, "yes", "no")
    curve = LearningCurve(LogisticRegression(), n_repeats=4, random_state=0).fit(X, labels)
    assert curve.sizes_.tolist() == [19, 38, 75, 150, 300]
    assert (curve.errors_ <= 0.5).all()
    assert curve.exponent_ > 0.0


def test_an_error_of_zero_has_no_exponent():
    X, y = data()
    curve = LearningCurve(LogisticRegression(C=1e9), sizes=[30, 60], n_repeats=2).fit(X, np.sign(y))
    curve.errors_[:] = 0.0
    from mercer.learn.learning_curve import power_law

    assert np.isnan(power_law(curve.sizes_, curve.errors_)).all()


def test_a_curve_is_saved_and_drawn(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    curve = LearningCurve(KernelRidge(kernel="RBF()"), sizes=[10, 40], n_repeats=2, random_state=0).fit(*data(100))
    curve.save(tmp_path / "curve")
    loaded = LearningCurve.load(tmp_path / "curve")
    np.testing.assert_array_equal(loaded.errors_, curve.errors_)
    assert loaded.exponent_ == curve.exponent_
    axes = loaded.plot(label="ridge")
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ridge"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": [10]}, "two different numbers"),
        ({"sizes": [10, 301]}, "the 300 that are not tested on"),
        ({"sizes": [0, 10]}, "sizes"),
        ({"test_size": 1.0}, "share between 0 and 1"),
        ({"n_repeats": 0}, "n_repeats"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LearningCurve(LinearRegression(), **arguments).fit(*data())
