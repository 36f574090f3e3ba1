"""Charts of a model that predicts a number: how near, where off, and whether its intervals can be trusted."""

import numpy as np

from mercer.tables.charts.canvas import COLOURS, MUTED, canvas, compact, draw_density, svg

__all__ = ["coverage_chart", "prediction_chart", "residual_chart"]

_BINS = 10
_RATIOS = (0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 5.0, 10.0)


def prediction_chart(y: np.ndarray, prediction: np.ndarray, *, name: str, log: bool) -> str:
    """True value against prediction on the test part; on the line is right."""
    figure, axes = canvas(height=3.5)
    low, high = np.quantile(np.concatenate([y, prediction]), [0.0005, 0.9995])
    inside = (y >= low) & (y <= high) & (prediction >= low) & (prediction <= high)
    draw_density(axes, prediction[inside], y[inside], colour=COLOURS["kernel"], log=log)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1.2, dashes=(4, 3))
    axes.set(xlabel=f"predicted {name}", ylabel=f"true {name}")
    _plain_ticks(axes, log=log)
    return svg(figure, title=f"True {name} against predicted {name} on the test part.")


def residual_chart(prediction: np.ndarray, error: np.ndarray, *, name: str, log: bool) -> str:
    """What was wrong, against the prediction: medians and the middle 80 % in ten groups of equal size.

    Args:
        prediction: in the table's units.
        error: in the table's units, or as a ratio true / predicted on a log scale.
        name: of the target.
        log: whether ``error`` is a ratio.
    """
    figure, axes = canvas(height=3.5)
    low, high = np.quantile(error, [0.003, 0.997])
    inside = (error >= low) & (error <= high) & (prediction <= np.quantile(prediction, 0.999))
    draw_density(axes, prediction[inside], error[inside], colour=COLOURS["kernel"], log=log)
    groups = np.array_split(np.argsort(prediction), min(_BINS, max(1, len(prediction) // 20)))
    middle = [float(np.median(prediction[group])) for group in groups]
    quantiles = np.array([np.quantile(error[group], [0.1, 0.5, 0.9]) for group in groups])
    for column, style in ((0, (2, 2)), (2, (2, 2))):
        axes.plot(middle, quantiles[:, column], color=COLOURS["boosting"], linewidth=1.4, dashes=style)
    axes.plot(middle, quantiles[:, 1], color=COLOURS["boosting"], linewidth=2.0)
    axes.axhline(1.0 if log else 0.0, color=MUTED, linewidth=1.0)
    axes.set(xlabel=f"predicted {name}", ylabel="true / predicted" if log else "true - predicted")
    _plain_ticks(axes, log=log)
    if log:
        axes.set_yticks([ratio for ratio in _RATIOS if low <= ratio <= high])
    return svg(figure, title=f"Error against predicted {name}: median and middle 80 %.")


def coverage_chart(prediction: np.ndarray, covered: np.ndarray, *, level: float, name: str) -> str:
    """How often the interval holds the truth, in ten groups of the prediction, with two standard errors."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = canvas(height=3.4)
    groups = np.array_split(np.argsort(prediction), min(_BINS, max(1, len(prediction) // 30)))
    shares = np.array([covered[group].mean() for group in groups])
    errors = np.array([2.0 * np.sqrt(level * (1.0 - level) / len(group)) for group in groups])
    places = np.arange(len(groups))
    axes.axhline(level, color=COLOURS["boosting"], linewidth=1.4, dashes=(4, 3))
    axes.errorbar(places, shares, yerr=errors, fmt="o", color=COLOURS["kernel"], markersize=5, elinewidth=1.6)
    labels = [compact(float(np.median(prediction[group]))) for group in groups]
    axes.set_xticks(places[::2], labels[::2])
    axes.set(xlabel=f"predicted {name} (median of each tenth)", ylabel="share inside the interval")
    axes.set_ylim(min(0.95 * level, float((shares - errors).min()) - 0.02), 1.01)
    axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return svg(figure, title=f"Share of test rows inside their interval, by predicted {name}; {level:.0%} was asked.")


def _plain_ticks(axes: object, *, log: bool) -> None:
    """Labels such as 500 and 2k; on a log scale at 1, 2 and 5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):  # type: ignore[attr-defined]
        if log:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(compact)
