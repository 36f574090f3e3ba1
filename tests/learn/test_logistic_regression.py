"""Newton's method for the log loss against its definition, automatic derivatives and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mercer.errors import MemoryBudgetError
from mercer.learn import logistic_regression
from mercer.learn.logistic_regression import fit_logistic


def rows(n, d, n_classes):
    Z = torch.randn(n, d, dtype=torch.float64)
    codes = (Z[:, :n_classes] + 1.0 * torch.randn(n, n_classes, dtype=torch.float64)).argmax(1)
    codes[:n_classes] = torch.arange(n_classes)
    return torch.cat([torch.ones(n, 1, dtype=torch.float64), Z], 1), codes


def objective(B, F, codes, alpha, weights):
    """The definition."""
    Z = F @ B
    logits = torch.cat([torch.zeros_like(Z), Z], 1) if Z.shape[1] == 1 else Z
    losses = torch.nn.functional.cross_entropy(logits, codes, reduction="none")
    return (weights * losses).sum() + 0.5 * alpha * B[1:].square().sum()


@pytest.fixture(params=["cholesky", "conjugate gradients"])
def either_way(request, monkeypatch):
    if request.param == "conjugate gradients":
        monkeypatch.setattr(logistic_regression, "_DENSE", 0)


@pytest.mark.parametrize("alpha", [10.0, 0.1, 1e-4])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_the_gradient_is_0_where_newton_stops(n_classes, alpha, either_way):
    F, codes = rows(200, 8, n_classes)
    weights = torch.rand(200, dtype=torch.float64)
    found = fit_logistic(F, codes, n_classes, alpha=alpha, weights=weights)
    assert found.converged
    B = found.solution.clone().requires_grad_(True)
    objective(B, F, codes, alpha, weights).backward()
    zero = torch.zeros_like(B).requires_grad_(True)
    objective(zero, F, codes, alpha, weights).backward()
    assert float(B.grad.norm()) <= 1.1e-11 * float(zero.grad.norm())
    assert found.solution.shape == (9, 1 if n_classes == 2 else n_classes)
    if n_classes > 2:
        torch.testing.assert_close(found.solution.sum(1), torch.zeros(9, dtype=torch.float64), rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_separable_rows_with_little_penalty_are_those_of_scikit_learn(n_classes, either_way):
    F, codes = rows(60, 40, n_classes)
    found = fit_logistic(F, codes, n_classes, alpha=1e-6)
    twin = LogisticRegression(C=1e6, solver="newton-cholesky", tol=1e-14, max_iter=500).fit(F[:, 1:], codes)
    scale = np.abs(twin.coef_).max()
    np.testing.assert_allclose(found.solution[1:].mT, twin.coef_, rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(found.solution[0], twin.intercept_, rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_class_without_weight_gets_no_probability(n_classes, either_way):
    F, codes = rows(50, 3, n_classes)
    found = fit_logistic(F, codes, n_classes, alpha=1.0, weights=(codes > 0).double())
    Z = F @ found.solution
    chances = torch.softmax(torch.cat([torch.zeros_like(Z), Z], 1) if n_classes == 2 else Z, 1)
    assert found.converged
    assert float(chances[:, 0].max()) < 1e-6


def test_nothing_to_weigh_is_nothing_learnt():
    F, codes = rows(20, 3, 2)
    found = fit_logistic(F, codes, 2, alpha=1.0, weights=torch.zeros(20, dtype=torch.float64))
    assert (found.n_iter, found.converged) == (0, True)
    assert not bool(found.solution.any())


def test_steps_too_few_are_told(either_way):
    F, codes = rows(50, 3, 3)
    with pytest.warns(ConvergenceWarning, match=r"stopped after 2 steps with a gradient .* Raise alpha \(it is 0.01\)"):
        found = fit_logistic(F, codes, 3, alpha=0.01, max_iter=2)
    assert not found.converged
    assert found.gradient > 1e-11


def test_an_accuracy_beyond_round_off_ends_in_a_warning_and_not_in_a_loop():
    F, codes = rows(50, 3, 3)
    with pytest.warns(ConvergenceWarning, match="above 0"):
        found = fit_logistic(F, codes, 3, alpha=0.01, rtol=0.0, max_iter=1000)
    assert found.n_iter < 60
    assert found.gradient < 1e-12


def test_memory_is_asked_for_before_it_is_taken(monkeypatch):
    def refuse(n_bytes, **_):
        raise MemoryBudgetError(str(n_bytes))

    monkeypatch.setattr(logistic_regression, "require_memory", refuse)
    F, codes = rows(20, 3, 3)
    with pytest.raises(MemoryBudgetError, match=str(16 * 4**2 * 3**2)):
        fit_logistic(F, codes, 3, alpha=1.0)
