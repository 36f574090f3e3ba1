"""Bundled and compressed networks against ridge regression by scikit-learn and the networks that they stand for."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mercer.errors import ApproximationWarning, ShapeError
from mercer.nn import BundledNetwork, SNNKLinear, bundle, compress
from mercer.nn.models import SNNKTransformer
from mercer.nn.random_features.closed_form import RidgeSums


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


def test_the_optimum_is_the_ridge_of_scikit_learn_on_the_same_features():
    X, Y = torch.randn(300, 6), torch.randn(300, 2)
    network = BundledNetwork(6, 2, layers=(40, 30)).fit(X, Y, alpha=0.3)
    Z = network.features(X).double().numpy()
    twin = Ridge(alpha=0.3).fit(Z, Y.double().numpy())
    # The network keeps its matrix in float32.
    torch.testing.assert_close(network.output.weight.double(), torch.from_numpy(twin.coef_), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(X).double(), torch.from_numpy(twin.predict(Z)), rtol=1e-4, atol=1e-5)


def test_a_seed_may_be_a_number_of_numpy():
    found, expected = (BundledNetwork(6, 1, layers=(6, 6), random_state=seed) for seed in (np.int64(3), 3))
    draws = [[layer.G for layer in network.maps] for network in (found, expected)]
    assert not torch.equal(*draws[0])
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))


@pytest.mark.parametrize("layers", [64, (), "64", None])
def test_layers_are_told_to_be_a_tuple(layers):
    with pytest.raises(ValueError, match=r"features of at least one hidden layer, as a tuple, such as \(64,\)"):
        BundledNetwork(6, 1, layers=layers)


def test_sums_over_batches_are_those_of_all_rows():
    Z, Y = torch.randn(50, 5, dtype=torch.float64), torch.randn(50, 2, dtype=torch.float64)
    whole, parts = RidgeSums(5, 2), RidgeSums(5, 2)
    whole.add(Z, Y)
    for i in range(0, 50, 7):
        parts.add(Z[i : i + 7], Y[i : i + 7])
    for a, b in zip(whole.solve(0.1), parts.solve(0.1), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    with pytest.raises(ShapeError, match=r"are not \(n, 5\)"):
        whole.add(Z[:, :2], Y)
    with pytest.raises(ValueError, match=r"no rows"):
        RidgeSums(5, 2).solve(0.1)
    with pytest.raises(ValueError, match=r"must be >= 0"):
        whole.solve(-1.0)
    doubled = RidgeSums(10, 2)
    doubled.add(torch.cat([Z, Z], 1), Y)
    with pytest.raises(ValueError, match=r"a larger alpha is needed"):
        doubled.solve(0.0)


def test_a_bundled_layer_is_the_layer_on_average():
    model = nn.Sequential(nn.Linear(6, 9), Sine(), nn.Dropout(0.5), nn.Linear(9, 2)).eval()
    X = 0.5 * nn.functional.normalize(torch.randn(30, 6), dim=-1)
    found = bundle(model, 30_000, activation="sin")
    assert sum(p.numel() for p in found.parameters()) == 2 * 30_000 + 2
    # Errors of 30 000 features, times the second layer's weights.
    torch.testing.assert_close(found(X), model(X), rtol=0.0, atol=0.05)


def test_bundling_some_layers_keeps_the_others():
    model = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 2))
    X = 0.5 * nn.functional.normalize(torch.randn(30, 6), dim=-1)
    found = bundle(model, 30_000, depth=1)
    assert found[2] is model[4]
    torch.testing.assert_close(found(X), model(X), rtol=0.0, atol=0.05)
    whole = bundle(model, [40, 30], activation="relu", length=1.0)
    assert [layer.n_features for layer in whole.maps] == [40, 30]
    assert whole.fit(X, model(X).detach(), alpha=1e-4)(X).shape == (30, 2)


def test_bundling_the_optimum_follows_the_network_it_came_from():
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    X = torch.randn(2000, 6)
    truth = model(X).detach()
    found = bundle(model, 256).fit(X[:1500], truth[:1500], alpha=1e-3)
    line = torch.from_numpy(Ridge(alpha=1e-3).fit(X[:1500], truth[:1500]).predict(X[1500:]))
    errors = [float((guess - truth[1500:]).square().mean()) for guess in (found(X[1500:]).detach(), line)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (nn.Linear(3, 3), {}, TypeError, "takes a torch.nn.Sequential"),
        (nn.Sequential(nn.Linear(3, 3)), {}, TypeError, "an activation between each two"),
        (nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), {}, TypeError, "follow each other"),
        (nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3)), {}, TypeError, "LayerNorm is neither"),
        (nn.Sequential(nn.Linear(3, 3), nn.SiLU(), nn.Linear(3, 3)), {}, ValueError, "SiLU is none of ReLU"),
        (nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)), {"depth": 2}, ValueError, "depth is 1 to 1"),
        (
            nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)),
            {"n_features": [4, 4]},
            ValueError,
            "n_features has 2 numbers",
        ),
        (
            nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.GELU(), nn.Linear(3, 3)),
            {},
            ValueError,
            "several activations",
        ),
    ],
)
def test_what_cannot_be_bundled_is_refused(model, arguments, error, message):
    with pytest.raises(error, match=message):
        bundle(model, **{"n_features": 4, **arguments})


def test_compression_reaches_a_target_error_layer_by_layer():
    model = nn.Sequential(nn.Linear(8, 256), nn.GELU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 3))
    X = torch.randn(3000, 8)
    before = [p.clone() for p in model.parameters()]
    report = compress(model, X.split(1000), target_error=0.6)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert [layer.name for layer in report.layers] == ["0", "2"]
    assert all(layer.error <= 0.6 for layer in report.layers if layer.n_features)
    assert report.layers[1].n_features > 0
    assert isinstance(report.model[2], SNNKLinear)
    assert report.n_parameters_after < report.n_parameters_before
    assert report.n_parameters_before == 9 * 256 + 257 * 64
    held = (report.model(X) - model(X)).detach().square().mean() / model(X).detach().var(0).mean()
    assert float(held) < 0.6


def test_a_layer_that_would_not_shrink_is_kept():
    model = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 3))
    report = compress(model, torch.randn(500, 8), target_error=1e-6)
    (layer,) = report.layers
    assert (layer.n_features, layer.n_parameters_after) == (0, layer.n_parameters_before)
    assert layer.error > 1e-6
    X = torch.randn(4, 8)
    assert torch.equal(report.model(X), model(X))


def test_more_features_make_smaller_errors_and_modules_are_chosen_by_a_function():
    model = SNNKTransformer(2, in_features=5, width=16, depth=2, n_heads=2, feed_forward="dense")
    X = torch.randn(60, 9, 5)
    errors = []
    for m in (8, 64):
        report = compress(model, X, m, where=lambda name, _: name.endswith("feed_forward"))
        assert [layer.name for layer in report.layers] == ["blocks.0.feed_forward", "blocks.1.feed_forward"]
        errors.append(report.layers[0].error)
    assert errors[1] < 0.6 * errors[0]
    assert report.model(X).shape == (60, 2)
    automatic = compress(model, X, 16)
    assert [layer.name for layer in automatic.layers] == ["blocks.0.feed_forward.0", "blocks.1.feed_forward.0"]
    assert report.layers[0].n_parameters_after == 16 * 64 + 16


@pytest.mark.parametrize(
    "batches",
    [
        lambda X: DataLoader(X, batch_size=100),
        lambda X: DataLoader(TensorDataset(X, X[:, 0]), batch_size=100),
        lambda X: (X[i : i + 100] for i in range(0, 300, 100)),
    ],
    ids=["tensors", "pairs", "generator"],
)
def test_data_may_come_from_a_loader(batches):
    model, X = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 3)), torch.randn(300, 8)
    expected = compress(model, X, 16)
    found = compress(model, batches(X), np.int64(16))
    assert found.layers == expected.layers
    torch.testing.assert_close(found.model(X), expected.model(X))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((20, 8)), r"not ndarray.*torch\.from_numpy"),
        ([{"x": torch.zeros(20, 8)}], r"not dict.*batch\['inputs'\] for batch in loader"),
        (TensorDataset(torch.zeros(20, 8)), r"a TensorDataset, row by row. Give DataLoader"),
    ],
    ids=["numpy", "dict", "dataset"],
)
def test_data_that_are_no_batches_of_tensors_are_refused_by_name(data, message):
    with pytest.raises(TypeError, match=message):
        compress(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1)), data, 4)


@pytest.mark.parametrize("target", [-1.0, float("nan"), float("inf"), "low", True])
def test_a_target_error_is_a_finite_number(target):
    with pytest.raises(ValueError, match=rf"target_error={target!r}\): it must be a finite number >= 0"):
        compress(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), torch.randn(30, 8), target_error=target)


@pytest.mark.parametrize("count", [16.0, "16", True])
def test_numbers_of_features_are_whole(count):
    model = nn.Sequential(nn.Linear(8, 4), nn.GELU(), nn.Linear(4, 1))
    with pytest.raises(TypeError, match=r"n_features=.*must be a whole number"):
        compress(model, torch.randn(30, 8), count)
    with pytest.raises(TypeError, match=r"most_features=.*must be a whole number"):
        compress(model, torch.randn(30, 8), target_error=0.5, most_features=count)
    with pytest.raises(TypeError, match=r"bundle\(n_features=.*give a whole number, or one for each"):
        bundle(model, count)
    assert bundle(model, np.int64(4)).output.in_features == 4


@pytest.mark.parametrize("size", [{"n_features": 32}, {"target_error": 0.5}], ids=str)
def test_features_that_explain_nothing_are_told_with_what_to_change(size):
    model, X = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 3)), 3.0 * torch.randn(500, 8)
    with pytest.warns(ApproximationWarning, match=r"'gelu' explain nothing of 0, .*length=1.0.*8.* long here"):
        report = compress(model, X, activation="gelu", **size)
    assert report.layers[0].error > 0.95
    assert compress(model, X, 32, activation="gelu", length=1.0).layers[0].error < 0.9


def test_bundling_long_weights_by_a_power_series_warns():
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    nn.init.normal_(model[0].weight)
    with pytest.warns(ApproximationWarning, match=r"'tanh' is of no use for weights of length .*Give length=1.0"):
        bundle(model, 64)
    bundle(model, 64, length=0.9)


def test_what_cannot_be_compressed_is_refused():
    model, X = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1)), torch.randn(30, 8)
    with pytest.raises(ValueError, match=r"n_features or target_error"):
        compress(model, X)
    with pytest.raises(ValueError, match=r"share of the rows"):
        compress(model, X, 4, held_out=1.0)
    with pytest.raises(ValueError, match=r"data are empty"):
        compress(model, [], 4)
    with pytest.raises(ValueError, match=r"no linear layer with an activation"):
        compress(nn.Linear(8, 4), X, 4)
    with pytest.raises(ValueError, match=r"too few"):
        compress(model, X[:1], 4)
    pair = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (-1, 8)))
    with pytest.raises(ShapeError, match=r"takes and gives tensors"):
        compress(nn.Sequential(pair, nn.Linear(8, 1)), X, 4, where=lambda name, _: name == "0.0")
