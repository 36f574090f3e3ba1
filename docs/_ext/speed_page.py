"""Writes docs/speed.md from what ``make bench`` measured last; no number on that page is typed by hand."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parent.parent
RESULTS = DOCS.parent / "benchmarks" / "results"
INTRODUCTION = """# Speed

`make bench` measures mercer against KeOps, GPyTorch and scikit-learn in one process. They take turns, after a warm-up,
and the errors of all sides stand beside the times. A ratio is the median of the ratios of each round.
"""


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    parts = [INTRODUCTION]
    for path in sorted(RESULTS.glob("*.json"), key=lambda path: (ORDER.get(path.stem, len(ORDER)), path.stem)):
        found = json.loads(path.read_text())
        rows = found.get("rows", found) if isinstance(found, dict) else found
        parts += SECTIONS.get(path.stem, plain_section)(path.stem, rows)
        if (DOCS / "_static" / f"{path.stem}.png").exists():
            parts.append(f"![{path.stem}](_static/{path.stem}.png)\n")
    if len(parts) == 1:
        parts.append("It has not been run in this copy of the repository.\n")
    page, text = DOCS / "speed.md", "\n".join(parts)
    if not page.exists() or page.read_text() != text:
        page.write_text(text)
    return {"parallel_read_safe": True}


def product_section(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """Pairs a second of every competitor, a row a dimension."""
    cases = [row for row in rows if row["case"] == "product"]
    names = list(cases[0]["timings"])
    lines = ["| n = m | d | " + " | ".join(names) + " | limit of the machine |", "|---" * (len(names) + 3) + "|"]
    for row in cases:
        cells = [f"{t['rate']:.2g} (error {t['error']:.0e})" for t in (row["timings"][name] for name in names)]
        lines.append(f"| {row['n']:,} | {row['d']} | " + " | ".join(cells) + f" | {row['parts']['pairs']:.2g} |")
    title = "## Product: kernel pairs a second of `K(X, Y) @ v`, Gaussian, float32\n"
    return [title, *lines, "", machine_line(cases[0]["machine"])]


def solve_section(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """Seconds and residual of every solver, a row a case."""
    names = list(dict.fromkeys(name for row in rows for name in row["solvers"]))
    lines = ["| n | d | noise | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
    for row in rows:
        solvers = [row["solvers"].get(name) for name in names]
        cells = [f"{s['seconds']:.3g} s (residual {s['residual']:.0e})" if s else "not run" for s in solvers]
        lines.append(f"| {row['n']:,} | {row['d']} | {row['noise']:g} | " + " | ".join(cells) + " |")
    return ["## Solve: seconds for `(K + noise I)⁻¹ y`, Gaussian\n", *lines, "", machine_line(rows[0]["machine"])]


def timing_section(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """What took turns in each case: seconds, the spread and the error of every side."""
    lines = [f"## {TITLES.get(name, name.replace('_', ' ').capitalize())}\n"]
    for _, group in groupby(rows, key=lambda row: row["case"]):
        cases = list(group)
        timed = [row for row in cases if "timings" in row]
        if len(timed) < len(cases):
            lines += table([row for row in cases if "timings" not in row])
        if not timed:
            continue
        facts = [key for key, value in timed[0].items() if key not in HIDDEN and not isinstance(value, list | dict)]
        names = list(dict.fromkeys(side for row in timed for side in row["timings"]))
        lines += [f"| {' | '.join([*facts, *names])} |", "|---" * (len(facts) + len(names)) + "|"]
        for row in timed:
            sides = [row["timings"].get(side) for side in names]
            cells = [number(row.get(key)) for key in facts] + [timing(side) if side else "not run" for side in sides]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return [*lines, machine_line(rows[0]["machine"]) if "machine" in rows[0] else ""]


def search_section(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """What gap each search is left with on every problem."""
    names = list(rows[0]["methods"])
    lines = ["| problem | d | evaluations | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
    for row in rows:
        cells = []
        for method in (row["methods"][name] for name in names):
            low, middle, high = (quartile[-1] for quartile in method["gaps"])
            cells.append(f"{middle:.2g} ({low:.2g} to {high:.2g}), {method['cpu_seconds']:.2g} s")
        lines.append(f"| {row['problem']} | {row['d']} | {row['n']} | " + " | ".join(cells) + " |")
    title = f"## Bayesian optimisation: gap to the least value, median and quartiles over {rows[0]['n_seeds']} seeds\n"
    return [title, *lines, ""]


def tables_section(name: str, found: dict[str, Any]) -> list[str]:
    """The score of every model on each table and its seconds, means over the splits, and mean ranks."""
    means = found["averages"]
    models = list(means["mean_rank"])
    lines = ["| table | splits | rows | features | " + " | ".join(models) + " |", "|---" * (len(models) + 4) + "|"]
    for table, splits in means["splits"].items():
        scores, seconds = means["score"][table], means["processor_seconds"][table]
        shown = [f"{scores[model]:.4f}, {seconds[model]:.3g} s" for model in models]
        first = next(cell[models[0]] for case, cell in found["cells"].items() if case.split()[0] == table)
        lines.append(f"| {table} | {splits} | {first['rows']:,} | {first['features']} | {' | '.join(shown)} |")
    lines.append(f"| mean rank | | | | {' | '.join(f'{rank:.2f}' for rank in means['mean_rank'].values())} |")
    title = "## Ten tables: test score (R2 or accuracy) and processor seconds at equal numbers of configurations\n"
    return [title, *lines, "", machine_line(found["machine"])]


def plain_section(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """Every number of every row."""
    if any("timings" in row for row in rows):
        return timing_section(name, rows)
    title = f"## {TITLES.get(name, name.replace('_', ' ').capitalize())}\n"
    groups = [table(list(group)) for _, group in groupby(rows, key=lambda row: row.get("case"))]
    return [
        title,
        *(line for group in groups for line in group),
        machine_line(rows[0]["machine"]) if "machine" in rows[0] else "",
    ]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The plain facts of the rows, as far as they are numbers and words."""
    keys = [key for key in rows[0] if key not in HIDDEN and not isinstance(rows[0][key], list | dict)]
    lines = [f"| {' | '.join(keys)} |", "|---" * len(keys) + "|"]
    return [*lines, *(f"| {' | '.join(number(row.get(key)) for key in keys)} |" for row in rows), ""]


