"""Draws docs/_static/ensemble.png and permutations.png. Run it by hand when they should change."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from mercer.data import permutation_task
from mercer.kernels import NTK
from mercer.learn.ensemble import EnsembleLaw, PermutationLaw, PermutationLearner, ensemble_size

STATIC = Path(__file__).parent / "_static"
BLUE, ORANGE, GREY = "#1f6fb4", "#e07a1f", "#888888"


def main() -> None:
    """Both pictures."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    draw_decisions()
    draw_permutations()


def draw_decisions() -> None:
    """Mean and spread of trained networks on a line, and how many must be averaged for their sign."""
    X = np.array([-2.6, -2.0, -1.3, -0.4, 0.5, 1.1, 1.9, 2.5])[:, None]
    y = np.array([1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0, 1.0])
    kernel = NTK(depth=3, sigma_w=2**0.5, sigma_b=0.5)
    grid = np.linspace(-3.5, 3.5, 701)[:, None]
    law = EnsembleLaw(kernel, X, y)
    mean, std = law.mean(grid)[:, 0].numpy(), law.std(grid).numpy()
    sizes = [ensemble_size(kernel, X, y, x[None], delta=0.01).n_models for x in grid]
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8, 4.2), sharex=True, height_ratios=[3, 2], layout="constrained"
    )
    for width, alpha in ((2.0, 0.15), (1.0, 0.25)):
        top.fill_between(grid[:, 0], mean - width * std, mean + width * std, color=BLUE, alpha=alpha, lw=0)
    top.plot(grid[:, 0], mean, color=BLUE)
    top.plot(X[:, 0], y, "o", color=ORANGE, ms=5)
    top.axhline(0.0, color=GREY, lw=0.8, ls=":")
    top.set_ylabel("output")
    top.set_title("Trained networks: their mean, one and two standard deviations", loc="left", fontsize=9)
    bottom.semilogy(grid[:, 0], sizes, color=BLUE)
    bottom.set(ylim=(0.8, 3e3), xlabel="x", ylabel="networks")
    bottom.set_title("How many to average until the sign is right with probability 0.99", loc="left", fontsize=9)
    figure.savefig(STATIC / "ensemble.png", dpi=144)


def draw_permutations() -> None:
    """Outputs of trained networks, accuracy of their averages, and sizes for many bits."""
    task = permutation_task(10, 2, random_state=0)
    learner = PermutationLearner(predictor="ensemble", n_models=1000, width=512, random_state=0)
    learner.fit(task.X_train, task.Y_train)
    with torch.no_grad():
        outputs = learner.networks_(torch.from_numpy(task.X_test / 2**0.5).float()).double().numpy()
    law, on = PermutationLaw(10), task.Y_test == 1
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.3), layout="constrained")
    grid = np.linspace(-0.35, 0.9, 400)
    for which, level, color, name in zip(
        (~on, on), law.levels(2)[::-1], (BLUE, ORANGE), ("bits that must be 0", "bits that must be 1"), strict=True
    ):
        left.hist(outputs[:, which].ravel(), bins=70, density=True, color=color, alpha=0.45, label=name)
        left.plot(
            grid, np.exp(-0.5 * ((grid - level) / law.std(2)) ** 2) / law.std(2) / np.sqrt(2 * np.pi), "k", lw=0.8
        )
    left.axvline(0.0, color=GREY, ls=":", lw=1)
    left.axvline(float(law.threshold(2, "midpoint")), color=GREY, ls="--", lw=1)
    left.set(xlabel="output of one network", yticks=[], ylim=(0, 6.6))
    left.set_title("1000 trained networks, 10 bits", loc="left", fontsize=9)
    left.legend(frameon=False, fontsize=8)
    counts = np.unique(np.geomspace(1, 1000, 60).astype(int))
    for rule, color, name in (("midpoint", ORANGE, "threshold half-way"), ("zero", BLUE, "threshold 0")):
        level = law.threshold(2, rule)
        found = []
        for n in counts:
            votes = outputs[: len(outputs) // n * n].reshape(-1, n, *outputs.shape[1:]).mean(1)
            found.append(((votes > level) == on).all(2).mean())
        middle.semilogx(counts, found, ".", color=color, ms=4, label=name)
        middle.semilogx(counts, [law.accuracy(2, int(n), threshold=rule) for n in counts], "-", color=color, lw=1)
    middle.set(xlabel="networks averaged", ylabel="inputs with all bits right")
    middle.set_title("Two ones: trained (dots), formula (lines)", loc="left", fontsize=9)
    middle.legend(frameon=False, fontsize=8, loc=(0.0, 0.62))
    bits = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
    bound = [PermutationLaw(k).ensemble_size(method="bound", simultaneous=True) for k in bits]
    right.loglog(bits, bound, "o-", ms=3, color=GREY, label="all inputs at once, paper's bound")
    for rule, color in (("zero", BLUE), ("midpoint", ORANGE)):
        right.loglog(
            bits,
            [PermutationLaw(k).ensemble_size(simultaneous=True, threshold=rule) for k in bits],
            "s-",
            ms=3,
            color=color,
        )
        right.loglog(bits, [PermutationLaw(k).ensemble_size(threshold=rule) for k in bits], "--", color=color, lw=1)
    right.text(1100, 8e3, "threshold 0", color=BLUE, fontsize=8)
    right.text(1100, 3e2, "half-way", color=ORANGE, fontsize=8)
    right.set(xlabel="bits k", ylabel="networks")
    right.set_title("All inputs at once (solid), any one (dashed)", loc="left", fontsize=9)
    right.legend(frameon=False, fontsize=8)
    figure.savefig(STATIC / "permutations.png", dpi=144)


if __name__ == "__main__":
    main()
