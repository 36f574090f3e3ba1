"""One two-class Gaussian process of a classifier: learnt, kept as arrays, and asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.learn.covariance import Array, Covariance
from mercer.learn.laplace import LaplaceEvidence, Mode
from mercer.learn.likelihoods import Bernoulli
from mercer.learn.optimise import maximise, warn_at_bounds
from mercer.learn.posterior import Posterior

__all__ = ["BinaryLaplace"]


@dataclass
class BinaryLaplace:
    """``p(y = 1 | x) = 1 / (1 + exp(-f(x)))``, ``f ~ GP(0, k)``, by Laplace's approximation.

    Attributes:
        covariance: the kernel.
        points: all rows.
        signs: ``(n,)``, -1 and 1.
        rows: those of them that hyperparameters are learnt on; None for all.
        max_iter: Newton steps.
        warm_start: whether Newton's method begins at the mode of the last hyperparameters.
        mode: what predictions are made from.
    """

    covariance: Covariance
    points: Any
    signs: Tensor
    rows: Tensor | None
    max_iter: int
    warm_start: bool
    mode: Mode

    @classmethod
    def fit(
        cls,
        covariance: Covariance,
        points: Any,
        signs: Tensor,
        *,
        rows: Tensor | None,
        optimizer: Any,
        n_restarts: int,
        max_iter: int,
        warm_start: bool,
        rng: np.random.RandomState,
    ) -> BinaryLaplace:
        """Learn the hyperparameters, then find the mode of all rows."""
        made = cls(covariance, points, signs, rows, max_iter, warm_start, _NO_MODE)
        if optimizer is not None and len(covariance.theta):
            evidence = made.evidence(of_learning=True)
            theta, _ = maximise(
                lambda values: evidence(covariance, values, with_prior=True),
                covariance.theta,
                covariance.bounds,
                optimizer=optimizer,
                n_restarts=n_restarts,
                rng=rng,
            )
            made.covariance = covariance.at(theta)
            warn_at_bounds(made.covariance)
        evidence = made.evidence()
        made.mode = evidence.mode(made.covariance, evidence.likelihood)
        return made

    def evidence(self, *, of_learning: bool = False) -> LaplaceEvidence:
        """The approximate marginal likelihood, of all rows or of those that hyperparameters are learnt on."""
        points, signs = self.points, self.signs
        if of_learning and self.rows is not None:
            points = points[self.rows.to(signs.device)] if isinstance(points, Tensor) else points[self.rows.numpy()]
            signs = signs[self.rows.to(signs.device)]
        likelihood = Bernoulli(torch.zeros(0, dtype=torch.float64))
        return LaplaceEvidence(points, signs, likelihood, max_iter=self.max_iter, warm_start=self.warm_start)

    def log_marginal_likelihood(self, theta: Array | None = None, *, gradient: bool = False) -> tuple[float, Array]:
        """Of the rows that hyperparameters are learnt on, at theta, and the gradient where asked for."""
        evidence = self.evidence(of_learning=True)
        if gradient:
            assert theta is not None
            return evidence(self.covariance, theta)
        at = self.covariance if theta is None else self.covariance.at(theta)
        mode = evidence.mode(at, evidence.likelihood)
        return evidence.value(at, evidence.likelihood, mode), np.empty(0)

    def posterior(self) -> Posterior:
        """The Gaussian process that stands for the posterior."""
        return self.mode.posterior(self.covariance, self.points)


_NOTHING = torch.zeros(0, dtype=torch.float64)
_NO_MODE = Mode(_NOTHING, _NOTHING, _NOTHING, 0.0, 0)
