"""Layers whose inputs and weights are separated by random features: kernels of both, adapters, bundled networks."""

from mercer.nn.random_features.adapt import AdapterReport, add_adapters, load_adapters
from mercer.nn.random_features.bundle import BundledNetwork, bundle
from mercer.nn.random_features.compress import CompressedLayer, CompressionReport, compress
from mercer.nn.random_features.feature_layer import RandomFeatureLayer
from mercer.nn.random_features.low_rank import LowRankLinear, add_low_rank
from mercer.nn.random_features.snnk_adapter import SNNKAdapter
from mercer.nn.random_features.snnk_linear import SNNKLinear

__all__ = [
    "AdapterReport",
    "BundledNetwork",
    "CompressedLayer",
    "CompressionReport",
    "LowRankLinear",
    "RandomFeatureLayer",
    "SNNKAdapter",
    "SNNKLinear",
    "add_adapters",
    "add_low_rank",
    "bundle",
    "compress",
    "load_adapters",
]
