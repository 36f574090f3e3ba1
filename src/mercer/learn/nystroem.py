"""Features of a kernel from some of the rows, as a transformer."""

from __future__ import annotations

import warnings
from typing import Any, Self

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arguments import check_whole
from mercer.arrays import as_tensor
from mercer.kernels.named import NAMES
from mercer.learn.centers import choose_centers
from mercer.learn.inputs import Given, as_points, check_data, densify, take
from mercer.learn.kernel_transformer import KernelTransformer
from mercer.learn.random_states import as_random_state
from mercer.learn.similarity import Similarity

__all__ = ["Nystroem"]

_SMALLEST = 1e-12  # singular values below count as this, as in scikit-learn


class Nystroem(KernelTransformer):
    r"""Features whose dot products approximate a kernel, from some of the rows: for linear models on many rows.

    .. math:: \phi(x) = k(C, C)^{-1/2} k(C, x)

    Stands in for ``sklearn.kernel_approximation.Nystroem``: arguments before ``center_sampling`` are the same, and for
    the same ``random_state`` so are the features.

    Args:
        kernel: as in :class:`KernelRidge`.
        gamma, coef0, degree: of the named kernels; None is their default.
        kernel_params: keyword arguments of a kernel that is a function.
        n_components: how many rows to take; all, with a warning, where there are fewer.
        random_state: which rows.
        n_jobs: accepted and without effect: products use all threads of torch.
        center_sampling: "uniform", or "pivoted": rows that the others explain least, which for the same number of
            features comes closer to the kernel (see the page on features).

    Attributes:
        components_: the rows taken, ``(n_components, d)``.
        component_indices_: which they are.
        normalization_: ``k(C, C)^{-1/2}``, ``(n_components, n_components)`` float64.
        kernel_: the kernel as mercer has it; None for "precomputed".

    Raises:
        ValueError: ``gamma``, ``coef0`` or ``degree`` for a kernel that has a form of its own.

    Cost: ``n n_components`` kernel entries and ``n n_components^2`` multiply-adds; ``20 n_components^3`` once.
    Source: Williams & Seeger, Using the Nystrom method to speed up kernel machines (NIPS 2000).

    >>> X = torch.linspace(0.0, 1.0, 50).reshape(-1, 1)
    >>> F = Nystroem("RBF(0.3)", n_components=10, random_state=0).fit_transform(X)
    >>> float((F @ F.mT - mc.kernels.RBF(0.3)(X).to_dense()).abs().max()) < 1e-3
    True
    """

    def __init__(
        self,
        kernel: Any = "rbf",
        *,
        gamma: float | None = None,
        coef0: float | None = None,
        degree: float | None = None,
        kernel_params: dict[str, Any] | None = None,
        n_components: int = 100,
        random_state: Any = None,
        n_jobs: int | None = None,
        center_sampling: str = "uniform",
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.coef0 = coef0
        self.degree = degree
        self.kernel_params = kernel_params
        self.n_components = n_components
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.center_sampling = center_sampling

    def fit(self, X: Any, y: Any = None) -> Self:
        """Choose rows of X.

        Args:
            X: ``(n, d)`` array, table, tensor or scipy sparse matrix; ``(n, n)`` for "precomputed".
            y: not used.
        """
        check_whole("n_components", self.n_components)
        is_named = isinstance(self.kernel, str) and self.kernel in NAMES
        if not is_named and any(v is not None for v in (self.gamma, self.coef0, self.degree)):
            raise ValueError(
                f"Don't pass gamma, coef0 or degree to Nystroem if using a callable or precomputed kernel, or one that "
                f"is no name of scikit-learn's: {self.kernel!r} does not take them."
            )
        given = check_data(self, X, reset=True, accept_sparse=True)
        similarity = self._similarity(given)
        self.kernel_ = None if similarity is None else similarity.kernel
        n = len(given)
        if self.n_components > n:
            warnings.warn(
                f"n_components > n_samples. This is not possible.\nn_components={self.n_components} was set to "
                f"n_samples={n}, which results in inefficient evaluation of the full kernel.",
                stacklevel=2,
            )
        chosen = self._choose(similarity, given, min(n, int(self.n_components)))
        components = take(given.points, chosen)
        self.component_indices_ = chosen.numpy()
        self.components_ = Given(components, given.example).keep()
        if similarity is None:
            gram = densify(components, why="kernel='precomputed'").to(torch.float64)[:, chosen.to(given.device)]
        else:
            doubled = components.astype("float64") if given.is_sparse else components.to(torch.float64)
            K = similarity.matrix(doubled)
            gram = K if isinstance(K, Tensor) else torch.as_tensor(K.to_dense())
        U, S, Vh = torch.linalg.svd(gram)
        self.normalization_ = given.coefficients((U / S.clamp(min=_SMALLEST).sqrt()) @ Vh)
        return self

    def transform(self, X: Any) -> Any:
        """The features of the rows of X, ``(m, n_components)``.

        Args:
            X: ``(m, d)``; for "precomputed" the kernel values ``(m, n)``.
        """
        check_is_fitted(self)
        given = check_data(self, X, reset=False, accept_sparse=True)
        mixing = as_tensor(self.normalization_, dtype=torch.float64).mT
        if self.kernel_ is None:
            values = densify(given.points, why="kernel='precomputed'").to(mixing)
            return given.answer(values[:, torch.from_numpy(self.component_indices_).to(mixing.device)] @ mixing)
        points = given.points_on(mixing.device)
        return given.answer(Similarity(self.kernel_).times(points, as_points(self.components_), mixing))

    @property
    def _n_features_out(self) -> int:
        return int(self.normalization_.shape[0])

    def _choose(self, similarity: Similarity | None, given: Given, m: int) -> Tensor:
        if self.center_sampling == "uniform":  # scikit-learn's own draw
            return torch.from_numpy(as_random_state(self.random_state).permutation(len(given))[:m])
        if similarity is None:
            raise ValueError("kernel='precomputed' takes center_sampling='uniform' only.")
        return choose_centers(
            similarity,
            given.points,
            m,
            weights=None,
            sampling=self.center_sampling,
            random_state=self.random_state,
        )
