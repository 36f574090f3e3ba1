"""Claims of papers 03 and 06 on the user's own files, on a few rows in their official forms and with small networks."""

import importlib
import sys
from pathlib import Path

import pytest

from mercer.papers import NotMeasured, catalog, measure, registry

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
SMALL = {"layers": 1, "width": 2, "max_epochs": 1, "batch_size": 64, "norm": "layer", "standardize": False}


@pytest.fixture
def sgconv(monkeypatch):
    module = importlib.import_module("mercer.papers.p03_sgconv")
    monkeypatch.setattr(module, "CIFAR_NETWORK", SMALL)
    monkeypatch.setattr(module, "SPEECH_NETWORK", SMALL)
    return registry.load(catalog()[3]).claims


@pytest.mark.slow(reason="trains four networks on sequences of 1024 steps")
def test_decay_and_structure_on_sequential_cifar(tmp_path, sgconv):
    from test_cifar import save_cifar

    with pytest.raises(NotMeasured, match="batches of CIFAR-10"):
        measure(sgconv["decay"], mode="full")
    save_cifar(tmp_path, n=4)
    found = measure(sgconv["decay"], mode="full", data=tmp_path, seeds=[0]).values
    assert found["with_decay"][0] in (0.0, 25.0, 50.0, 75.0, 100.0)  # of the four test images
    found = measure(sgconv["structure"], mode="full", data=tmp_path, seeds=[0]).values
    assert found["share"] == (32 * 6 / 1024,)


@pytest.mark.filterwarnings("ignore::mercer.errors.ApproximationWarning")
@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")  # one sound a word
@pytest.mark.slow(reason="trains on seconds of sound")
def test_a_change_of_rate_on_speech_commands(tmp_path, sgconv):
    from test_speech_commands import save_speech_commands

    with pytest.raises(NotMeasured, match=r"Speech Commands 0\.02"):
        measure(sgconv["resolution"], mode="full")
    save_speech_commands(tmp_path, n_values=100)
    found = measure(sgconv["resolution"], mode="full", data=tmp_path, seeds=[0]).values
    assert 0.0 <= found["accuracy"][0] <= 100.0


@pytest.mark.slow(reason="trains two language models")
def test_languages_are_modelled_on_wikitext(tmp_path, monkeypatch):
    from test_wikitext import save_wikitext

    module = importlib.import_module("mercer.papers.p06_transnormer")
    small = {"layers": 2, "width": 8, "heads": 2, "block": 4, "length": 8, "batch": 2, "steps": 3, "rate": 1e-3}
    small |= {"warmup": 2, "dropout": 0.1, "rows": 5}
    seen = []

    def size(run):
        seen.append(run.is_full)
        return small

    monkeypatch.setattr(module, "_size", size)
    claims = registry.load(catalog()[6]).claims
    with pytest.raises(NotMeasured, match=r"wiki\.train\.tokens"):
        measure(claims["quality"], mode="full")
    save_wikitext(tmp_path, train=" The moon is the moon . \n" * 20, other=" The moon is a moon . \n" * 20)
    for id, name in (("spread", "ratio"), ("quality", "softmax"), ("dilution", "softmax")):
        assert measure(claims[id], mode="full", data=tmp_path, seeds=[0]).values[name][0] > 0.0
    assert all(seen)
    assert len(module._words(tmp_path).words) == 7  # words, not the eleven characters
