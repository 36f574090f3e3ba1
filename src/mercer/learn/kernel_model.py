"""What estimators with a ``kernel`` argument and hyperparameters share: checked data, the kernel, its points."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import validate_data

from mercer.arrays import as_tensor
from mercer.learn.covariance import Covariance, as_covariance
from mercer.learn.inputs import Given, check_data, estimator_columns
from mercer.learn.saving import Saved

__all__ = ["KernelModel"]


class KernelModel(Saved, BaseEstimator):
    """Base of Gaussian process estimators whose response is not Gaussian."""

    kernel: Any
    X_train_: Any

    def _default_kernel(self) -> Any:
        raise NotImplementedError

    def _takes_vectors(self) -> bool:
        return bool(getattr(self.kernel, "requires_vector_input", True))

    def _check_training(self, X: Any, y: Any, *, y_numeric: bool) -> tuple[Given, Any]:
        if self._takes_vectors():
            checked: tuple[Given, Any] = check_data(self, X, y, reset=True, y_numeric=y_numeric)
            return checked
        points, y = validate_data(self, X, y, reset=True, ensure_2d=False, dtype=None, y_numeric=y_numeric)
        return Given(np.asarray(points), X), y

    def _check_points(self, X: Any) -> Given:
        """As :func:`check_data`; they need not be vectors where the kernel says so."""
        if self._takes_vectors():
            given: Given = check_data(self, X, reset=False)
            return given
        return Given(np.asarray(validate_data(self, X, reset=False, ensure_2d=False, dtype=None)), X)

    def _points(self) -> Any:
        """The training points as kernels take them."""
        return as_tensor(self.X_train_) if self._takes_vectors() else self.X_train_

    def _starting_covariance(self) -> Covariance:
        """A copy of the argument for these columns."""
        if self.kernel is None:
            kernel = self._default_kernel()
        else:
            kernel = clone(self.kernel) if hasattr(self.kernel, "get_params") else self.kernel
        return as_covariance(kernel, estimator_columns(self), n_features=getattr(self, "n_features_in_", None))

    def _covariance_of(self, kernel: Any) -> Covariance:
        return as_covariance(kernel, None, n_features=getattr(self, "n_features_in_", None))
