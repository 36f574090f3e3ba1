"""What Gaussian processes share: checked data, the ``kernel`` argument and its hyperparameters, the training points."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.utils.validation import validate_data

from mercer.arrays import as_tensor
from mercer.learn.covariance import Covariance, MercerCovariance, as_covariance, split_noise
from mercer.learn.inputs import Given, check_data, estimator_columns
from mercer.learn.saving import Saved

__all__ = ["KernelModel"]


class KernelModel(Saved, BaseEstimator):
    """Base of the Gaussian process estimators, whose points may be other things than vectors where a kernel says so."""

    kernel: Any
    X_train_: Any

    def _default_kernel(self) -> Any:
        """scikit-learn's."""
        return ConstantKernel() * RBF()

    def _takes_vectors(self) -> bool:
        return bool(getattr(self.kernel, "requires_vector_input", True))

    def _check_training(
        self, X: Any, y: Any, *, reset: bool = True, multi_output: bool = False, y_numeric: bool = True
    ) -> tuple[Given, Any]:
        """As :func:`check_data`; points need not be vectors where the kernel says so."""
        kinds = {"multi_output": multi_output, "y_numeric": y_numeric}
        if self._takes_vectors():
            checked: tuple[Given, Any] = check_data(self, X, y, reset=reset, **kinds)
            return checked
        points, y = validate_data(self, X, y, reset=reset, ensure_2d=False, dtype=None, **kinds)
        return Given(np.asarray(points), X), y

    def _check_points(self, X: Any) -> Given:
        """The same without targets."""
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

    def _noiseless_covariance(self, since: str) -> MercerCovariance:
        """The same for a model that differentiates the kernel and has a noise of its own; ``since`` says where.

        Raises:
            TypeError: only scikit-learn can evaluate the kernel.
            ValueError: the kernel has noise.
        """
        covariance = self._starting_covariance()
        if not isinstance(covariance, MercerCovariance):
            raise TypeError(
                f"{covariance.kernel!r} has no twin here, and scikit-learn does not differentiate it as "
                f"{type(self).__name__} needs. Give a kernel of mercer, or one of scikit-learn's that has a twin."
            )
        if split_noise(covariance.own)[0] is not covariance.own:
            raise ValueError(f"{covariance.kernel!r} has noise (White): leave it out, {since}")
        return covariance

    def _covariance_of(self, kernel: Any) -> Covariance:
        return as_covariance(kernel, None, n_features=getattr(self, "n_features_in_", None))

    def _covariance(self) -> Covariance:
        """The kernel with the learnt hyperparameters."""
        return self._covariance_of(self.kernel_)  # which ``fit`` sets, or a property

    def _mercer_covariance(self) -> MercerCovariance:
        """The same of a model that takes no others."""
        covariance = self._covariance()
        assert isinstance(covariance, MercerCovariance)
        return covariance
