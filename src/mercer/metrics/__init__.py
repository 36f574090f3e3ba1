"""Scores and distances between samples that scikit-learn lacks."""

from mercer.metrics import distribution
from mercer.metrics.distribution import energy_distance, floor, median_distance, mmd, sliced_wasserstein
from mercer.metrics.sinkhorn import sinkhorn_divergence
from mercer.metrics.transport import wasserstein

__all__ = [
    "distribution",
    "energy_distance",
    "floor",
    "median_distance",
    "mmd",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "wasserstein",
]
