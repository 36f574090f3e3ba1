"""Kernel density estimation."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator
from sklearn.neighbors import KernelDensity as Trees
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import MissingExtra
from mercer.learn.density_regions import intervals_above, quantile
from mercer.learn.density_shapes import NAMES, Shape, shape_of
from mercer.learn.inputs import as_given, as_weights, check_data
from mercer.learn.intervals import check_level
from mercer.learn.random_states import as_random_state
from mercer.learn.saving import Saved

__all__ = ["KernelDensity"]

_RULES = ("scott", "silverman", "leave_one_out")
_ALGORITHMS = ("auto", "tiles", "fourier", "kd_tree", "ball_tree")
_RANGE = (0.01, 100.0)  # of leave-one-out bandwidths, as multiples of Scott's rule times the standard deviation
_FOURIER_PAIRS = 1 << 28  # below, tiles take less time than the look for a Fourier series


class KernelDensity(Saved, BaseEstimator):
    r"""Kernel density estimate of any number of rows, by logarithms throughout: no density underflows.

    .. math:: f(x) = \sum_i \frac{w_i}{C \prod_j h_j} \; k\!\left(\frac{x - x_i}{h}\right), \quad \sum_i w_i = 1, \quad
        C = \int k(u)\, du

    Stands in for ``sklearn.neighbors.KernelDensity``: arguments and the six kernel names are the same. Beyond them:
    a bandwidth a column, one by leave-one-out likelihood, any stationary mercer kernel with a known integral, and
    non-uniform FFTs for millions of points in one to three columns.

    Args:
        bandwidth: h > 0 in the units of the columns: one number, or one a column; it multiplies the lengthscales of a
            mercer kernel. "scott" and "silverman" are scikit-learn's rules, ``n^(-1/(d + 4))`` and
            ``(n (d + 2) / 4)^(-1/(d + 4))``, which suit columns of variance 1. "leave_one_out": the standard deviation
            of each column, times the number under which rows are most likely given all others.
        algorithm: "tiles": exact. "fourier": non-uniform FFTs, to ``rtol``, recomputed by tiles where that fails.
            "auto": "fourier" only where ``atol`` or ``rtol`` allows errors and it is faster. scikit-learn's "kd_tree"
            and "ball_tree" mean "tiles" with the Euclidean metric.
        kernel: "gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"; a mercer kernel or its text.
        metric: "euclidean"; scikit-learn's others go to its trees, with its kernel names, and are not normalised.
        atol, rtol: errors allowed in the density; 0 is exact, except that "fourier" takes rtol = 1e-6 for 0.
        breadth_first, leaf_size, metric_params: of scikit-learn's trees, for other metrics.

    Attributes:
        bandwidth_: the bandwidth, a number or an array ``(d,)``.
        X_fit_: the rows.

    Raises:
        ValueError: in ``fit``, a bandwidth that is not positive, a kernel that is no density, "leave_one_out" of a
            column that is constant.

    Cost: n pairs for each new point; "leave_one_out" takes about 20 passes over n^2 / 2 pairs; "fourier" hardly depends
    on n times m: it is linear in both.
    Source: Silverman, Density estimation for statistics and data analysis (1986), sections 3.4 and 4.2.

    >>> X = np.random.default_rng(0).normal(size=(1000, 1))
    >>> model = KernelDensity(bandwidth="leave_one_out").fit(X)
    >>> abs(model.score_samples([[0.0]]) + 0.92) < 0.1  # log of a normal density at 0
    array([ True])
    """

    def __init__(
        self,
        *,
        bandwidth: Any = 1.0,
        algorithm: str = "auto",
        kernel: Any = "gaussian",
        metric: str = "euclidean",
        atol: float = 0,
        rtol: float = 0,
        breadth_first: bool = True,
        leaf_size: int = 40,
        metric_params: dict[str, Any] | None = None,
    ) -> None:
        self.bandwidth = bandwidth
        self.algorithm = algorithm
        self.kernel = kernel
        self.metric = metric
        self.atol = atol
        self.rtol = rtol
        self.breadth_first = breadth_first
        self.leaf_size = leaf_size
        self.metric_params = metric_params

    _not_saved = ("_trees",)

    # fitting

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Keep the rows, and choose the bandwidth.

        Args:
            X: ``(n, d)`` array, table or tensor.
            y: ignored.
            sample_weight: ``(n,)``, >= 0; a row of weight 2 counts as two rows.
        """
        self._check_arguments()
        given = check_data(self, X, reset=True)
        weights = as_weights(sample_weight, given)
        self.X_fit_ = given.keep(copy=True)
        self._weights = None if weights is None else weights / weights.sum()
        if self.metric != "euclidean":
            self.bandwidth_ = self._by_rule(len(given))
            self._grow_trees()
            return self
        shape_of(self.kernel, self._d)  # raises for a kernel that is no density
        if isinstance(self.bandwidth, str) and self.bandwidth == "leave_one_out":
            self.bandwidth_ = self._by_likelihood()
        else:
            self.bandwidth_ = self._by_rule(len(given))
        return self

    def _check_arguments(self) -> None:
        if self.algorithm not in _ALGORITHMS:
            raise ValueError(f"algorithm={self.algorithm!r}: choose one of {', '.join(_ALGORITHMS)}.")
        if isinstance(self.bandwidth, str):
            if self.bandwidth not in _RULES:
                raise ValueError(f"bandwidth={self.bandwidth!r}: give a number > 0, or one of {', '.join(_RULES)}.")
        else:
            h = as_tensor(self.bandwidth, dtype=torch.float64)
            if h.dim() > 1 or not bool((torch.isfinite(h) & (h > 0.0)).all()):
                raise ValueError(
                    f"bandwidth={self.bandwidth!r}: it must be > 0 and finite, one number or one a column. A bandwidth "
                    f"of 0 would put all probability on the rows themselves."
                )
        if not (self.atol >= 0.0 and self.rtol >= 0.0):
            raise ValueError(f"atol={self.atol!r} and rtol={self.rtol!r} must be >= 0.")
        if self.metric == "euclidean":
            return
        trees = f"metric={self.metric!r} goes to scikit-learn's trees, which"
        if self.algorithm in ("tiles", "fourier"):
            raise ValueError(f"{trees} have no algorithm={self.algorithm!r}. Use 'auto', or metric='euclidean'.")
        if not isinstance(self.kernel, str) or self.kernel not in NAMES:
            raise ValueError(f"{trees} know the kernels {', '.join(NAMES)}, not {self.kernel!r}.")
        if isinstance(self.bandwidth, str) and self.bandwidth == "leave_one_out":
            raise ValueError(f"bandwidth='leave_one_out' needs metric='euclidean', not {self.metric!r}.")

    @property
    def _d(self) -> int:
        return int(self.X_fit_.shape[1])

    def _by_rule(self, n: int) -> Any:
        d = self._d
        if isinstance(self.bandwidth, str):
            per_row = 1.0 if self.bandwidth == "scott" else (d + 2) / 4
            return (n * per_row) ** (-1 / (d + 4))
        h = as_tensor(self.bandwidth, dtype=torch.float64)
        if h.dim() == 0:
            return self.bandwidth
        if len(h) != d or self.metric != "euclidean":
            raise ValueError(
                f"bandwidth has {len(h)} numbers, but X has {d} columns and the metric is {self.metric}. Give one "
                f"number, or (Euclidean) one for each column."
            )
        return h.numpy()

    def _by_likelihood(self) -> NDArray[np.float64]:
        """One multiple of the columns' standard deviations: the best under leave-one-out, by Brent's method."""
        X = as_tensor(self.X_fit_).double()
        n = len(X)
        w = self._weights
        mean = X.mean(0) if w is None else w @ X
        square = (X - mean).square()
        spread = (square.mean(0) if w is None else w @ square).sqrt()
        constant = spread <= 1e-12 * X.abs().amax(0)
        if n < 2 or bool(constant.any()):
            where = constant.nonzero().flatten().tolist()
            raise ValueError(
                f"bandwidth='leave_one_out': columns {where} (counted from 0) of X are constant, so that no bandwidth "
                f"is wrong there. Leave them out, or give bandwidth as numbers."
                if n > 1
                else "bandwidth='leave_one_out' needs at least two rows."
            )
        start = (spread * n ** (-1 / (self._d + 4))).numpy()

        def loss(log_multiple: float) -> float:
            self.bandwidth_ = start * math.exp(log_multiple)
            values = self._leave_one_out()
            mean = values.mean() if w is None else (w * values)[w > 0].sum()
            return -max(float(mean), -1e300)  # -inf would stop the search: compact kernels that are too narrow

        low, high = (math.log(c) for c in _RANGE)
        found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
        if found.x - low < 0.01:
            raise ValueError(
                "bandwidth='leave_one_out': the likelihood grows without end as the bandwidth falls, because most rows "
                "of X have equals among the others. Give a bandwidth, or count equal rows by sample_weight."
            )
        return np.asarray(start * math.exp(found.x))

    # densities

    def score_samples(self, X: Any) -> Any:
        """The logarithm of the density at each row of X, ``(m,)``; -inf outside the support of a compact kernel."""
        check_is_fitted(self)
        given = check_data(self, X, reset=False)
        if self.metric != "euclidean":
            points = given.points.double().cpu().numpy()
            return given.answer(torch.from_numpy(self._trees.score_samples(points)))
        return given.answer(self._log_density(given.points))

    def score(self, X: Any, y: Any = None) -> float:
        """The sum of :meth:`score_samples`: the log-likelihood of the rows of X."""
        return float(as_tensor(self.score_samples(X), dtype=torch.float64).sum())

    def leave_one_out(self) -> Any:
        """For every training row the log density of a model made without it, ``(n,)``, float64.

        Cost: one pass over n^2 / 2 pairs.
        """
        check_is_fitted(self)
        self._require_euclidean("leave_one_out")
        values = self._leave_one_out()
        return as_given(values, isinstance(self.X_fit_, Tensor))

    def _log_density(self, Z: Tensor) -> Tensor:
        shape, X = self._shape(), as_tensor(self.X_fit_)
        dtype = torch.promote_types(torch.promote_types(Z.dtype, X.dtype), torch.float32)
        Z, X = self._scaled(Z.to(device=X.device, dtype=dtype)), self._scaled(X.to(dtype))
        pairs = len(Z) * len(X)
        loose = self.atol > 0.0 or self.rtol > 0.0
        if self.algorithm == "fourier" or (self.algorithm == "auto" and loose and pairs >= _FOURIER_PAIRS):
            found = self._by_fourier(shape, Z.double(), X.double())
            if found is not None:
                return found
        return self._by_tiles(shape, Z, X)

    def _by_tiles(self, shape: Shape, Z: Tensor, X: Tensor) -> Tensor:
        logs = shape.kernel(Z, X).with_plan("tiles").logsumexp(self._log_weights(X))
        return logs.double() - self._log_volume(shape)

    def _by_fourier(self, shape: Shape, Z: Tensor, X: Tensor) -> Tensor | None:
        """Sums by non-uniform FFT; rows where their error is too large once more by tiles. None where it cannot."""
        rtol = self.rtol if self.rtol > 0.0 or self.atol > 0.0 else 1e-6
        own = float(shape.kernel(X[:1]).diagonal()[0])
        unit = own * math.exp(-self._log_volume(shape))  # the density that one row of weight 1 would have
        # Six digits beyond rtol, so that sums down to a millionth of k(0) are right to rtol.
        tolerance = min(max(1e-6 * rtol, 0.1 * self.atol / unit, 1e-12), 1e-3)
        try:
            if shape.slow_decay:
                raise ValueError(f"the spectrum of kernel={self.kernel!r} decays too slowly for Fourier series.")
            K = shape.kernel(Z, X).with_plan("fourier", tolerance=tolerance)
        except (ValueError, MissingExtra):
            if self.algorithm == "fourier":
                raise
            return None
        sums = K @ self._log_weights(X).exp()
        logs = sums.clamp(min=1e-300).log() - self._log_volume(shape)
        doubtful = tolerance * unit > self.atol + rtol * logs.exp()
        if bool(doubtful.any()):
            logs[doubtful] = self._by_tiles(shape, Z[doubtful], X)
        return logs

    def _leave_one_out(self) -> Tensor:
        shape, X = self._shape(), self._scaled(as_tensor(self.X_fit_).double())
        logs = shape.kernel(X).logsumexp(self._log_weights(X), exclude_self=True)
        n = len(X)
        others = -torch.log1p(-self._weights) if self._weights is not None else math.log(n / (n - 1)) if n > 1 else 0.0
        return logs + others - self._log_volume(shape)

    def _shape(self) -> Shape:
        return shape_of(self.kernel, self._d)

    def _scaled(self, points: Tensor) -> Tensor:
        return points / as_tensor(self.bandwidth_, dtype=points.dtype, device=points.device)

    def _log_weights(self, X: Tensor) -> Tensor:
        if self._weights is None:
            return X.new_full((len(X),), -math.log(len(X)))
        return self._weights.log().to(X)

    def _log_volume(self, shape: Shape) -> float:
        h = np.broadcast_to(np.asarray(self.bandwidth_, dtype=np.float64), (self._d,))
        return shape.log_integral + float(np.log(h).sum())

    # draws and regions

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Rows drawn from the density, ``(n_samples, d)``; the same as scikit-learn's for its two kernels that can.

        Raises:
            NotImplementedError: another metric, or a kernel other than the six names, RBF, Matern, Laplacian and
                RationalQuadratic.
        """
        check_is_fitted(self)
        if self.metric != "euclidean":
            drawn = self._trees.sample(n_samples, as_random_state(random_state))
        else:
            drawn = self._draw(n_samples, as_random_state(random_state))
        return as_tensor(drawn).to(self.X_fit_) if isinstance(self.X_fit_, Tensor) else drawn

    def _draw(self, n: int, rng: np.random.RandomState) -> NDArray[np.float64]:
        draw = self._shape().draw
        if draw is None:
            raise NotImplementedError(
                f"sample: how to draw from kernel={self.kernel!r} is not known. Use one of {', '.join(NAMES)}, RBF, "
                f"Matern, Laplacian or RationalQuadratic."
            )
        X = as_tensor(self.X_fit_).double().cpu().numpy()
        u = rng.uniform(0, 1, size=n)
        if self._weights is None:
            rows = (u * len(X)).astype(np.int64)
        else:
            total = np.cumsum(self._weights.cpu().numpy())
            rows = np.minimum(np.searchsorted(total, u * total[-1]), len(X) - 1)
        return X[rows] + np.asarray(self.bandwidth_) * draw(rng, n)

    def highest_density(self, level: float = 0.9, *, n_samples: int = 10_000, random_state: Any = 0) -> float:
        """The log density above which lies the share ``level`` of the probability: the smallest region that holds it.

        A row is in the region when its :meth:`score_samples` is at least this number.

        Args:
            level: between 0 and 1.
            n_samples: draws from the density whose quantile this is; its error in ``level`` is about
                ``sqrt(level (1 - level) / n_samples)``.
            random_state: of the draws.

        Raises:
            ValueError: a level outside (0, 1).
            NotImplementedError: a kernel that :meth:`sample` does not know, or another metric.

        Source: Hyndman, Computing and graphing highest density regions (1996).
        """
        level = check_level(level, "level")
        check_is_fitted(self)
        self._require_euclidean("highest_density")
        drawn = torch.from_numpy(self._draw(n_samples, as_random_state(random_state)))
        return quantile(self._log_density(drawn).cpu(), 1.0 - level)

    def highest_density_intervals(self, level: float = 0.9, *, n_samples: int = 10_000, random_state: Any = 0) -> Any:
        """The region of :meth:`highest_density` for one column, ``(k, 2)``: k intervals, from left to right.

        Raises:
            ValueError: more than one column, or a level outside (0, 1).
        """
        check_is_fitted(self)
        if self._d != 1:
            raise ValueError(
                f"highest_density_intervals needs one column, and X has {self._d}. Use highest_density(level), and "
                f"score_samples(grid) >= it."
            )
        threshold = self.highest_density(level, n_samples=n_samples, random_state=random_state)
        h = float(np.max(self.bandwidth_))
        X = as_tensor(self.X_fit_).double().cpu().flatten()
        return intervals_above(lambda z: self._log_density(z[:, None]).cpu(), threshold, X, step=0.1 * h)

    # other metrics

    def _require_euclidean(self, what: str) -> None:
        if self.metric != "euclidean":
            raise NotImplementedError(f"{what} needs metric='euclidean', not {self.metric!r}: others are no densities.")

    def _grow_trees(self) -> None:
        trees = Trees(
            bandwidth=self.bandwidth_,
            algorithm=self.algorithm,
            kernel=self.kernel,
            metric=self.metric,
            atol=self.atol,
            rtol=self.rtol,
            breadth_first=self.breadth_first,
            leaf_size=self.leaf_size,
            metric_params=self.metric_params,
        )
        weights = None if self._weights is None else self._weights.cpu().numpy()
        self._trees = trees.fit(as_tensor(self.X_fit_).double().cpu().numpy(), sample_weight=weights)

    def _restore(self) -> None:
        if hasattr(self, "X_fit_") and self.metric != "euclidean":
            self._grow_trees()
