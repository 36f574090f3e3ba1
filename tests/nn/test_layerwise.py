"""The three-layer network, and its training layer by layer: it is the estimator with random units."""

import math

import numpy as np
import pytest
import torch

from mercer.data import hierarchical_polynomial
from mercer.errors import NotConverged, ShapeError
from mercer.kernels.hermite import hermite_values
from mercer.learn.first_stage_kinds import first_stage, hidden_unit
from mercer.nn import BottleneckResidualMLP
from mercer.nn.training import train_layerwise

X, Y, P = (torch.from_numpy(v) for v in hierarchical_polynomial(6, 1200, random_state=0))
Y = (Y - Y.mean()) / Y.std(correction=0)


def network(width=60, outer=10):
    return BottleneckResidualMLP(6, width, outer, "hermite2").double()


def test_the_hidden_layer_is_what_it_says():
    net = BottleneckResidualMLP(6, 9, 4, "hermite3").double()
    torch.testing.assert_close(net.V.square().sum(1), torch.ones(9).double(), rtol=1e-6, atol=0.0)
    expected = hermite_values(X @ net.V.mT, 3)[..., 1:].sum(-1) / 3.0
    torch.testing.assert_close(net.hidden(X), expected, rtol=1e-9, atol=1e-9)
    relu = BottleneckResidualMLP(6, 9, 4, "relu").double()
    torch.testing.assert_close(relu.hidden(X), torch.relu(X @ relu.V.mT + relu.inner_bias) / 3.0)
    assert float(net.inner_bias.abs().max()) == 0.0 < float(relu.inner_bias.abs().min())


def test_only_the_two_output_layers_are_learnt():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train_layerwise(net, X, Y, steps=5)
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"u", "c", "b", "mean", "scale"}
    assert {name for name, _ in net.named_parameters()} == {"u", "c"}


@pytest.mark.parametrize("steps", [1, 30, 600])
def test_descent_is_the_filter_of_the_estimator(steps):
    # Explicit steps against shares of eigenvectors: stage 1 on all rows, the same units, the same penalty.
    net = network()
    train_layerwise(net, X, Y, steps=steps, weight_decay=1e-2, split=False)
    stage = first_stage(None, X, units=(net.V, net.inner_bias, hidden_unit("hermite", 2)), n_steps=steps)
    found = stage.fit(Y[:, None], alpha=1e-2 * len(X)).coefficients[:, 0]
    torch.testing.assert_close(net.u.detach(), found, rtol=1e-6, atol=1e-9)


def test_descent_ends_at_ridge_regression():
    net = network()
    history = train_layerwise(net, X, Y, steps=1500, weight_decay=(3e-2, 0.1), split=False)
    assert history.first.n_steps == history.second.n_steps == 1500
    H = net.hidden(X)
    u = torch.linalg.solve(H.mT @ H + 3e-2 * len(X) * torch.eye(60).double(), H.mT @ Y)
    torch.testing.assert_close(net.u.detach(), u, rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        g = net.bottleneck(X)
        F = net.units(g)
    c = torch.linalg.solve(F.mT @ F + 0.1 * len(X) * torch.eye(10).double(), F.mT @ (Y - g))
    torch.testing.assert_close(net.c.detach(), c, rtol=1e-5, atol=1e-6)


def test_it_learns_what_its_first_stage_cannot():
    net = network(width=200, outer=40)
    points, target, _ = (torch.from_numpy(v) for v in hierarchical_polynomial(6, 6000, random_state=1))
    train_layerwise(net, points[:2000], target[:2000], steps=300, weight_decay=(1e-2, 1e-4))
    with torch.no_grad():
        rest, truth = points[2000:], target[2000:]
        first, whole = (1.0 - float((truth - f(rest)).square().mean() / truth.var()) for f in (net.bottleneck, net))
    assert whole > first + 0.1
    again = network(width=200, outer=40)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(X[:3]), net(X[:3]))


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="BottleneckResidualMLP: width_inner must be a whole number >= 1"):
        BottleneckResidualMLP(3, 0, 4)
    for name in ("hermite0", "hermite13"):
        with pytest.raises(ValueError, match=f"activation '{name}': the degree is a whole number from 1 to 12"):
            BottleneckResidualMLP(3, 4, 4, name)
    for steps in (0, -1, 2.5):
        with pytest.raises(ValueError, match="steps must be a whole number >= 1"):
            train_layerwise(network(), X, Y, steps=steps)
    for decay in (-1.0, (1e-3, math.nan)):
        with pytest.raises(ValueError, match="weight_decay must be a finite number >= 0"):
            train_layerwise(network(), X, Y, weight_decay=decay)
    with pytest.raises(ValueError, match="weight_decay must be one number, or a pair"):
        train_layerwise(network(), X, Y, weight_decay=(1e-3,))
    with pytest.raises(ValueError, match="learning_rate must be a finite number >= 0"):
        train_layerwise(network(), X, Y, learning_rate=-1.0)
    with pytest.raises(ValueError, match="X contains NaN"):
        train_layerwise(network(), X * math.nan, Y)
    with pytest.raises(TypeError, match="trains a BottleneckResidualMLP, not Linear"):
        train_layerwise(torch.nn.Linear(6, 1), X, Y)
    with pytest.raises(TypeError, match="float16 is too coarse"):
        train_layerwise(network().half(), X, Y)
    with pytest.raises(ShapeError, match=r"X must be \(n, 6\)"):
        network()(torch.zeros(2, 5).double())
    with pytest.raises(ShapeError, match=r"y must be \(1200,\)"):
        train_layerwise(network(), X, Y[:, None])
    with pytest.raises(NotConverged, match="smaller learning rate"):
        train_layerwise(network(), X, Y, steps=200, learning_rate=1e6)


def test_numpy_rows_train_a_network_in_its_own_type():
    net = BottleneckResidualMLP(6, 20, 5, "hermite2")
    train_layerwise(net, X.numpy(), Y.numpy(), steps=3)
    assert net.u.dtype == torch.float32
    assert np.isfinite(net(X.float()).detach().numpy()).all()
    torch.testing.assert_close(net(X.numpy()), net(X.float()))
    assert BottleneckResidualMLP(np.int64(6), np.int64(4), 3.0)(X).dtype == torch.float32
