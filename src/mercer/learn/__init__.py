"""Kernel models with scikit-learn's interface."""

from mercer.learn.conformal import SplitConformal
from mercer.learn.distillation import SelfDistillation
from mercer.learn.distillation_filters import distill_filter, distill_limit, joint_weights, optimal_weight
from mercer.learn.distillation_path import DistillationPath
from mercer.learn.gaussian_process import GaussianProcessRegressor
from mercer.learn.kernel_kmeans import KernelKMeans
from mercer.learn.kernel_pca import KernelPCA
from mercer.learn.kernel_ridge import KernelRidge
from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier
from mercer.learn.kernel_ridge_cv import KernelRidgeCV
from mercer.learn.nystroem import Nystroem
from mercer.learn.random_fourier import RandomFourier
from mercer.learn.ridge import RidgePath, ridge_path
from mercer.learn.spectral_clustering import SpectralClustering

__all__ = [
    "DistillationPath",
    "GaussianProcessRegressor",
    "KernelKMeans",
    "KernelPCA",
    "KernelRidge",
    "KernelRidgeCV",
    "KernelRidgeClassifier",
    "Nystroem",
    "RandomFourier",
    "RidgePath",
    "SelfDistillation",
    "SpectralClustering",
    "SplitConformal",
    "distill_filter",
    "distill_limit",
    "joint_weights",
    "optimal_weight",
    "ridge_path",
]
