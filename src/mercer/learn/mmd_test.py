"""A test whether two samples come from one distribution."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.config import fits_memory, memory_budget
from mercer.kernels import Kernel
from mercer.learn.inputs import check_data
from mercer.learn.permutation import STORED, Array, PermutationTest, resolve_kernels
from mercer.learn.random_states import as_random_state
from mercer.learn.witness_plot import draw_witness

__all__ = ["MMDTest"]


class MMDTest(PermutationTest):
    r"""Two-sample test by the maximum mean discrepancy, with p-values from permutations: exact at any sample size.

    .. math:: \mathrm{MMD}^2 = E\, k(x, x') + E\, k(y, y') - 2\, E\, k(x, y)

    One pass over the kernel matrix of both samples gives the statistic under many permutations: they are the columns of
    one right-hand side. Beyond 4000 points the matrix is not stored.

    Args:
        kernel: "median": RBF with the median distance as lengthscale. "aggregate": twenty kernels from fine to coarse,
            for differences of unknown scale. A mercer kernel or its text; or a list of kernels, which are aggregated:
            the smallest of their p-values, calibrated by the same permutations, so the level is kept.
        statistic: "unbiased" leaves out pairs of a point with itself; "biased" counts them.
        n_permutations: the smallest possible p-value is 1 / (n_permutations + 1).
        level: the probability of rejecting equal distributions, at most.
        random_state: of the permutations.

    Attributes:
        p_value_: the share of permutations, the data among them, whose statistic is as large.
        rejected_: whether ``p_value_ <= level``.
        statistic_: MMD^2, one for each kernel, ``(k,)``.
        kernel_p_values_: of each kernel alone, ``(k,)``; not corrected for their number.
        null_: statistics of the permutations, ``(k, n_permutations)``.
        kernels_: the kernels.

    Cost: for each kernel one pass over (n + m)^2 / 2 pairs with n_permutations + 1 columns, in float64; memory
    8 (n + m) bytes a permutation, in parts where that passes the budget.
    Source: Gretton et al., A kernel two-sample test, JMLR 13 (2012), lemma 6; Schrab et al., MMD aggregated two-sample
    test, JMLR 24 (2023).

    >>> rng = np.random.default_rng(0)
    >>> test = MMDTest().fit(rng.normal(size=(100, 2)), rng.normal(0.8, 1.0, size=(80, 2)))
    >>> test.rejected_, round(test.p_value_, 3)
    (True, 0.002)
    """

    def __init__(
        self,
        kernel: Any = "median",
        *,
        statistic: str = "unbiased",
        n_permutations: int = 500,
        level: float = 0.05,
        random_state: Any = 0,
    ) -> None:
        self.kernel = kernel
        self.statistic = statistic
        self.n_permutations = n_permutations
        self.level = level
        self.random_state = random_state

    def fit(self, X: Any, Y: Any) -> Self:
        """Test whether the rows of X and the rows of Y come from one distribution.

        Args:
            X: ``(n, d)``, n >= 2.
            Y: ``(m, d)``, m >= 2.

        Raises:
            ValueError: samples of one point, other columns, NaN, bad arguments.
        """
        self._check_arguments()
        left, right = check_data(self, X, reset=True), check_data(self, Y, reset=False)
        n, m = len(left), len(right)
        if min(n, m) < 2:
            raise ValueError(f"MMDTest needs at least two points in each sample, and has {n} and {m}.")
        rng = as_random_state(self.random_state)
        Z = torch.cat([left.points.double(), right.points.double().to(left.device)])
        self.kernels_ = resolve_kernels(self.kernel, Z, random_state=rng)
        chosen = np.stack([np.arange(n)] + [rng.permutation(n + m)[:n] for _ in range(int(self.n_permutations))])
        groups = torch.from_numpy(chosen).to(Z.device)  # (1 + permutations, n): the rows that count as the first sample
        self.X_fit_, self.Y_fit_ = left.keep(copy=True), right.keep(copy=True)
        members = _members(groups, n + m) if fits_memory(64 * (n + m) * len(groups)) else None
        self._conclude(np.stack([self._statistics(kernel, Z, groups, members) for kernel in self.kernels_]))
        return self

    def _statistics(self, kernel: Kernel, Z: Tensor, groups: Tensor, members: Tensor | None) -> Array:
        """MMD^2 of every grouping, ``(1 + permutations,)``; ``members`` of all groups, None to make them in parts."""
        n, m = groups.shape[1], len(Z) - groups.shape[1]
        K: Any = kernel(Z)
        if len(Z) <= STORED and fits_memory(8 * len(Z) ** 2):
            K = K.to_dense()
        rows = K @ Z.new_ones(len(Z))
        both = torch.stack([rows, K.diagonal()])
        parts = groups.split(max(1, memory_budget() // (64 * len(Z)))) if members is None else [groups]
        within, sums = [], []
        for some in parts:
            chosen = _members(some, len(Z)) if members is None else members
            within.append((chosen * (K @ chosen)).sum(0))
            sums.append(both @ chosen)
        first, (whole, mine) = torch.cat(within), torch.cat(sums, 1)
        between = whole - first
        second = rows.sum() - first - 2.0 * between
        pairs = (float(n) ** 2, float(m) ** 2)
        if self.statistic == "unbiased":
            first, second = first - mine, second - (both[1].sum() - mine)
            pairs = (float(n) * (n - 1), float(m) * (m - 1))
        return np.asarray((first / pairs[0] + second / pairs[1] - 2.0 * between / (float(n) * m)).cpu())

    def witness(self, Z: Any) -> Any:
        """Where the samples differ, ``(m,)``: positive where X has more mass than Y, negative where Y has more.

        The difference of the mean embeddings, of the kernel with the smallest p-value.

        Args:
            Z: ``(m, d)``.
        """
        check_is_fitted(self)
        given = check_data(self, Z, reset=False)
        # Among kernels with the smallest p-value the one that is furthest out, in deviations of its permutations.
        spread = np.maximum(self.null_.std(axis=1), 1e-300)
        out = (self.statistic_ - self.null_.mean(axis=1)) / spread
        best = self.kernel_p_values_ == self.kernel_p_values_.min()
        kernel = self.kernels_[int(np.argmax(np.where(best, out, -np.inf)))]
        points = given.points.double()
        X, Y = (as_tensor(S, dtype=torch.float64).to(points.device) for S in (self.X_fit_, self.Y_fit_))
        mean = [kernel.mean_embedding(S)(points) for S in (X, Y)]
        return given.answer(mean[0] - mean[1])

    def plot_witness(self, ax: Any = None) -> Any:
        """Draw the samples and :meth:`witness` for one or two columns; gives the matplotlib axes.

        Args:
            ax: axes to draw on; None makes a figure.

        Raises:
            ValueError: more than two columns.
            MissingExtra: matplotlib is not installed.
        """
        check_is_fitted(self)
        X, Y = (as_tensor(S, dtype=torch.float64).cpu().numpy() for S in (self.X_fit_, self.Y_fit_))
        return draw_witness(self.witness, X, Y, ax)


def _members(groups: Tensor, n: int) -> Tensor:
    """Groups of rows ``(count, size)`` as columns of ones and zeros, ``(n, count)``."""
    members = torch.zeros(n, len(groups), dtype=torch.float64, device=groups.device)
    return members.scatter_(0, groups.mT, 1.0)
