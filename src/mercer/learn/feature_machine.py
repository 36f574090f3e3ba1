"""What the recursive feature machines for numbers and for classes share: leaves, routing, predictions, importances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arguments import check_not_negative, check_whole
from mercer.arrays import as_tensor, generator
from mercer.kernels import PowerExponential
from mercer.learn.feature_columns import FeatureColumns
from mercer.learn.feature_iterate import FeatureSettings
from mercer.learn.feature_iteration import FeatureLeaf, fit_leaf, split_direction
from mercer.learn.feature_tree import FeatureTree, grow
from mercer.learn.inputs import Given, check_data
from mercer.learn.saving import Saved
from mercer.learn.similarity import Similarity
from mercer.plots import BLUE, axes_or_new
from mercer.progress import Progress, track

__all__ = ["FeatureMachine"]

_NAMES_SHOWN = 20
_TUNABLE = ("alpha", "lengthscale", "relative", "exponent", "norm", "diagonal")


class FeatureMachine(Saved, BaseEstimator):
    """Base of the recursive feature machines: their arguments are the same, so they have one constructor.

    Arguments and fitted attributes are those that :class:`mercer.learn.RecursiveFeatureMachine` describes.
    """

    n_features_in_: int

    def __init__(
        self,
        alpha: float = 1e-2,
        *,
        lengthscale: float = 2.0,
        relative: bool = True,
        exponent: float = 1.0,
        norm: float = 2.0,
        diagonal: bool = False,
        max_iter: int = 5,
        n_feature_rows: int = 2000,
        leaf_size: int = 10_000,
        temperature: float = 0.0,
        categorical_features: Sequence[int] | None = None,
        candidates: Sequence[Mapping[str, Any]] | None = None,
        rtol: float = 1e-5,
        random_state: Any = 0,
    ) -> None:
        self.alpha = alpha
        self.lengthscale = lengthscale
        self.relative = relative
        self.exponent = exponent
        self.norm = norm
        self.diagonal = diagonal
        self.max_iter = max_iter
        self.n_feature_rows = n_feature_rows
        self.leaf_size = leaf_size
        self.temperature = temperature
        self.categorical_features = categorical_features
        self.candidates = candidates
        self.rtol = rtol
        self.random_state = random_state

    def _settings(self) -> FeatureSettings:
        for name, least in (("max_iter", 0), ("n_feature_rows", 1), ("leaf_size", 2)):
            check_whole(name, getattr(self, name), least=least)
        for name in ("alpha", "temperature"):
            check_not_negative(name, getattr(self, name))
        seed = int(torch.randint(2**31 - 1, (), generator=generator(self.random_state)))
        settings = FeatureSettings(
            alpha=float(self.alpha),
            lengthscale=float(self.lengthscale),
            relative=bool(self.relative),
            exponent=float(self.exponent),
            norm=float(self.norm),
            diagonal=bool(self.diagonal),
            max_iter=int(self.max_iter),
            n_feature_rows=int(self.n_feature_rows),
            rtol=self.rtol,
            random_state=seed,
        )
        settings.kernel(settings.lengthscale)  # raises for what is no kernel, before any work
        return settings

    def _validation(self, X_val: Any, y_val: Any, given: Given, **kinds: bool) -> tuple[Tensor, Any] | None:
        """The rows that choose the iterate, checked: points beside those of training, and y. None where there are none.

        Raises:
            ValueError: one without the other.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("Give both X_val and y_val, or neither.")
        if X_val is None:
            return None
        checked, y_val = check_data(self, X_val, y_val, reset=False, **kinds)
        return checked.points.to(given.points), y_val

    def _fit(
        self, given: Given, Y: Tensor, weights: Tensor | None, validation: tuple[Tensor, Tensor] | None
    ) -> list[FeatureLeaf]:
        """Learn from targets ``(n, t)`` about 0; a row of weight 0 takes no part."""
        settings = self._settings()
        candidates = [settings, *(_candidate(settings, changes) for changes in self.candidates or ())]
        X = _working(given.points)
        if weights is not None and bool((weights == 0).any()):
            kept = (weights > 0).nonzero().squeeze(-1)
            X, Y, weights = X[kept], Y[kept], weights[kept]
        columns = FeatureColumns.fit(X, self.categorical_features)

        def direction(rows: Tensor) -> Tensor:
            step = -(-len(rows) // settings.n_feature_rows)
            part = rows[::step]
            return split_direction(columns, X[part], Y[part], None if weights is None else weights[part], settings)

        tree, groups = grow(columns, X, int(self.leaf_size), direction)
        parts: list[Tensor | None] = [None] * len(groups)
        if validation is not None:
            owner = tree.route(columns, validation[0], 0.0).argmax(1)
            parts = [(owner == leaf).nonzero().squeeze(-1) for leaf in range(len(groups))]
        leaves = []
        steps = len(groups) * len(candidates) * (settings.max_iter + 1)
        progress: Progress[int] = track(None, total=steps, description="recursive features")
        with progress:
            for rows, part in zip(groups, parts, strict=True):
                # A leaf without validation rows of its own leaves one row out.
                own = None
                if validation is not None and part is not None and len(part):
                    own = validation[0][part], validation[1][part]
                of_leaf = None if weights is None else weights[rows]
                leaf = fit_leaf(columns, X[rows], Y[rows], of_leaf, own, candidates, progress.advance)
                leaves.append(leaf)
        self._columns, self._tree = columns.state(), tree.state()
        self._leaves = [_stored(leaf) for leaf in leaves]
        shares = [len(leaf.points) / len(X) for leaf in leaves]
        matrices = [leaf.matrix for leaf in leaves]
        if len({matrix.dim() for matrix in matrices}) > 1:  # some leaves weigh columns, others directions
            matrices = [torch.diag(matrix) if matrix.dim() == 1 else matrix for matrix in matrices]
        mean = sum((share * matrix for share, matrix in zip(shares, matrices, strict=True)), start=torch.zeros(()))
        self.M_ = given.coefficients(mean)
        self.losses_ = [leaf.losses for leaf in leaves]
        self.best_iter_ = [leaf.best for leaf in leaves]
        self.candidate_losses_ = [list(leaf.tried) for leaf in leaves]
        self.n_fits_ = sum(leaf.n_fits for leaf in leaves)
        self.chosen_ = [{name: getattr(leaf.settings, name) for name in _TUNABLE} for leaf in leaves]
        self.n_leaves_ = len(leaves)
        self.residual_ = max(leaf.found.residual for leaf in leaves if leaf.found is not None)
        self.n_iter_ = max(len(leaf.losses) for leaf in leaves)
        self._held_out = torch.cat([leaf.errors for leaf in leaves])
        return leaves

    def _evaluate(self, X: Any) -> tuple[Given, Tensor]:
        """The checked points, and the model there without its intercept, ``(m, t)`` in float64."""
        check_is_fitted(self)
        given = check_data(self, X, reset=False)
        points = _working(given.points)
        columns, tree = FeatureColumns.from_state(self._columns), FeatureTree.from_state(self._tree)
        shares = tree.route(columns, points, float(self.temperature))
        total = torch.zeros(len(given), self._held_out.shape[1], dtype=torch.float64, device=given.device)
        for leaf, stored in enumerate(self._leaves):
            rows = shares[:, leaf].nonzero().squeeze(-1)
            if len(rows):
                total[rows] += shares[rows, leaf, None] * _of_leaf(stored, columns, points[rows])
        return given, total

    @property
    def feature_importances_(self) -> np.ndarray[Any, Any]:
        """The diagonal of M, summed over the categories of a column, as shares of 1; ``(d,)``.

        How much the squared slope along a column contributes, in the column's units: give columns of one scale.
        """
        check_is_fitted(self)
        M = as_tensor(self.M_).cpu()
        diagonal = (M if M.dim() == 1 else M.diagonal()).numpy()
        sources = FeatureColumns.from_state(self._columns).sources()
        total = np.bincount(sources, weights=diagonal, minlength=self.n_features_in_)
        return np.asarray(total / total.sum())

    def plot_importances(self, *, axes: Any = None, n_columns: int = _NAMES_SHOWN) -> Any:
        """Bars of :attr:`feature_importances_`, the largest first; the axes of matplotlib.

        Args:
            axes: to draw into; None makes a figure.
            n_columns: how many at most.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        importances = self.feature_importances_
        names = getattr(self, "feature_names_in_", [f"column {c}" for c in range(len(importances))])
        order = np.argsort(-importances)[:n_columns]
        axes = axes_or_new(axes, size=(5.6, 0.6 + 0.28 * len(order)))
        axes.barh(range(len(order)), importances[order], color=BLUE)
        axes.set_yticks(range(len(order)), [str(names[c]) for c in order])
        axes.invert_yaxis()
        axes.set(xlabel="share of the mean squared gradient")
        return axes


def _working(points: Tensor) -> Tensor:
    """Half types in float32: their factorisations do not exist."""
    return points if points.dtype == torch.float64 else points.float()


def _of_leaf(stored: dict[str, Any], columns: FeatureColumns, X: Tensor) -> Tensor:
    root = None if stored["root"] is None else as_tensor(stored["root"], dtype=X.dtype, device=X.device)
    kernel = PowerExponential(stored["lengthscale"], stored["exponent"], stored["norm"])
    points, dual = (as_tensor(stored[name], device=X.device) for name in ("points", "dual"))
    return Similarity(kernel).times(columns.times(X, root), points, dual)


def _candidate(settings: FeatureSettings, changes: Mapping[str, Any]) -> FeatureSettings:
    """The settings with some of them changed.

    Raises:
        ValueError: a name that cannot be tuned, or a value that makes no sense.
    """
    unknown = [name for name in changes if name not in _TUNABLE]
    if unknown:
        raise ValueError(f"candidates: {unknown[0]!r} cannot be tried; these can: {', '.join(_TUNABLE)}.")
    found = replace(settings, **changes)
    if not (found.alpha >= 0.0 and math.isfinite(found.alpha)):
        raise ValueError(f"candidates: alpha must be a finite number >= 0, not {found.alpha!r}.")
    found.kernel(found.lengthscale)
    return found


def _stored(leaf: FeatureLeaf) -> dict[str, Any]:
    """What predictions need, in a form that can be saved."""
    return {
        "points": leaf.points.cpu().numpy(),
        "root": None if leaf.root is None else leaf.root.cpu().numpy(),
        "lengthscale": leaf.lengthscale,
        "exponent": leaf.settings.exponent,
        "norm": leaf.settings.norm,
        "dual": leaf.dual.cpu().numpy(),
    }
