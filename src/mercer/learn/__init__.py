"""Kernel models with scikit-learn's interface."""

from mercer.learn.conformal import SplitConformal
from mercer.learn.gaussian_process import GaussianProcessRegressor
from mercer.learn.kernel_ridge import KernelRidge
from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier
from mercer.learn.kernel_ridge_cv import KernelRidgeCV
from mercer.learn.ridge import RidgePath, ridge_path

__all__ = [
    "GaussianProcessRegressor",
    "KernelRidge",
    "KernelRidgeCV",
    "KernelRidgeClassifier",
    "RidgePath",
    "SplitConformal",
    "ridge_path",
]
