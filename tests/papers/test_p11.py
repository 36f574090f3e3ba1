"""Paper 11: what takes seconds is measured; the rest is looked at for what would make it vacuous."""

import pytest
import torch

from mercer.papers import Verdict, catalog, judge, measure, registry
from mercer.papers.p11_ntk import _circle, _network, _train

paper = registry.load(catalog()[11])


def test_the_kernel_is_positive_definite_for_activations_that_are_no_polynomials():
    claim = paper.claims["psd"]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


@pytest.mark.slow(reason="three regressions of 800 rows at 60 times")
def test_training_should_stop_early():
    claim = paper.claims["early-stop"]
    assert judge(claim, measure(claim, seeds=[0]).values) is Verdict.HOLDS


def test_all_claims_of_the_card_are_there():
    assert list(paper.claims) == ["limit", "constant", "linear-ode", "components", "psd", "early-stop"]
    assert {id for way in paper.sabotages for id in way.breaks} == {"limit", "psd", "early-stop"}


def test_networks_trained_side_by_side_are_those_trained_alone():
    X = _circle(4, shift=0.3)
    y = X[:, 0] * X[:, 1]
    modules = [_network(3).finite(16, in_features=2, random_state=s) for s in (0, 1)]
    parameters, outputs = _train(modules, X, y, rate=1.0, steps=5)
    for k, module in enumerate(modules):
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        for step in range(6):
            out = module(X)[:, 0]
            torch.testing.assert_close(outputs[step][k], out.detach())
            if step < 5:
                optimizer.zero_grad()
                ((out - y).square().mean() / 2).backward()
                optimizer.step()
        for name, p in module.named_parameters():
            torch.testing.assert_close(parameters[name][k], p.detach())
