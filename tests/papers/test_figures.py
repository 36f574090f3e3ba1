"""Figures of curves: what is asked for is what is drawn."""

import numpy as np
import pytest

from mercer.papers import Curve, curves
from mercer.papers.figures import draw_svg

pytest.importorskip("matplotlib")


def figure_of(what, **properties):
    from matplotlib.figure import Figure

    figure = Figure()
    curves(what, **properties)(figure)
    return figure


def test_curves_are_drawn_with_labels_and_the_properties_of_the_axes():
    (axes,) = figure_of([Curve([1, 2], [0.1, 0.2], "o", "measured"), Curve([1, 2], [0.3, 0.4])], yscale="log").axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.1, 0.2], [0.3, 0.4]]
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["measured"]


def test_curves_without_labels_have_no_legend():
    (axes,) = figure_of([Curve([0, 1], np.ones((2, 3)), alpha=0.5)]).axes
    assert len(axes.lines) == 3
    assert axes.get_legend() is None
    assert axes.lines[0].get_alpha() == 0.5


def test_panels_have_titles_and_one_scale():
    left, right = figure_of({"low": [Curve([0, 1], [0, 1])], "high": [Curve([0, 1], [0, 9])]}, xlabel="x").axes
    assert [left.get_title(), right.get_title()] == ["low", "high"]
    assert left.get_ylim() == right.get_ylim()
    assert left.get_xlabel() == right.get_xlabel() == "x"


def test_the_file_is_the_same_every_time():
    draw = curves([Curve([0, 1], [0, 1], "-", "line")], xlabel="round")
    first, second = (draw_svg(draw, width=3.0, height=2.0, salt="one") for _ in range(2))
    assert first == second
