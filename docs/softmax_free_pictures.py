"""Draws docs/_static/softmax-free.png and softmax-free-cost.png. Run it by hand when they should change."""

from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from mercer.nn.diagnostics import peak_bytes
from mercer.nn.functional import gaussian_attention, nystrom_attention
from mercer.plots import BLUE, GREY, ORANGE
from mercer.timing import compare

STATIC = Path(__file__).parent / "_static"
SIDE = 56  # tokens along each side of the picture


def main() -> None:
    """What one token attends to, exactly and through landmarks; time and memory by the number of tokens."""
    torch.set_num_threads(1)
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    draw_attention()
    draw_cost()


def draw_attention() -> None:
    """Similarities of one token to all others, on a photograph."""
    image = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None].double()[..., :427, 150:577]
    image = F.interpolate(image, size=(4 * SIDE, 4 * SIDE), mode="bilinear", antialias=True)
    colours = F.avg_pool2d(image, 4)[0].flatten(1).mT / 255.0  # (n, 3)
    y, x = torch.meshgrid(*2 * [torch.linspace(0.0, 1.0, SIDE, dtype=torch.float64)], indexing="ij")
    q = torch.cat([5.0 * colours, 2.0 * torch.stack([y.flatten(), x.flatten()], 1)], 1)
    token = 33 * SIDE + 12
    one = F.one_hot(torch.tensor(token), SIDE * SIDE).double()[:, None]
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.0), layout="constrained")
    picture = (image[0].permute(1, 2, 0).numpy() / 255.0).clip(0.0, 1.0)
    axes[0].imshow(picture)
    step = 4 * SIDE / 7
    for k in range(1, 7):
        axes[0].axhline(k * step - 0.5, color="white", lw=0.7)
        axes[0].axvline(k * step - 0.5, color="white", lw=0.7)
    axes[0].set_title("3136 tokens, 49 windows", loc="left", fontsize=9)
    maps = {"exact: 3136 x 3136": gaussian_attention(q, one)}
    for count in (7, 14):
        landmarks = F.avg_pool2d(q.mT.unflatten(1, (SIDE, SIDE)), SIDE // count).flatten(1).mT
        maps[f"{count**2} landmarks"] = nystrom_attention(q, landmarks, one, normalize=False, inverse="cholesky")
    for ax, (title, values) in zip(axes[1:], maps.items(), strict=True):
        ax.imshow(values.reshape(SIDE, SIDE).numpy(), cmap="viridis", vmin=0.0, vmax=1.0)
        ax.set_title(title, loc="left", fontsize=9)
    for ax in axes:
        scale = 4 if ax is axes[0] else 1
        ax.plot(scale * (token % SIDE), scale * (token // SIDE), "o", mfc="none", mec=ORANGE, mew=1.8, ms=8)
        ax.set_axis_off()
    figure.savefig(STATIC / "softmax-free.png", dpi=144)


def draw_cost() -> None:
    """Forward time, and memory of forward and backward, against torch's attention and the explicit matrix."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    sides, names = (28, 56, 84, 112), ("SOFT, 49 landmarks", "torch's attention", "the n x n matrix")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    bytes_held: dict[str, list[float]] = {name: [] for name in names}
    for side in sides:
        q, v = torch.randn(1, 2, side * side, 32) / 32**0.25, torch.randn(1, 2, side * side, 32)
        landmarks = F.avg_pool2d(q[0].mT.unflatten(2, (side, side)), side // 7).flatten(2).mT[None]
        calls = dict(
            zip(
                names,
                (
                    partial(nystrom_attention, landmarks=landmarks, v=v),
                    lambda q, v=v: F.scaled_dot_product_attention(q, q, v),
                    lambda q, v=v: torch.softmax(q @ q.mT, -1) @ v,
                ),
                strict=True,
            )
        )
        timed = list(names) if side < 100 else list(names[:2])
        times = compare({name: partial(calls[name], q) for name in timed}, rounds=3)
        graph = q.clone().requires_grad_()
        for name in timed:
            seconds[name].append(times.timings[name].seconds(times.clock))
            bytes_held[name].append(peak_bytes(lambda call=calls[name], graph=graph: call(graph).sum().backward()))
    n = np.array(sides) ** 2
    for name, colour in zip(names, (BLUE, ORANGE, GREY), strict=True):
        left.loglog(n[: len(seconds[name])], 1e3 * np.array(seconds[name]), "o-", color=colour, ms=4, label=name)
        right.loglog(n[: len(seconds[name])], np.array(bytes_held[name]) / 1e6, "o-", color=colour, ms=4, label=name)
    left.set(xlabel="tokens", ylabel="milliseconds, forward")
    right.set(xlabel="tokens", ylabel="MB, forward and backward")
    left.legend(frameon=False)
    figure.savefig(STATIC / "softmax-free-cost.png", dpi=144)


if __name__ == "__main__":
    main()
