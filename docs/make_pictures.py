"""Draws the pictures of docs/_static that no measurement makes. Run it by hand when they should change."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from sklearn.datasets import load_digits, make_moons

import mercer as mc
from mercer.plots import BLUE, GREY, ORANGE


def main() -> None:
    """Draw and save."""
    torch.manual_seed(4)
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=[3, 2], layout="constrained")
    draw_fit(left)
    draw_samples(right)
    figure.savefig(Path(__file__).parent / "_static" / "first-minute.png", dpi=144)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    draw_densities(left)
    draw_errors(right)
    figure.savefig(Path(__file__).parent / "_static" / "features.png", dpi=144)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
    draw_functions(left)
    draw_gradients(right)
    figure.savefig(Path(__file__).parent / "_static" / "functions.png", dpi=144)
    draw_unsupervised()


def draw_unsupervised() -> None:
    """Two moons by two ways of clustering, and digits before and after their pre-images."""
    figure = plt.figure(figsize=(10, 3.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1, 1, 1.1])
    X, _ = make_moons(400, noise=0.07, random_state=0)
    for part, name, model in (
        (left, "SpectralClustering", mc.learn.SpectralClustering(2, affinity="RBF(0.1)", random_state=0)),
        (middle, "KernelKMeans", mc.learn.KernelKMeans(2, kernel="RBF(0.1)", n_init=50, random_state=0)),
    ):
        labels, axes = model.fit_predict(X), part.subplots()
        for k, color in enumerate((BLUE, ORANGE)):
            axes.plot(*X[labels == k].T, "o", color=color, ms=2.5)
        axes.set_title(name, loc="left", fontsize=9)
        axes.set_axis_off()
    digits = load_digits().data
    noisy = digits + np.random.default_rng(0).normal(scale=4.0, size=digits.shape)
    model = mc.learn.KernelPCA(40, kernel="RBF(25)", fit_inverse_transform=True, pre_image="fixed-point").fit(
        noisy[:-8]
    )
    rows = (digits[-8:], noisy[-8:], model.inverse_transform(model.transform(noisy[-8:])))
    for axes, image in zip(right.subplots(3, 8).ravel(), np.concatenate(rows), strict=True):
        axes.imshow(image.reshape(8, 8), cmap="Greys", vmin=0, vmax=16)
        axes.set_axis_off()
    right.suptitle("digits, with noise, and KernelPCA's pre-images", fontsize=9)
    figure.savefig(Path(__file__).parent / "_static" / "unsupervised.png", dpi=144)


def draw_fit(axes: Axes) -> None:
    """A Gaussian process that is sure where there are data, and says so where there are none."""
    x = torch.cat([4 * torch.rand(45), 6 + 4 * torch.rand(35)])[:, None].double()
    y = torch.sin(1.7 * x[:, 0]) + 0.15 * x[:, 0] + 0.2 * torch.randn(80)
    grid = torch.linspace(-0.5, 11.5, 400, dtype=torch.float64)[:, None]
    kernel, noise = mc.kernels.RBF(lengthscale=0.8), 0.04
    K, K_grid = kernel(x), kernel(grid, x)
    mean = K_grid @ K.solve(y, noise=noise)
    explained = (K_grid.to_dense() * K.solve(K_grid.to_dense().mT, noise=noise).mT).sum(1)
    std = (1.0 - explained).sqrt()
    axes.fill_between(
        grid[:, 0], mean - 1.96 * std, mean + 1.96 * std, color=BLUE, alpha=0.18, lw=0, label="95 % interval"
    )
    axes.plot(grid[:, 0], mean, color=BLUE, lw=2, label="mean")
    axes.plot(x[:, 0], y, "o", color=ORANGE, ms=3.5, label="80 measurements")
    axes.set_title("kernel(grid, x) @ kernel(x).solve(y, noise=0.04)", loc="left", family="monospace", fontsize=9)
    axes.legend(frameon=False, ncols=3, loc="upper left")
    axes.set_ylim(-2.2, 4.6)


def draw_samples(axes: Axes) -> None:
    """What each kernel believes before it has seen anything."""
    x = torch.linspace(0, 10, 400, dtype=torch.float64)[:, None]
    kernels = {
        "RBF()": mc.kernels.RBF(),
        "Matern(nu=1.5)": mc.kernels.Matern(nu=1.5),
        "Laplacian()": mc.kernels.Laplacian(),
        "RBF() + Linear()": mc.kernels.RBF() + 0.05 * mc.kernels.Linear(),
    }
    for row, (name, kernel) in enumerate(kernels.items()):
        draws = kernel(x).add_jitter(1e-9).zero_mean_mvn_samples(2)
        for draw, color in zip(draws, (BLUE, GREY), strict=True):
            axes.plot(x[:, 0], draw - draw.mean() - 6.5 * row, color=color, lw=1.2)
        axes.text(10.2, -6.5 * row, name, family="monospace", va="center", fontsize=8)
    axes.set_title("functions drawn from four kernels", loc="left", fontsize=9)
    axes.set_axis_off()


def draw_functions(axes: Axes) -> None:
    """Functions drawn given 9 measurements, also far from them."""
    x = torch.tensor([0.3, 0.9, 1.6, 2.0, 2.7, 5.2, 5.9, 6.4, 7.0], dtype=torch.float64)[:, None]
    y = torch.sin(1.7 * x[:, 0]) + 0.05 * torch.randn(9)
    grid = torch.linspace(-1.0, 9.0, 500, dtype=torch.float64)[:, None]
    model = mc.learn.GaussianProcessRegressor("RBF(0.8) + White(0.0025)", optimizer=None).fit(x, y)
    functions = model.sample_functions(12, random_state=1)
    axes.plot(grid[:, 0], functions(grid), color=BLUE, lw=1.0, alpha=0.7)
    axes.plot(x[:, 0], y, "o", color=ORANGE, ms=5, zorder=3)
    axes.set_title("model.sample_functions(12)(grid)", loc="left", family="monospace", fontsize=9)


def draw_gradients(axes: Axes) -> None:
    """Four values, without and with their slopes."""
    x = torch.tensor([0.0, 2.7, 5.4, 8.0], dtype=torch.float64)[:, None]
    y, slope = torch.sin(1.7 * x[:, 0]), 1.7 * torch.cos(1.7 * x)
    grid = torch.linspace(-1.0, 9.0, 500, dtype=torch.float64)[:, None]
    axes.plot(grid[:, 0], torch.sin(1.7 * grid[:, 0]), color="black", lw=1, ls=":", label="truth")
    for gradients, color, label in ((None, GREY, "fit(x, y)"), (slope, BLUE, "fit(x, y, gradients)")):
        model = mc.learn.GaussianProcessRegressor("RBF(0.8)", alpha=1e-6, optimizer=None).fit(x, y, gradients)
        mean, std = model.predict(grid, return_std=True)
        axes.fill_between(grid[:, 0], mean - 1.96 * std, mean + 1.96 * std, color=color, alpha=0.18, lw=0)
        axes.plot(grid[:, 0], mean, color=color, lw=2, label=label)
    axes.plot(x[:, 0], y, "o", color=ORANGE, ms=5, zorder=3)
    axes.set_title("four values, without and with their slopes", loc="left", fontsize=9)
    axes.legend(frameon=False, ncols=3, loc="upper center")


def draw_densities(axes: Axes) -> None:
    """How much of each kernel lies at which frequency."""
    omega = torch.logspace(-1, 2, 200, dtype=torch.float64)[:, None]
    kernels = {"RBF()": mc.kernels.RBF(), "Matern(nu=1.5)": mc.kernels.Matern(), "Laplacian()": mc.kernels.Laplacian()}
    for (name, kernel), color in zip(kernels.items(), (BLUE, ORANGE, GREY), strict=True):
        axes.loglog(omega[:, 0], kernel.spectral_density(omega), color=color, lw=2, label=name)
    axes.set_ylim(1e-6, 1)
    axes.set_xlabel("angular frequency (1 / lengthscale)")
    axes.set_title("spectral density", loc="left", fontsize=9)
    axes.legend(frameon=False)


def draw_errors(axes: Axes) -> None:
    """The error of random Fourier features, by the way frequencies are drawn; the median of 10 seeds."""
    X = torch.randn(200, 2, dtype=torch.float64)
    kernel, counts = mc.kernels.RBF(lengthscale=2.0**0.5), [2**i for i in range(4, 12)]
    K = kernel(X).to_dense()
    for method, color in (("iid", GREY), ("orthogonal", ORANGE), ("quasi", BLUE)):
        medians = []
        for r in counts:
            maps = [mc.kernels.features.RandomFourier(kernel, r, d=2, method=method, random_state=s) for s in range(10)]
            errors = [float((F @ F.mT - K).norm() / K.norm()) for F in (phi(X) for phi in maps)]
            medians.append(torch.tensor(errors).median())
        axes.loglog(counts, medians, "o-", color=color, lw=2, ms=3.5, label=f'method="{method}"')
    axes.set_xlabel("features")
    axes.set_title("relative error of RandomFourier(RBF(sqrt(2)), r, d=2)", loc="left", fontsize=9)
    axes.legend(frameon=False)


if __name__ == "__main__":
    main()
