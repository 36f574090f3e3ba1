"""Kernel models with scikit-learn's interface."""

from typing import TYPE_CHECKING

from mercer.lazy import on_first_use

if TYPE_CHECKING:
    from mercer.learn.bayesian_optimizer import BayesianOptimizer
    from mercer.learn.bundled_network_classifier import BundledNetworkClassifier
    from mercer.learn.bundled_network_regressor import BundledNetworkRegressor
    from mercer.learn.conformal import SplitConformal
    from mercer.learn.deep_gram_machine import DeepGramMachine
    from mercer.learn.deep_kernel_machine import DeepKernelMachineRegressor
    from mercer.learn.deep_kernel_machine_classifier import DeepKernelMachineClassifier
    from mercer.learn.deep_linear import deep_linear_gram_matrices
    from mercer.learn.distillation import SelfDistillation
    from mercer.learn.distillation_filters import distill_filter, distill_limit, joint_weights, optimal_weight
    from mercer.learn.distillation_path import DistillationPath
    from mercer.learn.eigenlearning import predicted_learning_curve
    from mercer.learn.gaussian_process import GaussianProcessRegressor
    from mercer.learn.gaussian_process_classifier import GaussianProcessClassifier
    from mercer.learn.hierarchical_regressor import HierarchicalRegressor
    from mercer.learn.hsic_test import HSICTest
    from mercer.learn.kernel_density import KernelDensity
    from mercer.learn.kernel_kmeans import KernelKMeans
    from mercer.learn.kernel_pca import KernelPCA
    from mercer.learn.kernel_ridge import KernelRidge
    from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier
    from mercer.learn.kernel_ridge_cv import KernelRidgeCV
    from mercer.learn.laplace_gaussian_process import LaplaceGaussianProcess
    from mercer.learn.learning_curve import LearningCurve
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
    from mercer.learn.sequence_classifier import SequenceClassifier
    from mercer.learn.sparse_gaussian_process import SparseGaussianProcessRegressor
    from mercer.learn.sparse_gaussian_process_classifier import SparseGaussianProcessClassifier
    from mercer.learn.spectral_clustering import SpectralClustering
    from mercer.learn.target_scale import TargetScale, scale_of_target
    from mercer.learn.variance_by_degree import DegreeVariance, degree_variance
    from mercer.learn.wide_dgp import WideDGP, sample_wide_dgp

__all__ = [
    "BayesianOptimizer",
    "BundledNetworkClassifier",
    "BundledNetworkRegressor",
    "Categorical",
    "DeepGramMachine",
    "DeepKernelMachineClassifier",
    "DeepKernelMachineRegressor",
    "DegreeVariance",
    "DistillationPath",
    "GaussianProcessClassifier",
    "GaussianProcessRegressor",
    "HSICTest",
    "HierarchicalRegressor",
    "Integer",
    "KernelDensity",
    "KernelKMeans",
    "KernelPCA",
    "KernelRidge",
    "KernelRidgeCV",
    "KernelRidgeClassifier",
    "LaplaceGaussianProcess",
    "LearningCurve",
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
    "SequenceClassifier",
    "SparseGaussianProcessClassifier",
    "SparseGaussianProcessRegressor",
    "SpectralClustering",
    "SplitConformal",
    "TargetScale",
    "WideDGP",
    "deep_linear_gram_matrices",
    "degree_variance",
    "distill_filter",
    "distill_limit",
    "joint_weights",
    "optimal_weight",
    "predicted_learning_curve",
    "ridge_path",
    "sample_wide_dgp",
    "scale_of_target",
]

__getattr__, __dir__ = on_first_use(__name__)
