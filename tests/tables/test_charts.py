"""Charts are SVG in the page's colours, whatever the numbers."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mercer.tables import charts
from mercer.tables.charts.canvas import compact, shown

GENERATOR = np.random.default_rng(0)


def numbers(n):
    y = GENERATOR.lognormal(3.0, 1.0, n)
    return y, y * GENERATOR.lognormal(0.0, 0.2, n)


def classes(n, n_classes):
    return (
        GENERATOR.integers(0, n_classes, n),
        GENERATOR.integers(0, n_classes, n),
        tuple(f"class {i}" for i in range(n_classes)),
    )


CHARTS = {
    "few predictions": lambda: charts.prediction_chart(*numbers(50), name="price", log=False),
    "many predictions on a log scale": lambda: charts.prediction_chart(*numbers(3000), name="price", log=True),
    "errors": lambda: charts.residual_chart(*numbers(400), name="price", log=False),
    "ratios": lambda: charts.residual_chart(
        numbers(900)[0], np.exp(0.1 * GENERATOR.normal(size=900)), name="y", log=True
    ),
    "coverage": lambda: charts.coverage_chart(numbers(400)[0], GENERATOR.random(400) < 0.9, level=0.9, name="price"),
    "coverage of few": lambda: charts.coverage_chart(numbers(12)[0], np.ones(12, dtype=bool), level=0.9, name="price"),
    "two classes": lambda: charts.confusion_chart(*classes(200, 2)),
    "twenty classes": lambda: charts.confusion_chart(*classes(400, 20)),
    "calibration": lambda: charts.calibration_chart(GENERATOR.uniform(0.5, 1.0, 300), GENERATOR.random(300) < 0.8),
    "calibration of the sure": lambda: charts.calibration_chart(np.ones(40), np.ones(40, dtype=bool)),
    "learning": lambda: charts.learning_chart([10, 100], {"kernel": [0.1, 0.5], "ridge": [-9.0, 0.4]}, score="R2"),
    "learning by loss": lambda: charts.learning_chart([10, 100], {"kernel": [9.0, 0.5]}, score="log loss"),
    "importance": lambda: charts.importance_chart(
        [f"column {i}" * 3 for i in range(20)], np.linspace(-0.1, 0.5, 20), score="R2"
    ),
    "importance of nothing": lambda: charts.importance_chart(["a"], [0.0], score="log loss"),
    "an effect": lambda: charts.effect_chart("x", [1.0, 2.0], *np.zeros((3, 2)), y="price"),
    "an effect of long names": lambda: charts.effect_chart(
        "x & y", ["a very long name"] * 9, *np.zeros((3, 9)), y="p(<b>)"
    ),
}


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
def test_a_chart_is_svg_that_takes_its_colours_from_the_page(draw):
    text = draw()
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    assert root.get("aria-label")
    assert "var(--ink)" in text
    assert "#0000a" not in text
    assert "<metadata" not in text


def test_two_charts_share_no_id():
    first, second = (set(_ids(CHARTS["errors"]())) for _ in range(2))
    assert first
    assert not first & second


def _ids(text):
    return [element.get("id") for element in ElementTree.fromstring(text).iter() if element.get("id")]


def test_references_within_a_chart_are_found():
    text = CHARTS["many predictions on a log scale"]()
    ids = set(_ids(text))
    used = {
        value.removeprefix("#")
        for element in ElementTree.fromstring(text).iter()
        for name, value in element.attrib.items()
        if name.endswith("href")
    }
    assert used
    assert used <= ids


@pytest.mark.parametrize(
    ("value", "text"),
    [(43152.0, "43k"), (2500.0, "2.5k"), (1e6, "1M"), (2e9, "2G"), (0.25, "0.25"), (261876.0, "262k")],
)
def test_tick_labels_are_short(value, text):
    assert compact(value) == text


def test_a_score_is_written_as_people_write_it():
    assert shown("R2 of the log") == "R² of the log"
