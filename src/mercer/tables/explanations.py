"""Learning curve, importances and effects of a fit, as large as the seconds that are left allow."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.tables.compare import Fitted, choosing_score, predict_part
from mercer.tables.explain import column_effects, column_importances, learning_curve
from mercer.tables.model import TableModel
from mercer.tables.models import LearntKernel
from mercer.tables.parts import Parts
from mercer.tables.results import Findings
from mercer.tables.stages import Stages

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["explain"]

_REPORT_SECONDS = 8.0  # charts and files, measured: matplotlib's import and a dozen figures
_LEAST_CURVE_SECONDS, _LEAST_SECONDS = 8.0, 1.0
_MOST_EFFECTS = 8
_GRID = 25
_PROBE_ROWS = 1000


def explain(
    findings: Findings,
    model: TableModel,
    parts: Parts,
    learnt: LearntKernel,
    settings: Mapping[str, Any] | None,
    clock: Stages,
) -> None:
    """Fill in ``curve``, ``importances`` and ``effects`` of the findings; each a stage of the clock.

    Args:
        findings: to fill in.
        model: the chosen one.
        parts: of the table.
        learnt: the kernel, and ``settings``: of the recursive feature machine, or None.
        clock: that says how many seconds are left.
    """
    options = findings.options
    full = {facts.name: choosing_score(facts.validation) for facts in findings.models}
    seconds = max(_LEAST_CURVE_SECONDS, 0.5 * (clock.left - _REPORT_SECONDS))
    with clock.stage("learning curve", predicted=min(seconds, 1e-3 * len(parts.train.X) + 1.0)) as stage:
        findings.curve = learning_curve(parts, learnt, settings, full, options, seconds=seconds)
        stage.note = f"{len(findings.curve.sizes)} sizes"

    def predict(frame: "pd.DataFrame") -> np.ndarray:
        X = parts.features.apply(frame).astype(np.float32)
        return predict_part(Fitted(model.predictor, model.probabilities, 0.0), X, parts)

    begun = time.perf_counter()
    predict(parts.test.frame.iloc[:_PROBE_ROWS])
    a_row = (time.perf_counter() - begun) / min(_PROBE_ROWS, len(parts.test.truth))
    n_columns = len(parts.features.transforms)
    seconds = max(_LEAST_SECONDS, 0.3 * (clock.left - _REPORT_SECONDS))
    n_importance = int(np.clip(seconds / (a_row * (n_columns + 1)), 200, 2000))
    n_effect = int(np.clip(seconds / (a_row * _GRID * min(n_columns, _MOST_EFFECTS)), 20, 150))
    predicted = a_row * (n_importance * (n_columns + 1) + n_effect * _GRID * min(n_columns, _MOST_EFFECTS))
    with clock.stage("columns' weights and effects", predicted=predicted) as stage:
        findings.importances = column_importances(
            predict, parts.test, parts, n_rows=n_importance, random_state=options.random_state
        )
        place = _shown_class(parts)
        findings.effects = column_effects(
            predict,
            [name for name, loss in findings.importances if loss > 0.0][:_MOST_EFFECTS],
            parts.test,
            parts,
            of=f"p({findings.classes[place]})" if parts.is_class else options.target,
            place=place,
            n_rows=n_effect,
            random_state=options.random_state,
        )
        stage.note = f"{n_importance:,} and {n_effect} test rows"


def _shown_class(parts: Parts) -> int:
    """The class whose probability the effects show: the second of two, else the most frequent."""
    return 1 if parts.n_values == 2 else int(np.bincount(parts.train.truth).argmax()) if parts.is_class else 0
