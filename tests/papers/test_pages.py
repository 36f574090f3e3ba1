from dataclasses import replace

import pytest

from mercer.papers import measure, registry, results
from mercer.papers.pages import paper_page, write_pages
from mercer.papers.results import Result


@pytest.fixture
def found(coin_tasks):
    """Results of all claims but the last, as ``mercer run`` writes them."""
    for task in coin_tasks[:3]:
        measurement = replace(measure(task.claim, seeds=1), seconds=2.0)
        result = Result.of("90-coin", task.claim, task.configuration, task.fingerprint, measurement=measurement)
        results.write(task.folder, result)
    return coin_tasks[0].folder


@pytest.fixture
def only_coin(coin_file, monkeypatch):
    monkeypatch.setattr(registry, "modules", lambda: {90: coin_file})


def test_a_page_says_what_is_claimed_and_what_came_out(coin, found):
    page = paper_page(coin, results.read_folder(found, "90-coin", coin.claims)[0])
    assert page.startswith(
        "# Coins, thrown and counted\n\n"
        "*On coins*. Heads, Tails. [arXiv 2101.00001](https://arxiv.org/abs/2101.00001)\n\n"
        "> A coin is thrown.\n\nA page about **coins**.\n\n## Claims\n"
    )
    assert "| [biased](#biased) | The coin is biased. | share: 0.5 | ≥\u00a00.9 | ✗ does not hold |" in page
    assert "### fair\n\nThe coin is fair. **✓ holds.**\n\nThe paper: 0.5 (table 1)." in page
    assert "share of heads \\| tails" in page
    assert "| control | gain over a good coin | -1 | ≥\u00a00 ✗ |\n| beside it | gain of a free coin | 0.5 |  |" in page
    assert "*Two throws.*\n\n| throw | result |\n| --- | --- |\n| first | 1 |\n| second |  |" in page
    assert "Not measured in quick: a lost coin is not showable in quick." in page
    assert "1 seed, 2.0 s, " in page
    assert "The code has changed since" not in page
    assert "{py:obj}`mercer.kernels.RBF`" in page
    assert "[Coins](https://example.org)" in page
    assert "$ mercer run coin" in page


def test_a_page_shows_figures(coin, found):
    pytest.importorskip("matplotlib")
    page = paper_page(coin, results.read_folder(found, "90-coin", coin.claims)[0])
    assert "![Three throws.](90-coin.fair.throws.svg)\n\n*Three throws.*" in page


def test_a_page_says_that_the_code_has_changed_since(coin, found):
    fair = results.read_folder(found, "90-coin", coin.claims)[0]["fair"]
    page = paper_page(coin, {"fair": replace(fair, fingerprint="older")})
    assert page.count("The code has changed since: `mercer run` measures it again.") == 1


def test_a_page_without_results_is_whole(coin):
    page = paper_page(coin, {})
    assert page.count("– not measured") == 8
    fair = Result.of("90-coin", coin.claims["fair"], {}, "hash", reason="it hung", failed=True)
    assert "Not measured: it hung." in paper_page(coin, {"fair": fair})


@pytest.mark.usefixtures("only_coin")
def test_the_pages_are_written_once_and_stale_ones_go(found, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "docs" / "papers"
    assert write_pages(folder, results=found) == []
    names = ["90-coin.fair.throws.svg", "90-coin.md", "index.md"]
    assert sorted(path.name for path in folder.iterdir()) == names
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "89-gone.md").write_text("x")
    write_pages(folder, results=found)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    write_pages(folder)
    assert sorted(path.name for path in folder.iterdir()) == names[1:]


@pytest.mark.usefixtures("only_coin")
def test_a_result_that_cannot_be_read_is_told(found, tmp_path):
    (found / "90-coin" / "fair.json").write_text("{")
    problems = write_pages(tmp_path / "papers", results=found)
    assert problems == [f"{found / '90-coin' / 'fair.json'} is damaged: it is no JSON object."]


def test_the_index_lists_every_paper(tmp_path):
    write_pages(tmp_path)
    text = (tmp_path / "index.md").read_text()
    assert text.count("arXiv") == 36
    assert "| 30 | KECOR" in text
    for number in registry.modules():
        assert f"({registry.entries()[number - 1].key}.md)" in text
