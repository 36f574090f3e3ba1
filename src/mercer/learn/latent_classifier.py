"""Classification by latent Gaussian functions: one and a logistic response, or a softmax of one for each class."""

from __future__ import annotations

from typing import Any

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
from mercer.learn.variational import Expected
from mercer.nn.functional import expected_log_softmax, softmax_probabilities

__all__ = ["LatentClassifier"]


class LatentClassifier(ClassifierMixin):
    """Mixin of classifiers whose ``_moments`` gives means and variances of latent functions ``(m, c)``.

    ``_check_training`` and ``_check_points`` are its estimator's, as in :class:`KernelModel`.
    """

    classes_: Array
    _log_parameters: list[float]
    _check_training: Any
    _check_points: Any
    _moments: Any

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

    def _begin_classes(self, X: Any, y: Any, classes: Any) -> tuple[Given, Tensor]:
        """Checked data, and the place of each row's class; sets ``classes_``."""
        given, y = self._check_training(X, y, y_numeric=False)
        check_classification_targets(y)
        self.classes_ = np.unique(y if classes is None else classes)
        check_several(self.classes_)
        self._log_parameters = []
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
        return given, self._class_probabilities(*self._moments(given.points))

    def _class_probabilities(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Of latent functions, ``(m, classes)``."""
        if self._n_latent() > 1:
            return softmax_probabilities(mean, variance)
        positive = logistic_normal(mean[:, 0], variance[:, 0])
        return torch.stack([1.0 - positive, positive], 1)
