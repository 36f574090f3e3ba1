"""What similarity means: kernels, their algebra, their hyperparameters, their text."""

from mercer.kernels.algebra import On, Power, Product, Scaled, Sum
from mercer.kernels.base import Kernel
from mercer.kernels.constant import Constant
from mercer.kernels.embedding import MeanEmbedding
from mercer.kernels.functions import FunctionKernel, from_callable
from mercer.kernels.grammar import parse, to_text
from mercer.kernels.hamming import Hamming
from mercer.kernels.laplacian import Laplacian
from mercer.kernels.linear import Linear
from mercer.kernels.matern import Matern
from mercer.kernels.named import Pairwise, from_name
from mercer.kernels.parameters import Gamma, Hyperparameter, LogNormal, Parameter
from mercer.kernels.polynomial import Polynomial
from mercer.kernels.power_exponential import PowerExponential
from mercer.kernels.rational_quadratic import RationalQuadratic
from mercer.kernels.rbf import RBF
from mercer.kernels.sklearn_kernels import SklearnKernel
from mercer.kernels.sklearn_translation import Translation, from_sklearn, translate
from mercer.kernels.white import White

__all__ = [
    "RBF",
    "Constant",
    "FunctionKernel",
    "Gamma",
    "Hamming",
    "Hyperparameter",
    "Kernel",
    "Laplacian",
    "Linear",
    "LogNormal",
    "Matern",
    "MeanEmbedding",
    "On",
    "Pairwise",
    "Parameter",
    "Polynomial",
    "Power",
    "PowerExponential",
    "Product",
    "RationalQuadratic",
    "Scaled",
    "SklearnKernel",
    "Sum",
    "Translation",
    "White",
    "from_callable",
    "from_name",
    "from_sklearn",
    "parse",
    "to_text",
    "translate",
]
