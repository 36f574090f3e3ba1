"""Paper 11: what takes seconds is measured; the rest is looked at for what would make it vacuous."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from mercer.papers import NotMeasured, Verdict, catalog, judge, measure, p11_ntk, registry
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


@pytest.mark.slow(reason="trains a network of width 2048 for 60 steps")
def test_in_full_the_digits_are_those_of_mnist(tmp_path, monkeypatch):
    with pytest.raises(NotMeasured, match="needs --data PATH, a folder with the IDX files of MNIST"):
        measure(paper.claims["components"], mode="full", seeds=[0])
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 8, 8).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images[:300], y_train=y[:300], x_test=images[300:700], y_test=y[300:700])
    monkeypatch.setitem(p11_ntk.COUNTS, "full", {128: 1, 2048: 1})
    monkeypatch.setitem(p11_ntk.N_DIGITS, "full", 16)
    monkeypatch.setitem(p11_ntk.N_FIT, "full", 200)
    found = measure(paper.claims["components"], mode="full", data=tmp_path, seeds=[0])
    assert found.values["deviation"][0] < 0.03
    found = measure(paper.claims["early-stop"], mode="full", data=tmp_path, seeds=[0])
    assert 0.3 < found.values["best"][0] < 0.9  # of 400 other rows


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
