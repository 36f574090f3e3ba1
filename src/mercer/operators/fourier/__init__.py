"""Kernels in up to three coordinates as Fourier series: products, solutions and likelihoods."""

from mercer.operators.fourier.differences import EmbeddedDifferences, difference_terms, why_not_differences
from mercer.operators.fourier.features import FourierFeatures, mode_sums
from mercer.operators.fourier.found import Found, find
from mercer.operators.fourier.likelihood import FourierLikelihood
from mercer.operators.fourier.mixed_solution import MixedSolution
from mercer.operators.fourier.modes import FourierModes, difference_map
from mercer.operators.fourier.product import FourierProduct
from mercer.operators.fourier.series import NoFourierSeries
from mercer.operators.fourier.solution import FourierSolution

__all__ = [
    "EmbeddedDifferences",
    "Found",
    "FourierFeatures",
    "FourierLikelihood",
    "FourierModes",
    "FourierProduct",
    "FourierSolution",
    "MixedSolution",
    "NoFourierSeries",
    "difference_map",
    "difference_terms",
    "find",
    "mode_sums",
    "why_not_differences",
]
