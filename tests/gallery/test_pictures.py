import math

import pytest

from mercer.gallery.pictures import dots_of, for_screens, similarity_bars
from mercer.papers import Quantity
from mercer.papers.figures import Curve, curves, draw_svg


def test_every_fixed_colour_of_a_figure_has_one_for_dark_screens():
    svg = draw_svg(curves([Curve([0, 1], [0, 1], label="a")], xlabel="x"), width=3, height=2, salt="s")
    shown = for_screens(svg)
    assert shown.count("<svg") == 1
    style = shown[shown.index("<style>") : shown.index("</style>")]
    for colour in ("#ffffff", "#e4e4e4", "#888888", "#0072b2"):
        assert colour in svg
        assert f'[style*="fill: {colour}"]' in style
    assert "prefers-color-scheme:dark" in style


@pytest.mark.parametrize("bad", ["<script>alert(1)</script>", "<SCRIPT src='x'/>", "<script\n>a</script >"])
def test_nothing_that_runs_is_left_in_a_figure(bad):
    assert "alert" not in for_screens(f"<svg>{bad}<path/></svg>")
    assert "script" not in for_screens(f"<svg>{bad}<path/></svg>").lower()


def test_seeds_lie_where_their_values_do():
    dots = dots_of(Quantity("a", "a", at_least=0.0, at_most=1.0), [0.0, 0.5, 1.0])
    left, right = dots.dots[0], dots.dots[2]
    assert left == pytest.approx(5.36, abs=0.01)  # 0.06 of margin on either side of a range of 1
    assert right == pytest.approx(100 - left, abs=0.02)
    assert dots.dots[1] == dots.mean == 50.0
    assert dots.keeps == (left, right)
    assert dots_of(Quantity("a", "a", at_most=2.0), [0.0, 1.0]).keeps[0] == 0.0
    assert dots_of(Quantity("a", "a"), [0.0, 1.0]).keeps is None


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0], [1.0, math.nan], [1.0, math.inf]])
def test_what_has_no_spread_has_no_dots(values):
    assert dots_of(Quantity("a", "a", at_most=2.0), values) is None


def test_bars_are_scaled_to_the_nearest():
    bars = similarity_bars([("a", 0.5), ("b", 0.25), ("c", 0.1), ("d", 0.0)], ["d", "c", "b", "a", "itself"])
    assert [bar.height for bar in bars] == [0.0, 20.0, 50.0, 100.0]
    assert [bar.is_near for bar in bars] == [False, True, True, True]
