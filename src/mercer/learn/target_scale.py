"""At which spatial scale the targets of a data set live: what patches of each size explain of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer import config
from mercer.arguments import check_whole
from mercer.arrays import as_tensor, generator
from mercer.errors import ShapeError
from mercer.kernels import HierarchicalConv
from mercer.learn.ridge import ridge_path
from mercer.plots import BLUE, GREY, axes_or_new

__all__ = ["TargetScale", "scale_of_target"]

Array = np.ndarray[Any, Any]
ALPHAS = np.geomspace(1e-8, 1e2, 11)  # of ridge, in units of k(x, x)


@dataclass(frozen=True)
class TargetScale:
    """What :func:`scale_of_target` found.

    Attributes:
        shares: of the targets' energy, for each layer: what functions of its meta-patches predict of rows left out,
            beyond those of smaller ones.
        standard_errors: of the shares, by bootstrap over the rows.
        unexplained: the rest: noise, and what so many rows do not teach.
        sizes: numbers in a meta-patch of each layer.
    """

    shares: Array
    standard_errors: Array
    unexplained: float
    sizes: tuple[int, ...]

    def plot(self, axes: Any = None) -> Any:
        """Draw the shares as bars, with their standard errors.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        axes = axes_or_new(axes)
        names = [*map(str, self.sizes), "unexplained"]
        errors = [*self.standard_errors, 0.0]
        axes.bar(names, [*self.shares, self.unexplained], yerr=errors, color=[*[BLUE] * len(self.sizes), GREY])
        axes.set(xlabel="numbers in a patch", ylabel="share of the energy", ylim=(0.0, None))
        return axes


def scale_of_target(
    X: Any,
    y: Any,
    filters: Sequence[int],
    *,
    ndim: int = 1,
    channels: int = 1,
    shape: Sequence[int] | None = None,
    kind: str = "ntk",
    n_bootstrap: int = 200,
    random_state: Any = 0,
) -> TargetScale:
    """Which share of the energy of y is in functions of small patches of x, and which needs larger ones.

    Kernel ridge regression with kernels of more and more layers, whose functions see larger and larger meta-patches
    (Cagnetta et al. 2023): the first layer alone; then the second, alone or added to the best so far; and so on. What
    counts are errors on rows left out, in closed form, at the best ridge. A layer's share is how much it lowers them.

    A share is a lower bound of the energy at that scale: functions of large patches take many rows to be learnt, and
    what is not learnt yet is unexplained.

    Args:
        X: ``(n, d)``, or ``(n, channels, *positions)``; patches of zeros count as constant ones.
        y: ``(n,)`` or ``(n, t)`` numbers, centred first; or ``(n,)`` labels of classes, which become a column each:
            text, booleans and whole numbers. Counts are numbers: give them as floats.
        filters: neighbours that each layer's nodes see, as of :class:`mercer.kernels.HierarchicalConv`.
        ndim: 1 for signals, 2 for images.
        channels: numbers a position.
        shape: positions along each axis; None as for the kernel.
        kind: "ntk" or "nngp".
        n_bootstrap: samples for the standard errors.
        random_state: of the bootstrap.

    Raises:
        ShapeError: y of another length than X; columns that the filters do not divide.
        ValueError: targets that do not vary.

    Cost: two eigendecompositions of ``n x n`` a layer, in float64: about 4 s a layer for 1000 rows on one core.

    >>> from mercer.data import multisphere
    >>> X = multisphere(300, 4, 2)
    >>> angle = np.arctan2(X[:, 1], X[:, 0])  # of the first of four patches
    >>> scale_of_target(X, np.sin(2 * angle), (2, 2, 2)).shares.round(1)
    array([1., 0., 0.])
    """
    check_whole("n_bootstrap", n_bootstrap, least=2)
    HierarchicalConv(filters, kind, ndim, channels, shape)  # checks them
    points = as_tensor(X, dtype=torch.float64).detach().cpu()
    targets = _targets(y)
    n = len(points)
    if n < 2:
        raise ShapeError(f"scale_of_target: X has {n} rows; it takes two and more.")
    if len(targets) != n:
        raise ShapeError(f"scale_of_target: X has {n} rows, y has {len(targets)}.")
    centred = targets - targets.mean(0)
    if not float(centred.abs().max()) > 0.0:
        raise ValueError("scale_of_target: y does not vary, so it has no scale.")
    config.require_memory(
        40 * n * n, asked=f"scale_of_target of {n} rows", instead="Take some of the rows: a thousand tell most."
    )
    squares = [centred.square().sum(1)]  # as a kernel has them that says nothing: all have the mean of all rows
    best: Tensor | None = None
    for layer in range(1, len(filters) + 1):
        options = {"ndim": ndim, "channels": channels, "shape": shape, "zero_patches": "unit"}
        kernel = HierarchicalConv(tuple(filters[:layer]), kind, **options)  # type: ignore[arg-type]
        K = kernel(points).to_dense()
        K /= K.diagonal().mean()
        tried = [K] if best is None else [K, best + K]
        found: list[tuple[Tensor, Tensor | None]] = [(_squares_left_out(K, centred), K) for K in tried]
        found.append((squares[-1], best))
        errors, best = min(found, key=lambda pair: float(pair[0].sum()))
        squares.append(errors)
    table = torch.stack(squares, 1)  # (n, layers + 1)
    draws = torch.randint(n, (n_bootstrap, n), generator=generator(random_state))
    resampled = torch.stack([_shares(table[rows]) for rows in draws])
    shares = _shares(table)
    sizes = np.cumprod([f**ndim for f in filters]) * channels
    return TargetScale(
        shares.numpy(), resampled.std(0).numpy(), float(1.0 - shares.sum()), tuple(int(size) for size in sizes)
    )


def _targets(y: Any) -> Tensor:
    """``(n, t)``, float64; labels as indicators."""
    values = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if values.ndim == 1 and (values.dtype.kind in "iubUS" or (values.dtype.kind == "O" and _has_text(values))):
        return torch.from_numpy((values[:, None] == np.unique(values)).astype(np.float64))
    found = as_tensor(values, dtype=torch.float64)
    return found.unsqueeze(1) if found.dim() == 1 else found


def _has_text(values: Array) -> bool:
    return any(isinstance(value, str) for value in values)


def _squares_left_out(K: Tensor, targets: Tensor) -> Tensor:
    """Squared errors of each row by a model without it, at the best ridge ``(n,)``."""
    scale = float(K.diagonal().mean())
    errors = ridge_path(K, targets).leave_one_out((ALPHAS * scale).tolist()).square().sum(-1)  # (alphas, n)
    kept = torch.nan_to_num(errors.sum(1), nan=math.inf)
    best: Tensor = errors[int(kept.argmin())]
    return best


def _shares(table: Tensor) -> Tensor:
    total = table.sum(0)
    return (total[:-1] - total[1:]) / total[0]
