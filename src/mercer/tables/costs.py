"""How long the stages of a fit will take: from counts of operations, the machine's rates and a probe of its speed."""

import re
import time
from collections.abc import Callable

import numpy as np
import torch

from mercer.config import fits_memory
from mercer.kernels import Kernel
from mercer.operators.machine import rates

__all__ = ["Costs"]

CENTERS = (500, 1000, 2000, 3000, 4000, 6000, 8000, 12_000)
_PRODUCTS = 20.0  # in float32, that a preconditioned solve is worth: refinement in float64 and preconditioner included
_CENTER_PRODUCTS = 60.0
_PROBE_ROWS = 512
_PROBE_PAIRS = (512, 8192)
_EVALUATION_FLOPS = 4.0  # times n^3: a Cholesky factorisation, an inverse and the gradient's products, in float64
_ITERATES = 2.3  # of a recursive feature machine for each setting, and as many again for the first
_BYTES_A_CENTER = 24  # times the number of centres squared


class Costs:
    """Predicted seconds. ``slowness`` is what a product of matrices takes now, over what the table of rates says."""

    def __init__(self) -> None:
        self.slowness = _measure_slowness()
        self._pairs: dict[tuple[str, int, int], float] = {}

    def transforms(self, n_cells: int) -> float:
        """Fit and apply the transforms, look for leaks."""
        return 0.2 + 2e-6 * n_cells

    def ridge(self, n: int, d: int, n_targets: int) -> float:
        """A linear model by a decomposition of the features."""
        return 0.1 + (12.0 * n * d**2 / rates().cholesky_flops + 2e-8 * n * d * n_targets) * self.slowness

    def boosting(self, n: int, d: int, n_targets: int) -> float:
        """500 trees a target, from histograms."""
        return 0.5 + (5e-9 * n * d * 500.0 + 1.0) * max(1, n_targets)

    def learning(self, n_rows: int, d: int, n_steps: int) -> float:
        """Steps on the marginal likelihood."""
        step = _EVALUATION_FLOPS * n_rows**3 / rates().cholesky_flops + 40.0 * n_rows**2 * (1.0 + d / 20.0) / 1e9
        return (0.02 + step) * n_steps * self.slowness

    def exact(self, kernel: Kernel, X: np.ndarray, n_targets: int) -> float:
        """Solve with the kernel matrix of all rows."""
        n = len(X)
        direct = n**3 / 3.0 / rates().cholesky_flops if fits_memory(16 * n * n) else np.inf
        products = 0.5 * n**2 * self.pair(kernel, X, n_targets) * _PRODUCTS  # a symmetric matrix is visited in one half
        return 0.1 + float(min(direct * self.slowness, products))

    def centers(self, kernel: Kernel, X: np.ndarray, n_centers: int, n_targets: int) -> float:
        """Fit with some centres, by a normal matrix or by products, whichever is faster."""
        n, flops = len(X), rates().cholesky_flops
        direct = 3.0 * n * n_centers**2 / flops * self.slowness
        products = n * n_centers * self.pair(kernel, X, n_targets) * _CENTER_PRODUCTS
        products += 3.0 * min(n, 2 * n_centers) * n_centers**2 / flops * self.slowness
        return 0.1 + min(direct, products)

    def features(self, n_rows: int, d: int, n_targets: int, n_settings: int, *, leave_one_out: bool) -> float:
        """Metrics learnt on some rows with so many settings, judged on as many others or by leaving one out."""
        factor = n_rows**3 / 3.0 / (2.0 * rates().cholesky_flops)  # in float32
        pairs = 2.0 * n_rows**2 * (2.0 * d / rates().gemm_flops + 12.0 / rates().elementwise)
        slopes = min(factor, 2.0 * n_rows**2 * n_targets * (d + 1) / rates().gemm_flops)
        directions = 10.0 * d**3 / rates().cholesky_flops
        iterate = 0.005 + (3.0 if leave_one_out else 1.0) * factor + pairs + slopes + directions
        return 0.1 + _ITERATES * (n_settings + 1) * iterate * self.slowness

    def pair(self, kernel: Kernel, X: np.ndarray, n_targets: int) -> float:
        """Seconds for one kernel entry in a product, measured on some of the rows; kept for the kernel's form."""
        key = (re.sub(r"[\d.e-]+", "", repr(kernel)), X.shape[1], n_targets)
        if key not in self._pairs:
            points = torch.as_tensor(X[: _PROBE_PAIRS[1]])
            K = kernel(points[: _PROBE_PAIRS[0]], points, plan="tiles")
            v = torch.ones(len(points), n_targets, dtype=points.dtype)
            seconds = _time(lambda: K @ v, times=5)
            self._pairs[key] = float(np.median(seconds)) / K.shape.numel()
        return self._pairs[key]

    def most_centers(self, kernel: Kernel, X: np.ndarray, n_targets: int, *, seconds: float) -> int:
        """The most centres that fit into these seconds and into memory, between 500 and 12,000."""
        fitting = [
            m
            for m in CENTERS
            if m < len(X) and fits_memory(_BYTES_A_CENTER * m * m) and self.centers(kernel, X, m, n_targets) <= seconds
        ]
        return fitting[-1] if fitting else min(CENTERS[0], len(X))


def _measure_slowness() -> float:
    """A product of 512 x 512 matrices now, over what the table of rates predicts: 1 on a quiet machine like it."""
    A = torch.full((_PROBE_ROWS, _PROBE_ROWS), 0.5)
    # Between the least wall time, which others did not disturb, and the median, which they did for a moment.
    seconds = float(np.quantile(_time(lambda: A @ A, times=15), 0.25))
    return float(np.clip(seconds * rates().gemm_flops / (2.0 * _PROBE_ROWS**3), 0.2, 10.0))


def _time(work: Callable[[], object], *, times: int) -> list[float]:
    """Wall seconds of each repetition but the first."""
    seconds = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]
