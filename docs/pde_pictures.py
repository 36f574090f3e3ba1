"""Draws docs/_static/pde.png. Run it by hand when it should change."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from mercer.learn.pde import PDESolver


def main() -> None:
    """A solution with its error bars, and one in two axes, both of several scales."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=[3, 2], layout="constrained")

    def u(X):
        return np.sin(6 * X[:, 0]) * np.cos(40 * X[:, 0])

    def source(X):
        return -(46**2) / 2 * np.sin(46 * X[:, 0]) + 34**2 / 2 * np.sin(34 * X[:, 0])

    solver = PDESolver("Laplacian()", domain=(0, 2), grid=60).fit(source, u)
    solver.plot(left, n=800)
    left.plot(solver.nodes_[0], solver.values_, "o", color="#e07a1f", ms=2.5)
    left.set_title("u'' = f on 60 nodes, with a 95 % interval", loc="left", fontsize=9)

    def v(X):
        return np.sin(X[:, 0] + 2 * X[:, 1]) + 0.4 * np.sin(20 * X[:, 0]) * np.sin(20 * X[:, 1])

    def right_hand_side(X):
        w = 0.4 * np.sin(20 * X[:, 0]) * np.sin(20 * X[:, 1])
        return v(X) ** 3 - v(X) - 5 * (v(X) - w) - 800 * w

    solver = PDESolver("Laplacian() + Power(3) - Identity()", domain=[(0, 2)] * 2, grid=120).fit(right_hand_side, v)
    solver.plot(right, n=250)
    right.set_title("Allen-Cahn on 120 x 120 nodes", loc="left", fontsize=9)
    figure.savefig(Path(__file__).parent / "_static" / "pde.png", dpi=144)


if __name__ == "__main__":
    main()
