"""k-means in the feature space of a kernel."""

from __future__ import annotations

import warnings
from typing import Any, Self

import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arguments import check_not_negative, check_whole
from mercer.arrays import as_tensor, generator
from mercer.errors import ShapeError
from mercer.learn.feature_space_descent import hartigan, lloyd
from mercer.learn.feature_space_means import Runs, members
from mercer.learn.feature_space_seeds import seed
from mercer.learn.inputs import Given, as_points, as_weights, check_data, densify
from mercer.learn.kernel_argument import KernelArgument
from mercer.learn.saving import Saved
from mercer.learn.similarity import Similarity
from mercer.operators.solvers import System

__all__ = ["KernelKMeans"]

_INITS = ("k-means++", "random")
_SMALL = 1000  # rows up to which the matrix is stored, in float64
_ALGORITHMS = ("hartigan", "lloyd")


class KernelKMeans(
    KernelArgument, Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    r"""k-means on the images of the points: clusters of any shape that the kernel can tell apart, K never stored.

    .. math:: \min_{C, \mu} \sum_i s_i \lVert \phi(x_i) - \mu_{C(i)} \rVert^2

    With weights and the right kernel this is also a graph cut (Dhillon et al.). scikit-learn has no twin; arguments
    that its ``KMeans`` has are named and meant as there, and with ``kernel="linear"`` and ``algorithm="lloyd"`` it is
    that.

    Args:
        n_clusters: k.
        kernel: as in :class:`KernelRidge`; "precomputed" allows ``predict`` but not ``transform``.
        init: "k-means++" in feature space, "random" rows, or points ``(k, d)`` whose images are the first means.
        n_init: runs from different starts, of which the best counts. They share every kernel value, so 4 cost little
            more than 1 where kernel values are dear; points as ``init`` make it 1.
        max_iter: rounds, of each of the two parts of "hartigan".
        tol: a run ends when a round lowers the inertia by no more than this share of it; 0 waits for labels to rest.
        random_state: of the starts.
        algorithm: "lloyd" moves all rows to their nearest means until they rest, as scikit-learn's "lloyd";
            "hartigan" goes on from there with moves of single rows, until none lowers the inertia. The page on
            unsupervised learning says what that gains.
        gamma, degree, coef0, kernel_params: of named kernels and functions.

    Attributes:
        labels_: ``(n,)``, the cluster of each row; as ``predict`` of the training rows.
        inertia_: the weighted sum of squared distances, in the units of the kernel.
        n_iter_: rounds.
        X_fit_: the training rows, which the means are combinations of.
        kernel_: the kernel as mercer has it; None for "precomputed".

    Raises:
        ValueError: more clusters than rows.

    Cost: a product of K with ``k n_init`` columns a round, less once few labels change; memory ``n k n_init``.
    Source: Dhillon, Guan & Kulis, Kernel k-means, spectral clustering and normalized cuts (2004), algorithm 1.

    >>> X = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> labels = KernelKMeans(2, kernel="RBF()", random_state=0).fit_predict(X)
    >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
    True
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        kernel: Any = "rbf",
        init: Any = "k-means++",
        n_init: int = 4,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
        algorithm: str = "hartigan",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict[str, Any] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.kernel = kernel
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.algorithm = algorithm
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of the rows of X.

        Args:
            X: ``(n, d)`` array, table, tensor or scipy sparse matrix; ``(n, n)`` for "precomputed".
            y: not used.
            sample_weight: ``(n,)``, >= 0: a row of weight 2 counts as two rows, which "hartigan" moves together; one of
                weight 0 only gets a label.
        """
        for name in ("n_clusters", "n_init", "max_iter"):
            check_whole(name, getattr(self, name))
        check_not_negative("tol", self.tol)
        if self.algorithm not in _ALGORITHMS:
            raise ValueError(f"algorithm must be one of {', '.join(_ALGORITHMS)}, not {self.algorithm!r}.")
        given = check_data(self, X, reset=True, accept_sparse=True)
        given_weights = as_weights(sample_weight, given)
        ones = torch.ones(len(given), dtype=torch.float64, device=given.device)
        weights = ones if given_weights is None else given_weights
        n_rows = int((weights > 0).sum())
        if n_rows < self.n_clusters:
            raise ValueError(
                f"n_samples={n_rows} should be >= n_clusters={self.n_clusters} (rows of weight 0 do not count)."
            )
        similarity = self._similarity(given)
        self.kernel_ = None if similarity is None else similarity.kernel
        self.X_fit_ = given.keep(copy=True)
        system = System(_matrix(similarity, given))
        runs = Runs(system, self._starts(system, similarity, given, weights), weights, int(self.n_clusters))
        self.n_iter_ = lloyd(runs, max_iter=int(self.max_iter), tol=self.tol)
        if self.algorithm == "hartigan":
            self.n_iter_ += hartigan(runs, max_iter=int(self.max_iter), tol=self.tol)
        found = runs.best()
        self._weights, self._center_labels, self._norms = weights, found.center_labels, found.norms
        self.labels_ = given.coefficients(found.labels)
        self.inertia_ = found.inertia
        n_found = int(torch.isfinite(found.norms).sum())
        if n_found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({n_found}) found smaller than n_clusters ({self.n_clusters}). Possibly "
                f"due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> Any:
        """The cluster whose mean is nearest to each row of X, ``(m,)``.

        Args:
            X: ``(m, d)``; for "precomputed" the kernel values ``(m, n)``.
        """
        given, offsets = self._offsets(X)
        labels = offsets.argmin(1)
        return given.coefficients(labels)

    def transform(self, X: Any) -> Any:
        """Distances in feature space from the rows of X to the means, ``(m, k)``."""
        given, offsets = self._offsets(X)
        return given.answer((self._own(given)[:, None] + offsets).clamp(min=0.0).sqrt())

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the sum of squared distances to the nearest means, as scikit-learn's ``KMeans``.

        Only comparable for one kernel: a longer lengthscale makes all points alike, and this higher.
        """
        given, offsets = self._offsets(X)
        squared = (self._own(given) + offsets.min(1).values).clamp(min=0.0)
        weights = as_weights(sample_weight, given)
        return -float(squared.sum() if weights is None else weights @ squared)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_clusters)

    def _starts(self, system: System, similarity: Similarity | None, given: Given, weights: Tensor) -> Tensor:
        """First labels, ``(runs, n)``."""
        k = int(self.n_clusters)
        if isinstance(self.init, str):
            if self.init not in _INITS:
                raise ValueError(f"init must be 'k-means++', 'random' or points (n_clusters, d), not {self.init!r}.")
            draw = generator(self.random_state)
            spread = self.init == "k-means++"
            return torch.stack([seed(system, weights, k, spread=spread, draw=draw) for _ in range(int(self.n_init))])
        if similarity is None:
            raise ValueError("kernel='precomputed' has no points: init must be 'k-means++' or 'random'.")
        centers = as_tensor(self.init, dtype=torch.float64, device=given.device)
        if centers.shape != (k, self.n_features_in_):
            raise ShapeError(f"init must hold {k} points of {self.n_features_in_} columns, not {tuple(centers.shape)}.")
        points = given.points if given.is_sparse else given.points.to(torch.float64)
        like_points = type(given.points)(centers.numpy()) if given.is_sparse else centers
        norms = torch.as_tensor(similarity.matrix(like_points).diagonal())
        return (norms - 2.0 * similarity.dense(points, like_points)).argmin(1).unsqueeze(0)

    def _offsets(self, X: Any) -> tuple[Given, Tensor]:
        """Squared distances to the means less k(x, x), ``(m, k)``."""
        check_is_fitted(self)
        given = check_data(self, X, reset=False, accept_sparse=True)
        M = members(self._center_labels[None], self._weights, self._n_features_out)
        mass = M.sum(0)
        M = M / torch.where(mass > 0, mass, 1.0)
        if self.kernel_ is None:
            products = densify(given.points, why="kernel='precomputed'").to(M) @ M
        else:
            products = Similarity(self.kernel_).times(given.points_on(M.device), as_points(self.X_fit_), M)
        return given, self._norms - 2.0 * products

    def _own(self, given: Given) -> Tensor:
        """k(x, x) of each row."""
        if self.kernel_ is None:
            raise ValueError(
                "kernel='precomputed' does not give k(x, x) of new rows, which distances need; predict works without."
            )
        points = given.points if given.is_sparse else given.points.to(self._norms)
        if given.is_sparse:
            blocks = [points[i : i + 256] for i in range(0, len(given), 256)]
            return torch.cat([torch.as_tensor(Similarity(self.kernel_).matrix(b).diagonal()) for b in blocks]).double()
        return torch.as_tensor(Similarity(self.kernel_).matrix(points).diagonal()).to(torch.float64)


def _matrix(similarity: Similarity | None, given: Given) -> Any:
    """The kernel matrix: stored where that costs less than the operator's own work, else an operator."""
    if similarity is None:
        return densify(given.points, why="kernel='precomputed'")
    return similarity.dense(given.points, given.points) if len(given) <= _SMALL else similarity.matrix(given.points)
