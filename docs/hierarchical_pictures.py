"""Draws docs/_static/hierarchical.png. Run it by hand when it should change (two minutes)."""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from mercer.data import hierarchical_polynomial
from mercer.learn import HierarchicalRegressor, KernelRidge
from mercer.plots import BLUE, GREY, ORANGE

D, SEEDS = 20, 3
ROWS = [400, 800, 1600, 3200, 6400, 12800]


def main() -> None:
    """Learning curves of a kernel and of three layers, and the hidden feature that makes the difference."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=[3, 2], layout="constrained")
    draw_curves(left)
    X, y, _ = hierarchical_polynomial(D, 6400, random_state=0)
    HierarchicalRegressor(degree=2, refine=2).fit(X, y).plot_link(right)
    right.set_title("model.plot_link(): 6400 rows in 20 columns", loc="left", fontsize=9)
    right.set(xlim=(-4, 4), ylim=(-12, 12))
    figure.savefig(Path(__file__).parent / "_static" / "hierarchical.png", dpi=144)


def draw_curves(axes: plt.Axes) -> None:
    """Median test R^2 over seeds."""
    names = ["refine=2", "three layers", "stage 1: ridge, degree 2", "RBF kernel ridge, best ridge"]
    warnings.simplefilter("ignore", UserWarning)  # that there is no feature to be found from so few rows
    found = {name: np.full((SEEDS, len(ROWS)), np.nan) for name in names}
    for seed in range(SEEDS):
        X, y, _ = hierarchical_polynomial(D, max(ROWS) + 10_000, random_state=seed)
        test = X[max(ROWS) :], y[max(ROWS) :]

        def score(prediction, y=test[1]):
            return 1.0 - np.mean((y - prediction) ** 2) / np.var(y)

        for i, n in enumerate(ROWS):
            fit = X[:n], y[:n]
            plain = HierarchicalRegressor(degree=2).fit(*fit)
            found["three layers"][seed, i] = score(plain.predict(test[0]))
            found["stage 1: ridge, degree 2"][seed, i] = score(plain.first_stage_predict(test[0]))
            refined = HierarchicalRegressor(degree=2, refine=2).fit(*fit)
            found["refine=2"][seed, i] = score(refined.predict(test[0]))
            if n <= 3200:
                models = [KernelRidge(alpha, kernel=f"RBF({D**0.5})") for alpha in (0.1, 1.0, 10.0)]
                found[names[-1]][seed, i] = max(score(model.fit(*fit).predict(test[0])) for model in models)
        print(seed, {name: values[seed].round(3).tolist() for name, values in found.items()}, flush=True)
    looks = [(BLUE, "o-"), (BLUE, "o--"), (GREY, "s-"), (ORANGE, "^-")]
    for (name, values), (color, look) in zip(found.items(), looks, strict=True):
        axes.plot(ROWS, np.median(values, axis=0), look, color=color, label=name, ms=4)
    axes.axhline(0.42, color=GREY, lw=0.8, ls=":")
    axes.text(ROWS[-1], 0.365, "variance of degrees 1 and 2", fontsize=7, color="#555555", ha="right")
    axes.set(xscale="log", xlabel="rows", ylabel="test R²", ylim=(0, 1.02), xticks=ROWS, xticklabels=ROWS)
    axes.minorticks_off()
    axes.set_title("a polynomial of degree 6 in 20 columns", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 1.0))


if __name__ == "__main__":
    main()
