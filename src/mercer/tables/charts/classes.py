"""Charts of a model that predicts a class: what it mixes up, and whether its probabilities can be trusted."""

import numpy as np

from mercer.tables.charts.canvas import COLOURS, INK, MUTED, canvas, svg

__all__ = ["calibration_chart", "confusion_chart"]

_MOST_SHOWN = 12


def confusion_chart(codes: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> str:
    """Of the rows of each true class (a row of the chart), the share that was given each class."""
    from matplotlib.colors import to_rgba

    shown = np.sort(np.argsort(-np.bincount(codes, minlength=len(classes)), kind="stable")[:_MOST_SHOWN])
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (codes, predicted), 1.0)
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))[np.ix_(shown, shown)]
    figure, axes = canvas(height=3.6)
    image = np.empty((*shares.shape, 4))
    image[:] = to_rgba(COLOURS["kernel"])
    for row in range(len(shown)):
        for column in range(len(shown)):
            axes.add_patch(_cell(column, row, to_rgba(COLOURS["kernel"], 0.04 + 0.8 * shares[row, column])))
            if len(shown) <= 8:
                colour = COLOURS["paper"] if shares[row, column] > 0.55 else INK
                axes.text(column, row, f"{shares[row, column]:.0%}", ha="center", va="center", color=colour, fontsize=9)
    names = [classes[place] if len(classes[place]) <= 10 else classes[place][:9] + "…" for place in shown]
    axes.set_xticks(range(len(shown)), names, rotation=0 if len(shown) <= 5 else 45)
    axes.set_yticks(range(len(shown)), names)
    axes.set(xlim=(-0.5, len(shown) - 0.5), ylim=(len(shown) - 0.5, -0.5), xlabel="predicted", ylabel="true")
    axes.grid(visible=False)
    return svg(figure, title="Share of each true class that was given each class.")


def calibration_chart(probability: np.ndarray, right: np.ndarray) -> str:
    """How often the predicted class is right, against how sure the model was, with two standard errors."""
    figure, axes = canvas(height=3.6)
    groups = np.array_split(np.argsort(probability), min(10, max(1, len(probability) // 30)))
    sure = np.array([probability[group].mean() for group in groups])
    shares = np.array([right[group].mean() for group in groups])
    errors = np.array([2.0 * np.sqrt(max(p * (1.0 - p), 0.0) / len(g)) for p, g in zip(sure, groups, strict=True)])
    low = max(0.0, min(float(sure.min()), float((shares - errors).min())) - 0.03)
    down, up = np.minimum(errors, shares), np.minimum(errors, 1.0 - shares)
    axes.plot([low, 1.0], [low, 1.0], color=MUTED, linewidth=1.2, dashes=(4, 3))
    axes.errorbar(sure, shares, yerr=[down, up], fmt="o", color=COLOURS["kernel"], markersize=5, elinewidth=1.6)
    axes.set(xlabel="probability of the predicted class", ylabel="share that is right", xlim=(low, 1.005))
    axes.set_ylim(low, 1.015)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return svg(figure, title="Share of right predictions against the probability given.")


def _cell(column: int, row: int, colour: tuple[float, ...]) -> object:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, linewidth=0)
