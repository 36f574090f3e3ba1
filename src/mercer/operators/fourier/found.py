"""The Fourier series that serves a kernel on its points, and what products with it are expected to be right to."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mercer.operators.fourier.differences import EmbeddedDifferences
from mercer.operators.fourier.series import MAX_MODES, FourierSeries, fourier_series
from mercer.operators.maps import Expression
from mercer.operators.operands import Operands

__all__ = ["Found", "find"]

SAMPLE = 256  # rows and columns from which the mean entry is estimated
KEPT = 8  # series remembered
FEW_MODES = 2**18  # a tenth of a second
ENTRIES_PER_MODE = 64  # beyond, tiles are through before the series is found


@dataclass(frozen=True, eq=False)
class Found:
    """A series for a kernel on its data.

    Attributes:
        series: of the kernel, for all differences of its points.
        share: what an error of entries, as a share of k(0), has to be divided by for the error of a product as a share
            of ``|K| |v|``: the mean entry over k(0), times the square root of the number of columns.
        rms: root mean square of the errors of entries over pairs of the data, as a share of k(0).
        spread: of the entries: their root mean square over their mean.
    """

    series: FourierSeries
    share: float
    rms: float
    spread: float


_found: OrderedDict[Any, Found] = OrderedDict()


def find(operands: Operands, root: Expression, tolerance: float) -> Found:
    """A series whose products are right to the tolerance, with what is expected of them; the last few are remembered.

    Args:
        operands: one matrix.
        tolerance: of entries as a share of k(0), and of products with random vectors as a share of ``|K| |v|``.

    Raises:
        NoFourierSeries: too many modes, with their number.
    """
    with torch.no_grad():
        matrix = _unbatched(operands)
        of_map = EmbeddedDifferences(matrix, root)
        extent, rows, columns = of_map.remembered("look", partial(_look, of_map))
        r = rows[:, None] - columns
        entries = of_map(r)
        origin = float(of_map(r.new_zeros(1, r.shape[-1])))
        mean = max(float(entries.abs().mean()) / abs(origin), 1.0 / operands.shape[1]) if origin else 1.0
        share = min(1.0, mean * math.sqrt(operands.shape[1]))
        target = float(f"{tolerance * share:.2g}")
        views = tuple(tuple(sorted(view.items())) for view in of_map.views.values())
        key = (root, tuple(map(float, matrix.theta)), views, tuple(extent), target, f"{share:.2g}")
        if key not in _found:
            n, m = operands.shape
            most = min(MAX_MODES, max(FEW_MODES, n * m / ENTRIES_PER_MODE))
            series = fourier_series(of_map, extent, tolerance=max(target, 1e-13), max_modes=most)
            sample = r.reshape(-1, r.shape[-1])[:: max(1, r[..., 0].numel() // 500)]
            error = (series(sample) - of_map(sample)).square().mean().sqrt()
            spread = float(entries.square().mean().sqrt()) / (mean * abs(origin))
            _found[key] = Found(series, mean * math.sqrt(operands.shape[1]), float(error) / abs(origin), spread)
            while len(_found) > KEPT:
                _found.popitem(last=False)
        _found.move_to_end(key)
        return _found[key]


def _unbatched(operands: Operands) -> Operands:
    """Operands without leading dimensions of size 1; where there are none, with the tensors themselves."""
    batch = operands.like.dim() - 2
    flat = [t.reshape(t.shape[batch:]) if batch else t for t in operands.flat()]
    matrix = operands.unflatten(flat)
    return replace(matrix, theta=tuple(t.detach() for t in matrix.theta))


def _look(of_map: EmbeddedDifferences) -> tuple[list[float], Tensor, Tensor]:
    """The largest difference of points by axis, and some points of rows and of columns, in float64."""
    left, right = of_map.points(of_map.operands.left), of_map.points(of_map.operands.rights)
    low, high = (torch.stack([getattr(side, name)(0) for side in (left, right)]) for name in ("amin", "amax"))
    extent = (high.amax(0).to(torch.float64) - low.amin(0)).tolist()
    # a little more, so that the same series serves points that moved by round-off
    extent = [float(f"{1.0001 * a + 1e-300:.5g}") * 1.0001 for a in extent]
    return extent, _some(left).to(torch.float64), _some(right).to(torch.float64)


def _some(points: Tensor) -> Tensor:
    """Some points, spread evenly over their order."""
    step = max(1, len(points) // SAMPLE)
    return points[::step][:SAMPLE]
