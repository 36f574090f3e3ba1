"""Sparse Gaussian process classification: any number of rows, two classes or more."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor

from mercer.learn.inputs import Given
from mercer.learn.latent_classifier import LatentClassifier
from mercer.learn.sparse_model import SparseModel

__all__ = ["SparseGaussianProcessClassifier"]


class SparseGaussianProcessClassifier(LatentClassifier, SparseModel):
    r"""Gaussian process classification through ``n_inducing`` points, in minibatches.

    Two classes have one latent function and a logistic response; more have one latent function each, of the same
    kernel, and a softmax of them: one model, unlike one-versus-rest. The posterior at the inducing points is a Gaussian
    that maximises a lower bound of the log marginal likelihood, by natural gradients; Adam moves the rest.

    Args:
        kernel: and all arguments but ``optimizer`` as in :class:`SparseGaussianProcessRegressor`.
        optimizer: "auto" (Adam), or None: keep hyperparameters and inducing points.

    Attributes:
        classes_: the classes, sorted.
        kernel_: the kernel with learnt hyperparameters.
        inducing_points_: ``(M, d)``, float64.
        bound_, bounds_, n_iter_, n_samples_: as in :class:`SparseGaussianProcessRegressor`.

    Cost: ``n M^2`` multiply-adds an epoch for each latent function.
    Source: Hensman, Matthews & Ghahramani, Scalable variational Gaussian process classification (2015).

    >>> X = np.linspace(0.0, 6.0, 100)[:, None]
    >>> y = np.where(np.sin(X[:, 0]) > 0, "up", "down")
    >>> model = SparseGaussianProcessClassifier("4.0 * RBF()", n_inducing=10, max_epochs=20, random_state=0).fit(X, y)
    >>> model.predict([[1.5], [4.5]])
    array(['up', 'down'], dtype='<U4')
    """

    def __init__(
        self,
        kernel: Any = None,
        *,
        n_inducing: int = 100,
        inducing: Any = "kmeans++",
        learn_inducing: bool = True,
        optimizer: str | None = "auto",
        batch_size: int | None = None,
        max_epochs: int = 200,
        learning_rate: float = 0.02,
        natural_rate: float | None = None,
        tol: float = 1e-4,
        n_iter_no_change: int = 5,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.n_inducing = n_inducing
        self.inducing = inducing
        self.learn_inducing = learn_inducing
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.natural_rate = natural_rate
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from all rows.

        Args:
            X: ``(n, d)``.
            y: ``(n,)`` classes: numbers or text.

        Raises:
            ValueError: fewer than two classes, a kernel with noise, NaN or infinity.
            TypeError: a kernel that only scikit-learn can evaluate.
        """
        given, codes = self._begin(X, y, None)
        rng = self._rng()
        state = self._start(given.points, self._sparse_covariance(), self._n_latent(), rng)
        self._fit_minibatches(state, given.points, codes, rng)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, *, n_samples: int | None = None) -> Self:
        """Go on learning from more rows: one pass over them in minibatches.

        Args:
            X: ``(n, d)``.
            y: ``(n,)``.
            classes: all there will be; needed in the first call where its y lacks some.
            n_samples: how many rows there are in all, which these stand for; None is the most that one call has had.

        Raises:
            ValueError: a class that was not there at the first call, or ``n_samples`` that is no whole number >= 1.
        """
        if not hasattr(self, "_q"):
            given, codes = self._begin(X, y, classes)
            rng, self.n_samples_, self.bounds_ = self._rng(), 0, []
            state = self._start(given.points, self._sparse_covariance(), self._n_latent(), rng)
        else:
            given, y = self._check_training(X, y, reset=False, y_numeric=False)
            codes, rng, state = self._codes(y, given), self._rng(), self._state()
        self._go_on(state, given.points, codes, rng, n_samples)
        return self

    def _begin(self, X: Any, y: Any, classes: Any) -> tuple[Given, Tensor]:
        self._check_training_options()
        given, codes = self._begin_classes(X, y, classes)
        self._is_torch = isinstance(given.example, Tensor)
        return given, codes
