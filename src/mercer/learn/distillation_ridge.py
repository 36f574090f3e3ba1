"""Which estimators are kernel ridge regression underneath, so that self-distillation needs no refits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import gaussian_process, kernel_ridge
from sklearn.base import clone

from mercer.arrays import as_tensor
from mercer.learn.covariance import MercerCovariance, as_covariance, split_noise
from mercer.learn.gaussian_process import GaussianProcessRegressor
from mercer.learn.inputs import estimator_columns
from mercer.learn.kernel_ridge import KernelRidge
from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier

__all__ = ["Underneath", "as_kernel_ridge"]


@dataclass(frozen=True)
class Underneath:
    """The kernel ridge regression that an estimator is.

    Attributes:
        ridge: not fitted.
        penalty: the alpha of all its targets.
        is_centered: whether the estimator takes the mean off its targets itself.
    """

    ridge: KernelRidge | KernelRidgeClassifier
    penalty: float
    is_centered: bool = False


def as_kernel_ridge(estimator: Any, X: Any, y: Any) -> Underneath | None:
    """The kernel ridge regression under an estimator, or None where there is none.

    The mean of a Gaussian process is one too, as soon as its hyperparameters are known: it is fitted to the data for
    them, and they are kept in all rounds. A subclass may predict differently, so only the classes themselves count;
    nor does anything with another penalty for each target, row or class.
    """
    kind = type(estimator)
    if kind is KernelRidge or kind is kernel_ridge.KernelRidge:
        penalties = np.unique(np.asarray(estimator.alpha, dtype=np.float64))
        if len(penalties) != 1 or not 0.0 <= penalties[0] < np.inf:
            return None  # its own fit says what is wrong
        params = estimator.get_params(deep=False)
        ridge = clone(estimator) if kind is KernelRidge else KernelRidge(**params)
        return Underneath(ridge, float(penalties[0]))
    if kind is KernelRidgeClassifier and estimator.class_weight is None:
        return Underneath(clone(estimator), estimator._alphas(1)[0], is_centered=True)
    if kind is GaussianProcessRegressor or kind is gaussian_process.GaussianProcessRegressor:
        return _from_gaussian_process(clone(estimator).fit(X, y))
    return None


def _from_gaussian_process(fitted: Any) -> Underneath | None:
    diagonal = as_tensor(fitted._diagonal if isinstance(fitted, GaussianProcessRegressor) else fitted.alpha)
    covariance = as_covariance(fitted.kernel_, estimator_columns(fitted), n_features=fitted.n_features_in_)
    if diagonal.numel() != 1 or not isinstance(covariance, MercerCovariance):
        return None
    kernel, own_noise = split_noise(covariance.own)
    if kernel is None:
        return None
    penalty = float(diagonal) + float(own_noise)
    return Underneath(KernelRidge(penalty, kernel=kernel), penalty, bool(fitted.normalize_y))
