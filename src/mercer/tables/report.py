"""`report.html`: one file that needs no network, for a person; everything in it comes from the findings."""

from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from mercer.errors import MissingExtra
from mercer.tables.charts.canvas import shown
from mercer.tables.report_charts import effect_charts, quality_charts
from mercer.tables.report_words import (
    describe_facts,
    format_number,
    headline,
    lead,
    scale_note,
    time_note,
)
from mercer.tables.results import Findings, ModelFacts

__all__ = ["render_report"]


def render_report(findings: Findings, *, folder: str, source: tuple[str, ...] = ()) -> str:
    """The page as text.

    Args:
        findings: from :func:`mercer.tables.fit_table`.
        folder: where it will lie, for the commands it shows.
        source: lines about where the table comes from, for the foot of the page.

    Raises:
        MissingExtra: jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise MissingExtra("The report needs jinja2: pip install 'mercer[tables]'") from None
    template = files("mercer.tables").joinpath("report.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(template)
    return page.render(
        target=findings.options.target,
        table=findings.table,
        date=datetime.now(UTC).strftime("%-d %B %Y"),
        headline=headline(findings),
        lead=lead(findings),
        tiles=_tiles(findings),
        warnings=findings.warnings,
        n_test=f"{len(findings.split.test):,}",
        scale_note=scale_note(findings),
        score_names=[shown(score.name) for score in findings.models[0].test],
        n_models={3: "Three", 4: "Four"}[len(findings.models)],
        models=[_model_row(facts, findings) for facts in findings.models],
        quality=quality_charts(findings),
        effects=effect_charts(findings),
        reasons=findings.reasons,
        facts=describe_facts(findings),
        lengthscales=_lengthscales(findings),
        kernel_text=findings.kernel.text,
        columns=_columns(findings),
        time_note=time_note(findings),
        stages=_stages(findings),
        folder=folder,
        footer=[*source, _versions(findings)],
    )


def _tiles(findings: Findings) -> list[dict[str, str]]:
    chosen = findings.models[0]
    first = chosen.test[0]
    tiles = [{"value": f"{first.value:.3f}", "label": f"{shown(first.name)} on test rows, ± {first.error:.3f}"}]
    if findings.interval is not None:
        error = next(score for score in chosen.test if score.name == "mean absolute error")
        tiles += [
            {"value": format_number(error.value), "label": f"mean absolute error of {findings.options.target}"},
            {
                "value": f"{findings.interval.coverage:.1%}",
                "label": f"of test rows inside their {findings.interval.level:.0%} interval",
            },
        ]
    else:
        tiles += [{"value": f"{score.value:.3f}", "label": f"{score.name} on test rows"} for score in chosen.test[1:3]]
        if len(tiles) == 2:
            tiles.append({"value": str(len(findings.classes)), "label": f"classes of {findings.options.target}"})
    seconds = sum(stage.used for stage in findings.stages)
    tiles.append({"value": f"{seconds:.0f} s", "label": f"of a budget of {findings.options.time_budget:.0f} s"})
    return tiles


def _model_row(facts: ModelFacts, findings: Findings) -> dict[str, Any]:
    scores = []
    for place, score in enumerate(facts.test):
        others = [model.test[place].value for model in findings.models]
        best = max(others) if score.larger_is_better else min(others)
        form = format_number if score.name.endswith("error") else "{:.4f}".format
        scores.append(
            {
                "name": shown(score.name),
                "value": form(score.value),
                "error": form(score.error) if score.name.endswith("error") else f"{score.error:.4f}",
                "best": score.value == best,
            }
        )
    return {
        "name": facts.name,
        "title": facts.title,
        "detail": facts.detail,
        "chosen": facts.name == findings.chosen,
        "scores": scores,
        "seconds": f"{facts.seconds:.1f}",
    }


def _lengthscales(findings: Findings) -> list[dict[str, Any]]:
    pairs = [pair for pair in findings.kernel.lengthscales if not pair[0].endswith(" missing")][:16]
    if not pairs:
        return []
    shortest = pairs[0][1]
    return [
        {"name": name.removesuffix(" ="), "value": f"{value:.3g}", "share": f"{100.0 * shortest / value:.1f}"}
        for name, value in pairs
    ]


def _columns(findings: Findings) -> list[dict[str, str]]:
    rows = []
    for column in findings.columns:
        made = findings.handling.get(column.name, "")
        note = "; ".join(part for part in (made, column.note) if part)
        rows.append(
            {
                "name": column.name,
                "kind": column.kind,
                "missing": f"{column.n_missing:,}" if column.n_missing else "",
                "distinct": f"{column.n_distinct:,}",
                "note": note,
            }
        )
    return rows


def _stages(findings: Findings) -> list[dict[str, str]]:
    longest = max(max(stage.used, stage.predicted) for stage in findings.stages)
    return [
        {
            "name": stage.name,
            "predicted": f"{stage.predicted:.1f} s",
            "used": f"{stage.used:.1f} s",
            "predicted_share": f"{100.0 * stage.predicted / longest:.1f}",
            "used_share": f"{100.0 * stage.used / longest:.1f}",
            "note": stage.note,
        }
        for stage in findings.stages
    ]


def _versions(findings: Findings) -> str:
    import platform

    import sklearn
    import torch

    from mercer import __version__

    return (
        f"mercer {__version__}, torch {torch.__version__}, scikit-learn {sklearn.__version__}, Python "
        f"{platform.python_version()}, {torch.get_num_threads()} threads; random_state {findings.options.random_state}."
    )
