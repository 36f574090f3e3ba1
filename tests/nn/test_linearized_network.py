"""A network's linearisation against its Taylor series and against training; the drift of its kernel."""

import itertools
import math

import pytest
import torch
from torch import nn

from mercer.errors import ShapeError
from mercer.kernels import EmpiricalNTK, InfiniteNetwork
from mercer.kernels.neural.layers import Dense, ReLU
from mercer.nn import LinearizedNetwork
from mercer.nn.diagnostics import NTKDrift
from mercer.nn.training import train

X = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)[:, None]
Y = torch.stack([torch.sin(3.0 * X[:, 0]), X[:, 0] ** 2], 1)
NEW = torch.tensor([[0.1], [1.5]], dtype=torch.float64)


def network(outputs=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, outputs)).double()


def by_steps(module, steps, rate, alpha=0.0):
    """Gradient descent on the first-order Taylor series in the parameters."""
    start = {name: p.detach() for name, p in module.named_parameters()}

    def linear(shift, points):
        value, change = torch.func.jvp(lambda p: torch.func.functional_call(module, p, (points,)), (start,), (shift,))
        return value + change

    shift = {name: torch.zeros_like(p) for name, p in start.items()}
    for _ in range(steps):
        slope = torch.func.grad(lambda s: (linear(s, X) - Y).square().sum() / (2 * len(X)))(shift)
        shift = {name: w - rate * (slope[name] + alpha * w / len(X)) for name, w in shift.items()}
    return linear(shift, NEW)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_discrete_steps_are_those_of_the_taylor_series(alpha):
    module = network()
    found = LinearizedNetwork(module, X, Y, learning_rate=0.1, discrete=True, alpha=alpha).predict(NEW, 25)
    torch.testing.assert_close(found, by_steps(module, 25, 0.1, alpha), rtol=1e-9, atol=1e-9)


def test_a_continuous_time_is_the_limit_of_small_steps():
    module = network()
    flow = LinearizedNetwork(module, X, Y).predict_curve(NEW, [0.0, 2.0])
    torch.testing.assert_close(flow[0], module(NEW).detach())
    steps = LinearizedNetwork(module, X, Y, learning_rate=1e-4, discrete=True).predict(NEW, 20_000)
    torch.testing.assert_close(flow[1], steps, rtol=1e-3, atol=1e-3)


def test_a_wide_network_follows_its_first_steps_more_closely_than_a_narrow_one():
    # Later on a small change of the kernel times what is left of the error adds up, at every width.
    targets, gaps = Y[:, 0].float(), {16: 0.0, 4096: 0.0}
    for width, seed in itertools.product(gaps, (0, 1)):
        module = InfiniteNetwork(Dense(), ReLU(), Dense()).finite(width, in_features=1, random_state=seed)
        linear = LinearizedNetwork(module, X, targets, learning_rate=2.0, discrete=True).predict(X, 2)
        train(
            module,
            [(X.float(), targets)],
            loss=lambda m, b: (m(b[0])[:, 0] - b[1]).square().mean() / 2,
            optimizer=lambda p: torch.optim.SGD(p, lr=2.0),
            n_steps=2,
        )
        gaps[width] += float((module(X.float())[:, 0] - linear).detach().norm() / targets.norm()) / 2
    assert gaps[4096] < 0.01
    assert gaps[4096] < 0.4 * gaps[16]


def test_later_training_does_not_change_the_prediction():
    module = network()
    linear = LinearizedNetwork(module, X, Y)
    before = linear.predict(NEW, 3.0)
    with torch.no_grad():
        module[0].weight.zero_()
    torch.testing.assert_close(linear.predict(NEW, 3.0), before)


def test_errors_of_the_linearised_network():
    with pytest.raises(ShapeError, match=r"y has shape \(8,\), but the network gives \(8, 2\)"):
        LinearizedNetwork(network(), X, Y[:, 0])
    with pytest.raises(ValueError, match="Give a smaller one"):
        LinearizedNetwork(network(), X, Y, learning_rate=1e3, discrete=True)
    with pytest.raises(ValueError, match="singular"):
        LinearizedNetwork(nn.Linear(1, 1), X, X[:, 0]).predict(NEW)


def test_the_drift_is_the_change_of_the_kernel():
    module = network(1)
    drift = NTKDrift(module, X, every=2)
    first = EmpiricalNTK(module)(X).to_dense()
    history = train(
        module,
        [(X, Y[:, :1])],
        loss=lambda m, b: (m(b[0]) - b[1]).square().mean(),
        n_steps=5,
        callbacks=[drift],
    )
    assert history.n_steps == 5
    assert drift.steps == [0, 2, 4]
    assert 0.0 == drift.changes[0] < drift.changes[1] < drift.changes[2]
    module.train()
    drift.record()
    assert module.training  # as it was
    last = EmpiricalNTK(module.eval())(X).to_dense()
    assert drift.changes[-1] == pytest.approx(float((last - first).norm() / first.norm()))
    assert drift.alignments[-1] == pytest.approx(float((last * first).sum() / first.norm() / last.norm()))
    assert math.isclose(drift.alignments[0], 1.0)
    with pytest.raises(ValueError, match="every=0"):
        NTKDrift(module, X, every=0)


def test_the_drift_is_drawn():
    pytest.importorskip("matplotlib")
    drift = NTKDrift(network(1), X)
    drift.record()
    axes = drift.plot()
    assert list(axes.lines[0].get_xdata()) == [0, 1]
