"""Charts of any model: what more rows would bring, which columns matter, and what each of them does."""

from collections.abc import Sequence

import numpy as np

from mercer.tables.charts.canvas import COLOURS, INK, MUTED, canvas, compact, shown, svg

__all__ = ["effect_chart", "importance_chart", "learning_chart", "metric_chart"]


def learning_chart(sizes: Sequence[int], scores: dict[str, Sequence[float]], *, score: str) -> str:
    """Validation score against the number of training rows; a line a model: those of COLOURS."""
    from matplotlib.ticker import NullLocator

    figure, axes = canvas(height=3.4)
    for name in ("ridge", "boosting", "features", "kernel"):
        if name in scores:
            axes.plot(sizes, scores[name], "o-", color=COLOURS[name], markersize=4.5, label=name)
    axes.set_xscale("log")
    axes.set_xticks(list(sizes), [compact(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    values = np.concatenate([np.asarray(line) for line in scores.values()])
    # A model that fails at the smallest sizes must not flatten what happens at the others.
    lower, upper = np.quantile(values, [0.25, 0.75])
    low = max(float(values.min()), float(lower - 3.0 * (values.max() - lower)))
    high = min(float(values.max()), float(upper + 3.0 * (upper - values.min())))
    margin = 0.06 * (high - low) or 0.01
    axes.set_ylim(low - margin, high + margin)
    axes.set(xlabel="training rows", ylabel=f"{shown(score)}, validation")
    axes.legend(
        loc="upper right" if score == "log loss" else "lower right",
        reverse=True,
        frameon=False,
        labelcolor=INK,
        fontsize=9.5,
    )
    return svg(figure, title=f"{score} on the validation part against the number of training rows.")


def importance_chart(names: Sequence[str], losses: Sequence[float], *, score: str) -> str:
    """How much worse the score gets when a column's values are shuffled among the test rows; the largest on top."""
    order = np.argsort(losses)[-12:]
    figure, axes = canvas(height=0.7 + 0.27 * len(order))
    places = np.arange(len(order))
    values = np.maximum(np.asarray(losses)[order], 0.0)
    axes.barh(places, values, height=0.62, color=COLOURS["kernel"])
    for place, value in zip(places, values, strict=True):
        axes.annotate(f" {value:.3g}", (value, place), va="center", fontsize=9, color=MUTED)
    axes.set_yticks(places, [_short(names[place], 18) for place in order])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0.0, 1.16 * float(values.max()) or 1.0)
    axes.set(xlabel=f"{shown(score)} {'gained' if score == 'log loss' else 'lost'} when shuffled")
    return svg(figure, title=f"Change of {score} when a column is shuffled.")


def metric_chart(names: Sequence[str], shares: Sequence[float]) -> str:
    """Each column's share of the learnt metric's diagonal; the largest on top."""
    order = np.argsort(shares)[-12:]
    figure, axes = canvas(height=0.7 + 0.27 * len(order))
    places, values = np.arange(len(order)), np.asarray(shares)[order]
    axes.barh(places, values, height=0.62, color=COLOURS["features"])
    for place, value in zip(places, values, strict=True):
        axes.annotate(f" {value:.1%}", (value, place), va="center", fontsize=9, color=MUTED)
    axes.set_yticks(places, [_short(names[place], 18) for place in order])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0.0, 1.16 * float(values.max()) or 1.0)
    axes.set(xlabel="share of the mean squared slope")
    return svg(figure, title="Share of each column in the metric that was learnt.")


def effect_chart(
    name: str, values: Sequence[float] | Sequence[str], low: np.ndarray, middle: np.ndarray, high: np.ndarray, *, y: str
) -> str:
    """The prediction as one column changes and the others stay: the median row, and the middle half of the rows.

    Args:
        name: of the column.
        values: numbers, or labels of categories.
        low: and ``middle`` and ``high``: quartiles of the prediction over rows, ``(len(values),)`` each.
        y: what is predicted.
    """
    figure, axes = canvas(height=2.7)
    if isinstance(values[0], str):
        places = np.arange(len(values))
        axes.errorbar(
            places,
            middle,
            yerr=[middle - low, high - middle],
            fmt="o",
            color=COLOURS["kernel"],
            elinewidth=5,
            ecolor=COLOURS["band"],
        )
        n_letters = max(len(str(value)) for value in values)
        crowded = n_letters * len(values) > 38
        axes.set_xticks(places, [_short(str(value), 14) for value in values], rotation=40 if crowded else 0)
        if crowded:
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        axes.grid(visible=False, axis="x")
    else:
        axes.fill_between(values, low, high, color=COLOURS["band"], linewidth=0)
        axes.plot(values, middle, color=COLOURS["kernel"])
        axes.xaxis.set_major_formatter(compact)
    axes.yaxis.set_major_formatter(compact)
    axes.set(xlabel=_short(name, 40), ylabel=_short(y, 22))
    return svg(figure, title=f"Predicted {y} as {name} changes.")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
