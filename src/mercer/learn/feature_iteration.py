"""The iteration of a recursive feature machine on the rows of one leaf."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.learn.dual import Dual
from mercer.learn.feature_columns import FeatureColumns
from mercer.learn.feature_iterate import FeatureSettings, Iterate, IterateMaker, solve
from mercer.learn.feature_matrix import average_outer_product, root_of
from mercer.learn.similarity import Similarity

__all__ = ["FeatureLeaf", "FeatureSettings", "fit_leaf", "split_direction"]

# An iterate that is not so much better than the best one ends the iteration. xRFM goes on up to 1.1 times the best one:
# 5.4 fits instead of 3.5 on average over 30 sequences (five tables, six settings), and never to a lower loss.
_BETTER = 0.999
_LEAST_JUDGES = 0.25  # times the rows of an iterate: fewer others say less than leaving one row out
_HOPELESS = 1.2  # times the least loss known: a candidate that is so far off in the best metric is not iterated


@dataclass(frozen=True)
class FeatureLeaf:
    """A kernel predictor on learnt features.

    Attributes:
        settings: those it was made with.
        points: the training rows in its coordinates, ``(n, r)``, in any order.
        root: the coordinates, ``(width, r)``, ``(width,)`` or None.
        matrix: M, ``(width, width)`` or ``(width,)``.
        lengthscale: of the kernel there.
        dual: ``(n, t)``, float64.
        losses: the squared error of each iterate on rows that it has not seen; those after this one too.
        best: which iterate this is; 0 has the metric that the iteration began with.
        errors: truth minus prediction on those rows, ``(k, t)``, of this iterate.
        targets: their truth, ``(k, t)``, and ``weights``: ``(k,)`` or None.
        found: how the coefficients were solved for.
        tried: the loss of every candidate, and ``n_fits``: iterates made for all of them.
    """

    settings: FeatureSettings
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
    tried: tuple[float, ...] = ()
    n_fits: int = 0

    @property
    def loss(self) -> float:
        """Of this iterate."""
        return self.losses[self.best]


def fit_leaf(
    columns: FeatureColumns,
    X: Tensor,
    Y: Tensor,
    weights: Tensor | None,
    validation: tuple[Tensor, Tensor] | None,
    candidates: Sequence[FeatureSettings],
    advance: Callable[[], None] = lambda: None,
) -> FeatureLeaf:
    """Iterate: fit, look at rows left out, take the gradients' outer product as the next metric; keep the best.

    The first candidate begins with the columns as given, the others with the best metric found before them: it belongs
    to the data more than to a kernel. So they need two iterates where a start from nothing needs three or four, and
    their losses are as good or better (measured: eight tables, eight candidates).

    Args:
        columns: of X ``(n, d)``.
        Y: ``(n, t)``, float64, about 0.
        weights: > 0, ``(n,)`` or None.
        validation: points and targets that choose the iterate. None: other rows do, where there are more than
            ``n_feature_rows``; else one row is left out at a time.
        candidates: settings to try; of the first are ``n_feature_rows``, ``rtol`` and ``random_state``.
        advance: called after each iterate.
    """
    first, n = candidates[0], len(X)
    # In an order of its own, so that the first rows are a sample too.
    order = torch.randperm(n, generator=generator(first.random_state)).to(X.device)
    rows = order[: first.n_feature_rows]
    is_whole = len(rows) == n
    others = order[len(rows) : 2 * len(rows)]
    judges: _Judges | None = None
    if validation is not None:
        judges = (*validation, None)
    elif len(others) >= _LEAST_JUDGES * len(rows):
        judges = X[others], Y[others], None if weights is None else weights[others]
    data = _Rows(columns, X[rows], Y[rows], None if weights is None else weights[rows], judges)
    best: FeatureLeaf | None = None
    kept: Iterate | None = None
    tried, n_fits = [], 0
    for settings in candidates:
        start = None if best is None else best.matrix
        leaf, iterate = _iterate(data, settings, start, math.inf if best is None else best.loss, advance)
        tried.append(leaf.loss)
        n_fits += len(leaf.losses)
        if best is None or leaf.loss < best.loss:
            if kept is not None:
                kept.release()
            best, kept = leaf, iterate
        else:
            iterate.release()
    assert best is not None
    assert kept is not None
    best = replace(best, tried=tuple(tried), n_fits=n_fits)
    # Iterates are solved as quickly as choosing among them allows; the one that is kept, to the tolerance asked for.
    found = kept.refined() if is_whole else None
    if found is not None:
        return replace(best, dual=found.coefficients, found=found)
    if is_whole:
        X, Y, weights = data.X, data.Y, data.weights
    Z = columns.times(X, best.root)
    kernel = best.settings.kernel(best.lengthscale)
    found = solve(kernel(Z), Y, weights, best.settings)
    errors = best.errors  # of no more rows than the coefficients: if anything a little too large
    if validation is not None:
        similarity = Similarity(kernel)
        errors = validation[1] - similarity.times(columns.times(validation[0], best.root), Z, found.coefficients)
    return replace(best, points=Z, dual=found.coefficients, found=found, errors=errors)


_Judges = tuple[Tensor, Tensor, Tensor | None]  # points, targets and weights of rows that no iterate is made of


class _Rows:
    """Rows on which iterates are made, and those that judge them; without judges one row is left out at a time."""

    def __init__(
        self, columns: FeatureColumns, X: Tensor, Y: Tensor, weights: Tensor | None, judges: _Judges | None
    ) -> None:
        self.columns, self.X, self.Y, self.weights, self.judges = columns, X, Y, weights, judges
        self.make = IterateMaker(Y, weights)

    def errors(self, iterate: Iterate, root: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Truth minus prediction on rows that the iterate has not seen, the truth, and the weights of those rows."""
        if self.judges is None:
            return iterate.left_out_errors(), self.Y, self.weights
        points, targets, weights = self.judges
        return targets - iterate.values(self.columns.times(points, root)), targets, weights


