"""R1: every way a paper names to break its method makes the claims that it names come out false."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mercer.kernels import RBF, Linear, parse
from mercer.learn import KernelRidge
from mercer.papers import Effort, Verdict, catalog, judge, measure, registry, sabotage
from mercer.papers.results import read, results_folder
from mercer.papers.tasks import tasks_of

RESULTS = Path(__file__).parents[2] / "results"


def broken():
    papers = [registry.load(catalog()[number]) for number in registry.modules()]
    tasks = tasks_of(papers, folder=results_folder("quick", root=RESULTS), broken=True)
    return [task for task in tasks if isinstance(task.claim.effort("quick"), Effort)]  # the others take hours


@pytest.mark.slow(reason="measures a claim of a paper with its method broken, unless that is done and nothing changed")
@pytest.mark.filterwarnings("ignore:No hidden feature found")  # which is what breaking paper 24 is to bring about
@pytest.mark.parametrize("task", broken(), ids=lambda task: task.name)
def test_a_broken_method_does_not_hold(task):
    result = read(task.path)
    if result is not None and result.measurement is not None and result.fingerprint == task.fingerprint:
        assert result.verdict is Verdict.DOES_NOT_HOLD
        return
    with task.paper.broken(task.configuration["broken"]):
        measured = measure(task.claim, seeds=1)
    assert judge(task.claim, measured.values) is Verdict.DOES_NOT_HOLD


def test_a_paper_knows_its_sabotages_by_name(coin):
    with pytest.raises(ValueError, match="has no sabotage 'rain'"):
        coin.broken("rain")
    with coin.broken(None):
        assert judge(coin.claims["fair"], measure(coin.claims["fair"], seeds=1).values) is Verdict.HOLDS


def line():
    X = np.linspace(-2.0, 2.0, 200)[:, None]
    return X, X[:, 0]


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, pd.Series, list], ids=lambda kind: kind.__name__)
def test_shuffled_labels_leave_nothing_to_learn(kind):
    X, y = line()
    assert KernelRidge(alpha=1e-6).fit(X, kind(y)).score(X, y) > 0.99
    with sabotage.shuffled_labels(KernelRidge):
        assert KernelRidge(alpha=1e-6).fit(X, kind(y)).score(X, y) < 0.5
    assert KernelRidge(alpha=1e-6).fit(X, kind(y)).score(X, y) > 0.99


def test_a_wrong_kernel_has_other_parameters_than_asked_for():
    with sabotage.wrong_kernel(RBF, lengthscale=9.0):
        assert [repr(RBF()), repr(RBF(2.0)), repr(RBF(lengthscale=2.0))] == ["RBF(lengthscale=9.0)"] * 3
    assert repr(RBF(2.0)) == "RBF(lengthscale=2.0)"


def test_zeroed_results_are_zero():
    X, y = line()
    model = KernelRidge().fit(X, y)
    with sabotage.zeroed(KernelRidge, "predict"):
        assert np.array_equal(model.predict(X), np.zeros(200))
    assert model.predict(X)[-1] > 1
    assert sabotage._zeros((torch.ones(2), 3.0))[0].tolist() == [0.0, 0.0]
    assert sabotage._zeros((torch.ones(2), 3.0))[1] == 0.0


def test_a_replacement_is_used_wherever_mercer_uses_the_original():
    with sabotage.replaced(RBF, Linear):
        assert repr(parse("RBF()")).startswith("Linear(")
    assert repr(parse("RBF()")) == "RBF(lengthscale=1.0)"


def test_a_replacement_reaches_a_paper_outside_of_mercer(coin, monkeypatch):
    module = registry.sys.modules["mercer_paper_p90_coin"]
    monkeypatch.setattr(module, "RBF", RBF, raising=False)  # as if it had imported it
    with sabotage.replaced(RBF, Linear):
        assert module.RBF is Linear
    assert module.RBF is RBF


def test_an_inherited_method_is_inherited_again():
    class Child(KernelRidge):
        pass

    with sabotage.replaced(Child, None, attribute="fit"):
        assert Child.fit is None
        assert KernelRidge.fit is not None
    assert "fit" not in vars(Child)


def test_an_error_inside_puts_everything_back():
    with pytest.raises(RuntimeError, match="inside"), sabotage.replaced(KernelRidge, None, attribute="fit"):
        raise RuntimeError("inside")
    assert KernelRidge.fit is not None


def test_what_mercer_does_not_have_cannot_be_replaced():
    with pytest.raises(ValueError, match="no module of mercer holds"), sabotage.replaced(object(), None):
        pass
    with pytest.raises(AttributeError), sabotage.replaced(KernelRidge, None, attribute="melt"):
        pass
