"""The papers' own settings on the Long Range Arena, a table each, to be read beside the papers' configurations."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from mercer.arena.settings import ArenaSettings

__all__ = ["long_conv_settings", "sgconv_settings", "transnormer_settings"]

# Sequences to train on, which make epochs of steps.
_ROWS = {
    "listops": 96_000,
    "text": 25_000,
    "retrieval": 147_086,
    "image": 45_000,
    "pathfinder": 160_000,
    "pathx": 160_000,
}


class _Convolution(NamedTuple):
    """A row of a table of convolutions; ``steps`` is of the optimiser, each of ``accumulate`` batches."""

    layers: int
    width: int
    batch: int
    steps: int
    rate: float
    decay: float
    prenorm: bool = True
    norm: str = "batch"
    dropout: float = 0.0
    tied: bool = False
    pool: str = "mean"
    accumulate: int = 1

    def settings(self, task: str, **more: Any) -> ArenaSettings:
        epochs = math.ceil(self.steps * self.batch * self.accumulate / _ROWS[task])
        return ArenaSettings(
            self.layers,
            self.width,
            self.batch,
            epochs,
            self.rate,
            self.decay,
            norm=self.norm,
            prenorm=self.prenorm,
            pool=self.pool,
            dropout=self.dropout,
            tie_dropout=self.tied,
            accumulate=self.accumulate,
            **more,
        )


# Li et al., SGConv (ICLR 2023): ctlllll/SGConv, branch preview, configs/experiment/lra/gconv-lra-*.yaml. All are
# two-sided with a GLU. Where one GPU's batch times its steps is a part of its epochs only (Retrieval 20, Path-X 50), so
# many GPUs made a step together: here so many batches do.
_SGCONV = {
    "listops": _Convolution(8, 128, batch=50, steps=80_000, rate=0.01, decay=0.05, prenorm=False),
    "text": _Convolution(6, 256, batch=16, steps=50_000, rate=0.01, decay=0.05),
    "retrieval": _Convolution(6, 256, batch=32, steps=50_000, rate=0.01, decay=0.05, accumulate=2),
    "image": _Convolution(
        6, 512, batch=50, steps=200_000, rate=0.01, decay=0.05, prenorm=False, norm="layer", dropout=0.2, tied=True
    ),
    "pathfinder": _Convolution(6, 256, batch=64, steps=500_000, rate=0.004, decay=0.03, dropout=0.2, pool="last"),
    "pathx": _Convolution(6, 256, batch=16, steps=125_000, rate=0.004, decay=0.03, accumulate=4),
}
_SGCONV_KERNELS: dict[str, dict[str, Any]] = {
    "listops": {"kernel_dim": 1, "decay": 2.0},
    "text": {"kernel_dim": 2, "decay": 2.0},
    "retrieval": {"kernel_dim": 1, "decay": 2.0},
    "image": {"kernel_dim": 32, "power": 1.0, "learn_power": False},
    "pathfinder": {"kernel_dim": 32, "decay": 2.0},
    "pathx": {"kernel_dim": 64, "init_scale": 1, "init": "cosine", "decay": (1.0, 3.0)},
}


def sgconv_settings(task: str, *, kernel: bool) -> ArenaSettings:
    """Those of SGConv; without its kernel's options for other mixers."""
    return _SGCONV[task].settings(task, options=dict(_SGCONV_KERNELS[task]) if kernel else {})


# Fu et al., Simple Hardware-Efficient Long Convolutions (ICML 2023): HazyResearch/safari. Two kernels a channel,
# two-sided.
_LONG_CONV = {
    "listops": _Convolution(8, 128, batch=50, steps=80_000, rate=0.01, decay=0.05, prenorm=False),
    "text": _Convolution(6, 256, batch=16, steps=50_000, rate=0.01, decay=0.05),
    "retrieval": _Convolution(6, 256, batch=32, steps=50_000, rate=0.01, decay=0.05, accumulate=2),
    "image": _Convolution(
        6, 512, batch=50, steps=200_000, rate=0.01, decay=0.05, prenorm=False, norm="layer", dropout=0.1, tied=True
    ),
    "pathfinder": _Convolution(6, 256, batch=64, steps=500_000, rate=0.004, decay=0.03, pool="last"),
    "pathx": _Convolution(6, 256, batch=16, steps=500_000, rate=5e-4, decay=0.05),
}
# The threshold lambda, the dropout of taps, and the taps' learning rate.
_LONG_CONV_KERNELS = {
    "listops": (0.002, 0.2, 5e-4),
    "text": (0.003, 0.2, 1e-3),
    "retrieval": (0.004, 0.1, 1e-4),
    "image": (0.003, 0.2, 1e-3),
    "pathfinder": (0.001, 0.3, 1e-3),
    "pathx": (0.001, 0.3, 5e-4),
}


def long_conv_settings(task: str, *, squash: bool) -> ArenaSettings:
    """Those of long convolutions; without the threshold for taps that are compared with them."""
    threshold, dropout, rate = _LONG_CONV_KERNELS[task]
    kernel = {"squash": threshold if squash else None, "dropout": dropout, "learning_rate": rate}
    return _LONG_CONV[task].settings(task, options={"heads": 2}, kernel=kernel)


class _TransNormer(NamedTuple):
    """A row of TransNormer's table; ``ratio`` is the hidden width of the gated layers over d."""

    layers: int
    width: int
    ratio: float
    heads: int
    batch: int
    rate: float


# Qin et al., TransNormer (EMNLP 2022).
_TRANSNORMER = {
    "image": _TransNormer(12, 128, ratio=2, heads=4, batch=200, rate=1e-3),
    "text": _TransNormer(4, 128, ratio=4, heads=8, batch=64, rate=1e-3),
    "listops": _TransNormer(4, 128, ratio=4, heads=8, batch=128, rate=1e-4),
    "pathfinder": _TransNormer(4, 128, ratio=1, heads=8, batch=128, rate=5e-4),
    "pathx": _TransNormer(6, 64, ratio=2.5, heads=8, batch=64, rate=1e-4),
    "retrieval": _TransNormer(4, 128, ratio=4, heads=4, batch=64, rate=1e-3),
}


def transnormer_settings(task: str) -> ArenaSettings:
    """Those of TransNormer: batch norms between its blocks. Its table has no epochs and no decay: those of SGConv."""
    row, others = _TRANSNORMER[task], sgconv_settings(task, kernel=False)
    return ArenaSettings(
        row.layers,
        row.width,
        row.batch,
        others.epochs,
        row.rate,
        others.weight_decay,
        heads=row.heads,
        gated=True,
        hidden=round(row.ratio * row.width),
    )