def _iterate(
    data: _Rows, settings: FeatureSettings, start: Tensor | None, known: float, advance: Callable[[], None]
) -> tuple[FeatureLeaf, Iterate]:
    """The best iterate of one candidate.

    Args:
        start: the metric to begin with, of either form; None is the identity.
        known: the least loss of other candidates.
    """
    columns, make = data.columns, data.make
    matrix = _identity(columns.width, settings.diagonal, data.X.device) if start is None else _form(start, settings)
    root = None if start is None else root_of(matrix, symmetric=settings.norm != 2.0).to(data.X.dtype)
    best: FeatureLeaf | None = None
    kept: Iterate | None = None
    losses: list[float] = []
    for i in range(settings.max_iter + 1):
        Z = columns.times(data.X, root)
        lengthscale = settings.lengthscale_at(Z)
        iterate = make(Z, lengthscale, settings)
        errors, targets, weights = data.errors(iterate, root)
        loss = _mean_square(errors, weights)
        goes_on = i < settings.max_iter and (best is None or loss < _BETTER * best.loss)
        if start is not None and i == 0 and loss > _HOPELESS * known:
            goes_on = False
        losses.append(loss)
        advance()
        # Before the workspace has another iterate in it.
        gradients = iterate.gradients() if goes_on else None
        if best is None or loss < best.loss:
            best = FeatureLeaf(
                settings, Z, root, matrix, lengthscale, iterate.dual, losses, i, errors, targets, weights
            )
            if kept is not None:
                kept.release()
            kept = iterate
        else:
            iterate.release()
        if gradients is None:
            break
        weights = None if data.weights is None else data.weights[: len(gradients)]
        matrix = average_outer_product(gradients, root, weights=weights, diagonal=settings.diagonal)
        root = root_of(matrix, symmetric=settings.norm != 2.0).to(data.X.dtype)
    assert best is not None
    assert kept is not None
    return best, kept


def split_direction(
    columns: FeatureColumns, X: Tensor, Y: Tensor, weights: Tensor | None, settings: FeatureSettings
) -> Tensor:
    """The direction along which a first kernel predictor changes most, ``(width,)``: the top one of its M."""
    Z = columns.times(X, None)
    gradients = IterateMaker(Y, weights)(Z, settings.lengthscale_at(Z), settings).gradients()
    some = None if weights is None else weights[: len(gradients)]
    M = average_outer_product(gradients, None, weights=some, diagonal=False)
    top: Tensor = torch.linalg.eigh(M).eigenvectors[:, -1]
    return top * torch.sign(top[top.abs().argmax()])


def _mean_square(errors: Tensor, weights: Tensor | None) -> float:
    squares = errors.square().mean(1)
    mean = float(squares.mean() if weights is None else weights @ squares / weights.sum())
    return mean if math.isfinite(mean) else math.inf


def _form(M: Tensor, settings: FeatureSettings) -> Tensor:
    """A metric as the settings want it: whole, or its diagonal, the largest entry 1."""
    if settings.diagonal and M.dim() == 2:
        M = M.diagonal()
    elif not settings.diagonal and M.dim() == 1:
        M = torch.diag(M)
    return M / M.max()


def _identity(width: int, diagonal: bool, device: torch.device) -> Tensor:
    ones = torch.ones(width, dtype=torch.float64, device=device)
    return ones if diagonal else torch.diag(ones)
