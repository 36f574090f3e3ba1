"""The pictures of the docs page on speed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COLOURS = {
    "mercer": "#1b6ca8",
    "mercer, tiles": "#5fa8d3",
    "KeOps": "#c98a1a",
    "GPyTorch": "#7a5195",
    "scikit-learn": "#6b7280",
}


@contextmanager
def _picture(
    path: Path, title: str = "", *, width: float = 6.4, height: float = 4.0, grid: str = "both", columns: int = 1
) -> Iterator[Any]:
    """Axes to draw on; what was drawn gets a title, a grid and a legend, and is written to a file."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    try:
        yield axes
        axes.set_title(title, fontsize=11)
        axes.grid(axis=grid, alpha=0.3)
        axes.legend(frameon=False, fontsize=9, ncols=columns)
        figure.savefig(path, dpi=150)
    finally:
        plt.close(figure)


def plot_product(rows: list[dict[str, Any]], path: Path) -> None:
    """Pairs a second against the dimension, one line a library, the limit dashed."""
    cases = [row for row in rows if row["case"] == "product"]
    dimensions = [row["d"] for row in cases]
    with _picture(path, f"K(X, Y) @ v, Gaussian, float32, n = m = {cases[0]['n']:,}") as axes:
        for name in cases[0]["timings"]:
            rates = [row["timings"][name]["rate"] for row in cases]
            axes.plot(dimensions, rates, "o-", color=COLOURS[name], label=name)
        axes.plot(
            dimensions, [row["parts"]["pairs"] for row in cases], "k--", linewidth=1, label="limit of this machine"
        )
        axes.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="kernel pairs a second")
        axes.set_xticks(dimensions, [str(d) for d in dimensions])


