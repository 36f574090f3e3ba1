"""The papers' table: a row a mixer, a column a task, and the average."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mercer.data import LRA_TASKS, SMALL_LRA
from mercer.store import write_atomic

__all__ = ["REPORTED", "REPORTED_AVERAGES", "ArenaTable"]

_TITLES = {
    "listops": "ListOps",
    "text": "Text",
    "retrieval": "Retrieval",
    "image": "Image",
    "pathfinder": "Pathfinder",
    "pathx": "PathX",
}
#: What papers report at full size, in percent, for a row beside ours: Li et al., SGConv (ICLR 2023), their table.
REPORTED: dict[str, dict[str, float]] = {
    "SGConv, the paper": dict(zip(LRA_TASKS, (61.45, 89.20, 91.11, 87.97, 95.46, 97.83), strict=True)),
}
#: Averages of all six tasks where their accuracies are not at hand: S4 from the table of SGConv; the long convolutions
#: of Fu et al. (ICML 2023) from memory.
REPORTED_AVERAGES = {
    "S4, in SGConv's paper": 86.09,
    "free long convolution (unverified)": 69.5,
    "smooth long convolution (unverified)": 71.8,
    "squashed long convolution (unverified)": 86.1,
    "squashed, exp start (unverified)": 86.6,
}


class ArenaTable:
    """What :func:`mercer.arena.run_arena` found; ``print`` it.

    Accuracies are in percent, means over seeds with their deviation where there are two or more. The average is over
    the tasks that every row has, and says how many these are.

    Args:
        records: one a training, as they stand in ``results.jsonl``.

    Attributes:
        records: the same.
        tasks: the columns.
        rows: by mixer, the accuracies in percent of each task, a value a seed.
    """

    def __init__(self, records: Sequence[dict[str, Any]]) -> None:
        self.records = list(records)
        present = {record["task"] for record in self.records}
        self.tasks = [task for task in LRA_TASKS if task in present]
        self.rows: dict[str, dict[str, list[float]]] = {}
        for record in self.records:
            cells = self.rows.setdefault(record["mixer"], {})
            cells.setdefault(record["task"], []).append(100.0 * record["accuracy"])

    @property
    def is_quick(self) -> bool:
        """Whether any of it is of a small version."""
        return any(record["size"] == "quick" for record in self.records)

    def averages(self) -> tuple[list[str], dict[str, float]]:
        """The tasks that every row has, and each row's mean over them."""
        shared = [task for task in self.tasks if all(task in cells for cells in self.rows.values())]
        return shared, {
            mixer: mean(mean(cells[task]) for task in shared) for mixer, cells in self.rows.items() if shared
        }

    def lines(self) -> list[list[str]]:
        """The table as text: the head, a row a mixer, what guessing the commonest class gives, and the papers'."""
        shared, averages = self.averages()
        head = ["mixer", *(_TITLES[task] for task in self.tasks), f"average of {len(shared)}", "parameters", "seconds"]
        lines = [head]
        for mixer, cells in self.rows.items():
            mine = [record for record in self.records if record["mixer"] == mixer]
            lines.append(
                [
                    mixer,
                    *(_cell(cells.get(task)) for task in self.tasks),
                    f"{averages[mixer]:.1f}" if mixer in averages else "-",
                    _span([record["parameters"] for record in mine]),
                    f"{sum(record['seconds'] for record in mine):.0f}",
                ]
            )
        guesses = {record["task"]: 100.0 * record["guessing"] for record in self.records}
        shown = [f"{guesses[task]:.1f}" for task in self.tasks]
        average = f"{mean(guesses[task] for task in shared):.1f}" if shared else "-"
        lines.append(["guessing", *shown, average, "", ""])
        return lines if self.is_quick else lines + self._reported(shared)

    def _reported(self, shared: list[str]) -> list[list[str]]:
        """What papers report: accuracies, and averages where all six tasks are averaged here too."""
        lines = []
        for name, numbers in REPORTED.items():
            average = f"{mean(numbers[task] for task in shared):.1f}" if shared else "-"
            lines.append([name, *(f"{numbers[task]:.1f}" for task in self.tasks), average, "", ""])
        for name, value in REPORTED_AVERAGES.items() if shared == list(LRA_TASKS) else ():
            lines.append([name, *("-" for _ in shared), f"{value:.1f}", "", ""])
        return lines

    def markdown(self) -> str:
        """The table and what the tasks are, for a page."""
        head, *rows = self.lines()
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
        return "\n".join([*lines, "", *self._notes()]) + "\n"

    def write(self, folder: Path) -> None:
        """``table.md`` and ``table.json`` in a folder, whole or not at all."""
        shared, averages = self.averages()
        found = {"tasks": self.tasks, "accuracies": self.rows, "averaged": shared, "averages": averages}
        write_atomic(folder / "table.md", self.markdown())
        write_atomic(folder / "table.json", json.dumps({**found, "notes": self._notes()}, indent=1) + "\n")

    def __str__(self) -> str:
        lines = self.lines()
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        shown = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*shown, "", *self._notes()])

    def _notes(self) -> list[str]:
        """What the numbers are, in sentences."""
        dates = sorted({record["date"] for record in self.records})
        seeds = 1 + max(record["seed"] for record in self.records)
        notes = [
            f"Test accuracy in percent, {seeds} seed{'s' * (seeds > 1)}; seconds of training, all tasks and seeds. "
            f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
        ]
        limits = {record["limit"] for record in self.records} - {None}
        if limits:
            notes.append(f"At most {min(limits)} rows of each part were used.")
        if self.is_quick:
            notes.append("Small versions: these numbers are not the papers' and cannot be compared with them.")
            notes += [f"- {_TITLES[task]}: {SMALL_LRA[task]}." for task in self.tasks]
        return notes


def _cell(values: list[float] | None) -> str:
    if not values:
        return "-"
    return f"{values[0]:.1f}" if len(values) == 1 else f"{mean(values):.1f} ± {stdev(values):.1f}"


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
