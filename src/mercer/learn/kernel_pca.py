"""Kernel principal components."""

from __future__ import annotations

from typing import Any, Self

import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from mercer.arguments import check_not_negative, check_whole
from mercer.arrays import as_tensor, check_finite
from mercer.errors import ShapeError
from mercer.learn.inputs import Given, as_points, check_data, densify
from mercer.learn.kernel_spectrum import centered_spectrum
from mercer.learn.kernel_transformer import KernelTransformer
from mercer.learn.pre_images import fixed_point_pre_images, gaussian_of
from mercer.learn.ridge import fit_ridge
from mercer.learn.similarity import Similarity, resolve

__all__ = ["KernelPCA"]

_RIDGE_RTOL = 1e-9  # of the pre-image's system: as exact as scikit-learn's factorisation, to its 1e-6
_PRE_IMAGES = ("ridge", "fixed-point")
_STEP_RTOL = 1e-6  # of fixed-point pre-images, in lengthscales
_STEPS = 2000


class KernelPCA(KernelTransformer):
    r"""Principal components in the feature space of a kernel, without storing the kernel matrix.

    .. math:: H K H v_j = \lambda_j v_j, \qquad
        t_j(x) = \lambda_j^{-1/2} \sum_i v_{ij} \langle \phi(x) - \bar\phi, \phi(x_i) - \bar\phi \rangle

    Up to 1000 rows all eigenvalues are computed; beyond, block Lanczos multiplies by the centred matrix, and memory is
    linear in the rows.

    Stands in for ``sklearn.decomposition.KernelPCA``: arguments before ``pre_image`` are the same, and so are signs.

    Args:
        n_components: how many; None keeps all whose eigenvalue is not 0, which is for few rows.
        kernel: as in :class:`KernelRidge`.
        gamma, degree, coef0, kernel_params: of the named kernels and of functions; gamma None is 1 / columns.
        alpha: ridge of ``inverse_transform``.
        fit_inverse_transform: whether ``inverse_transform`` is wanted.
        eigen_solver: "auto", "dense" (all eigenvalues), "arpack" (here block Lanczos, to ``tol``), "randomized" (fewer
            products, no tolerance).
        tol: relative residual of the eigenvectors; 0 is 1e-8. Above 1e-5 products are in float32.
        max_iter: block products of Lanczos; None is 300.
        iterated_power: of "randomized": how often random directions are multiplied; "auto" is 7 or 4.
        remove_zero_eig: leave out components whose eigenvalue is 0.
        random_state: of the start of Lanczos and of random directions.
        copy_X: whether ``X_fit_`` is a copy.
        n_jobs: accepted and without effect: products use all threads of torch.
        pre_image: "ridge" learns the inverse by ridge regression with the same kernel between projections, as
            scikit-learn; "fixed-point" searches for each point, for Gaussian kernels, and needs no second kernel
            matrix. Which one denoises better depends on the settings; see the page on unsupervised learning.

    Attributes:
        eigenvalues_: ``(n_components,)`` of the centred kernel matrix, the largest first.
        eigenvectors_: ``(n, n_components)``, of length 1.
        X_fit_: the training rows.
        X_transformed_fit_, dual_coef_: projections of the training rows, and the ridge coefficients ``(n, d)``.
        kernel_: the kernel as mercer has it; None for "precomputed".

    Raises:
        ValueError: in ``fit``, a kernel with eigenvalues well below 0 among the ones asked for.
        NotConverged: Lanczos or a fixed point did not come to rest.

    Cost: block products with K, ``n_components + 4`` columns or more each, typically 10 to 40 of them.
    Source: Schoelkopf, Smola & Mueller, Nonlinear component analysis as a kernel eigenvalue problem (1998).

    >>> from sklearn.datasets import make_circles
    >>> X, y = make_circles(400, factor=0.3, noise=0.05, random_state=0)
    >>> T = KernelPCA(2, kernel="RBF(0.5)").fit_transform(X)
    >>> bool(T[y == 1, 0].min() > T[y == 0, 0].max() or T[y == 1, 0].max() < T[y == 0, 0].min())
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        kernel: Any = "linear",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict[str, Any] | None = None,
        alpha: float = 1.0,
        fit_inverse_transform: bool = False,
        eigen_solver: str = "auto",
        tol: float = 0,
        max_iter: int | None = None,
        iterated_power: int | str = "auto",
        remove_zero_eig: bool = False,
        random_state: Any = None,
        copy_X: bool = True,
        n_jobs: int | None = None,
        pre_image: str = "ridge",
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.alpha = alpha
        self.fit_inverse_transform = fit_inverse_transform
        self.eigen_solver = eigen_solver
        self.tol = tol
        self.max_iter = max_iter
        self.iterated_power = iterated_power
        self.remove_zero_eig = remove_zero_eig
        self.random_state = random_state
        self.copy_X = copy_X
        self.n_jobs = n_jobs
        self.pre_image = pre_image

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the components of the rows of X.

        Args:
            X: ``(n, d)`` array, table, tensor or scipy sparse matrix; ``(n, n)`` for "precomputed".
            y: not used.
        """
        self._check_arguments()
        given = check_data(self, X, reset=True, accept_sparse=True)
        self.gamma_ = 1.0 / self.n_features_in_ if self.gamma is None else self.gamma
        similarity = self._similarity(given)
        if self.fit_inverse_transform and given.is_sparse:
            raise NotImplementedError("Inverse transform not implemented for sparse matrices!")
        self.kernel_ = None if similarity is None else similarity.kernel
        if self.fit_inverse_transform and self.pre_image == "fixed-point":
            gaussian_of(self._resolved().kernel)
        n = len(given)
        found = centered_spectrum(
            densify(given.points, why="kernel='precomputed'")
            if similarity is None
            else similarity.matrix(given.points),
            n if self.n_components is None else min(n, int(self.n_components)),
            solver=self.eigen_solver,
            tol=self.tol,
            max_iter=self.max_iter,
            n_power=self.iterated_power,
            random_state=self.random_state,
        )
        values, vectors = found.values, found.vectors
        if self.remove_zero_eig or self.n_components is None:
            values, vectors = values[values > 0], vectors[:, values > 0]
        self.eigenvalues_, self.eigenvectors_ = given.coefficients(values), given.coefficients(vectors)
        self._means = found.means
        self.X_fit_ = given.keep(copy=self.copy_X)
        if self.fit_inverse_transform:
            self._learn_inverse(given, vectors * values.sqrt())
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Find the components of X, and the projections of its rows on them, ``(n, n_components)``."""
        self.fit(X)
        values, vectors = self._spectrum()
        return Given(as_points(self.X_fit_), X).answer(vectors * values.sqrt())

    def transform(self, X: Any) -> Any:
        """Projections of the rows of X, ``(m, n_components)``.

        Args:
            X: ``(m, d)``; for "precomputed" the kernel values ``(m, n)``.
        """
        check_is_fitted(self)
        given = check_data(self, X, reset=False, accept_sparse=True)
        combination = self._combination()
        if self.kernel_ is None:
            values = densify(given.points, why="kernel='precomputed'").to(combination) @ combination
        else:
            points = given.points_on(combination.device)
            values = Similarity(self.kernel_).times(points, as_points(self.X_fit_), combination)
        return given.answer(values - self._means @ combination)

    def inverse_transform(self, X: Any) -> Any:
        """Points whose projections are near the rows of X: ``(m, n_components)`` in, ``(m, d)`` out.

        The mean of the training images counts with "fixed-point"; with "ridge" it does not, as in scikit-learn.
        """
        check_is_fitted(self)
        if not self.fit_inverse_transform:
            raise NotFittedError(
                "The fit_inverse_transform parameter was not set to True when instantiating and hence the inverse "
                "transform is not available."
            )
        given = self._check_projections(X)
        coordinates = given.points.to(self._means)
        if self.pre_image == "ridge":
            points = self._ridge_similarity().times(
                coordinates,
                as_tensor(self.X_transformed_fit_, dtype=torch.float64),
                as_tensor(self.dual_coef_, dtype=torch.float64),
            )
            return given.answer(points)
        values, vectors = self._spectrum()
        rows = as_tensor(self.X_fit_, dtype=torch.float64)
        # The training row whose image is nearest: <image of row i, projection> up to what is the same for all rows.
        nearest = [
            ((vectors * values.sqrt()) @ part.mT + self._means[:, None]).argmax(0)
            for part in coordinates.split(max(1, 2**22 // len(rows)))
        ]
        assert self.kernel_ is not None
        return given.answer(
            fixed_point_pre_images(
                self.kernel_,
                rows,
                self._combination(),
                coordinates,
                rows[torch.cat(nearest)],
                rtol=_STEP_RTOL,
                max_iter=_STEPS,
            )
        )

    @property
    def _n_features_out(self) -> int:
        return int(self.eigenvalues_.shape[0])

    def _check_arguments(self) -> None:
        check_whole("n_components", self.n_components, or_none=True)
        if self.pre_image not in _PRE_IMAGES:
            raise ValueError(f"pre_image must be one of {', '.join(_PRE_IMAGES)}, not {self.pre_image!r}.")
        check_not_negative("alpha", self.alpha)
        check_not_negative("tol", self.tol)
        check_whole("max_iter", self.max_iter, or_none=True)
        if self.iterated_power != "auto":
            check_whole("iterated_power", self.iterated_power, least=0)
        if self.fit_inverse_transform and self._is_precomputed():
            raise ValueError("Cannot fit_inverse_transform with a precomputed kernel.")

    def _check_projections(self, X: Any) -> Given:
        """Coordinates on the components, which need not have as many columns as the data."""
        points = X.detach() if isinstance(X, Tensor) else as_tensor(check_array(X, dtype=["float64", "float32"]))
        check_finite(points, "X")
        if points.dim() != 2 or points.shape[1] != self._n_features_out:
            raise ShapeError(
                f"inverse_transform: there are {self._n_features_out} components, so X must be "
                f"(m, {self._n_features_out}), not {tuple(points.shape)}."
            )
        return Given(points, X)

    def _spectrum(self) -> tuple[Tensor, Tensor]:
        return as_tensor(self.eigenvalues_), as_tensor(self.eigenvectors_)

    def _combination(self) -> Tensor:
        """How the components are made of the images of the rows, ``(n, n_components)``; columns sum to 0."""
        values, vectors = self._spectrum()
        scaled = torch.where(values > 0, vectors / values.clamp(min=1e-300).sqrt(), 0.0)
        return scaled - scaled.mean(0)

    def _ridge_similarity(self) -> Similarity:
        """The kernel between projections: with gamma by the columns of the data, as in scikit-learn."""
        return resolve(
            self.kernel,
            width=self._n_features_out,
            gamma=self.gamma_,
            degree=self.degree,
            coef0=self.coef0,
            kernel_params=self.kernel_params,
        )

    def _learn_inverse(self, given: Given, projections: Tensor) -> None:
        self.X_transformed_fit_ = given.coefficients(projections)
        if self.pre_image == "ridge":
            fit = fit_ridge(
                self._ridge_similarity(),
                projections,
                given.points.to(torch.float64),
                alpha=self.alpha,
                rtol=_RIDGE_RTOL,
                random_state=0,
            )
            self.dual_coef_ = given.coefficients(fit.coefficients)
