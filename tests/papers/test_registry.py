import importlib
import re

import pytest

from mercer.papers import catalog, registry
from mercer.papers.registry import PaperError


def test_the_catalog_lists_all_papers_once():
    entries = registry.entries()
    assert [entry.number for entry in entries] == list(range(1, 37))
    assert len({entry.slug for entry in entries}) == 36
    assert len({entry.arxiv for entry in entries}) == 36


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.slug)
def test_an_entry_of_the_catalog_is_complete(entry):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.slug)
    assert re.fullmatch(r"\d{4}\.\d{5}", entry.arxiv)
    assert entry.month.startswith(str(entry.year))
    assert entry.title
    assert entry.authors
    assert 100 < len(entry.summary) < 400
    assert entry.summary.endswith(".")
    assert len(entry.tags) >= 3
    assert entry.code is None or re.fullmatch(r"[\w.-]+/[\w.-]+", entry.code)


def test_a_citation_says_what_is_known():
    entry = catalog()[22]
    assert entry.citation == "Borup, Andersen. NeurIPS 2021. arXiv 2102.13088"
    assert entry.key == "22-self-distillation"
    assert registry.Entry(1, "x", "X", "x").citation == ""


@pytest.mark.parametrize(
    "text", ["self-distillation", "22", "22-self-distillation", "2102.13088", "arXiv:2102.13088", " Self_Distillation "]
)
def test_a_paper_is_found_by_any_of_its_names(text):
    assert registry.find(text).number == 22


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self-distilation", r"no paper 'self-distilation'\. Did you mean self-distillation\?"),
        ("quantum", r"Did you mean quantum-kernels"),
        ("uniref", r"`mercer papers` lists them all"),
        ("", r"`mercer papers` lists them all"),
        ("99", r"no paper '99'"),
    ],
)
def test_an_unknown_paper_is_met_with_the_nearest(text, message):
    with pytest.raises(PaperError, match=message):
        registry.find(text)


def test_search_needs_every_word():
    assert [entry.slug for entry in registry.search("linear attention")] == ["transnormer", "soft"]
    assert registry.search("graph CLUSTERING")[0].slug == "graph-proximities"
    assert registry.search("no such thing") == []
    assert len(registry.search("")) == 36


def test_the_modules_that_are_here_fit_the_catalog():
    for number, path in registry.modules().items():
        paper = registry.load(catalog()[number])
        assert paper.entry == catalog()[number]
        assert paper.file == path.resolve()
        assert paper.text
        assert paper.claims
        assert paper.sabotages, f"{path.name} has to say how its method can be broken"
        for name in paper.exercises:
            module, _, attribute = name.rpartition(".")
            assert attribute in importlib.import_module(module).__all__, f"{name} is not public"


def test_a_paper_without_a_module_is_none(monkeypatch):
    monkeypatch.setattr(registry, "modules", dict)
    assert registry.load(catalog()[1]) is None


def test_a_file_of_ones_own_is_a_paper_too(coin, coin_file):
    assert coin.entry.key == "90-coin"
    assert coin.file == coin_file
    assert coin.text == "Coins, thrown and counted.\n\nA page about **coins**."
    assert list(coin.claims) == ["fair", "biased", "bought", "lost"]


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("coin.py", "", r"is named pNN_slug\.py"),
        ("p90_coin.py", None, "there is no such file"),
        ("p90_coin.py", "paper = 3", r"makes no `paper = Paper\(\.\.\.\)`"),
        ("p90_coin.py", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("p90_coin.py", "from mercer.papers import Paper\npaper = Paper.from_catalog(22)", "have to agree"),
    ],
)
def test_a_file_that_is_no_paper_is_refused(name, contents, message, tmp_path):
    path = tmp_path / name
    if contents is not None:
        path.write_text(contents)
    with pytest.raises(PaperError, match=message):
        registry.load_file(path)