def plot_solve(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds of each solver for every case of the smallest n, with the residual it reached."""
    n = min(row["n"] for row in rows)
    cases = [row for row in rows if row["n"] == n]
    names = list(COLOURS)
    present = [name for name in names if any(name in row["solvers"] for row in cases)]
    width = 0.8 / len(present)
    with _picture(path, f"(K + noise I)⁻¹ y, Gaussian, n = {n:,}", width=7.2, grid="y", columns=3) as axes:
        for k, name in enumerate(present):
            at = [i + k * width for i, row in enumerate(cases) if name in row["solvers"]]
            found = [row["solvers"][name] for row in cases if name in row["solvers"]]
            bars = axes.bar(at, [s["seconds"] for s in found], width, color=COLOURS[name], label=name)
            axes.bar_label(bars, [f"{s['residual']:.0e}" for s in found], fontsize=6, rotation=90, padding=2)
        axes.set_xticks([i + 0.4 - width / 2 for i in range(len(cases))])
        axes.set_xticklabels([f"d = {row['d']}\nnoise {row['noise']:g}" for row in cases], fontsize=8)
        axes.set(yscale="log", ylabel="seconds (residual reached above each bar)")
        axes.margins(y=0.3)


def plot_convolution(rows: list[dict[str, Any]], path: Path) -> None:
    """How many times faster than torch.fft, against the length, one line a batch."""
    with _picture(path, f"causal convolution, float32, {rows[0]['channels']} channels") as axes:
        for batch in sorted({row["batch"] for row in rows}):
            cases = [row for row in rows if row["batch"] == batch]
            ratios = [row["timings"]["torch.fft"]["seconds"] / row["timings"]["mercer"]["seconds"] for row in cases]
            axes.plot([row["length"] for row in cases], ratios, "o-", label=f"batch {batch}")
        axes.axhline(1.0, color="k", linestyle="--", linewidth=1)
        axes.set(xscale="log", xlabel="length", ylabel="times faster than torch.fft")
        axes.set_xticks([row["length"] for row in cases], [f"{row['length']:,}" for row in cases])


def plot_linear_attention(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds against the length, forward and with the backward pass."""
    heads, size = rows[0]["heads"], rows[0]["head_size"]
    with _picture(path, f"causal attention, float32, {heads} heads of {size}") as axes:
        for case, look in (("forward", "o-"), ("forward and backward", "o--")):
            cases = [row for row in rows if row["pass"] == case]
            lengths = [row["length"] for row in cases]
            for name, label, colour in (
                ("mercer", "linear, mercer", COLOURS["mercer"]),
                ("torch", "softmax, torch", COLOURS["KeOps"]),
            ):
                seconds = [row["timings"][name]["seconds"] for row in cases]
                axes.plot(lengths, seconds, look, color=colour, label=f"{label}, {case}")
        axes.set(xscale="log", yscale="log", xlabel="length", ylabel="seconds")
        axes.set_xticks(lengths, [f"{n:,}" for n in lengths])
        axes.minorticks_off()


def plot_language_model(rows: list[dict[str, Any]], path: Path) -> None:
    """Perplexity against the seconds of a token after the longest prompt, a point a mixer, with the spread of seeds."""
    quality = [row for row in rows if row["case"] == "quality"]
    last = max((row for row in rows if row["case"] == "16 tokens"), key=lambda row: row["prompt"])
    with _picture(path, f"Language models of {quality[0]['parameters']:,} parameters") as axes:
        for row in quality:
            seconds = last["timings"][row["mixer"]]["seconds"] / 16
            spread = row["perplexity"] * row["loss_deviation"]
            axes.errorbar(1e3 * seconds, row["perplexity"], spread, fmt="o", ms=8, capsize=4, label=row["mixer"])
        label = f"milliseconds of a token after {last['prompt']:,} characters"
        axes.set(xlabel=label, ylabel="perplexity of a character", xlim=(0, 1.1 * axes.get_xlim()[1]))


def plot_fourier(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds of a product against the dimension, one line a way to do it."""
    cases = [row for row in rows if row["case"] == "product"]
    dimensions = [row["d"] for row in cases]
    with _picture(path, f"K(X, X) @ v by a Fourier series, float32, n = {cases[0]['n']:,}") as axes:
        for name in cases[0]["timings"]:
            axes.plot(dimensions, [row["timings"][name]["seconds"] for row in cases], "o-", label=name)
        axes.set(xlabel="dimension d", ylabel="seconds", ylim=(0, None))
        axes.set_xticks(dimensions, [str(d) for d in dimensions])


def plot_planning(rows: list[dict[str, Any]], path: Path) -> None:
    """Predicted against measured seconds of the cases held out, with the lines of twice and half."""
    rows = [row for row in rows if row["held_out"]]
    with _picture(path, "Products, predicted and measured", width=5.2, height=4.6) as axes:
        for plan in dict.fromkeys(row["plan"] for row in rows):
            chosen = [row for row in rows if row["plan"] == plan]
            axes.plot(
                [row["measured"] for row in chosen], [row["predicted"] for row in chosen], "o", label=plan, alpha=0.8
            )
        ends = [min(row["measured"] for row in rows) / 2, max(row["measured"] for row in rows) * 2]
        for factor, style in ((0.5, ":"), (1.0, "-"), (2.0, ":")):
            axes.plot(ends, [factor * end for end in ends], f"k{style}", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="seconds measured", ylabel="seconds predicted")


def plot_turns(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds of every side of each case."""
    names = list(dict.fromkeys(side for row in rows for side in row["timings"]))
    width = 0.8 / len(names)
    with _picture(path, height=3.6, grid="y") as axes:
        for k, name in enumerate(names):
            at = [i + k * width for i in range(len(rows))]
            axes.bar(at, [row["timings"][name]["seconds"] for row in rows], width, label=name)
        labels = [f"{row['plan']}\nn = {row['n']:,}" for row in rows]
        axes.set_xticks([i + 0.4 - width / 2 for i in range(len(rows))], labels, fontsize=8)
        axes.set(yscale="log", ylabel="seconds")


def plot_gaussian_process(rows: list[dict[str, Any]], path: Path) -> None:
    """Error of the mean against processor seconds, one point a method and size."""
    with _picture(path, "Gaussian process regression in the plane") as axes:
        for row in (row for row in rows if row["case"] == "regression"):
            label = f"{row['name']}, n = {row['n']:,}"
            axes.loglog(row["processor_seconds"], row["rmse"], "o", ms=9, label=label)
        axes.set(xlabel="processor seconds: learn 3 hyperparameters, predict 10,000", ylabel="root mean square error")


def plot_unsupervised(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds of each side for every task and size, with its error above each bar."""
    with _picture(path, f"Gaussian kernel, float64, d = {rows[0]['d']}", width=7.2, grid="y") as axes:
        for k, name in enumerate(("mercer", "scikit-learn", "stored")):
            at = [i for i, row in enumerate(rows) if name in row["timings"]]
            found = [rows[i]["timings"][name] for i in at]
            bars = axes.bar(
                [i + 0.4 * min(k, 1) for i in at],
                [t["seconds"] for t in found],
                0.4,
                color=COLOURS.get(name, "#9aa5b1"),
                label="the same, K stored" if name == "stored" else name,
            )
            axes.bar_label(bars, [f"{t['error']:.0e}" for t in found], fontsize=6, rotation=90, padding=2)
        axes.set_xticks([i + 0.2 for i in range(len(rows))])
        axes.set_xticklabels([f"{row['task']}\nn = {row['n']:,}" for row in rows], fontsize=6)
        axes.set(yscale="log", ylabel="seconds (error above each bar)")
        axes.margins(y=0.2)


def plot_bayesian_optimization(rows: list[dict[str, Any]], path: Path) -> None:
    """The median gap that each search is left with on every problem, with its quartiles."""
    names = list(rows[0]["methods"])
    with _picture(path, "gap to the least value after a search", grid="y") as axes:
        for k, name in enumerate(names):
            last = [[quartile[-1] for quartile in row["methods"][name]["gaps"]] for row in rows]
            middle = [m for _, m, _ in last]
            spread = [[m - low for low, m, _ in last], [high - m for _, m, high in last]]
            at = [i + 0.8 * k / len(names) for i in range(len(rows))]
            colour = COLOURS.get(name, ("#6b7280", "#c98a1a", "#7a5195")[(k - 1) % 3])
            axes.bar(at, middle, 0.8 / len(names), yerr=spread, color=colour, label=name, capsize=2)
        axes.set_xticks([i + 0.4 - 0.4 / len(names) for i in range(len(rows))])
        axes.set_xticklabels([f"{row['problem']}\n{row['n']} evaluations" for row in rows], fontsize=7)
        axes.set(yscale="log", ylabel=f"median over {rows[0]['n_seeds']} seeds (bars: quartiles)")
