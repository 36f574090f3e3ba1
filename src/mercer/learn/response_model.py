"""Regression whose response has a likelihood: what is kept of it, and forecasts from a Gaussian latent function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.inputs import Given
from mercer.learn.likelihoods import Likelihood, likelihood
from mercer.learn.response import Response, Scale

__all__ = ["ResponseModel"]

_POWERS = {"scale": 1, "noise": 2}  # of the width of y in the units of a parameter


class ResponseModel(RegressorMixin):
    """Predictions of a regression with ``likelihood``; a subclass's ``_latent`` gives the latent function.

    A mixin of its own, since Laplace's approximation and inducing points have different bases.
    """

    _allowed: ClassVar[tuple[str, ...]]
    likelihood: str
    _scale: list[Any]
    _log_parameters: list[float]

    def predict(
        self,
        X: Any,
        return_std: bool = False,
        *,
        interval: float | None = None,
        quantiles: Sequence[float] | None = None,
    ) -> Any:
        """The mean of a new y at each row, and how far it may be away.

        Args:
            X: ``(m, d)``.
            return_std: also the standard deviation of a new y, noise included, ``(m,)``; infinite for ``df <= 2``.
            interval: a share such as 0.9: also the limits between which a new y lies with (at least) that probability.
            quantiles: shares: also the quantiles of a new y, ``(m, len(quantiles))``. Those of counts are counts.

        Models of several targets give ``(m, t)`` where ``(m,)`` stands here, and quantiles ``(m, t, len(quantiles))``.

        Returns:
            The mean; (mean, deviation); (mean, lower, upper); or (mean, quantiles).

        Raises:
            RuntimeError: more than one of ``return_std``, ``interval`` and ``quantiles``.
        """
        given, response = self._response(X)
        return response.answer(given, return_std=return_std, interval=interval, quantiles=quantiles)

    def log_predictive_density(self, X: Any, y: Any) -> Any:
        """``log p(y | x, training data)`` of each row, ``(m,)``; the higher, the better the forecast."""
        given, response = self._response(X)
        return given.answer(response.log_density(as_tensor(y, dtype=torch.float64)))

    def latent_mean_and_variance(self, X: Any) -> tuple[Any, Any]:
        """Mean and variance of ``level + f``, ``(m,)`` each: of the response's location, or of the log of its mean."""
        given, response = self._response(X)
        mean, variance = response.latent()
        return given.answer(mean), given.answer(variance)

    @property
    def likelihood_params_(self) -> dict[str, Any]:
        """The parameters of the likelihood, in the units of y (``noise``: of its square); of several y one for each."""
        check_is_fitted(self)
        width = self._scale[1]
        width = width.cpu().numpy() if isinstance(width, Tensor) else width
        found = self._likelihood().parameters
        return {k: v * width ** _POWERS[k] if k in _POWERS else v for k, v in found.items()}

    def _latent(self, X: Any) -> tuple[Given, Tensor, Tensor]:
        """The checked points, and mean and variance of f there, ``(m,)`` each, in the model's units."""
        raise NotImplementedError

    def _response(self, X: Any) -> tuple[Given, Response]:
        check_is_fitted(self)
        given, mean, variance = self._latent(X)
        return given, Response(self._likelihood(), self._response_scale(), mean, variance)

    def _first_targets(self, start: Likelihood, y: Any, device: torch.device) -> Tensor:
        """The targets that level and scale are taken from, ``(n,)`` or ``(n, t)`` float64, checked; keeps ``start``."""
        targets = as_tensor(y, dtype=torch.float64, device=device)
        start.check(targets)
        scales = [Scale.of(start, column) for column in targets.reshape(len(targets), -1).mT]
        self._scale, self._log_parameters = [scales[0].level, scales[0].width], start.log_parameters.tolist()
        if targets.dim() == 2:
            self._scale = [targets.new_tensor([getattr(s, name) for s in scales]) for name in ("level", "width")]
        return targets

    def _likelihood(self) -> Likelihood:
        """At the parameters learnt so far."""
        kind = type(likelihood(self.likelihood, None, allowed=self._allowed))
        return kind(torch.tensor(self._log_parameters, dtype=torch.float64))

    def _response_scale(self) -> Scale:
        return Scale(self._scale[0], self._scale[1], is_count=self._likelihood().is_count)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.likelihood in ("poisson", "negative_binomial")
        return tags
