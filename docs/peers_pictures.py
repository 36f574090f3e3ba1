"""Draws docs/_static/hierarchical-peers.png from benchmarks/results/hierarchical_peers.json, by hand."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

from mercer.plots import BLUE, GREY, ORANGE

DOCS = Path(__file__).parent
LOOKS = {
    "mercer": ("HierarchicalRegressor(refine=2)", BLUE, "o-"),
    "xrfm": ("xRFM", ORANGE, "^-"),
    "network": ("network of three layers, Adam", "#7a5195", "v-"),
    "boosting": ("gradient boosting", "#2a9d6f", "d-"),
    "kernel": ("RBF kernel ridge", GREY, "s-"),
}


def main() -> None:
    """R^2 against rows, a panel a target."""
    rows = json.loads((DOCS.parent / "benchmarks" / "results" / "hierarchical_peers.json").read_text())
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    targets = list(dict.fromkeys(row["case"] for row in rows))
    figure, panels = plt.subplots(1, len(targets), figsize=(10, 3.6), sharey=True, layout="constrained")
    for axes, target in zip(panels, targets, strict=True):
        for model, (label, color, look) in LOOKS.items():
            found = [row for row in rows if row["case"] == target and row["model"] == model]
            n = [row["rows"] for row in found]
            axes.plot(n, [row["r2"] for row in found], look, color=color, label=label, ms=4)
            axes.fill_between(
                n, [row["least"] for row in found], [row["most"] for row in found], color=color, alpha=0.12, lw=0
            )
        axes.set(xscale="log", xlabel="rows", ylim=(-0.05, 1.02), xticks=n, xticklabels=n)
        axes.minorticks_off()
        axes.set_title(target, loc="left", fontsize=9)
    panels[0].set_ylabel("test R²")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(DOCS / "_static" / "hierarchical-peers.png", dpi=144)


if __name__ == "__main__":
    main()
