"""The one ridge core: over features or over rows, whichever is cheaper, for one alpha or for all of them.

Minimises ``sum_i s_i (y_i - f(x_i))^2 + alpha |f|^2``. Over rows (dual): ``f = sum_i c_i k(x_i, .)`` with
``(K + alpha / s) c = y``. Over features (primal): ``f = <w, phi(.)>`` with ``(F' S F + alpha) w = F' S y``. Both give
the same f; features are cheaper when there are fewer of them than half the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arguments import check_not_negative
from mercer.arrays import as_tensor, check_finite, like
from mercer.errors import ShapeError
from mercer.kernels.features.exact import FeatureMap, exact_features
from mercer.learn.dual import Dual, DualPath, solve_dual
from mercer.learn.inputs import is_sparse, take
from mercer.learn.primal import PrimalPath, StoredRows, normal_equations, row_blocks
from mercer.learn.similarity import Similarity

__all__ = ["RidgePath", "feature_rows", "fit_ridge", "make_path", "primal_features", "ridge_path"]


def primal_features(similarity: Similarity, points: Any) -> FeatureMap | None:
    """The kernel's features if they are few enough to be cheaper than the rows."""
    n, width = points.shape
    return exact_features(similarity.kernel, width, limit=n // 2)


def feature_rows(features: FeatureMap, points: Any) -> StoredRows:
    """The features of points, a block of rows at a time."""

    def compute(rows: slice) -> Tensor:
        chosen = points[rows]
        return features(torch.from_numpy(chosen.toarray()) if is_sparse(chosen) else chosen)

    return StoredRows(points.shape[0], features.count, compute)


def fit_ridge(
    similarity: Similarity | None,
    points: Any,
    Y: Tensor,
    *,
    alpha: float,
    weights: Tensor | None = None,
    rtol: float = 1e-6,
    random_state: Any = 0,
) -> Dual:
    """Ridge for one alpha.

    Args:
        similarity: the kernel; None when ``points`` is the kernel matrix itself.
        points: ``(n, d)``, tensor or sparse, or ``(n, n)``.
        Y: ``(n, t)``, float64.
        alpha: >= 0.
        weights: of the rows, ``(n,)``; a row of weight 0 takes no part.
        rtol: relative residual of the system over rows.
        random_state: of the preconditioner.

    Raises:
        NotConverged: the residual ``rtol`` was not reached.
    """
    features = None if similarity is None else primal_features(similarity, points)
    if features is not None:
        return _fit_primal(features, points, Y, alpha, weights)
    n = len(Y)
    kept = None if weights is None else (weights > 0).nonzero().squeeze(-1)
    if weights is not None and kept is not None:
        weights, Y = weights[kept], Y[kept]
        points = take(points, kept) if similarity is not None else points[kept][:, kept]
    K = points if similarity is None else similarity.matrix(points)
    found = solve_dual(K, Y, alpha=alpha, weights=weights, rtol=rtol, random_state=random_state)
    dual = found.coefficients
    if kept is not None and len(kept) < n:
        dual = dual.new_zeros(n, dual.shape[1]).index_copy_(0, kept, dual)
    return Dual(dual, found.residual, found.n_iter, f"over {n} rows, {found.reason}")


def _fit_primal(features: FeatureMap, points: Any, Y: Tensor, alpha: float, weights: Tensor | None) -> Dual:
    rows = feature_rows(features, points)
    normal = normal_equations(rows, Y, weights, description="ridge: normal equations")
    solution, is_singular = normal.solve(alpha)
    # f = <w, phi> is also sum c_i k(x_i, .) with c = s (y - f) / alpha; at alpha = 0 c is the least one with w = F' c.
    inner = normal.H if alpha > 0 else torch.linalg.pinv(normal.H, hermitian=True) @ solution
    dual = torch.empty_like(Y)
    for block in row_blocks(rows.n, rows.width):
        F = rows.block(block)
        dual[block] = (Y[block] - F @ solution) / alpha if alpha > 0 else F @ inner
    if weights is not None:
        dual *= weights[:, None]
    reason = f"over {features.count} features, fewer than half the {rows.n} rows"
    reason += ", singular: least squares" if is_singular else ""
    return Dual(dual, normal.residual(solution, alpha), 0, reason, solution)


def make_path(similarity: Similarity | None, points: Any, Y: Tensor, weights: Tensor | None) -> PrimalPath | DualPath:
    """The eigendecomposition that gives ridge for every alpha: over features if they are few, else over rows."""
    features = None if similarity is None else primal_features(similarity, points)
    if features is not None:
        return PrimalPath(feature_rows(features, points), Y, weights)
    return DualPath(points if similarity is None else similarity.matrix(points), Y, weights)


class RidgePath:
    """Ridge regression for every alpha, from one eigendecomposition; made by :func:`ridge_path`.

    Attributes:
        is_primal: whether it was worked out over features, else over rows.
    """

    def __init__(self, path: PrimalPath | DualPath, *, features: Tensor | None, is_vector: bool, example: Any) -> None:
        self.is_primal = path.is_primal
        self._path, self._features, self._is_vector, self._example = path, features, is_vector, example

    def coefficients(self, alpha: float) -> Any:
        """Ridge at one alpha >= 0, float64: of rows ``(n,)`` or features ``(r,)``; ``(..., t)`` for t targets."""
        found = self._path.coefficients(_checked([alpha])[0])
        if self._features is not None and not self.is_primal:
            found = self._features.mT @ found
        return self._answer(found)

    def leave_one_out(self, alphas: float | Sequence[float]) -> Any:
        """For every row, y minus the prediction of a model made without it, in closed form.

        Args:
            alphas: one, or several.

        Returns:
            ``(n,)`` or ``(n, t)`` for one alpha; a first axis for several. float64.
        """
        several = _checked(np.atleast_1d(np.asarray(alphas, dtype=np.float64)).tolist())
        errors = self._path.leave_one_out(several)
        return self._answer(errors if np.ndim(alphas) else errors[0])

    def _answer(self, values: Tensor) -> Any:
        values = values.squeeze(-1) if self._is_vector else values
        return values.to(self._example.device) if isinstance(self._example, Tensor) else like(values, None)


def ridge_path(A: Any, y: Any, *, sample_weight: Any = None, is_features: bool = False) -> RidgePath:
    """Ridge regression for every alpha from one eigendecomposition, with leave-one-out errors in closed form.

    Args:
        A: a kernel matrix ``(n, n)`` (array, tensor or operator, positive semidefinite), or features ``(n, r)``.
        y: ``(n,)`` or ``(n, t)``.
        sample_weight: ``(n,)``, >= 0.
        is_features: whether A holds features. The work is done over them or over the rows, whichever are fewer.

    Raises:
        ShapeError: A and y do not fit together, or a kernel matrix is not square.
        ValueError: NaN or infinity in an array, or a negative weight.

    Cost: ``9 min(n, r)^3`` multiply-adds once, then ``n r`` for every alpha.
    Source: Rasmussen & Williams (2006), eq. 5.12, for the leave-one-out errors.

    >>> path = ridge_path([[1.0], [1.0], [1.0]], [1.0, 2.0, 6.0], is_features=True)
    >>> path.coefficients(0.0), path.leave_one_out(0.0)
    (array([3.]), array([-3. , -1.5,  4.5]))
    """
    matrix = A if hasattr(A, "to_dense") and not isinstance(A, Tensor) else as_tensor(A, dtype=torch.float64)
    Y = as_tensor(y, dtype=torch.float64, device=matrix.device)
    is_vector = Y.dim() == 1
    Y = Y.unsqueeze(-1) if is_vector else Y
    check_finite(Y, "y")
    if matrix.dim() != 2 or len(Y) != matrix.shape[0] or not (is_features or matrix.shape[1] == matrix.shape[0]):
        kind = "features (n, r)" if is_features else "a square kernel matrix (n, n); for features say is_features=True"
        raise ShapeError(
            f"ridge_path: A must be {kind} with a row for each of the {len(Y)} targets, not {tuple(matrix.shape)}."
        )
    if isinstance(matrix, Tensor):
        check_finite(matrix, "A")
    weights = None if sample_weight is None else as_tensor(sample_weight, dtype=torch.float64, device=matrix.device)
    if weights is not None and (weights.shape != (len(Y),) or not bool(((weights >= 0) & weights.isfinite()).all())):
        raise ValueError(f"sample_weight must hold {len(Y)} numbers >= 0, one for each row.")
    n, r = matrix.shape
    path: PrimalPath | DualPath
    if is_features and r <= n:
        path = PrimalPath(StoredRows(n, r, lambda rows: matrix[rows]), Y, weights)
    else:
        path = DualPath(matrix @ matrix.mT if is_features else matrix, Y, weights)
    features = matrix if is_features else None
    return RidgePath(path, features=features, is_vector=is_vector, example=y if isinstance(y, Tensor) else A)


def _checked(alphas: Sequence[float]) -> list[float]:
    for alpha in alphas:
        check_not_negative("alpha", alpha)
    return list(alphas)
