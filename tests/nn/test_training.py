"""The training loop: what it learns, that it resumes, stops and reproduces."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mercer.errors import FileFormatError, NotConverged
from mercer.nn.training import History, TensorBatches, evaluate, loop, move, train
from mercer.progress import Progress


def loss(model, batch):
    x, y = batch
    return (model(x) - y).square().mean()


def line(n=40, *, batch_size=10, seed=0):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(x, x @ torch.tensor([[1.0], [-2.0]])), batch_size, shuffle=True)


def network(*, dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 1))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


ADAM = partial(torch.optim.Adam, lr=0.02)


def test_it_learns():
    model = network()
    history = train(model, line(), loss=loss, n_epochs=60, optimizer=ADAM)
    assert history.losses[-1] < 0.01 * history.losses[0]
    assert (history.n_epochs, history.n_steps, history.stopped) == (60, 240, "done")
    assert not model.training


def test_steps_may_end_in_the_middle_of_an_epoch():
    history = train(network(), line(), loss=loss, n_steps=6)
    assert (history.n_epochs, history.n_steps) == (2, 6)


def test_the_mean_loss_counts_rows_and_not_batches():
    model = network()
    x, y = line(12).dataset.tensors
    batches = [(x[:9], y[:9]), (x[9:], y[9:])]
    assert evaluate(model, batches, loss) == pytest.approx(float(loss(model, (x, y)).detach()), rel=1e-5)
    assert model.training
    still = train(model, batches, loss=loss, n_epochs=1, optimizer=partial(torch.optim.SGD, lr=0.0))
    assert still.losses[0] == pytest.approx(float(loss(model, (x, y)).detach()), rel=1e-5)


def test_the_same_seed_gives_the_same_network_and_leaves_the_caller_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(5)
        model = network(dropout=0.5)
        torch.manual_seed(5)
        train(model, line(), loss=loss, n_epochs=3, random_state=seed)
        assert torch.equal(torch.rand(1), expected)
        found.append(weights(model))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("with_validation", [False, True])
def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path, with_validation):
    options = {"loss": loss, "optimizer": ADAM, "random_state": 3}
    if with_validation:
        options["valid_loader"] = line(seed=1)
    generator = torch.Generator()
    loader = DataLoader(line().dataset, 10, shuffle=True, generator=generator)
    whole = network(dropout=0.2)
    expected = train(whole, loader, n_epochs=6, **options)

    def interrupt(model, history):
        if history.n_epochs == 4:
            raise KeyboardInterrupt

    path = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(network(dropout=0.2), loader, n_epochs=6, checkpoint=path, callbacks=[interrupt], **options)
    generator.manual_seed(99)
    resumed = network(dropout=0.2)
    history = train(resumed, loader, n_epochs=6, checkpoint=path, **options)
    assert torch.equal(weights(resumed), weights(whole))
    assert history.losses == expected.losses
    assert history.valid_losses == expected.valid_losses


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    path = tmp_path / "training.safetensors"
    train(network(), line(), loss=loss, n_epochs=1, checkpoint=path)
    with pytest.raises(FileFormatError, match=r"was written for another model. Remove it to begin anew"):
        train(nn.Linear(2, 1), line(), loss=loss, n_epochs=1, checkpoint=path)


def test_the_best_weights_are_kept_and_patience_ends_the_rest():
    seen = []

    def valid_loss(model, batch):
        return torch.tensor([3.0, 1.0, 2.0, 2.0, 0.0][len(seen) - 1])

    def watch(model, history):
        seen.append(weights(model))

    def count(model, batch):
        if not model.training and len(seen) == len(values):
            values.append(1)
        return valid_loss(model, batch)

    values = []
    model = network()
    seen.append(weights(model))
    history = train(
        model,
        line(),
        loss=loss,
        n_epochs=9,
        valid_loader=[line(4).dataset.tensors],
        valid_loss=count,
        patience=2,
        callbacks=[watch],
    )
    assert history.valid_losses == [3.0, 1.0, 2.0, 2.0]
    assert (history.best_epoch, history.stopped) == (2, "patience")
    assert torch.equal(weights(model), seen[2])


def test_a_callback_stops_and_all_of_them_are_called():
    seen = []
    callbacks = [lambda model, history: history.n_epochs == 2, lambda model, history: seen.append(history.n_epochs)]
    history = train(network(), line(), loss=loss, n_epochs=9, callbacks=callbacks)
    assert history.stopped == "callback"
    assert seen == [1, 2]


def test_parameter_groups_have_learning_rates_of_their_own():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.slow, self.fast = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)

        def forward(self, x):
            return self.slow(x) + self.fast(x)

        def parameter_groups(self):
            return [{"params": self.slow.parameters(), "lr": 0.0}, {"params": self.fast.parameters()}]

    model = Two()
    before = model.slow.weight.detach().clone(), model.fast.weight.detach().clone()
    train(model, line(), loss=loss, n_epochs=1)
    assert torch.equal(model.slow.weight, before[0])
    assert not torch.equal(model.fast.weight, before[1])


def test_batches_of_every_kind_follow_the_model():
    x = torch.ones(3, 2)
    model = nn.Linear(2, 1).double().to("meta")
    moved = move({"x": x, "more": [x, (x, "text")]}, model)
    assert moved["x"].device.type == moved["more"][0].device.type == moved["more"][1][0].device.type == "meta"
    assert moved["more"][1][1] == "text"
    assert move(x, nn.ReLU()) is x
    trained = train(nn.Linear(2, 1), [{"x": x}], loss=lambda m, b: m(b["x"]).square().mean(), n_epochs=2)
    assert trained.n_steps == 2
    assert train(nn.Linear(2, 1), [x], loss=lambda m, b: m(b).square().mean(), n_epochs=2).n_steps == 2


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="give n_epochs or n_steps, and not both; got None and None"):
        train(network(), line(), loss=loss)
    with pytest.raises(ValueError, match="patience waits for a lower validation loss, so it needs valid_loader"):
        train(network(), line(), loss=loss, n_epochs=1, patience=1)
    with pytest.raises(ValueError, match="the loader gave no batch"):
        train(network(), iter([]), loss=loss, n_epochs=1)
    with pytest.raises(NotConverged, match=r"the loss is nan in epoch 1. Give the optimizer a smaller") as caught:
        train(network(), line(), loss=lambda m, b: loss(m, b) * torch.nan, n_epochs=3)
    assert isinstance(caught.value.solution, History)


def test_the_line_moves_within_an_epoch_and_tells_the_last_loss(monkeypatch):
    seen = []

    class Watched(Progress):
        def advance(self, n=1, *, note=""):
            super().advance(n, note=note)
            seen.append((self.done, note))

    monkeypatch.setattr(loop, "track", lambda items, *, description, total: Watched((), total, description, 3.0))
    for options, total in (({"n_epochs": 3}, 3), ({"n_steps": 6}, 6)):
        seen.clear()
        history = train(network(), line(), loss=loss, **options)
        done = [place for place, _ in seen]
        assert done[-1] == pytest.approx(total)
        assert all(b > a - 1e-9 for a, b in pairwise(done))
        assert len({round(place, 6) for place in done}) == history.n_steps + 1
        assert seen[-1][1] in ("", f"loss {history.losses[-2]:.4g}")
    # A loader without a length moves it from epoch to epoch.
    seen.clear()
    batches = list(line())
    train(network(), Unsized(batches), loss=loss, n_epochs=2)
    assert {place for place, _ in seen} == {0, 1, 2}


class Unsized:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_accumulated_batches_make_the_step_of_one_large_batch():
    X, y = torch.randn(10, 3, dtype=torch.float64), torch.randn(10, dtype=torch.float64)

    def trained(size, accumulate):
        model = nn.Linear(3, 1, dtype=torch.float64)
        with torch.no_grad():
            model.weight.fill_(0.1)
            model.bias.fill_(0.0)
        batches = TensorBatches([X, y], size, shuffle=False)
        history = train(
            model,
            batches,
            loss=lambda m, batch: (m(batch[0])[:, 0] - batch[1]).square().mean(),
            n_epochs=3,
            optimizer=partial(torch.optim.SGD, lr=0.1),
            accumulate=accumulate,
        )
        return history.n_steps, model.weight.detach()

    steps, small = trained(2, 5)
    assert steps == 3
    torch.testing.assert_close(small, trained(10, 1)[1])
    assert trained(2, 4)[0] == 6  # what is left makes a step too
    with pytest.raises(ValueError, match="accumulate must be a whole number >= 1, not 0"):
        trained(2, 0)
