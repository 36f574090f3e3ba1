"""Pictures of how a network of infinite width is trained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arguments import check_whole
from mercer.operators import GradientFlow
from mercer.plots import BLUE, GREY, ORANGE, axes_or_new

__all__ = ["draw_components", "draw_early_stopping"]

_STEPS = 120


def draw_components(flow: GradientFlow, Y: Tensor, n_components: int, ax: Any) -> Any:
    """Along each of the first components, the size of what is still to be learnt, against time."""
    check_whole("n_components", n_components)
    ax = axes_or_new(ax)
    k = min(int(n_components), len(flow.values))
    times = _grid(flow, k)
    size = (flow.vectors[:, :k].mT @ Y).norm(dim=1)
    left = torch.stack([flow.left(time)[:k].abs() * size for time in times]).cpu().numpy()
    for i in range(k):
        ax.plot(times, left[:, i], color=BLUE, alpha=1.0 - 0.8 * i / k, label=f"component {i + 1}")
    ax.set(xscale="log", xlabel="training time", ylabel="left to learn", ylim=(0.0, None))
    ax.legend(frameon=False)
    return ax


def draw_early_stopping(flow: GradientFlow, Y: Tensor, chosen: float, ax: Any) -> Any:
    """Root mean squared errors of training rows, seen and left out, against time."""
    ax = axes_or_new(ax)
    times = _grid(flow, len(flow.values))
    if flow.discrete:
        times = sorted({float(round(t)) for t in times if t >= 1.0}) or [1.0]
    seen = [float(flow.training_error(Y, t).square().mean().sqrt()) for t in times]
    ax.plot(times, seen, color=GREY, label="training rows")
    if not flow.discrete or flow.learning_rate < 0.5 * flow.stable_rate:
        unseen = flow.leave_one_out(Y, times).square().mean((1, 2)).sqrt()
        ax.plot(times, unseen.cpu().numpy(), color=ORANGE, label="each row left out")
    if math.isfinite(chosen) and chosen > 0.0:
        ax.axvline(chosen, color=BLUE, lw=1.0, ls="--", label="training stops")
    ax.set(xscale="log", xlabel="training time", ylabel="root mean squared error", ylim=(0.0, None))
    ax.legend(frameon=False)
    return ax


def _grid(flow: GradientFlow, k: int) -> list[float]:
    """Times from before the first component is learnt to after the k-th."""
    finite = flow.learning_times[:k]
    finite = finite[torch.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (1.0, 1.0)
    return [float(t) for t in np.geomspace(0.03 * low, 10.0 * high, _STEPS)]
