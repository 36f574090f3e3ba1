"""How a Gaussian process is conditioned on data: by which plan, with gradients, and rows that come later."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mercer.arrays import as_tensor, check_finite
from mercer.errors import ApproximationWarning, PerformanceWarning, ShapeError
from mercer.learn.covariance import Covariance, MercerCovariance
from mercer.learn.fourier_posterior import FourierPosterior, box_around, why_not_fourier
from mercer.learn.gaussian_process_predictions import GaussianProcessPredictions
from mercer.learn.gradient_observations import GradientPosterior, stack_gradients
from mercer.learn.inputs import Given, as_given, as_targets
from mercer.learn.marginal_likelihood import EXACT, FourierTerms, MarginalLikelihood
from mercer.learn.posterior import Posterior
from mercer.operators.fourier import NoFourierSeries
from mercer.operators.plans.fourier import FourierPlan

__all__ = ["GaussianProcessConditioning"]


class GaussianProcessConditioning(GaussianProcessPredictions):
    """The conditioning half of :class:`GaussianProcessRegressor`."""

    optimizer: Any
    subset: int | None
    tolerance: float | None
    alpha_: Any
    gradients_train_: Any
    _fourier_terms: FourierTerms
    _why_not: str | None
    _likelihood_value: float | None

    def partial_fit(self, X: Any, y: Any, *, noise: Any = None) -> Self:
        """Condition on further rows too, at the hyperparameters and the normalisation of y that ``fit`` found.

        The model is that of all rows, exactly: a Cholesky factor is extended, the sums of a Fourier series are added
        to, and a solution by iterations starts from the old one. Without a ``fit`` before it is one.

        Args:
            X: ``(m, d)``.
            y: ``(m,)`` or ``(m, t)``.
            noise: the known variance of these y in units of y squared, one or one a row; None is that of ``fit`` where
                it was one number.

        Raises:
            ValueError: other columns or targets, gradients in ``fit``, or noise one a row there and none here.

        Cost: ``n^2 m`` multiply-adds with a Cholesky factor; a pass over the new rows, and ``M^3 / 3``, with a Fourier
        series of M weights.
        """
        if not hasattr(self, "_posterior"):
            if noise is not None:
                raise ValueError("partial_fit before fit is a fit: give noise to the estimator.")
            return self.fit(X, y)
        if hasattr(self, "gradients_train_"):
            raise ValueError("partial_fit adds values, but this model has gradients too: fit again with all of them.")
        given, y = self._check_training(X, y, reset=False, multi_output=True)
        Y, is_vector = as_targets(y, self._diagonal.device)
        location, scale = as_tensor(self._y_train_mean), as_tensor(self._y_train_std)
        old = as_targets(self.y_train_, self._diagonal.device)[0]
        if Y.shape[1] != old.shape[1]:
            raise ValueError(f"The model has {old.shape[1]} targets, the new y has {Y.shape[1]}.")
        Y = torch.cat([old, (Y - location) / scale])
        diagonal = self._extended_noise(len(old), len(Y), noise, scale)
        known, new = self._points(), given.points
        tensor = isinstance(known, Tensor)
        both: Any = torch.cat([known, new.to(known.device)]) if tensor else np.concatenate([known, new])
        posterior = self._posterior.extended(both, Y, diagonal)  # before anything is changed: it may raise
        tensors = isinstance(self.X_train_, Tensor)
        self._diagonal = diagonal
        self.X_train_ = both.numpy() if isinstance(both, Tensor) and not tensors else both
        self.y_train_ = as_given(Y.squeeze(-1) if is_vector else Y, tensors)
        self.__dict__.pop("alpha_", None)
        self.__dict__.pop("_fourier_terms", None)
        self._set_posterior(posterior)
        return self

    def _starting_covariance(self) -> Covariance:
        return self._with_tolerance(super()._starting_covariance())

    def _covariance_of(self, kernel: Any) -> Covariance:
        return self._with_tolerance(super()._covariance_of(kernel))

    def _with_tolerance(self, covariance: Covariance) -> Covariance:
        """Where no Fourier series stands for the whole kernel, products may still use one for some of its terms."""
        if self.tolerance is None or not hasattr(self, "n_features_in_") or hasattr(self, "gradients_train_"):
            return covariance
        if not isinstance(covariance, MercerCovariance) or why_not_fourier(covariance, self._a_point()) is None:
            return covariance
        return replace(covariance, tolerance=self.tolerance)

    def _a_point(self) -> Tensor:
        return torch.zeros(1, self.n_features_in_, dtype=torch.float64)

    def _start_fourier(self, covariance: Covariance) -> None:
        """Decide whether a Fourier series stands for the kernel: ``_why_not`` is None, or says why it does not."""
        if self.tolerance is None:
            self._why_not = None  # nor is there anything to say
            return
        if not 0.0 < self.tolerance < 1.0:
            raise ValueError(f"tolerance={self.tolerance!r}: give an error between 0 and 1, such as 1e-6, or None.")
        self._why_not = (
            "gradients are observed"
            if hasattr(self, "gradients_train_")
            else why_not_fourier(covariance, self._points())
        )
        if self._why_not is None:
            FourierPlan().require()
            self._try_fourier(lambda: self._first_likelihood(covariance))

    def _name_a_quicker_way(self, covariance: Covariance) -> None:
        """Warn where many rows would be seconds with a tolerance, and are minutes without."""
        points = self._points()
        learnt = len(points) if self.subset is None else self.subset
        if self.tolerance is not None or self.optimizer is None or learnt <= EXACT or hasattr(self, "gradients_train_"):
            return
        if why_not_fourier(covariance, points) is None and covariance.matrix(points)[0].direct() is None:
            warnings.warn(
                f"{learnt:,} rows are learnt from by conjugate gradients, many minutes for some ten thousand. With "
                f"tolerance=1e-6, the error allowed of entries of the kernel matrix, a Fourier series can stand for "
                f"this kernel, often within seconds; subset=5000 learns from fewer rows.",
                PerformanceWarning,
                stacklevel=3,
            )

    def _first_likelihood(self, covariance: Covariance) -> None:
        if np.isneginf(self._likelihood()(covariance, covariance.theta)[0]):
            raise NoFourierSeries("the noise is below the round-off of sums over the rows")

    def _try_fourier(self, attempt: Callable[[], Any]) -> Any:
        """What is computed by the series; None where that takes too many modes, which is said once in a warning."""
        try:
            return attempt()
        except NoFourierSeries as error:
            self._why_not = str(error)
            warnings.warn(
                f"tolerance={self.tolerance:g}: no Fourier series: {error}. The model is computed without, exactly and "
                f"more slowly.",
                ApproximationWarning,
                stacklevel=4,
            )
            return None

    def _uses_fourier(self) -> bool:
        return self.tolerance is not None and self._why_not is None

    def _fourier(self, points: Any, Y: Tensor) -> FourierTerms | None:
        """What computes likelihoods by a Fourier series; kept, with its sums over the rows."""
        if not self._uses_fourier():
            return None
        assert self.tolerance is not None
        if "_fourier_terms" not in self.__dict__:
            box = box_around(self._points())
            self._fourier_terms = FourierTerms(Y, tolerance=self.tolerance, box=box)
        return self._fourier_terms

    def _condition(self, covariance: Covariance) -> Posterior | FourierPosterior:
        """The model of all rows."""
        points, Y, noise = self._points(), self._observations(), self._diagonal
        if hasattr(self, "gradients_train_"):
            return GradientPosterior.of(covariance, points, Y, noise)
        found: FourierPosterior | None = None
        if self._uses_fourier():
            assert self.tolerance is not None
            assert isinstance(covariance, MercerCovariance)
            terms: FourierTerms | None = self.__dict__.get("_fourier_terms")
            modes = None if terms is None or hasattr(self, "subset_indices_") else terms.modes
            if modes is not None and not modes.serves(covariance.matrix(points)[0]):
                modes = None
            options: dict[str, Any] = {"tolerance": self.tolerance, "modes": modes}
            found = self._try_fourier(lambda: FourierPosterior.of(covariance, points, Y, noise, **options))
        return Posterior.of(covariance, points, Y, noise) if found is None else found

    def _set_posterior(self, posterior: Posterior | FourierPosterior) -> None:
        self._posterior = posterior
        if isinstance(posterior, Posterior):
            weights = posterior.weights.squeeze(-1) if len(np.shape(self.y_train_)) == 1 else posterior.weights
            self.alpha_ = as_given(weights, isinstance(self.X_train_, Tensor))
        self._likelihood_value: float | None = None

    def _observe_gradients(
        self, given: Given, gradients: Any, scale: Tensor, covariance: Covariance, noise: float
    ) -> None:
        if not isinstance(covariance, MercerCovariance):
            raise TypeError(f"gradients need a kernel of mercer, or one that has a twin here, not {covariance.kernel}.")
        if not 0.0 <= noise < np.inf:
            raise ValueError(f"gradient_noise={noise!r} must not be negative or infinite: it is a variance.")
        G = as_tensor(gradients, dtype=torch.float64, device=given.device)
        shape = (len(given), given.points.shape[1])
        if G.shape not in (shape, (*shape, len(scale))) or (G.dim() == 2 and len(scale) > 1):
            raise ShapeError(
                f"gradients must be {shape} or, for t targets, {(*shape, 't')}, but have shape {tuple(G.shape)}."
            )
        check_finite(G, "gradients")
        self.gradients_train_ = given.coefficients(G / (scale if G.dim() == 3 else scale[0]))
        alpha = as_tensor(self.alpha, dtype=torch.float64, device=given.device)
        own = noise / scale[0] ** 2 + (alpha.reshape(()) if alpha.numel() == 1 else 0.0)
        self._diagonal = torch.cat([self._diagonal.expand(len(given)), own.expand(shape[0] * shape[1])])

    def _observations(self) -> Tensor:
        """What the model is conditioned on, ``(n, t)`` or with gradients ``(n (d + 1), t)``."""
        Y = as_targets(self.y_train_, self._diagonal.device)[0]
        if not hasattr(self, "gradients_train_"):
            return Y
        G = as_tensor(self.gradients_train_, dtype=torch.float64, device=Y.device)
        return stack_gradients(Y, G.unsqueeze(-1) if G.dim() == 2 else G)

    def _extended_noise(self, n: int, total: int, noise: Any, scale: Tensor) -> Tensor:
        """The diagonal with that of new rows."""
        if noise is None:
            if self._diagonal.dim():
                raise ValueError(
                    "partial_fit: alpha or noise were given one a row in fit, so the new rows need theirs: noise=array."
                )
            return self._diagonal
        alpha = as_tensor(self.alpha, dtype=torch.float64, device=scale.device)
        new = as_tensor(noise, dtype=torch.float64, device=scale.device)
        if new.dim() > 1 or new.numel() not in (1, total - n) or not bool((new >= 0).all() & new.isfinite().all()):
            raise ValueError(f"partial_fit: noise must be one variance or {total - n}, none of them negative.")
        new = new / scale[0] ** 2 + (alpha.reshape(()) if alpha.numel() == 1 else 0.0)
        return torch.cat([self._diagonal.expand(n), new.expand(total - n)])

    def fit(self, X: Any, y: Any) -> Self:
        raise NotImplementedError

    def _likelihood(self) -> MarginalLikelihood:
        raise NotImplementedError
