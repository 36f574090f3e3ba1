"""Many networks trained at once: each ends where it would have ended alone."""

from functools import partial

import pytest
import torch
from torch import nn

from mercer.errors import NotConverged, ShapeError
from mercer.nn import BatchedMLP
from mercer.nn.training import half_squares, mean_squares, train_batched

SGD = partial(torch.optim.SGD, lr=0.05)
OPTIMIZERS = [
    SGD,
    partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-2),
    partial(torch.optim.Adam, lr=0.02),
]


def networks(n=5, **kinds):
    return BatchedMLP(n, (2, 6, 1), activation="erf", random_state=0, dtype=torch.float64, **kinds)


def data(*batch, n=12, seed=1):
    X = torch.randn(*batch, n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return X, X[..., :1] * X[..., 1:]


def difference(a, b):
    return max(float((p - q).detach().abs().max()) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adam"])
def test_each_network_is_the_one_that_torch_trains_alone(optimizer):
    X, Y = data()
    model = networks(parametrization="standard")
    alone = [model.network(i) for i in range(5)]
    train_batched(model, X, Y, n_steps=30, optimizer=optimizer, loss=half_squares, block_size=2)
    for i, single in enumerate(alone):
        made = optimizer(single.parameters())
        for _ in range(30):
            made.zero_grad()
            (0.5 * (single(X) - Y).square().sum()).backward()
            made.step()
        torch.testing.assert_close(model.network(i)(X), single(X), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("own_data", [False, True])
def test_company_block_and_early_stops_change_no_network(batch_size, own_data):
    X, Y = data(5) if own_data else data()
    X_valid, Y_valid = data(5, seed=2) if own_data else data(seed=2)
    settings = {"n_steps": 200, "batch_size": batch_size, "check_every": 7, "patience": 2, "tolerance": 1e-3}
    settings |= {"optimizer": OPTIMIZERS[2], "random_state": 3}
    model = networks()
    together = train_batched(model, X, Y, X_valid=X_valid, Y_valid=Y_valid, **settings)
    assert len(set(together.n_steps.tolist())) > 1
    for i in range(5):
        single = networks().select([i])
        some = slice(i, i + 1) if own_data else slice(None)
        alone = train_batched(single, X[some], Y[some], X_valid=X_valid[some], Y_valid=Y_valid[some], **settings)
        assert difference(model.select([i]), single) < 1e-11
        assert (alone.n_steps.tolist(), alone.stopped) == ([int(together.n_steps[i])], [together.stopped[i]])
        torch.testing.assert_close(alone.losses[:, 0], together.losses[:, i], equal_nan=True, rtol=1e-10, atol=1e-12)


def test_a_network_ends_with_the_weights_of_its_least_validation_loss():
    (X, Y), (X_valid, Y_valid) = data(), data(seed=2)
    model = networks(40)
    history = train_batched(model, X, Y, n_steps=300, X_valid=X_valid, Y_valid=Y_valid, optimizer=OPTIMIZERS[2])
    found = mean_squares(model(X_valid), Y_valid).detach()
    least = history.valid_losses.nan_to_num(torch.inf).min(0)
    torch.testing.assert_close(found, least.values, rtol=1e-12, atol=1e-12)
    assert history.steps[least.indices].tolist() == history.n_steps.tolist()
    assert history.stopped == ["done"] * 40
    assert (history.n_steps < 300).any()


def test_a_network_stops_at_the_tolerance_and_not_before():
    X, Y = data()
    model = networks(20)
    history = train_batched(model, X, Y, n_steps=2000, tolerance=0.02, check_every=1, optimizer=OPTIMIZERS[2])
    assert history.stopped == ["tolerance"] * 20
    assert (mean_squares(model(X), Y) <= 0.02).all()
    for i, steps in enumerate(history.n_steps.tolist()):
        assert (history.losses[:steps, i] > 0.02).all()
        assert history.losses[steps, i] <= 0.02
        assert history.losses[steps + 1 :, i].isnan().all()


def test_what_needs_no_gradient_stays():
    X, Y = data()
    model, before = networks(), networks()
    model.weights[0].requires_grad_(False)
    train_batched(model, X, Y, n_steps=10, optimizer=OPTIMIZERS[1])
    assert torch.equal(model.weights[0], before.weights[0])
    assert not torch.equal(model.weights[1], before.weights[1])


def test_losses_are_those_of_their_definition():
    X, Y = data(5)
    model = networks()
    history = train_batched(model, X, Y, n_steps=1, loss=half_squares, optimizer=SGD)
    residual = networks()(X).detach() - Y
    expected = [0.5 * float(r.square().sum()) for r in residual]
    torch.testing.assert_close(history.losses[0], torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(mean_squares(residual, torch.zeros(12, 1)), history.losses[0] / 6)
    assert history.steps.tolist() == [0, 1]
    assert history.seconds > 0.0


def test_classes_by_a_loss_of_ones_own():
    X, Y = data(n=40)
    labels = (Y[:, 0] > 0).long()
    model = BatchedMLP(3, (2, 16, 2), random_state=0, dtype=torch.float64)

    def cross_entropy(outputs, targets):
        targets = targets.expand(len(outputs), -1)
        return nn.functional.cross_entropy(outputs.mT, targets, reduction="none").mean(1)

    train_batched(model, X, labels, n_steps=150, loss=cross_entropy, optimizer=partial(torch.optim.Adam, lr=0.1))
    assert ((model(X).argmax(-1) == labels).double().mean(1) > 0.9).all()


def test_one_that_diverges_is_named_and_the_others_are_trained():
    X, Y = data()
    model, alone = networks(), networks()
    with torch.no_grad():
        model.weights[1][2] = torch.inf
    with pytest.raises(NotConverged, match="1 of 5 networks diverged, the first is number 2") as caught:
        train_batched(model, X, Y, n_steps=30, optimizer=SGD)
    train_batched(alone, X, Y, n_steps=30, optimizer=SGD)
    others = [0, 1, 3, 4]
    assert difference(model.select(others), alone.select(others)) < 1e-12
    assert caught.value.solution.stopped == ["done", "done", "diverged", "done", "done"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_steps": 0}, ValueError, "n_steps=0"),
        ({"patience": 0}, ValueError, "patience=0"),
        ({"patience": 3}, ValueError, "needs X_valid and Y_valid"),
        ({"Y": torch.zeros(3, 1)}, ShapeError, r"Y has shape \(3, 1\) beside X \(12, 2\)"),
        ({"X": torch.zeros(4, 12, 2)}, ShapeError, r"X has shape \(4, 12, 2\)"),
        ({"X_valid": torch.zeros(3, 2), "Y_valid": torch.zeros(4, 1)}, ShapeError, r"Y_valid has shape \(4, 1\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    X, Y = data()
    with pytest.raises(error, match=message):
        train_batched(networks(), **{"X": X, "Y": Y, "n_steps": 5, **arguments})
