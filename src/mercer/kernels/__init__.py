"""What similarity means: kernels, their algebra, their hyperparameters, their text."""

from mercer.kernels import features, neural
from mercer.kernels.additive import ANOVA, Additive
from mercer.kernels.algebra import On, Power, Product, Scaled, Sum
from mercer.kernels.arc_cosine import ArcCosine
from mercer.kernels.base import Kernel
from mercer.kernels.change_point import ChangePoint
from mercer.kernels.constant import Constant
from mercer.kernels.cosine import Cosine
from mercer.kernels.degrees import hermite_degree_shares
from mercer.kernels.derivative import Derivative
from mercer.kernels.embedding import MeanEmbedding
from mercer.kernels.empirical_ntk import EmpiricalNTK
from mercer.kernels.exponential import Exponential
from mercer.kernels.functions import FunctionKernel, from_callable
from mercer.kernels.gibbs import Gibbs
from mercer.kernels.gpytorch_bridge import to_gpytorch
from mercer.kernels.gpytorch_kernels import GPyTorchKernel
from mercer.kernels.gpytorch_translation import from_gpytorch
from mercer.kernels.gradients import GradientKernel
from mercer.kernels.gram import IndefiniteGram, check_gram, gram_kernel
from mercer.kernels.grammar import parse, to_text
from mercer.kernels.hamming import Hamming
from mercer.kernels.hermite import HermitePolynomial
from mercer.kernels.hierarchical import HierarchicalConv
from mercer.kernels.hierarchical_spectrum import gram_spectrum, multisphere_spectrum, torus_spectrum
from mercer.kernels.intersection import Intersection
from mercer.kernels.jaccard import Jaccard, Tanimoto
from mercer.kernels.laplacian import Laplacian
from mercer.kernels.linear import Linear
from mercer.kernels.local_patches import LocalPatches
from mercer.kernels.matern import Matern
from mercer.kernels.monte_carlo_ntk import MonteCarloNTK, monte_carlo_ntk
from mercer.kernels.named import Pairwise, from_name
from mercer.kernels.neural import NNGP, NTK, InfiniteNetwork, NetworkKernel
from mercer.kernels.parameters import Gamma, Hyperparameter, LogNormal, Parameter
from mercer.kernels.periodic import Periodic
from mercer.kernels.polynomial import Polynomial
from mercer.kernels.power_exponential import PowerExponential
from mercer.kernels.rational_quadratic import RationalQuadratic
from mercer.kernels.rbf import RBF
from mercer.kernels.sets import SetKernel, pack
from mercer.kernels.sklearn_kernels import SklearnKernel
from mercer.kernels.sklearn_translation import Translation, from_sklearn, translate
from mercer.kernels.softmax import Softmax
from mercer.kernels.spectral import SpectralMixture
from mercer.kernels.spectrum import Spectrum
from mercer.kernels.strings import encode
from mercer.kernels.subsequence import Subsequence
from mercer.kernels.wendland import Wendland
from mercer.kernels.white import White

__all__ = [
    "ANOVA",
    "NNGP",
    "NTK",
    "RBF",
    "Additive",
    "ArcCosine",
    "ChangePoint",
    "Constant",
    "Cosine",
    "Derivative",
    "EmpiricalNTK",
    "Exponential",
    "FunctionKernel",
    "GPyTorchKernel",
    "Gamma",
    "Gibbs",
    "GradientKernel",
    "Hamming",
    "HermitePolynomial",
    "HierarchicalConv",
    "Hyperparameter",
    "IndefiniteGram",
    "InfiniteNetwork",
    "Intersection",
    "Jaccard",
    "Kernel",
    "Laplacian",
    "Linear",
    "LocalPatches",
    "LogNormal",
    "Matern",
    "MeanEmbedding",
    "MonteCarloNTK",
    "NetworkKernel",
    "On",
    "Pairwise",
    "Parameter",
    "Periodic",
    "Polynomial",
    "Power",
    "PowerExponential",
    "Product",
    "RationalQuadratic",
    "Scaled",
    "SetKernel",
    "SklearnKernel",
    "Softmax",
    "SpectralMixture",
    "Spectrum",
    "Subsequence",
    "Sum",
    "Tanimoto",
    "Translation",
    "Wendland",
    "White",
    "check_gram",
    "encode",
    "features",
    "from_callable",
    "from_gpytorch",
    "from_name",
    "from_sklearn",
    "gram_kernel",
    "gram_spectrum",
    "hermite_degree_shares",
    "monte_carlo_ntk",
    "multisphere_spectrum",
    "neural",
    "pack",
    "parse",
    "to_gpytorch",
    "to_text",
    "torus_spectrum",
    "translate",
]
