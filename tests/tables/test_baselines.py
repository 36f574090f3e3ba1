"""The linear model and boosting."""

import numpy as np
import pytest

from mercer.tables.baselines import fit_boosting, fit_ridge

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(300, 3)).astype(np.float32)
LINE = (X @ [1.0, -2.0, 0.5] + 1.0 + 0.1 * GENERATOR.normal(size=300))[:, None]


def indicators(codes, n_classes):
    return (codes[:, None] == np.arange(n_classes)).astype(float)


def test_ridge_finds_a_plane():
    model = fit_ridge(X, LINE, validation=(X, LINE), classes=False)
    np.testing.assert_allclose(model.coefficients[0], [1.0, -2.0, 0.5], atol=0.02)
    np.testing.assert_allclose(model.predict(X), LINE, atol=0.5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_regression_gives_one_logit_a_class(n_classes):
    codes = np.digitize(LINE[:, 0], [0.5, 2.0][: n_classes - 1])
    Y = indicators(codes, n_classes)
    model = fit_ridge(X, Y, validation=(X, Y), classes=True)
    logits = model.predict(X)
    assert logits.shape == (300, n_classes)
    assert (logits.argmax(axis=1) == codes).mean() > 0.85


@pytest.mark.parametrize("n", [300, 40])
def test_boosting_learns_numbers_and_classes(n):
    model = fit_boosting(X[:n], LINE[:n], classes=False, random_state=0)
    assert np.corrcoef(model.predict(X[:n]), LINE[:n, 0])[0, 1] > 0.8
    Y = indicators((LINE[:, 0] > 1.0).astype(int), 2)
    assert fit_boosting(X[:n], Y[:n], classes=True, random_state=0).predict_proba(X).shape == (300, 2)


@pytest.mark.parametrize(("load", "threads"), [(0.1, None), (99.0, 1)])
def test_boosting_of_a_large_table_gets_one_thread_on_a_busy_machine(monkeypatch, load, threads):
    import threadpoolctl

    limits = []
    limit = threadpoolctl.threadpool_limits
    monkeypatch.setattr(threadpoolctl, "threadpool_limits", lambda **k: limits.append(k["limits"]) or limit(**k))
    monkeypatch.setattr("mercer.tables.baselines._ROWS_FOR_THREADS", 10)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    fit_boosting(X[:40], LINE[:40], classes=False, random_state=0)
    assert limits == [threads]
