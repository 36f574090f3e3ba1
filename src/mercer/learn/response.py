"""Forecasts of a response whose latent value is Gaussian: mean, deviation, quantiles, density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.learn.covariance import Array
from mercer.learn.inputs import Given
from mercer.learn.intervals import check_level
from mercer.learn.likelihoods import Likelihood, gauss_hermite

__all__ = ["Response", "Scale"]

_STEPS = 60  # of Newton's method within a bracket that halves where they leave it; six are usual
_ROUND_OFF = 1e-15
_QUARTILES = 1.349  # the distance of the quartiles of a standard normal distribution


@dataclass(frozen=True)
class Scale:
    """How y relates to the model: ``y = level + width * model``, or for counts ``log rate = level + f``.

    Of several targets level and width are ``(t,)``.
    """

    level: Any
    width: Any
    is_count: bool

    @classmethod
    def of(cls, likelihood: Likelihood, y: Tensor) -> Scale:
        """From the targets: the log of the mean count; mean and deviation; for Student's t median and quartiles.

        Raises:
            ValueError: counts that are all 0.
        """
        if likelihood.is_count:
            if not bool(y.any()):
                raise ValueError(
                    f"likelihood={likelihood.name!r}: all {len(y)} counts are 0, whose rate has no finite estimate. "
                    f"Leave such data out, or predict 0."
                )
            return cls(float(y.mean().log()), 1.0, True)
        if likelihood.name == "gaussian":
            middle, width = float(y.mean()), float(y.std(correction=0))
            return cls(middle, width if width > 10 * torch.finfo(torch.float64).eps * abs(middle) else 1.0, False)
        low, middle, high = torch.quantile(y, torch.tensor([0.25, 0.5, 0.75]).to(y)).tolist()
        width = (high - low) / _QUARTILES or float(y.std(correction=0))
        floor = 10 * torch.finfo(torch.float64).eps * abs(middle)
        return cls(middle, width if width > floor else 1.0, False)

    def targets(self, y: Tensor) -> tuple[Tensor, Any]:
        """What the model sees, and what is added to its latent function."""
        return (y, self.level) if self.is_count else ((y - self.level) / self.width, 0.0)


@dataclass(frozen=True)
class Response:
    """A new y at each row.

    Attributes:
        likelihood: of y given the latent function, in the model's units.
        scale: the units.
        mean, variance: of the latent function, ``(m,)``, without the level; of several targets ``(m, t)``.
    """

    likelihood: Likelihood
    scale: Scale
    mean: Tensor
    variance: Tensor

    def latent(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of ``level + f`` in the units of y (counts: of its logarithm)."""
        width = self.scale.width
        return self.scale.level + width * self.mean, width * width * self.variance

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of y."""
        location, width = self._location(), self.scale.width
        mean, variance = self.likelihood.response_moments(location, self.variance)
        if not self.scale.is_count:
            mean = self.scale.level + width * mean
        return mean, width * variance.sqrt()

    def quantile(self, share: float) -> Tensor:
        """The least y whose distribution function is at least ``share``; counts stay counts."""
        location = self._location()
        mean, deviation = location.flatten().cpu().numpy(), self.variance.sqrt().flatten().cpu().numpy()
        nodes, weights = (v.numpy() for v in gauss_hermite(torch.zeros(0, dtype=torch.float64)))
        distribution = self.likelihood.distribution(mean[:, None] + deviation[:, None] * nodes)  # (m, nodes)

        def below(y: Array) -> Array:
            values: Array = distribution.cdf(y[:, None]) @ weights
            return values

        # A mixture's quantile lies between those of its parts.
        ends = distribution.ppf(share)
        low, high = ends.min(1), ends.max(1)
        if self.scale.is_count:
            low = low - 1.0
            while (high - low > 1.0).any():
                middle = np.floor(0.5 * (low + high))
                is_enough = below(middle) >= share
                low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
        else:
            middle = 0.5 * (low + high)
            for _ in range(_STEPS):
                excess, before = below(middle) - share, middle
                low, high = np.where(excess >= 0.0, low, middle), np.where(excess >= 0.0, middle, high)
                with np.errstate(divide="ignore", invalid="ignore"):
                    newton = middle - excess / (distribution.pdf(middle[:, None]) @ weights)
                middle = np.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
                if (abs(middle - before) <= _ROUND_OFF * (1.0 + abs(middle))).all():
                    break
            high = middle
        found = torch.from_numpy(high).to(location.device).reshape(location.shape)
        return found if self.scale.is_count else self.scale.level + self.scale.width * found

    def log_density(self, y: Tensor) -> Tensor:
        """``log p(y)`` of each row, in the units of y; of all its targets together."""
        if y.shape != self.mean.shape:
            raise ValueError(
                f"y must have the shape of the prediction, {tuple(self.mean.shape)}, not {tuple(y.shape)}."
            )
        y = y.to(self.mean.device)
        values = y if self.scale.is_count else (y - self.scale.level) / self.scale.width
        found = self.likelihood.log_predictive_density(values, self._location(), self.variance)
        found = found if self.scale.is_count else found - torch.as_tensor(self.scale.width, dtype=torch.float64).log()
        return found.sum(-1) if found.dim() == 2 else found

    def answer(
        self, given: Given, *, return_std: bool, interval: float | None, quantiles: Sequence[float] | None
    ) -> Any:
        """What ``predict`` gives."""
        if sum((bool(return_std), interval is not None, quantiles is not None)) > 1:
            raise RuntimeError("At most one of return_std, interval and quantiles can be requested.")
        mean, deviation = self.moments()
        if return_std:
            return given.answer(mean), given.answer(deviation)
        if interval is not None:
            level = check_level(interval)
            limits = (self.quantile(0.5 * (1.0 + side * level)) for side in (-1.0, 1.0))
            return (given.answer(mean), *(given.answer(limit) for limit in limits))
        if quantiles is not None:
            found = [self.quantile(check_level(share, "quantiles: each")) for share in quantiles]
            return given.answer(mean), given.answer(torch.stack(found, -1))
        return given.answer(mean)

    def _location(self) -> Tensor:
        return self.scale.level + self.mean if self.scale.is_count else self.mean
