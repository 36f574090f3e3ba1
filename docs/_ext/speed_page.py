"""Writes docs/speed.md from what ``make bench`` measured last; no number on that page is typed by hand."""

import json
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
    for name, section in (("product", product_section), ("solve", solve_section)):
        path = RESULTS / f"{name}.json"
        if path.exists():
            parts += section(json.loads(path.read_text()))
            if (DOCS / "_static" / f"{name}.png").exists():
                parts.append(f"![{name}](_static/{name}.png)\n")
    if len(parts) == 1:
        parts.append("It has not been run in this copy of the repository.\n")
    page, text = DOCS / "speed.md", "\n".join(parts)
    if not page.exists() or page.read_text() != text:
        page.write_text(text)
    return {"parallel_read_safe": True}


def product_section(rows: list[dict[str, Any]]) -> list[str]:
    """Pairs a second of every competitor, a row a dimension."""
    cases = [row for row in rows if row["case"] == "product"]
    names = list(cases[0]["timings"])
    lines = ["| n = m | d | " + " | ".join(names) + " | limit of the machine |", "|---" * (len(names) + 3) + "|"]
    for row in cases:
        cells = [f"{t['rate']:.2g} (error {t['error']:.0e})" for t in (row["timings"][name] for name in names)]
        lines.append(f"| {row['n']:,} | {row['d']} | " + " | ".join(cells) + f" | {row['parts']['pairs']:.2g} |")
    title = "## Product: kernel pairs a second of `K(X, Y) @ v`, Gaussian, float32\n"
    return [title, *lines, "", machine_line(cases[0]["machine"])]


def solve_section(rows: list[dict[str, Any]]) -> list[str]:
    """Seconds and residual of every solver, a row a case."""
    names = list(dict.fromkeys(name for row in rows for name in row["solvers"]))
    lines = ["| n | d | noise | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
    for row in rows:
        solvers = [row["solvers"].get(name) for name in names]
        cells = [f"{s['seconds']:.3g} s (residual {s['residual']:.0e})" if s else "not run" for s in solvers]
        lines.append(f"| {row['n']:,} | {row['d']} | {row['noise']:g} | " + " | ".join(cells) + " |")
    return ["## Solve: seconds for `(K + noise I)⁻¹ y`, Gaussian\n", *lines, "", machine_line(rows[0]["machine"])]


def machine_line(machine: dict[str, Any]) -> str:
    """What the numbers have to be read with."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    threads = f"{machine['threads']} threads on {machine['cores']} cores"
    return f"Measured on {machine['processor']}, {threads}, Python {machine['python']}, {versions}.\n"
