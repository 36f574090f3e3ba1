"""Which charts the report shows, and what is said above each."""

import numpy as np

from mercer.tables.charts import (
    calibration_chart,
    confusion_chart,
    coverage_chart,
    effect_chart,
    importance_chart,
    learning_chart,
    metric_chart,
    prediction_chart,
    residual_chart,
)
from mercer.tables.charts.canvas import shown
from mercer.tables.results import Findings

__all__ = ["effect_charts", "quality_charts"]


def quality_charts(findings: Findings) -> list[dict[str, str]]:
    """How good the chosen model is on the test part."""
    charts = _class_charts(findings) if findings.classes else _number_charts(findings)
    curve = findings.curve
    if curve is not None and len(curve.sizes) > 1:
        charts.append(
            {
                "title": "More rows",
                "note": "Validation score by number of training rows. Still rising at the right end: more rows help.",
                "svg": learning_chart(curve.sizes, dict(curve.values), score=curve.score),
            }
        )
    return charts


def effect_charts(findings: Findings) -> list[dict[str, str]]:
    """Which columns matter to the chosen model, and how."""
    charts = []
    score = "log loss" if findings.classes else "R2"
    if findings.importances:
        charts.append(
            {
                "title": "Which columns matter",
                "note": f"How much worse {shown(score)} gets when the column's values are shuffled among test rows.",
                "svg": importance_chart(
                    [name for name, _ in findings.importances],
                    [loss for _, loss in findings.importances],
                    score=score,
                ),
            }
        )
    if findings.features is not None:
        charts.append(
            {
                "title": "What the metric weighs",
                "note": "The recursive feature machine's own view: how much of its slope is along each column.",
                "svg": metric_chart(
                    [name for name, _ in findings.features.importances],
                    [share for _, share in findings.features.importances],
                ),
            }
        )
    for effect in findings.effects:
        charts.append(
            {
                "title": effect.column,
                "note": "Median row and middle half of the rows, other columns as they are.",
                "svg": effect_chart(effect.column, effect.values, effect.low, effect.middle, effect.high, y=effect.of),
            }
        )
    return charts


def _number_charts(findings: Findings) -> list[dict[str, str]]:
    chosen, truth, name = findings.models[0], findings.truth, findings.options.target
    log = findings.target_scale == "log"
    error = truth / chosen.prediction if log else truth - chosen.prediction
    charts = [
        {
            "title": "Prediction and truth",
            "note": "Test rows; stronger where there are more. On the dashed line, the prediction is right.",
            "svg": prediction_chart(truth, chosen.prediction, name=name, log=log),
        },
        {
            "title": "What is left over",
            "note": "Orange: the median error; between the dotted lines, the middle 80 %. Flat about the line is good.",
            "svg": residual_chart(chosen.prediction, error, name=name, log=log),
        },
    ]
    if findings.interval is not None:
        level = findings.interval.level
        covered = (truth >= findings.interval.lower) & (truth <= findings.interval.upper)
        charts.append(
            {
                "title": "Can the intervals be trusted",
                "note": f"Share of test rows inside, low to high predictions; dashed: the {level:.0%} asked for.",
                "svg": coverage_chart(chosen.prediction, covered, level=level, name=name),
            }
        )
    return charts


def _class_charts(findings: Findings) -> list[dict[str, str]]:
    chosen, truth = findings.models[0], findings.truth
    predicted = chosen.prediction.argmax(axis=1)
    sure = chosen.prediction[np.arange(len(truth)), predicted]
    return [
        {
            "title": "What is mixed up",
            "note": "Of the test rows of each true class, the share that was given each class.",
            "svg": confusion_chart(truth, predicted, findings.classes),
        },
        {
            "title": "Can the probabilities be trusted",
            "note": "On the dashed line, the model is right as often as it says.",
            "svg": calibration_chart(sure, predicted == truth),
        },
    ]
