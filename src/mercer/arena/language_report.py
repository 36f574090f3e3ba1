"""What a comparison of language models found, as a table, a picture and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mercer.errors import MissingExtra
from mercer.plots import axes_or_new
from mercer.store import replacing, write_atomic
from mercer.timing import Comparison

__all__ = ["LanguageReport"]


@dataclass(frozen=True)
class LanguageReport:
    """What :func:`mercer.arena.compare_language_models` found; ``print`` it.

    Attributes:
        rows: a mixer each: "mixer", "parameters", "loss" in nats a character, its "loss_deviation" over seeds,
            "perplexity", "training_seconds" and more.
        training: times of a step of training.
        tokens: times of 16 more tokens, by the length of the prompt before them.
        text: what was read, in words.
    """

    rows: Sequence[Mapping[str, Any]]
    training: Comparison
    tokens: Mapping[int, Comparison]
    text: str

    def lines(self) -> list[list[str]]:
        """The table as text: the head, then a row a mixer; rates are characters a second."""
        after = [f"one by one after {prompt:,}" for prompt in self.tokens]
        lines = [["mixer", "parameters", "nats a character", "perplexity", "in training", *after]]
        for row in self.rows:
            mixer, spread = row["mixer"], f" ± {row['loss_deviation']:.3f}" if len(row["losses"]) > 1 else ""
            rates = [comparison.rate(mixer) for comparison in (self.training, *self.tokens.values())]
            numbers = [f"{row['parameters']:,}", f"{row['loss']:.3f}{spread}", f"{row['perplexity']:.2f}"]
            lines.append([mixer, *numbers, *(f"{rate:,.0f} /s" for rate in rates)])
        return lines

    def markdown(self) -> str:
        """The table and how it came about, for a page."""
        head, *rows = self.lines()
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
        return "\n".join([*lines, "", self._note()]) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        tokens = [{"prompt": prompt, **comparison.as_dict()} for prompt, comparison in self.tokens.items()]
        rows = [dict(row) for row in self.rows]
        return {"text": self.text, "rows": rows, "training": self.training.as_dict(), "tokens": tokens}

    def plot(self, axes: Any = None) -> Any:
        """Perplexity against characters a second in training, a point a mixer; returns the axes.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        axes = axes_or_new(axes)
        for row in self.rows:
            spread = row["perplexity"] * row["loss_deviation"]
            rate = self.training.rate(row["mixer"])
            axes.errorbar(rate, row["perplexity"], spread or None, fmt="o", ms=8, capsize=4, label=row["mixer"])
        axes.set(xlabel="characters a second in training", ylabel="perplexity of a character", xlim=(0, None))
        axes.legend()
        return axes

    def write(self, folder: Path) -> None:
        """``table.md``, ``results.json`` and ``plot.png`` in a folder, each whole or not at all.

        Raises:
            MissingExtra: matplotlib is not installed; the other two are written by then.
        """
        write_atomic(folder / "table.md", self.markdown())
        write_atomic(folder / "results.json", json.dumps(self.as_dict(), indent=1) + "\n")
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingExtra("plot.png needs matplotlib: pip install 'mercer[tables]'") from None
        figure = Figure(figsize=(6.0, 3.6), layout="constrained")
        self.plot(figure.subplots())
        with replacing(folder / "plot.png") as temporary:
            figure.savefig(temporary, dpi=150)

    def __str__(self) -> str:
        lines = self.lines()
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        shown = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]
        return "\n".join([*shown, "", self._note()])

    def _note(self) -> str:
        seeds, steps = len(self.rows[0]["losses"]), self.rows[0]["steps"]
        return f"{self.text}; {steps} steps, {seeds} seed{'s' * (seeds > 1)}; rates are characters a second."
