"""Draws docs/_static/snnk.png and docs/_static/pathfinder.png. Run it by hand when they should change (a minute)."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from mercer.data import make_pathfinder
from mercer.kernels import ArcCosine
from mercer.kernels.features import ArcCosineFeatures, UniversalRandomFeatures
from mercer.nn import compress
from mercer.plots import BLUE, GREY, ORANGE

STATIC = Path(__file__).parent / "_static"
RESULTS = Path(__file__).parent.parent / "results" / "quick" / "16-snnk"
SIZES = (32, 64, 128, 256, 512, 1024)


def main() -> None:
    """Draw and save."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    draw_errors(axes[0])
    draw_adapters(axes[1])
    draw_compression(axes[2])
    figure.savefig(STATIC / "snnk.png", dpi=144)
    draw_pathfinder()


def draw_errors(axes: plt.Axes) -> None:
    """Mean squared errors of features against their number."""
    draw = torch.Generator().manual_seed(0)
    X, W = torch.nn.functional.normalize(torch.randn(2, 24, 16, generator=draw, dtype=torch.float64), dim=-1)
    kernel = ArcCosine(1, bias_variance=0.0)
    makers = {
        "cos": lambda m, s: UniversalRandomFeatures("cos", m, d=16, random_state=s),
        "exp(-z²/2)": lambda m, s: UniversalRandomFeatures("gaussian", m, d=16, random_state=s),
        "GELU": lambda m, s: UniversalRandomFeatures("gelu", m, d=16, bias=False, random_state=s),
        "relu (arc-cosine)": lambda m, s: ArcCosineFeatures(kernel, m, d=16, random_state=s),
    }
    for (name, make), color in zip(makers.items(), (BLUE, "#009e73", "#cc79a7", ORANGE), strict=True):
        errors = []
        for m in SIZES:
            maps = [make(m, s) for s in range(50)]
            found = torch.stack([f.estimate(X, W) for f in maps]) - maps[0].expected(X, W)
            errors.append(float(found.square().mean()))
        axes.plot(SIZES, errors, "o-", color=color, ms=4, label=name)
    axes.set(xscale="log", yscale="log", xlabel="features", xticks=SIZES, xticklabels=SIZES)
    axes.minorticks_off()
    axes.set_title("mean squared error of a layer", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=8)


def draw_adapters(axes: plt.Axes) -> None:
    """What paper 16's claim measured."""
    record = json.loads((RESULTS / "adapter.json").read_text())
    (table,) = record["measurement"]["tables"]
    looks = {"SNNK": BLUE, "bottleneck": ORANGE, "head": GREY}
    for name, accuracy, count in table["rows"]:
        color = next(c for word, c in looks.items() if name.startswith(word))
        axes.plot(max(count, 300), accuracy, "o", color=color)
        place = (max(count, 300), accuracy)
        axes.annotate(name, place, (7, 0), textcoords="offset points", fontsize=8, va="center")
    axes.set(xscale="log", xlabel="trained numbers beside the head", xlim=(200, 4e5))
    axes.set_xticks([300, 1e3, 1e4, 1e5], ["0", "1000", "10⁴", "10⁵"])
    axes.set_title("test accuracy, turned digits, %", loc="left", fontsize=9)


def draw_compression(axes: plt.Axes) -> None:
    """Errors of a replaced layer of a trained network."""
    X, y = load_digits(return_X_y=True)
    pixels, labels = torch.tensor(X / 16.0, dtype=torch.float32), torch.tensor(y)
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.GELU())
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), layer, torch.nn.Linear(256, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(model(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shown = (8, 16, 32, 64, 128, 256)
    for activation, color in (("relu", BLUE), ("cos", ORANGE)):
        options = {} if activation == "relu" else {"length": 1.0}
        errors = [
            compress(model, pixels, m, where=lambda name, _: name == "2", activation=activation, **options).layers[0]
            for m in shown
        ]
        axes.plot(shown, [e.error for e in errors], "o-", color=color, ms=4, label=f"features of {activation}")
    axes.axhline(1.0, color=GREY, lw=0.8, ls=":")
    axes.set(
        xscale="log", xlabel="features (the layer has 256 columns)", xticks=shown, xticklabels=shown, ylim=(0, 1.05)
    )
    axes.minorticks_off()
    axes.set_title("relative error of a compressed layer", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=8)


def draw_pathfinder() -> None:
    """Images of three sizes: on one curve above, on two below."""
    figure, axes = plt.subplots(2, 6, figsize=(11, 3.8), layout="constrained")
    for column, size in enumerate((32, 32, 64, 64, 128, 128)):
        images = make_pathfinder(8, size=size, random_state=10 + column)
        for row, label in enumerate((1, 0)):
            chosen = images.inputs[np.flatnonzero(images.targets == label)[0]].reshape(size, size)
            axes[row, column].imshow(chosen, cmap="gray", vmin=0, vmax=255)
            axes[row, column].set_axis_off()
            if row == 0:
                axes[row, column].set_title(f"{size} x {size}", fontsize=9)
    figure.savefig(STATIC / "pathfinder.png", dpi=110)


if __name__ == "__main__":
    main()
