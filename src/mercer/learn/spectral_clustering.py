"""Spectral clustering."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import k_means
from sklearn.cluster._spectral import cluster_qr, discretize
from sklearn.manifold import spectral_embedding
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from mercer.kernels import RBF
from mercer.learn.inputs import Given, check_data, densify, is_sparse
from mercer.learn.kernel_argument import KernelArgument
from mercer.learn.kernel_spectrum import flip_signs
from mercer.learn.random_states import as_random_state
from mercer.learn.saving import Saved
from mercer.operators.functions import eigsh
from mercer.operators.kernel_operator import KernelOperator
from mercer.operators.logarithm import log_spec
from mercer.operators.matrices import NormalizedAdjacency

__all__ = ["SpectralClustering"]

_LABELLERS = ("kmeans", "discretize", "cluster_qr")
_GRAPHS = ("nearest_neighbors", "precomputed_nearest_neighbors")
_SMALL = 1000  # rows up to which the matrix is formed, as in eigsh
_RTOL = 1e-6  # of the eigenvectors of kernels beyond 1000 rows


class SpectralClustering(KernelArgument, Saved, ClusterMixin, BaseEstimator):
    r"""Clusters that cut few and weak links of a graph: k-means on eigenvectors of its normalised Laplacian.

    .. math:: D^{-1/2} A D^{-1/2} v = (1 - \lambda) v, \qquad A_{ij} = k(x_i, x_j), \quad A_{ii} = 0

    With a kernel as the affinity its matrix is not stored: beyond 1000 rows block Lanczos multiplies by it.

    Stands in for ``sklearn.cluster.SpectralClustering``: the arguments are the same.

    Args:
        n_clusters: k.
        eigen_solver: "arpack", "lobpcg" or "amg" as in scikit-learn, for sparse graphs; kernels and dense matrices
            always use :func:`mercer.operators.eigsh`.
        n_components: eigenvectors; None is ``n_clusters``.
        random_state: of the starts of k-means, "discretize" and the solvers of sparse graphs; an int gives the twin's.
        n_init: runs of k-means.
        gamma: of named kernels ("rbf": ``exp(-gamma |x - y|^2)``).
        affinity: a kernel in the forms that :class:`KernelRidge` takes; "nearest_neighbors" (Euclidean, each row
            counting as one of its own), "precomputed" (dense or sparse), "precomputed_nearest_neighbors" (a sparse
            matrix of distances).
        n_neighbors: of the two graphs of neighbours.
        eigen_tol: relative residual of the eigenvectors; "auto" is 1e-6 for kernels.
        assign_labels: "kmeans", "discretize", "cluster_qr".
        degree, coef0, kernel_params: of named kernels and functions.
        n_jobs: accepted and without effect.
        verbose: whether scikit-learn's k-means prints what it does.

    Attributes:
        labels_: ``(n,)``.
        affinity_matrix_: the lazy kernel matrix, or the graph, or what was given; not saved to a file.

    Raises:
        ValueError: more clusters than rows, a matrix that is not square, or a negative affinity.
        NotConverged: the eigenvectors did not reach ``eigen_tol``.

    Cost: block products with the kernel matrix, more the closer the first eigenvalue left out is to the last one kept.
    Source: Shi & Malik, Normalized cuts and image segmentation (2000); von Luxburg, A tutorial on spectral clustering
    (2007), section 4.

    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(300, noise=0.05, random_state=0)
    >>> labels = SpectralClustering(2, affinity="RBF(0.1)", random_state=0).fit_predict(X)
    >>> bool((labels == y).all() or (labels != y).all())
    True
    """

    _not_saved = ("affinity_matrix_",)

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        eigen_solver: str | None = None,
        n_components: int | None = None,
        random_state: Any = None,
        n_init: int = 10,
        gamma: float = 1.0,
        affinity: Any = "rbf",
        n_neighbors: int = 10,
        eigen_tol: float | str = "auto",
        assign_labels: str = "kmeans",
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict[str, Any] | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.eigen_solver = eigen_solver
        self.n_components = n_components
        self.random_state = random_state
        self.n_init = n_init
        self.gamma = gamma
        self.affinity = affinity
        self.n_neighbors = n_neighbors
        self.eigen_tol = eigen_tol
        self.assign_labels = assign_labels
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def kernel(self) -> Any:
        """The affinity, under the name that other estimators have for it."""
        return self.affinity

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self._is_precomputed() or self._is("precomputed_nearest_neighbors")
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the clusters of the rows of X.

        Args:
            X: ``(n, d)`` array, table, tensor or scipy sparse matrix; ``(n, n)`` for the precomputed affinities.
            y: not used.
        """
        if self.assign_labels not in _LABELLERS:
            raise ValueError(f"assign_labels must be one of {', '.join(_LABELLERS)}, not {self.assign_labels!r}.")
        given = check_data(self, X, reset=True, accept_sparse=True)
        n = len(given)
        n_components = self.n_clusters if self.n_components is None else self.n_components
        if n < 2 or not 1 <= self.n_clusters <= n or not 1 <= n_components <= n:
            raise ValueError(
                f"n_samples={n}: at least 2 are needed, and n_clusters={self.n_clusters} and "
                f"n_components={self.n_components} must be between 1 and their number."
            )
        self.affinity_matrix_ = self._affinity_matrix(given)
        random_state = as_random_state(self.random_state)
        if is_sparse(self.affinity_matrix_):
            maps = spectral_embedding(
                self.affinity_matrix_,
                n_components=n_components,
                eigen_solver=self.eigen_solver,
                random_state=random_state,
                eigen_tol=self.eigen_tol,
                drop_first=False,
            )
        else:
            rtol = _RTOL if self.eigen_tol == "auto" else max(float(self.eigen_tol), 1e-12)
            maps = _embed(self.affinity_matrix_, n_components, rtol).cpu().numpy()
            # The twin's solver draws its start. So many numbers on, labels start where the twin's do.
            random_state.uniform(-1.0, 1.0, n)
        self.labels_ = given.coefficients(torch.from_numpy(self._labels(maps, random_state)).to(given.device))
        return self

    def _restore(self) -> None:
        """Labels need no kernel."""

    def _is(self, name: str) -> bool:
        return isinstance(self.affinity, str) and self.affinity == name

    def _affinity_matrix(self, given: Given) -> Any:
        if any(self._is(name) for name in _GRAPHS):
            links = self._neighbors(given)
            return 0.5 * (links + links.T)
        if not self._is_precomputed():
            points = given.points if given.is_sparse else given.points.to(torch.float64)
            K = self._resolved().matrix(points)
            # The logarithm of a kernel exists only where all values are positive.
            if isinstance(K, Tensor) or not isinstance(K, KernelOperator) or log_spec(K.spec) is None:
                _require_positive(float((K if isinstance(K, Tensor) else K.min().values).min()), "This kernel")
            return K
        if given.points.shape[0] != given.points.shape[1]:
            raise ValueError(f"affinity='precomputed': X must be a square matrix, not {tuple(given.points.shape)}.")
        _require_positive(float(given.points.min()), "The precomputed affinity")
        if given.is_sparse:
            return given.points
        A = given.points.to(torch.float64)
        if connected_components(A.cpu().numpy(), directed=False)[0] > 1:
            warnings.warn("Graph is not fully connected, spectral embedding may not work as expected.", stacklevel=3)
        if not torch.allclose(A, A.mT, rtol=1e-10, atol=1e-10 * float(A.max())):
            warnings.warn(
                "Array is not symmetric, and will be converted to symmetric by average with its transpose.",
                stacklevel=3,
            )
            A = 0.5 * (A + A.mT)
        return A

    def _neighbors(self, given: Given) -> Any:
        """Links from each row to its nearest, ``(n, n)`` CSR."""
        n = len(given)
        if self._is("precomputed_nearest_neighbors"):
            distances = given.points if given.is_sparse else given.points.cpu().numpy()
            search = NearestNeighbors(n_neighbors=self.n_neighbors, metric="precomputed").fit(distances)
            return search.kneighbors_graph(distances, mode="connectivity")
        if not 1 <= self.n_neighbors <= n:
            raise ValueError(f"n_neighbors must be between 1 and the {n} rows, not {self.n_neighbors}.")
        points = densify(given.points, why="affinity='nearest_neighbors'").to(torch.float64)
        nearest = RBF()(points).topk(self.n_neighbors).indices.cpu().numpy().astype(np.int32)
        offsets = np.arange(n + 1, dtype=np.int32) * np.int32(self.n_neighbors)  # SciPy's solvers want 32-bit indices
        return sparse.csr_array((np.ones(nearest.size), nearest.ravel(), offsets), shape=(n, n))

    def _labels(self, maps: np.ndarray[Any, Any], random_state: np.random.RandomState) -> np.ndarray[Any, Any]:
        if self.verbose:
            print(f"Computing label assignment using {self.assign_labels}")  # noqa: T201 # asked for, as in the twin
        labels: np.ndarray[Any, Any]
        if self.assign_labels == "cluster_qr":
            labels = cluster_qr(maps)
        elif self.assign_labels == "discretize":
            labels = discretize(maps, random_state=random_state)
        else:
            _, labels, _ = k_means(
                maps, self.n_clusters, random_state=random_state, n_init=self.n_init, verbose=self.verbose
            )
        return labels


def _require_positive(smallest: float, what: str) -> None:
    if smallest < 0.0:
        raise ValueError(
            f"{what} has negative values (the smallest is {smallest:.3g}), which are no affinities. Use a kernel "
            f"that is positive everywhere, such as RBF, or add a constant."
        )


@torch.no_grad()
def _embed(A: Any, k: int, rtol: float) -> Tensor:
    """The k smoothest functions on the graph, ``(n, k)``: the normalised Laplacian's eigenvectors over root degrees."""
    if isinstance(A, Tensor) or A.shape[0] <= _SMALL:
        links = (A.clone() if isinstance(A, Tensor) else torch.as_tensor(A.to_dense())).fill_diagonal_(0.0)
        graph = NormalizedAdjacency(links, torch.zeros_like(links[0]), links.sum(1))  # no degree loses digits
    else:
        graph = NormalizedAdjacency(A)
    found = eigsh(graph, k, rtol=rtol)
    return flip_signs(found.vectors / graph.roots[:, None])
