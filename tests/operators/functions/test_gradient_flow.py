"""Gradient flow against the differential equation it solves, and trainings without each row."""

import math

import pytest
import torch

from mercer.errors import MemoryBudgetError, ShapeError
from mercer.operators import GradientFlow

DOUBLE = torch.float64


def problem(n=12, targets=2, seed=0):
    draw = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 3, dtype=DOUBLE, generator=draw)
    K = torch.exp(-0.5 * torch.cdist(X, X).square())
    return K, torch.randn(n, targets, dtype=DOUBLE, generator=draw)


def by_exponential(K, Y, tau, alpha=0.0, without=()):
    """c(t) of dc/dt = y - (K + alpha) c on the rows that are kept, by the exponential of a matrix."""
    n = len(K)
    kept = [i for i in range(n) if i not in without]
    A = K[kept][:, kept] + alpha * torch.eye(len(kept), dtype=DOUBLE)
    # of the block matrix [[-A, Y], [0, 0]], whose exponential holds the integral
    block = torch.zeros(len(kept) + Y.shape[1], len(kept) + Y.shape[1], dtype=DOUBLE)
    block[: len(kept), : len(kept)], block[: len(kept), len(kept) :] = -A, Y[kept]
    c = torch.zeros_like(Y)
    c[kept] = torch.linalg.matrix_exp(block * tau)[: len(kept), len(kept) :]
    return c


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("time", [0.0, 1e-6, 0.7, 40.0])
def test_coefficients_solve_the_differential_equation(time, alpha):
    K, Y = problem()
    flow = GradientFlow.of(K, learning_rate=0.5, alpha=alpha)
    expected = by_exponential(K, Y, 0.5 * time / 12, alpha)
    torch.testing.assert_close(flow.coefficients(Y, time), expected, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(flow.training_error(Y, time), Y - K @ expected, rtol=1e-10, atol=1e-12)


def test_the_end_of_training_is_ridge_regression():
    K, Y = problem()
    for time in (None, math.inf, 1e9):
        found = GradientFlow.of(K, alpha=0.3).coefficients(Y[:, 0], time)
        torch.testing.assert_close(found, torch.linalg.solve(K + 0.3 * torch.eye(12, dtype=DOUBLE), Y[:, 0]))


def test_discrete_steps_are_those_of_gradient_descent():
    K, Y = problem()
    flow = GradientFlow.of(K, learning_rate=2.0, discrete=True, n_points=4)
    c = torch.zeros_like(Y)
    for _ in range(7):
        c = c + 2.0 / 4 * (Y - K @ c)
    assert float(2.0 / 4 * flow.values[0]) > 0.5  # both ways of computing a power are used
    torch.testing.assert_close(flow.coefficients(Y, 7), c, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_leave_one_out_is_exact_at_every_time(alpha):
    K, Y = problem()
    flow = GradientFlow.of(K, learning_rate=2.0, alpha=alpha)
    times = [0.0, 0.01, 1.0, 30.0, 1e4, None]
    found = flow.leave_one_out(Y, times)
    for error, time in zip(found, times, strict=True):
        for i in range(12):
            c = by_exponential(K, Y, 2.0 * (1e7 if time is None else time) / 12, alpha, without=[i])
            # the contour has 24 nodes: round-off of its largest exponential, 60, and of slow decays
            torch.testing.assert_close(error[i], Y[i] - K[i] @ c, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(flow.leave_one_out(Y[:, 0], times), found[..., 0])


def test_leave_one_out_does_not_depend_on_how_many_times_are_handled_together(monkeypatch):
    K, Y = problem()
    flow = GradientFlow.of(K)
    times = [0.3, 0.0, 2.0, None]
    whole = flow.leave_one_out(Y, times)
    monkeypatch.setattr("mercer.operators.functions.gradient_flow._NUMBERS", 1)
    torch.testing.assert_close(flow.leave_one_out(Y, times), whole)


def test_directions_that_are_never_learnt_grow_with_time_and_have_no_end():
    K = torch.ones(2, 2, dtype=DOUBLE)
    flow = GradientFlow.of(K)
    assert flow.is_singular
    assert flow.learning_times.tolist() == [1.0, math.inf]
    c = flow.coefficients(torch.tensor([1.0, -1.0]), 4.0)
    torch.testing.assert_close(c, torch.tensor([2.0, -2.0], dtype=DOUBLE))  # eta t / N times y
    torch.testing.assert_close(flow.left(4.0), torch.tensor([math.exp(-4.0), 1.0], dtype=DOUBLE))
    with pytest.raises(ValueError, match="2 rows is singular, its rank is 1"):
        flow.filter(None)


def test_errors_say_what_to_do():
    from mercer.config import set_memory_budget

    K, Y = problem()
    largest = float(torch.linalg.eigvalsh(K)[-1])
    with pytest.raises(ValueError, match=rf"= {24 / largest:.4g}\. Give a smaller one"):
        GradientFlow.of(K, learning_rate=25 / largest, discrete=True)
    flow = GradientFlow.of(K, discrete=True)
    with pytest.raises(ValueError, match=r"a whole number >= 0, or None, not 1\.5"):
        flow.filter(1.5)
    with pytest.raises(ValueError, match="below half of the stable one"):
        GradientFlow.of(K, learning_rate=20 / largest, discrete=True).leave_one_out(Y, [1.0])
    with pytest.raises(ValueError, match="a number >= 0"):
        GradientFlow.of(K).filter(-1.0)
    with pytest.raises(ValueError, match="learning_rate must be finite and > 0"):
        GradientFlow.of(K, learning_rate=0.0)
    with pytest.raises(ValueError, match="alpha must be finite and >= 0"):
        GradientFlow.of(K, alpha=-1.0)
    with pytest.raises(ValueError, match="not positive semidefinite"):
        GradientFlow.of(-K)
    with pytest.raises(ShapeError, match="n = 12"):
        flow.coefficients(Y[:5], 1)
    set_memory_budget("1 kB")
    with pytest.raises(MemoryBudgetError, match="All eigenvalues of 12 rows"):
        GradientFlow.of(K)
