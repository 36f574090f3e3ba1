"""Kernel models with scikit-learn's interface."""

from mercer.learn.bayesian_optimizer import BayesianOptimizer
from mercer.learn.conformal import SplitConformal
from mercer.learn.distillation import SelfDistillation
from mercer.learn.distillation_filters import distill_filter, distill_limit, joint_weights, optimal_weight
from mercer.learn.distillation_path import DistillationPath
from mercer.learn.gaussian_process import GaussianProcessRegressor
from mercer.learn.hsic_test import HSICTest
from mercer.learn.kernel_density import KernelDensity
from mercer.learn.kernel_ridge import KernelRidge
from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier
from mercer.learn.kernel_ridge_cv import KernelRidgeCV
from mercer.learn.mmd_test import MMDTest
from mercer.learn.ridge import RidgePath, ridge_path
from mercer.learn.search_space import Categorical, Integer, Real

__all__ = [
    "BayesianOptimizer",
    "Categorical",
    "DistillationPath",
    "GaussianProcessRegressor",
    "HSICTest",
    "Integer",
    "KernelDensity",
    "KernelRidge",
    "KernelRidgeCV",
    "KernelRidgeClassifier",
    "MMDTest",
    "Real",
    "RidgePath",
    "SelfDistillation",
    "SplitConformal",
    "distill_filter",
    "distill_limit",
    "joint_weights",
    "optimal_weight",
    "ridge_path",
]