def number(value: Any) -> str:
    """Three digits of a number, words as they are."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def timing(side: dict[str, Any]) -> str:
    """Seconds, with the error where there is one."""
    error = f" (error {side['error']:.0e})" if side.get("error") is not None else ""
    return f"{side['seconds']:.3g} s{error}"


def machine_line(machine: dict[str, Any]) -> str:
    """What the numbers have to be read with."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    threads = f"{machine['threads']} threads on {machine['cores']} cores"
    return f"Measured on {machine['processor']}, {threads}, Python {machine['python']}, {versions}.\n"


HIDDEN = {"case", "clock", "work", "timings", "machine", "gradient", "points", "rectangular"}
TITLES = {
    "planning": "Predicted and measured: seconds of a product after `mercer.operators.calibrate()`",
    "convolution": "Causal convolution of 128 channels, kernel spectrum kept on both sides",
    "fourier": "Fourier: a million points",
    "linear_attention": "Causal linear attention, 8 heads of 64, against torch's softmax attention of the same shapes",
    "language_model": "Language models of real text that differ in the mixer only",
    "softmax_free": "Softmax-free attention, 2 heads of 32, 49 landmarks, against torch's softmax attention",
    "structure": "Products by structure; `tiles` are the seconds that all entries would take",
    "pathx": "PathX of the Long Range Arena at 16,384 steps",
    "gpu": "One GPU",
    "hierarchical_memory": "Memory of `HierarchicalConv((2, 2, 2))` in float64, tile by tile and materialised",
    "hierarchical_peers": "A hidden nonlinear feature, sought by five kinds of models at equal samples",
}
SECTIONS = {
    "product": product_section,
    "solve": solve_section,
    "bayesian_optimization": search_section,
    "tables": tables_section,
}
PAGES = """product solve fourier structure gaussian_process tables convolution linear_attention softmax_free
language_model pathx planning"""
ORDER = {name: i for i, name in enumerate(PAGES.split())}
