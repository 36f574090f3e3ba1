"""Sparse Gaussian process classification: any number of rows, two classes or more."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.learn.classes import Array, check_several
from mercer.learn.inputs import Given
from mercer.learn.likelihoods import Bernoulli
from mercer.learn.logistic_normal import logistic_normal
from mercer.learn.softmax_response import expected_log_softmax, softmax_probabilities
from mercer.learn.sparse_model import SparseModel
from mercer.learn.variational import Expected

__all__ = ["SparseGaussianProcessClassifier"]


class SparseGaussianProcessClassifier(ClassifierMixin, SparseModel):
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

    def predict(self, X: Any) -> Array:
        """The most probable class of each row, ``(m,)``; an ndarray, since classes may be text."""
        _, values = self._probabilities(X)
        classes: Array = self.classes_[values.argmax(1).cpu().numpy()]
        return classes

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, ``(m, classes)``, averaged over the posterior of the latent functions."""
        given, values = self._probabilities(X)
        return given.answer(values)

    def latent_mean_and_variance(self, X: Any) -> tuple[Any, Any]:
        """Of the latent functions: ``(m,)`` each for two classes, else ``(m, classes)``."""
        check_is_fitted(self)
        given = self._check_points(X)
        mean, variance = self._moments(given.points)
        return given.answer(mean.squeeze(1)), given.answer(variance.squeeze(1))

    def _begin(self, X: Any, y: Any, classes: Any) -> tuple[Given, Tensor]:
        self._check_training_options()
        given, y = self._check_training(X, y, y_numeric=False)
        check_classification_targets(y)
        self.classes_ = np.unique(y if classes is None else classes)
        check_several(self.classes_)
        self._is_torch, self._log_parameters = isinstance(given.example, Tensor), []
        return given, self._codes(y, given)

    def _codes(self, y: Any, given: Given) -> Tensor:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y has the class {unknown.tolist()[0]!r}, which was not there at the first call: give classes= with "
                f"all of them there."
            )
        return torch.from_numpy(np.searchsorted(self.classes_, y)).to(given.device)

    def _n_latent(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _expected(self, y: Tensor, log_parameters: Tensor) -> Expected:
        if self._n_latent() > 1:
            return lambda mean, variance: expected_log_softmax(y, mean, variance)
        signs, made = 2.0 * y.to(torch.float64) - 1.0, Bernoulli(log_parameters)
        return lambda mean, variance: made.expected_log_density(signs, mean[:, 0], variance[:, 0])

    def _probabilities(self, X: Any) -> tuple[Given, Tensor]:
        check_is_fitted(self)
        given = self._check_points(X)
        mean, variance = self._moments(given.points)
        if self._n_latent() > 1:
            return given, softmax_probabilities(mean, variance)
        positive = logistic_normal(mean[:, 0], variance[:, 0])
        return given, torch.stack([1.0 - positive, positive], 1)
