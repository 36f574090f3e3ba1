"""Ensembles of wide networks in closed form: how many to average, and permutations of bits that they learn exactly."""

from mercer.learn.ensemble.law import EnsembleLaw
from mercer.learn.ensemble.permutation_law import PermutationLaw
from mercer.learn.ensemble.permutation_learner import PermutationLearner
from mercer.learn.ensemble.size import EnsembleSize, ensemble_size

__all__ = ["EnsembleLaw", "EnsembleSize", "PermutationLaw", "PermutationLearner", "ensemble_size"]
