"""A test whether two variables, measured together, depend on each other."""

from __future__ import annotations

from itertools import product
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mercer.arrays import check_finite
from mercer.config import fits_memory
from mercer.kernels import Kernel
from mercer.learn.inputs import as_targets, check_data
from mercer.learn.permutation import STORED, Array, PermutationTest, resolve_kernels
from mercer.learn.random_states import as_random_state

__all__ = ["HSICTest"]

_TOGETHER = 2 * 10**6  # permuted entries handled at a time


class HSICTest(PermutationTest):
    r"""Independence test by the Hilbert-Schmidt criterion, with p-values from permutations of one variable.

    .. math:: \mathrm{HSIC} = \frac{1}{n^2} \mathrm{tr}(K H L H), \quad H = I - \tfrac1n 1 1^T

    K and L are the kernel matrices of the two variables. Zero, in the limit of many rows, only for independent
    variables (RBF, Matern, Laplacian kernels), whatever the form of the dependence.

    Args:
        kernel: of X: "median", "aggregate", a kernel, its text, or a list; as for :class:`MMDTest`.
        kernel_y: of y, likewise. Every pair of kernels is tried, and the smallest p-value calibrated.
        statistic: "unbiased" (Song et al. 2012, eq. 5) or "biased".
        n_permutations: the smallest possible p-value is 1 / (n_permutations + 1).
        level: the probability of rejecting independence where it holds, at most.
        random_state: of the permutations.

    Attributes:
        p_value_: the share of permutations, the data among them, whose statistic is as large.
        rejected_: whether ``p_value_ <= level``.
        statistic_: HSIC, one for each pair of kernels, ``(k,)``.
        kernel_p_values_: of each pair alone, ``(k,)``.
        null_: statistics of the permutations, ``(k, n_permutations)``.
        kernels_: the pairs of kernels.

    Cost: n^2 pairs for each permutation; up to 4000 rows both matrices are stored, if they fit the memory budget.
    Source: Gretton et al., A kernel statistical test of independence (NIPS 2007); Song et al., Feature selection via
    dependence maximization, JMLR 13 (2012).

    >>> x = np.random.default_rng(0).normal(size=(60, 1))
    >>> HSICTest().fit(x, x[:, 0] ** 2).rejected_  # of correlation 0
    True
    """

    def __init__(
        self,
        kernel: Any = "median",
        *,
        kernel_y: Any = "median",
        statistic: str = "unbiased",
        n_permutations: int = 500,
        level: float = 0.05,
        random_state: Any = 0,
    ) -> None:
        self.kernel = kernel
        self.kernel_y = kernel_y
        self.statistic = statistic
        self.n_permutations = n_permutations
        self.level = level
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Test whether the rows of X and of y are independent.

        Args:
            X: ``(n, d)``, n >= 4.
            y: ``(n,)`` or ``(n, q)``, numbers.

        Raises:
            ValueError: fewer than four rows, NaN, bad arguments.
        """
        self._check_arguments()
        given, targets = check_data(self, X, y, reset=True, multi_output=True, y_numeric=True)
        left, right = given.points.double(), as_targets(targets, given.device)[0]
        check_finite(right, "y")
        if len(left) < 4:
            raise ValueError(f"HSICTest needs at least four rows, and has n_samples = {len(left)}.")
        rng = as_random_state(self.random_state)
        kernels = resolve_kernels(self.kernel, left, random_state=rng)
        self.kernels_ = list(product(kernels, resolve_kernels(self.kernel_y, right, random_state=rng)))
        orders = [np.arange(len(left))] + [rng.permutation(len(left)) for _ in range(int(self.n_permutations))]
        permutations = torch.from_numpy(np.stack(orders)).to(left.device)
        self._conclude(np.stack([self._statistics(*pair, left, right, permutations) for pair in self.kernels_]))
        return self

    def _statistics(self, kernel: Kernel, other: Kernel, X: Tensor, Y: Tensor, permutations: Tensor) -> Array:
        """HSIC with y in every order, ``(1 + permutations,)``, from sums of K * L: centring needs row sums only."""
        K, L, n = kernel(X), other(Y), len(X)
        ones = X.new_ones(n)
        left, right, own, other_own = K @ ones, L @ ones, K.diagonal(), L.diagonal()
        sums = _sums_of_products(kernel, other, X, Y, permutations)
        if self.statistic == "unbiased":
            sums = sums - other_own[permutations] @ own
            left, right = left - own, right - other_own
            ends, middle, scale = (n - 1) * (n - 2), n - 2, n * (n - 3)
        else:
            ends, middle, scale = n * n, n, n * n
        centred = sums + left.sum() * right.sum() / ends - 2.0 / middle * (right[permutations] @ left)
        return np.asarray((centred / scale).cpu())


def _sums_of_products(kernel: Kernel, other: Kernel, X: Tensor, Y: Tensor, permutations: Tensor) -> Tensor:
    """``sum_ij K_ij L_p(i)p(j)`` for every permutation p."""
    n = len(X)
    if n <= STORED and fits_memory(32 * n * n):
        K, L = kernel(X).to_dense().flatten(), other(Y).to_dense()
        parts = permutations.split(max(1, _TOGETHER // n**2))
        return torch.cat([L[p[:, :, None], p[:, None, :]].flatten(1) @ K for p in parts])
    d, q = X.shape[1], Y.shape[1]
    joint = kernel.on(list(range(d))) * other.on(list(range(d, d + q)))
    ones = X.new_ones(n)
    return torch.stack([(joint(torch.cat([X, Y[p]], 1)) @ ones).sum() for p in permutations])
