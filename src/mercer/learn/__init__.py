"""Kernel models with scikit-learn's interface."""

from mercer.learn.bayesian_optimizer import BayesianOptimizer
from mercer.learn.conformal import SplitConformal
from mercer.learn.distillation import SelfDistillation
from mercer.learn.distillation_filters import distill_filter, distill_limit, joint_weights, optimal_weight
from mercer.learn.distillation_path import DistillationPath
from mercer.learn.gaussian_process import GaussianProcessRegressor
from mercer.learn.gaussian_process_classifier import GaussianProcessClassifier
from mercer.learn.hsic_test import HSICTest
from mercer.learn.kernel_density import KernelDensity
from mercer.learn.kernel_kmeans import KernelKMeans
from mercer.learn.kernel_pca import KernelPCA
from mercer.learn.kernel_ridge import KernelRidge
from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier
from mercer.learn.kernel_ridge_cv import KernelRidgeCV
from mercer.learn.laplace_gaussian_process import LaplaceGaussianProcess
from mercer.learn.mmd_test import MMDTest
from mercer.learn.multi_task_gaussian_process import MultiTaskGaussianProcess
from mercer.learn.ntk_classifier import NTKClassifier
from mercer.learn.ntk_regressor import NTKRegressor
from mercer.learn.nystroem import Nystroem
from mercer.learn.random_fourier import RandomFourier
from mercer.learn.recursive_feature_machine import RecursiveFeatureMachine
from mercer.learn.recursive_feature_machine_classifier import RecursiveFeatureMachineClassifier
from mercer.learn.ridge import RidgePath, ridge_path
from mercer.learn.search_space import Categorical, Integer, Real
from mercer.learn.sparse_gaussian_process import SparseGaussianProcessRegressor
from mercer.learn.sparse_gaussian_process_classifier import SparseGaussianProcessClassifier
from mercer.learn.spectral_clustering import SpectralClustering

__all__ = [
    "BayesianOptimizer",
    "Categorical",
    "DistillationPath",
    "GaussianProcessClassifier",
    "GaussianProcessRegressor",
    "HSICTest",
    "Integer",
    "KernelDensity",
    "KernelKMeans",
    "KernelPCA",
    "KernelRidge",
    "KernelRidgeCV",
    "KernelRidgeClassifier",
    "LaplaceGaussianProcess",
    "MMDTest",
    "MultiTaskGaussianProcess",
    "NTKClassifier",
    "NTKRegressor",
    "Nystroem",
    "RandomFourier",
    "Real",
    "RecursiveFeatureMachine",
    "RecursiveFeatureMachineClassifier",
    "RidgePath",
    "SelfDistillation",
    "SparseGaussianProcessClassifier",
    "SparseGaussianProcessRegressor",
    "SpectralClustering",
    "SplitConformal",
    "distill_filter",
    "distill_limit",
    "joint_weights",
    "optimal_weight",
    "ridge_path",
]
