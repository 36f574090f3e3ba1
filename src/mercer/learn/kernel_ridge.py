"""Kernel ridge regression."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin

from mercer.learn.inputs import as_targets, as_weights, check_data
from mercer.learn.model import RidgeModel

__all__ = ["KernelRidge"]


class KernelRidge(MultiOutputMixin, RegressorMixin, RidgeModel):
    r"""Kernel ridge regression: exact for any number of rows that time allows, or from some centres.

    .. math:: \min_f \sum_i s_i (y_i - f(x_i))^2 + \alpha \lVert f \rVert^2

    A kernel of few features (linear, polynomial of few columns) is solved over the features, any other over the rows,
    by Cholesky or conjugate gradients (:func:`mercer.operators.solve`); ``solver_`` says which and why. With
    ``n_centers`` the function is a combination of that many kernels instead of one a row, and memory is linear in the
    rows.

    Stands in for ``sklearn.kernel_ridge.KernelRidge``: arguments before ``n_centers`` are the same.

    Args:
        alpha: >= 0, in the units of the kernel times the weights; one, or one for each target.
        kernel: a mercer kernel or its text (``"2 * RBF(0.3) + Linear()"``); "linear", "rbf", "laplacian", "poly",
            "sigmoid", "cosine", "chi2", "additive_chi2"; "precomputed"; a function of two points; a kernel object of
            ``sklearn.gaussian_process``.
        gamma, degree, coef0: of the named kernels; gamma None is 1 / number of columns.
        kernel_params: keyword arguments of a kernel that is a function.
        n_centers: how many of the rows are centres; None is exact.
        center_sampling: "uniform", or "pivoted": rows that the others explain least (randomly pivoted Cholesky).
        rtol: relative residual of the linear system.
        random_state: of centres and preconditioner.

    Attributes:
        dual_coef_: float64, ``(n,)`` or ``(n, t)``; with ``n_centers`` of the centres.
        X_fit_: the rows, or the centres.
        center_indices_: the rows that are centres, ``(n_centers,)``.
        kernel_: the kernel as mercer has it; None for "precomputed".
        solver_, residual_, n_iter_: how the system was solved, to which relative residual, in how many iterations; with
            several alphas the largest numbers.

    Raises:
        NotConverged: in ``fit``, when ``rtol`` is not reached.
        MemoryBudgetError: in ``fit``, before anything is allocated.

    >>> X = np.linspace(0.0, 6.0, 200)[:, None]
    >>> model = KernelRidge(alpha=1e-3, kernel="rbf", gamma=1.0).fit(X, np.sin(X[:, 0]))
    >>> bool(abs(model.predict([[1.5]])[0] - np.sin(1.5)) < 1e-3)
    True
    """

    def __init__(
        self,
        alpha: Any = 1,
        *,
        kernel: Any = "linear",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict[str, Any] | None = None,
        n_centers: int | None = None,
        center_sampling: str = "uniform",
        rtol: float = 1e-6,
        random_state: Any = 0,
    ) -> None:
        self.alpha = alpha
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_centers = n_centers
        self.center_sampling = center_sampling
        self.rtol = rtol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from all rows.

        Args:
            X: ``(n, d)`` array, table, tensor or scipy sparse matrix; ``(n, n)`` for "precomputed".
            y: ``(n,)`` or ``(n, t)``.
            sample_weight: ``(n,)``, >= 0, or one number for all; a row of weight 2 counts as two rows.
        """
        given, y = check_data(self, X, y, reset=True, accept_sparse=True, multi_output=True, y_numeric=True)
        Y, is_vector = as_targets(y, given.device)
        weights = as_weights(sample_weight, given)
        alphas = self._alphas(Y.shape[1])
        similarity = self._similarity(given)
        self._remember(given, Y, weights, self._solve(similarity, given, Y, weights, alphas), is_vector)
        return self

    def predict(self, X: Any, interval: float | None = None) -> Any:
        """The function at each row of X, ``(m,)`` or ``(m, t)``.

        Args:
            X: ``(m, d)``; for "precomputed" the kernel values ``(m, n)``.
            interval: a share such as 0.9: also give the limits between which so many truths lie.

        Returns:
            The prediction; with ``interval`` a triple (prediction, lower, upper). Its width is the same everywhere: the
            quantile of the errors of :meth:`leave_one_out`. It holds for rows drawn like the training rows and kernels
            not tuned on them to the last; for rows in time or groups use :class:`SplitConformal` on later rows.
        """
        return self._predict(X, interval)

    def _alphas(self, n_targets: int) -> list[float]:
        alphas = np.atleast_1d(np.asarray(self.alpha, dtype=np.float64))
        if alphas.ndim != 1 or len(alphas) not in (1, n_targets):
            raise ValueError(
                f"alpha must be one number, or one for each of the {n_targets} targets, not {self.alpha!r}."
            )
        if not (np.isfinite(alphas).all() and (alphas >= 0).all()):
            raise ValueError(f"alpha must be >= 0 and finite, not {self.alpha!r}.")
        return [float(a) for a in (alphas if len(alphas) > 1 else alphas.repeat(n_targets))]
