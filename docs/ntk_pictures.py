"""Draws docs/_static/ntk.png and ntk-drift.png. Run it by hand when they should change."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from mercer.kernels import InfiniteNetwork
from mercer.kernels.neural.layers import Dense, ReLU
from mercer.learn import NTKRegressor
from mercer.nn.diagnostics import NTKDrift
from mercer.nn.training import train
from mercer.plots import BLUE, GREY, ORANGE

STATIC = Path(__file__).parent / "_static"


def main() -> None:
    """Training of infinite networks, and the kernels of finite ones in training."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    rng = np.random.default_rng(0)
    X = rng.uniform(-2.0, 2.0, size=(40, 1))
    X = np.sort(X[(X[:, 0] < 0.2) | (X[:, 0] > 0.9)], axis=0)
    y = np.sin(3.0 * X[:, 0]) + 0.35 * rng.normal(size=len(X))
    network = InfiniteNetwork(Dense(), ReLU(), Dense(), ReLU(), Dense(), sigma_w=2**0.5, sigma_b=0.5)
    grid = np.linspace(-2.3, 2.3, 300)[:, None]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    model = NTKRegressor(network, time="loo").fit(X, y)
    end = NTKRegressor(network, alpha=1e-6).fit(X, y)
    mean, std = model.predict(grid, return_std=True)
    axes[0].fill_between(grid[:, 0], mean - 1.96 * std, mean + 1.96 * std, color=BLUE, alpha=0.18, lw=0)
    axes[0].plot(grid[:, 0], end.predict(grid), color=GREY, lw=1.0, label="trained to the end")
    axes[0].plot(grid[:, 0], mean, color=BLUE, lw=2.0, label='time="loo"')
    axes[0].plot(X[:, 0], y, "o", color=ORANGE, ms=3.5)
    axes[0].set(ylim=(-2.2, 2.2))
    axes[0].legend(frameon=False, loc="upper right")
    model.plot_early_stopping(axes[1])
    model.plot_components(5, axes[2])
    figure.savefig(STATIC / "ntk.png", dpi=144)
    figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    points, targets = torch.from_numpy(X).float(), torch.from_numpy(y).float()[:, None]
    for width, alpha in ((64, 0.35), (256, 0.6), (1024, 1.0)):
        module = network.finite(width, in_features=1, random_state=0)
        drift = NTKDrift(module, points, every=5)
        train(
            module,
            [(points, targets)],
            loss=lambda m, batch: (m(batch[0]) - batch[1]).square().mean() / 2,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.2),
            n_steps=300,
            callbacks=[drift],
        )
        ax.plot(drift.steps, drift.changes, color=BLUE, alpha=alpha, label=f"width {width}")
    ax.set(xlabel="steps", ylabel="relative change of the kernel", ylim=(0.0, None))
    ax.legend(frameon=False)
    figure.savefig(STATIC / "ntk-drift.png", dpi=144)


if __name__ == "__main__":
    main()
