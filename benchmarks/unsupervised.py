"""Kernel components and clusters against scikit-learn, which stores the kernel matrix.

scikit-learn has no kernel k-means; its peer is the same algorithm on the stored matrix, in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercer.kernels import RBF
from mercer.learn import KernelKMeans, KernelPCA, SpectralClustering
from mercer.timing import compare

SIZES = (2_000, 20_000)
STORED_LIMIT = 20_000  # rows up to which the peers run: 3.2 GB in float64
COLUMNS, CLUSTERS, COMPONENTS = 8, 5, 5
Data = NDArray[np.float64]


def blobs(n: int) -> tuple[Data, NDArray[np.int64]]:
    """Points in five clouds, and which."""
    from sklearn.datasets import make_blobs

    X, y = make_blobs(n, n_features=COLUMNS, centers=CLUSTERS, cluster_std=2.0, random_state=0)
    return X, y


def stored_kmeans(X: Data, gamma: float) -> NDArray[np.int64]:
    """Kernel k-means on the stored matrix, from one random start."""
    from sklearn.metrics.pairwise import rbf_kernel

    K = rbf_kernel(X, gamma=gamma)
    seeds = np.random.default_rng(0).choice(len(X), CLUSTERS, replace=False)
    labels: NDArray[np.int64] = (1.0 - K[:, seeds]).argmin(1)
    for _ in range(100):
        M = np.eye(CLUSTERS)[labels]
        M /= np.maximum(M.sum(0), 1.0)
        S = K @ M
        new = (-2.0 * S + (M * S).sum(0)).argmin(1)
        if (new == labels).all():
            break
        labels = new
    return labels


def cases(X: Data, y: NDArray[np.int64]) -> dict[str, tuple[dict[str, Callable[[], Any]], Callable[[Any], float]]]:
    """By task: the competitors, and how wrong an answer is."""
    from sklearn import cluster, decomposition
    from sklearn.metrics import adjusted_rand_score

    lengthscale = 4.0
    gamma = 0.5 / lengthscale**2

    def residual(model: Any) -> float:
        """The largest relative residual of the centred kernel's eigenvectors, in float64."""
        V, values = np.asarray(model.eigenvectors_), np.asarray(model.eigenvalues_)
        image = np.asarray(RBF(lengthscale)(X).with_plan("tiles") @ torch.from_numpy(V - V.mean(0)))
        return float(np.linalg.norm(image - image.mean(0) - V * values, axis=0).max() / values[0])

    def disagreement(labels: Any) -> float:
        return 1.0 - float(adjusted_rand_score(y, labels))

    def pca(make: Any) -> Any:
        return make(COMPONENTS, kernel="rbf", gamma=gamma, random_state=0).fit(X)

    def spectral(make: Any) -> Any:
        return make(CLUSTERS, gamma=gamma, random_state=0).fit_predict(X)

    return {
        "KernelPCA": (
            {"mercer": lambda: pca(KernelPCA), "scikit-learn": lambda: pca(decomposition.KernelPCA)},
            residual,
        ),
        "KernelKMeans": (
            {
                "mercer": lambda: KernelKMeans(CLUSTERS, kernel=RBF(lengthscale), n_init=1, random_state=0).fit_predict(
                    X
                ),
                "stored": lambda: stored_kmeans(X, gamma),
            },
            disagreement,
        ),
        "SpectralClustering": (
            {
                "mercer": lambda: spectral(SpectralClustering),
                "scikit-learn": lambda: spectral(cluster.SpectralClustering),
            },
            disagreement,
        ),
    }


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Measure and print, a row for each task and size."""
    rows: list[dict[str, Any]] = []
    for n in sizes:
        X, y = blobs(n)
        for task, (competitors, error) in cases(X, y).items():
            present = competitors if n <= STORED_LIMIT else {"mercer": competitors["mercer"]}
            found = compare(present, rounds=3 if n >= 10_000 else 5, error=error)
            print(f"\n{task}, n = {n}, d = {COLUMNS}, float64\n{found}")
            rows.append({"task": task, "n": n, "d": COLUMNS, **found.as_dict()})
    return rows
