"""`metrics.json`: the report's numbers for a program."""

from typing import Any

import numpy as np

from mercer.tables.results import Findings
from mercer.tables.scores import Score

__all__ = ["VERSION", "metrics_of"]

VERSION = 2


def metrics_of(findings: Findings) -> dict[str, Any]:
    """What JSON can hold: scores with standard errors, intervals, columns, decisions, seconds."""
    from mercer import __version__

    interval, kernel, features = findings.interval, findings.kernel, findings.features
    return {
        "kind": "mercer fit",
        "version": VERSION,
        "mercer": __version__,
        "table": findings.table,
        "target": findings.options.target,
        "task": findings.task,
        "options": findings.options.as_json(),
        "rows": {
            "used": findings.n_rows,
            "without_target": findings.n_left_out,
            "train": len(findings.split.train),
            "validation": len(findings.split.validation),
            "test": len(findings.split.test),
            "split": findings.split.how,
        },
        "target_scale": findings.target_scale,
        "classes": list(findings.classes),
        "chosen": findings.chosen,
        "reasons": findings.reasons,
        "warnings": findings.warnings,
        "leaks": [{"column": leak.column, "share": leak.share} for leak in findings.leaks],
        "models": {
            facts.name: {
                "detail": facts.detail,
                "seconds": facts.seconds,
                "validation": _scores(facts.validation),
                "test": _scores(facts.test),
            }
            for facts in findings.models
        },
        "ours_minus_boosting": {
            "model": findings.ours,
            "value": findings.difference[0],
            "standard_error": findings.difference[1],
        },
        "interval": None
        if interval is None
        else {
            "level": interval.level,
            "coverage": interval.coverage,
            "standard_error": interval.error,
            "median_width": interval.width,
        },
        "kernel": {
            "text": kernel.text,
            "candidates": [{"name": name, "loss": loss} for name, loss in kernel.candidates],
            "exact": kernel.is_exact,
            "n_centers": kernel.n_centers,
            "learnt_rows": kernel.learnt_rows,
            "n_evaluations": kernel.n_evaluations,
            "noise": kernel.noise,
            "solver": kernel.solver,
            "residual": kernel.residual,
            "n_iter": kernel.n_iter,
        },
        "features": None
        if features is None
        else {
            "text": features.text,
            "candidates": [{"name": name, "loss": loss} for name, loss in features.candidates],
            "feature_rows": features.n_feature_rows,
            "n_leaves": features.n_leaves,
            "iterations": features.iterations,
            "residual": features.residual,
            "importances": [{"column": name, "share": share} for name, share in features.importances],
        },
        "learning_curve": None
        if findings.curve is None
        else {"score": findings.curve.score, "sizes": findings.curve.sizes, "values": findings.curve.values},
        "importances": [{"column": name, "loss": loss} for name, loss in findings.importances],
        "columns": [
            {
                "name": column.name,
                "kind": column.kind,
                "missing": column.n_missing,
                "distinct": column.n_distinct,
                "handling": findings.handling.get(column.name, column.note),
            }
            for column in findings.columns
        ],
        "stages": [
            {"name": stage.name, "predicted_seconds": stage.predicted, "used_seconds": stage.used, "note": stage.note}
            for stage in findings.stages
        ],
    }


def _scores(scores: list[Score]) -> dict[str, dict[str, float]]:
    return {
        score.name: {"value": float(np.float64(score.value)), "standard_error": float(np.float64(score.error))}
        for score in scores
    }
