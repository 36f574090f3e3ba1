"""Feature maps: phi with <phi(x), phi(y)> equal or close to k(x, y), and kernels made of them."""

from mercer.kernels.features.arc_cosine import ArcCosineFeatures
from mercer.kernels.features.base import Features
from mercer.kernels.features.exact import ExactFeatures
from mercer.kernels.features.feature_kernel import FeatureKernel
from mercer.kernels.features.layer_features import LayerFeatures
from mercer.kernels.features.maclaurin import PowerSeries
from mercer.kernels.features.nystrom import NystromFeatures
from mercer.kernels.features.positive import PositiveFeatures, optimal_damping
from mercer.kernels.features.random_fourier import RandomFourier
from mercer.kernels.features.spectrum import GridSpectrum
from mercer.kernels.features.tensor_sketch import TensorSketch
from mercer.kernels.features.universal import UniversalRandomFeatures

__all__ = [
    "ArcCosineFeatures",
    "ExactFeatures",
    "FeatureKernel",
    "Features",
    "GridSpectrum",
    "LayerFeatures",
    "NystromFeatures",
    "PositiveFeatures",
    "PowerSeries",
    "RandomFourier",
    "TensorSketch",
    "UniversalRandomFeatures",
    "optimal_damping",
]
