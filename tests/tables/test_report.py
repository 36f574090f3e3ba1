"""The page: one file, nothing from elsewhere, all that was found out, and no markup from the table."""

import re
from html.parser import HTMLParser

import pytest

from mercer.tables.report import render_report
from mercer.tables.report_words import comparison, format_number, headline, lead
from mercer.tables.summary import summary

VOID = {"meta", "br", "hr", "img", "input", "link"}


class _Balance(HTMLParser):
    """Fails on a tag that is closed and was not opened."""

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def pages(house_fit, flower_fit, line_fit):
    fits = {"houses": house_fit, "flowers": flower_fit, "line": line_fit}
    return {
        name: render_report(findings, folder="runs/x", source=("From a test.",)) for name, (_, findings) in fits.items()
    }


@pytest.mark.parametrize("name", ["houses", "flowers", "line"])
def test_the_page_is_whole_html_with_distinct_ids(pages, name):
    balance = _Balance()
    balance.feed(pages[name])
    assert balance.open == []
    assert len(balance.ids) == len(set(balance.ids))


@pytest.mark.parametrize("name", ["houses", "flowers", "line"])
def test_the_page_needs_nothing_from_elsewhere(pages, name):
    links = re.findall(r'(?:src|href|url\()\s*=?\s*["\']?([^"\')\s>]+)', pages[name])
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "<script" not in pages[name]


@pytest.mark.parametrize("name", ["houses", "flowers", "line"])
def test_charts_take_their_colours_from_the_page(pages, name):
    assert "#0000a" not in pages[name]
    drawings = re.findall(r"<svg.*?</svg>", pages[name], re.DOTALL)
    assert len(drawings) >= 5
    fixed = {colour for drawing in drawings for colour in re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawing)}
    assert fixed <= {"#ffffff"}  # the invisible background of clip paths
    assert "prefers-color-scheme: dark" in pages[name]


def test_the_page_says_what_was_found(pages, house_fit):
    _, findings = house_fit
    page = pages["houses"]
    assert f"{findings.models[0].test[0].value:.4f}" in page
    for words in (
        "houses.csv",
        "From a test.",
        "runs/x",
        "Gradient boosting",
        "Linear model",
        "intervals hold",
        "chosen",
    ):
        assert words in page
    for column in findings.columns:
        assert f"<b>{column.name}</b>" in page
    for stage in findings.stages:
        assert stage.name.replace("'", "&#39;") in page


def test_names_from_the_table_are_escaped(house_fit):
    import dataclasses

    _, findings = house_fit
    columns = [dataclasses.replace(findings.columns[0], name="<script>alert(1)</script>"), *findings.columns[1:]]
    page = render_report(dataclasses.replace(findings, columns=columns, table="<b>x"), folder="f")
    assert "<script>" not in page
    assert "<b>x" not in page


def test_the_words_follow_the_numbers(house_fit, flower_fit, line_fit):
    import dataclasses

    _, findings = house_fit
    assert headline(findings).endswith("of the variance explained")
    assert headline(flower_fit[1]).endswith("of the rows classified right")
    assert lead(findings)[0].startswith("An exact kernel model of all 144 training rows")
    assert lead(line_fit[1])[0].startswith("A linear model, which was better than the kernel model here")
    for gain, words in ((0.05, "the kernel model is better"), (-0.05, "boosting is better"), (0.001, "cannot tell")):
        assert words in comparison(dataclasses.replace(findings, difference=(gain, 0.01)))
    for coverage, words in ((0.9, "as they should"), (0.99, "more often"), (0.5, "less often")):
        interval = dataclasses.replace(findings.interval, coverage=coverage, error=0.02)
        assert words in lead(dataclasses.replace(findings, interval=interval))[1]


def test_a_summary_for_a_terminal_has_every_model(house_fit, line_fit):
    text = summary(house_fit[1])
    for words in ("Kernel model (chosen)", "Gradient boosting", "Linear model", "90% intervals hold"):
        assert words in text
    assert "The linear model is chosen" in summary(line_fit[1])


def test_numbers_have_three_digits():
    assert [format_number(value) for value in (12345.6, 12.345, 0.0, float("inf"))] == ["12,346", "12.3", "0", "inf"]
