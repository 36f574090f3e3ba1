from collections import Counter

from mercer.gallery.words import bibtex, code_of, day, html_of, month, names, summed_up
from mercer.papers import Entry, Verdict, registry


def test_markdown_carries_no_html_and_no_dangerous_links():
    html = html_of("[a](javascript:alert(1)) ![b](http://x.org/i.png) <img src=x onerror=alert(1)> [c](https://x.org)")
    assert "javascript:" not in html.replace("[a](javascript:alert(1))", "")
    assert "<img" not in html
    assert '<a href="https://x.org">c</a>' in html


def test_tables_and_examples_are_shown():
    assert "<table>" in html_of("| a | b |\n|---|---|\n| 1 | 2 |")
    assert "<pre><code" in html_of("```pycon\n>>> 1\n1\n```")


def test_every_paper_of_the_catalog_has_a_citation():
    keys = set()
    for entry in registry.entries():
        text = bibtex(entry)
        assert text.startswith("@misc{")
        assert text.count("{") == text.count("}")
        assert entry.title.split()[0] in text
        keys.add(text.split("{")[1].split(",")[0])
    assert len(keys) == 36


def test_what_tex_reads_as_orders_is_escaped():
    entry = Entry(9, "c", "50% & more_or_less", "", authors=("Ré",), venue="A & B")
    assert r"50\% \& more\_or\_less" in bibtex(entry)
    assert r"note = {A \& B}" in bibtex(entry)


def test_small_words():
    assert day("2026-11-06T00:00:00+00:00") == "6 November 2026"
    assert month(Entry(9, "c", "C", "", year=2020)) == "2020"
    assert month(Entry(9, "c", "C", "")) == ""
    assert names(Entry(9, "c", "C", "")) == ""
    assert summed_up(Counter()) == ""
    assert summed_up(Counter({Verdict.DOES_NOT_HOLD: 1})) == "its one claim: does not hold"


def test_the_code_of_a_claim_is_shown_without_its_decorator(shelf):
    code = code_of(shelf.find("91-dice").claims[0])
    assert code.startswith("def fair(run: Run) -> None:")
    assert "run.record" in code
