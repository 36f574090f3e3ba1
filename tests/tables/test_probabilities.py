"""Values of classes as probabilities."""

import numpy as np
import pytest

from mercer.tables.probabilities import Probabilities


@pytest.mark.parametrize("n_classes", [2, 4])
def test_probabilities_are_calibrated_on_new_rows(n_classes):
    generator = np.random.default_rng(0)

    def sample(n):
        values = generator.normal(size=(n, n_classes))
        shares = np.exp(3.0 * values) / np.exp(3.0 * values).sum(axis=1, keepdims=True)
        return values, (shares.cumsum(axis=1) < generator.random((n, 1))).sum(axis=1)

    probabilities = Probabilities.fit(*sample(4000))
    values, codes = sample(4000)
    shares = probabilities(values)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    sure = shares.max(axis=1)
    right = shares.argmax(axis=1) == codes
    for group in np.array_split(np.argsort(sure), 5):
        assert abs(sure[group].mean() - right[group].mean()) < 0.05


def test_rows_without_an_error_do_not_make_certainty():
    values = np.r_[np.ones(20), -np.ones(20)][:, None] * [1.0, -1.0]
    shares = Probabilities.fit(values, np.repeat([0, 1], 20))(values)
    # Laplace's rule of succession, (n + 1) / (n + 2); the penalty takes a little of it
    np.testing.assert_allclose(shares.max(axis=1), 21 / 22, atol=0.01)
