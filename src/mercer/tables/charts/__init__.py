"""The report's charts: inline SVG in the colours of the page."""

from mercer.tables.charts.classes import calibration_chart, confusion_chart
from mercer.tables.charts.common import effect_chart, importance_chart, learning_chart, metric_chart
from mercer.tables.charts.numbers import coverage_chart, prediction_chart, residual_chart

__all__ = [
    "calibration_chart",
    "confusion_chart",
    "coverage_chart",
    "effect_chart",
    "importance_chart",
    "learning_chart",
    "metric_chart",
    "prediction_chart",
    "residual_chart",
]
