"""The claims that are measured on the user's own files of the Long Range Arena, on a few rows in its format."""

import importlib
import json
from dataclasses import replace

import pytest

from mercer.arena import REPORTED, arena_settings, run
from mercer.data import make_listops, save_listops
from mercer.papers import NotMeasured, Verdict, catalog, judge, measure, registry


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with ListOps in the official format, and small networks that are trained briefly."""
    (tmp_path / "lra" / "listops").mkdir(parents=True)
    for seed, part in enumerate(("train", "val", "test")):
        expressions = make_listops(6, min_length=5, max_length=30, random_state=seed)
        save_listops(tmp_path / "lra" / "listops" / f"basic_{part}.tsv", expressions)

    def small(task, mixer, **options):
        return replace(arena_settings(task, mixer, **options), layers=1, width=4, batch_size=3, epochs=1, warmup=0)

    monkeypatch.setattr(run, "arena_settings", small)
    for name in ("p03_sgconv", "p33_long_convs"):
        monkeypatch.setattr(importlib.import_module(f"mercer.papers.{name}"), "data_dir", lambda: tmp_path)
    return tmp_path / "lra"


@pytest.mark.slow(reason="trains on sequences of 2000 steps")
def test_accuracies_are_compared_with_those_of_the_paper(files):
    claim = registry.load(catalog()[3]).claims["lra"]
    with pytest.raises(NotMeasured, match="a folder for each task"):
        measure(claim, mode="full")
    found = measure(claim, mode="full", data=files, seeds=[0])
    task, seed, here, reported = found.tables[0].rows[0]
    assert (task, seed, reported) == ("listops", 0, REPORTED["SGConv, the paper"]["listops"])
    assert found.values["gap"] == (pytest.approx(reported - here),)
    assert judge(claim, found.values) is Verdict.DOES_NOT_HOLD
    assert measure(claim, mode="full", data=files, seeds=[0]).values == found.values  # from what was kept


@pytest.mark.slow(reason="trains two networks on sequences of 2000 steps")
def test_two_kernels_are_compared_with_each_other(files):
    claim = registry.load(catalog()[33]).claims["match"]
    found = measure(claim, mode="full", data=files, seeds=[0])
    assert -100.0 <= found.values["gap"][0] <= 100.0
    assert len((files.parent / "arena" / "results.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow(reason="trains two networks on texts of 4000 bytes")
def test_a_threshold_is_compared_with_none_on_texts(files):
    for part in ("train", "test"):
        for kind in ("pos", "neg"):
            (files / "text" / part / kind).mkdir(parents=True)
            for i in range(2):
                (files / "text" / part / kind / f"{i}_7.txt").write_text(f"a {kind} film")
    claim = registry.load(catalog()[33]).claims["repaired-text"]
    found = measure(claim, mode="full", data=files, seeds=[0])
    assert 0.0 <= found.values["squash"][0] <= 100.0
    rows = (files.parent / "arena" / "results.jsonl").read_text().splitlines()
    assert [json.loads(row)["mixer"] for row in rows] == ["long_conv", "free_conv"]
