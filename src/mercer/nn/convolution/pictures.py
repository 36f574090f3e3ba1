"""Pictures of kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from mercer.plots import axes_or_new

__all__ = ["draw_kernel"]


def draw_kernel(kernel: Tensor, causal: bool, *, channels: int, head: int, axes: Any) -> Any:
    """Taps ``(heads, channels, n)`` over their lags, one line a channel; causal ones with a logarithmic axis."""
    axes = axes_or_new(axes)
    values = kernel.detach().float().cpu().numpy()[head]
    n = values.shape[-1]
    lags = np.arange(n) if causal else np.arange(n) - n // 2
    for h in range(min(channels, len(values))):
        axes.plot(lags + causal, values[h], lw=1.0, label=f"channel {h}")
    if causal:
        axes.set_xscale("log")
    axes.set(xlabel="lag + 1" if causal else "lag", ylabel="kernel")
    axes.legend(fontsize="small")
    return axes
