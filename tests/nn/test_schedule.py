"""Learning rates that rise, fall, and fall on after an interruption."""

from functools import partial
from itertools import pairwise

import pytest
import torch

from mercer.nn.training import CosineDecay, InverseRootDecay, train

X = torch.linspace(-1.0, 1.0, 32)[:, None]


def loss(model, batch):
    return (model(batch) - 1.0).square().mean()


def run(n_epochs, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    decay = CosineDecay(partial(torch.optim.Adam, lr=0.1), n_epochs=8, warmup=2)
    rates = []
    train(
        model,
        [X],
        loss=loss,
        n_epochs=n_epochs,
        optimizer=decay,
        callbacks=[lambda *_: rates.append(decay.made.param_groups[0]["lr"]), decay.after_epoch],
        **options,
    )
    return model, rates


def test_rates_rise_and_fall_like_half_a_cosine():
    _, rates = run(8)
    assert rates[:3] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])
    assert rates[5] == pytest.approx(0.05)  # half of the way down
    assert all(a > b for a, b in pairwise(rates[2:]))


def test_an_interrupted_training_falls_on_from_where_it_was(tmp_path):
    whole, rates = run(8)
    run(5, checkpoint=tmp_path / "c")
    again, rest = run(8, checkpoint=tmp_path / "c")
    assert rest == rates[5:]
    assert torch.equal(whole.weight, again.weight)


def test_a_warm_up_that_is_all_there_is_is_refused():
    with pytest.raises(ValueError, match="0 <= warmup < n_epochs"):
        CosineDecay(torch.optim.Adam, n_epochs=3, warmup=3)


def test_rates_fall_like_one_over_the_root():
    decay = InverseRootDecay(partial(torch.optim.SGD, lr=0.1), warmup=3)
    rates = []
    callbacks = [lambda *_: rates.append(decay.made.param_groups[0]["lr"]), decay.after_epoch]
    train(torch.nn.Linear(1, 1), [X], loss=loss, n_epochs=12, optimizer=decay, callbacks=callbacks)
    assert rates == pytest.approx([0.1 / 3, 0.2 / 3, *(0.1 * (3 / n) ** 0.5 for n in range(3, 13))])
    with pytest.raises(ValueError, match="takes an epoch at least"):
        InverseRootDecay(torch.optim.SGD, warmup=0)
