"""Paper 16: the claims that take a second are measured; the others are looked at for what would make them vacuous."""

import numpy as np
import pytest
import torch

from mercer.nn import add_adapters
from mercer.nn.training import TensorBatches
from mercer.papers import Verdict, catalog, judge, measure, registry
from mercer.papers.p16_snnk import ResidualBlock, _digits, _network, _turned

paper = registry.load(catalog()[16])


@pytest.mark.slow(reason="measures claims of the paper")
@pytest.mark.parametrize("id", ["urf", "expressive"])
def test_what_is_about_features_holds_for_any_seed(id):
    claim = paper.claims[id]
    assert judge(claim, measure(claim, seeds=[2]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there_and_each_can_be_broken():
    assert list(paper.claims) == [
        "urf",
        "relu",
        "bundle",
        "adapter",
        "pretrained",
        "cost",
        "expressive",
        "compress",
    ]
    assert {claim.id for claim in paper.claims.values() if claim.identity} == {"expressive"}
    assert {id for way in paper.sabotages for id in way.breaks} == set(paper.claims) - {"pretrained"}


def test_the_adapters_have_the_numbers_of_the_card():
    model = _network(0)
    report = add_adapters(model, lambda name, module: isinstance(module, ResidualBlock), n_features=12)
    assert report.n_adapter_parameters == 4992


def test_digits_are_turned_and_batches_are_in_another_order_each_time():
    X, y, Xt, _ = _digits(0)
    assert (len(X), len(Xt)) == (1257, 540)
    np.testing.assert_array_equal(_turned(_turned(_turned(_turned(X)))), X)
    assert not np.array_equal(_turned(X), X)
    batches = TensorBatches([torch.from_numpy(X), torch.from_numpy(y)], 64)
    batches.generator.manual_seed(0)
    first, second = ([rows for rows, _ in batches] for _ in range(2))
    assert sum(map(len, first)) == 1257
    assert not torch.equal(first[0], second[0])
