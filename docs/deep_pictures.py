"""Draws docs/_static/deep-kernel.png, deep-layers.png and deep-images.png. Run it when they should change."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from mercer.learn import DeepKernelMachineClassifier, DeepKernelMachineRegressor
from mercer.plots import BLUE, GREY

STATIC = Path(__file__).parent / "_static"


def main() -> None:
    """A function of two lengthscales, and the layers of a model of digits."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    draw_functions()
    draw_layers()
    draw_images()


def draw_functions() -> None:
    """The fixed kernel and the learnt one on the same rows, and the learnt Gram matrix along the line."""
    rng = np.random.default_rng(0)
    X = np.sort(rng.uniform(-2.0, 2.0, size=(120, 1)), axis=0)
    y = np.where(X[:, 0] > 0.0, np.sin(8.0 * X[:, 0]), 0.0) + 0.05 * rng.normal(size=120)
    grid = np.linspace(-2.2, 2.2, 400)[:, None]
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(11, 3.2), width_ratios=[3, 3, 2.2], layout="constrained"
    )
    settings = {"n_inducing": 40, "max_epochs": 150, "learning_rate": 0.05, "random_state": 0}
    for axes, nu, title in ((left, np.inf, "nu = inf: the fixed kernel"), (middle, 3.0, "nu = 3: the learnt kernel")):
        model = DeepKernelMachineRegressor(nu=nu, **settings).fit(X, y)
        mean, lower, upper = model.predict(grid, interval=0.95)
        axes.fill_between(grid[:, 0], lower, upper, color=BLUE, alpha=0.2, lw=0)
        axes.plot(grid[:, 0], mean, color=BLUE, lw=1.5)
        axes.plot(X[:, 0], y, "o", color=GREY, ms=2.5)
        axes.set_title(f"{title}, 95 % interval", loc="left", fontsize=9)
        axes.set_ylim(-1.8, 1.8)
    G = model.gram_matrix(grid)
    size = np.sqrt(np.diag(G))
    image = right.imshow(G / size / size[:, None], cmap="PuOr_r", vmin=-1, vmax=1, extent=(-2.2, 2.2, 2.2, -2.2))
    right.set_title("how alike points are in layer 2", loc="left", fontsize=9)
    figure.colorbar(image, ax=right, fraction=0.046)
    figure.savefig(STATIC / "deep-kernel.png", dpi=144)


def draw_layers() -> None:
    """Digits, sorted by class, in each layer."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    train, show = order[:1200], order[1200:1400]
    model = DeepKernelMachineClassifier(
        nu=3.0, n_inducing=60, max_epochs=30, batch_size=256, learning_rate=0.03, random_state=0
    ).fit(data.data[train], data.target[train])
    axes = model.plot_gram_matrices(data.data[show], data.target[show])
    axes[0].figure.savefig(STATIC / "deep-layers.png", dpi=144)


def draw_images() -> None:
    """The inducing patches of a machine of digits, and digits in each of its layers."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    train, show = order[:300], order[1200:1400]
    model = DeepKernelMachineClassifier(
        nu=3.0,
        kernel="relu",
        n_inducing=40,
        image_shape=(8, 8),
        max_epochs=25,
        batch_size=100,
        learning_rate=0.03,
        random_state=0,
    ).fit(data.data[train], data.target[train])
    print(f"digits, {len(train)} rows: {model.score(data.data[order[1200:]], data.target[order[1200:]]):.3f}")
    figure = plt.figure(figsize=(11.5, 3.0), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[3.2, 8.3])
    left.suptitle("inducing patches, 3 x 3 pixels", fontsize=9, x=0.02, ha="left")
    patches = model.inducing_points_[:, 0]
    for axes, patch in zip(left.subplots(5, 8).flat, patches, strict=True):
        axes.imshow(patch, cmap="gray_r", vmin=patches.min(), vmax=patches.max())
        axes.set_axis_off()
    model.plot_gram_matrices(data.data[show], data.target[show], axes=right.subplots(1, 3))
    figure.savefig(STATIC / "deep-images.png", dpi=144)


if __name__ == "__main__":
    main()
