"""The iteration of a recursive feature machine on the rows of one leaf."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.errors import ApproximationWarning
from mercer.kernels import PowerExponential
from mercer.learn.dual import Dual, inverse_diagonal, solve_dual
from mercer.learn.feature_columns import FeatureColumns
from mercer.learn.feature_matrix import average_outer_product, median_distance, root_of
from mercer.learn.similarity import Similarity

__all__ = ["FeatureLeaf", "FeatureSettings", "fit_leaf", "split_direction"]

_QUICK_RESIDUAL = 1e-2
_BLOCK_PAIRS = 2**23
_WORSE = 1.1  # an iterate whose loss is so many times the best one ends the iteration, as in xRFM


@dataclass(frozen=True)
class FeatureSettings:
    """The arguments of the estimators that the iteration needs; see there."""

    alpha: float
    lengthscale: float
    relative: bool
    exponent: float
    norm: float
    diagonal: bool
    max_iter: int
    n_feature_rows: int
    rtol: float
    random_state: int

    def kernel(self, lengthscale: float) -> PowerExponential:
        """The kernel at one lengthscale."""
        return PowerExponential(lengthscale, self.exponent, self.norm)

    def lengthscale_at(self, Z: Tensor) -> float:
        """The lengthscale among transformed rows."""
        if not self.relative:
            return self.lengthscale
        return self.lengthscale * median_distance(Z, norm=self.norm, generator=generator(self.random_state))


@dataclass(frozen=True)
class FeatureLeaf:
    """A kernel predictor on learnt features.

    Attributes:
        points: the training rows in its coordinates, ``(n, r)``.
        root: the coordinates, ``(width, r)``, ``(width,)`` or None.
        matrix: M, ``(width, width)`` or ``(width,)``.
        lengthscale: of the kernel there.
        dual: ``(n, t)``, float64.
        losses: the squared error of each iterate on rows that it has not seen; those after this one too.
        best: which iterate this is; 0 has the given columns, unchanged.
        errors: truth minus prediction on those rows, ``(k, t)``, of this iterate.
        targets: their truth, ``(k, t)``, and ``weights``: ``(k,)`` or None.
        found: how the coefficients were solved for.
    """

    points: Tensor
    root: Tensor | None
    matrix: Tensor
    lengthscale: float
    dual: Tensor
    losses: list[float]
    best: int
    errors: Tensor
    targets: Tensor
    weights: Tensor | None
    found: Dual | None = None


def fit_leaf(
    columns: FeatureColumns,
    X: Tensor,
    Y: Tensor,
    weights: Tensor | None,
    validation: tuple[Tensor, Tensor] | None,
    settings: FeatureSettings,
    advance: Callable[[], None] = lambda: None,
) -> FeatureLeaf:
    """Iterate: fit, look at rows left out, take the gradients' outer product as the next metric; keep the best.

    Args:
        columns: of X ``(n, d)``.
        Y: ``(n, t)``, float64, about 0.
        weights: > 0, ``(n,)`` or None.
        validation: points and targets that choose the iterate; None leaves one row out at a time.
        advance: called after each iterate.
    """
    random = generator(settings.random_state)
    n = len(X)
    rows = torch.arange(n, device=X.device)
    if n > settings.n_feature_rows:
        rows = torch.randperm(n, generator=random)[: settings.n_feature_rows].sort().values.to(X.device)
    X_part, Y_part, weights_part = X[rows], Y[rows], None if weights is None else weights[rows]
    root: Tensor | None = None
    matrix = _identity(columns.width, settings.diagonal, X.device)
    best: FeatureLeaf | None = None
    losses: list[float] = []
    for i in range(settings.max_iter + 1):
        Z = columns.times(X_part, root)
        lengthscale = settings.lengthscale_at(Z)
        kernel = settings.kernel(lengthscale)
        dual, factor = _quick_solve(kernel, Z, Y_part, weights_part, settings)
        if validation is None:
            errors = dual / _inverse_diagonal(factor, kernel, Z, weights_part, settings)[:, None]
            targets, of_targets = Y_part, weights_part
        else:
            errors = validation[1] - _values(kernel, columns.times(validation[0], root), Z, dual)
            targets, of_targets = validation[1], None
        loss = _mean_square(errors, of_targets)
        losses.append(loss)
        advance()
        if best is None or loss < best.losses[best.best]:
            best = FeatureLeaf(Z, root, matrix, lengthscale, dual, losses, i, errors, targets, of_targets)
        if i == settings.max_iter or loss > _WORSE * best.losses[best.best]:
            break
        matrix = average_outer_product(kernel(Z), dual, root, weights=weights_part, diagonal=settings.diagonal)
        root = root_of(matrix, symmetric=settings.norm != 2.0).to(X.dtype)
    assert best is not None
    # Iterates are solved as quickly as choosing among them allows; the one that is kept, to the tolerance asked for.
    Z = columns.times(X, best.root)
    kernel = settings.kernel(best.lengthscale)
    found = _solve(kernel(Z), Y, weights, settings)
    errors = best.errors  # of no more rows than the coefficients: if anything a little too large
    if validation is not None:
        similarity = Similarity(kernel)
        errors = validation[1] - similarity.times(columns.times(validation[0], best.root), Z, found.coefficients)
    return replace(best, points=Z, dual=found.coefficients, found=found, errors=errors)


def split_direction(
    columns: FeatureColumns, X: Tensor, Y: Tensor, weights: Tensor | None, settings: FeatureSettings
) -> Tensor:
    """The direction along which a first kernel predictor changes most, ``(width,)``: the top one of its M."""
    Z = columns.times(X, None)
    kernel = settings.kernel(settings.lengthscale_at(Z))
    dual, _ = _quick_solve(kernel, Z, Y, weights, settings)
    M = average_outer_product(kernel(Z), dual, None, weights=weights, diagonal=False)
    top: Tensor = torch.linalg.eigh(M).eigenvectors[:, -1]
    return top * torch.sign(top[top.abs().argmax()])


def _quick_solve(
    kernel: PowerExponential, Z: Tensor, Y: Tensor, weights: Tensor | None, settings: FeatureSettings
) -> tuple[Tensor, Tensor | None]:
    """Coefficients ``(n, t)`` from one Cholesky factor in the type of Z, and the factor; None where that will not do.

    An iterate gives a metric and is compared: two digits of its coefficients are enough for both.
    """
    K = kernel(Z).to_dense()
    A = K.clone()
    A.diagonal().add_(settings.alpha if weights is None else (settings.alpha / weights).to(K.dtype))
    factor, failed = torch.linalg.cholesky_ex(A)
    if not int(failed):
        targets = Y.to(K.dtype)
        dual = torch.cholesky_solve(targets, factor)
        scale = torch.linalg.vector_norm(targets, dim=0).clamp(min=1e-30)
        residual = torch.linalg.vector_norm(targets - A @ dual, dim=0) / scale
        if bool((residual <= _QUICK_RESIDUAL).all()):
            return dual.double(), factor
    with warnings.catch_warnings():
        # An iterate of a singular system is still an iterate: what it is worth is measured on rows left out.
        warnings.simplefilter("ignore", ApproximationWarning)
        return _solve(kernel(Z), Y, weights, settings).coefficients, None


def _inverse_diagonal(
    factor: Tensor | None, kernel: PowerExponential, Z: Tensor, weights: Tensor | None, settings: FeatureSettings
) -> Tensor:
    """The diagonal of ``(K + alpha / s)^-1``, ``(n,)`` in float64."""
    if factor is None:
        return inverse_diagonal(kernel(Z), alpha=settings.alpha, weights=weights)
    return torch.cholesky_inverse(factor).diagonal().double()


def _values(kernel: PowerExponential, Z: Tensor, points: Tensor, dual: Tensor) -> Tensor:
    """The iterate at Z, in its type; a block of rows at a time, without asking the planner for each."""
    step = max(1, _BLOCK_PAIRS // len(points))
    blocks = [kernel(rows, points).to_dense() @ dual.to(Z.dtype) for rows in Z.split(step)]
    return torch.cat(blocks).double()


def _solve(K: object, Y: Tensor, weights: Tensor | None, settings: FeatureSettings) -> Dual:
    return solve_dual(
        K, Y, alpha=settings.alpha, weights=weights, rtol=settings.rtol, random_state=settings.random_state
    )


def _mean_square(errors: Tensor, weights: Tensor | None) -> float:
    squares = errors.square().mean(1)
    mean = float(squares.mean() if weights is None else weights @ squares / weights.sum())
    return mean if math.isfinite(mean) else math.inf


def _identity(width: int, diagonal: bool, device: torch.device) -> Tensor:
    ones = torch.ones(width, dtype=torch.float64, device=device)
    return ones if diagonal else torch.diag(ones)
