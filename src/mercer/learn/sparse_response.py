"""Regression through inducing points with a response of several kinds: what its models share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mercer.learn.inputs import Given
from mercer.learn.response_model import ResponseModel
from mercer.learn.variational import Expected

__all__ = ["SparseResponse"]


class SparseResponse(ResponseModel):
    """Mixin of regressors whose ``_moments`` gives mean and variance of a latent function a target, ``(m, t)`` each."""

    _allowed = ("gaussian", "student_t", "poisson", "negative_binomial")
    _is_vector = True  # y was (n,)
    _check_points: Any
    _moments: Any

    def _is_conjugate(self) -> bool:
        return self.likelihood == "gaussian"

    def _scaled(self, targets: Tensor) -> Tensor:
        return self._response_scale().targets(targets)[0]

    def _expected(self, y: Tensor, log_parameters: Tensor) -> Expected:
        made = type(self._likelihood())(log_parameters)
        offset = self._scale[0] if made.is_count else 0.0

        def expected(mean: Tensor, variance: Tensor) -> Tensor:
            return made.expected_log_density(y.reshape(mean.shape), mean + offset, variance).sum(-1)

        return expected

    def _latent(self, X: Any) -> tuple[Given, Tensor, Tensor]:
        given = self._check_points(X)
        mean, variance = self._moments(given.points)
        return (given, mean[:, 0], variance[:, 0]) if self._is_vector else (given, mean, variance)
