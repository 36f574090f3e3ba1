"""Draws docs/_static/long-kernels.png and long-steps.png. Run it by hand when they should change."""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from mercer.data import impulse_responses
from mercer.nn import ConvState, LongConvKernel, S4DKernel, SGConvKernel
from mercer.nn.functional import long_conv
from mercer.nn.training import train
from mercer.plots import BLUE, GREY, ORANGE

STATIC = Path(__file__).parent / "_static"


def main() -> None:
    """What kernels find, and what steps cost."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    draw_kernels()
    draw_steps()


def draw_kernels() -> None:
    """The same filter, found from the same noise by four kernels."""
    data = impulse_responses(random_state=7)
    u, y = (torch.from_numpy(part).float() for part in (data.u, data.y))
    rate = {"learning_rate": 1e-2, "random_state": 0}
    kernels = {
        "free taps": LongConvKernel(4, 512, heads=1, squash=None, dropout=0.0, init_std=0.06, **rate),
        "squashed and smoothed taps": LongConvKernel(
            4, 512, heads=1, squash=0.03, smooth=7, dropout=0.0, init_std=0.06, **rate
        ),
        "S4D": S4DKernel(4, 512, **rate),
        "SGConv": SGConvKernel(4, 512, kernel_dim=16, **rate),
    }
    shown = int(np.argmax((np.diff(np.sign(data.kernels)) != 0).sum(1)))  # the filter that rings most
    figure, panels = plt.subplots(1, 4, figsize=(11, 2.6), sharey=True, layout="constrained")
    for axes, (name, kernel) in zip(panels, kernels.items(), strict=True):
        train(
            kernel,
            [(u, y)],
            loss=lambda m, batch: (long_conv(batch[0], m(512)[0], layout="bhl") - batch[1]).square().mean(),
            n_steps=400,
        )
        axes.plot(kernel(512)[0, shown].detach(), color=ORANGE, lw=0.7)
        axes.plot(data.kernels[shown], color=BLUE, lw=1.3)
        n = sum(p.numel() for p in kernel.parameters()) // 4
        axes.set_title(f"{name}\n{n} numbers", loc="left", fontsize=9)
        axes.set_xlabel("lag")
    panels[0].set(ylabel="kernel", ylim=(-0.35, 0.35))  # free taps go on to 2 where hardly an input reaches
    figure.savefig(STATIC / "long-kernels.png", dpi=144)


@torch.no_grad()
def draw_steps() -> None:
    """Milliseconds of a step by the length of the kernel, on average."""
    torch.set_num_threads(1)
    lengths = [2**n for n in range(8, 17, 2)]
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    colours = {"ring": GREY, "relaxed": ORANGE, "structured": BLUE}
    for method, colour in colours.items():
        means = []
        for L in lengths:
            state = ConvState.start(SGConvKernel(32, L, kernel_dim=16), method=method)
            n = L if method == "relaxed" else 512  # its large blocks come rarely, and count
            u = torch.randn(n, 1, 32)
            for t in range(32):
                state.step(u[t])
            started = time.thread_time()
            for t in range(32, n):
                state.step(u[t])
            means.append(1e3 * (time.thread_time() - started) / (n - 32))
        axes.loglog(lengths, means, "o-", color=colour, ms=4, label=method)
        print(method, np.round(means, 3))
    axes.set(xlabel="taps", ylabel="milliseconds a step, 32 channels")
    axes.legend(frameon=False)
    figure.savefig(STATIC / "long-steps.png", dpi=144)


if __name__ == "__main__":
    main()
