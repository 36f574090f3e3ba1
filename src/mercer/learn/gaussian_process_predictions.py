"""Predictions of a Gaussian process as an estimator gives them: mean, deviation, covariance, intervals, samples."""

from __future__ import annotations

from typing import Any

import torch
from scipy.stats import norm
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.fourier_posterior import FourierPosterior
from mercer.learn.inputs import as_targets
from mercer.learn.intervals import around, check_level
from mercer.learn.kernel_model import KernelModel
from mercer.learn.pathwise import PosteriorFunctions, draw_functions
from mercer.learn.posterior import Posterior, Prior
from mercer.learn.random_states import as_random_state

__all__ = ["GaussianProcessPredictions"]


class GaussianProcessPredictions(KernelModel):
    """The predicting half of :class:`GaussianProcessRegressor`."""

    alpha: Any
    noise: Any
    n_targets: int | None
    y_train_: Any
    _posterior: Posterior | FourierPosterior
    _diagonal: Tensor
    _y_train_mean: Any
    _y_train_std: Any

    def predict(
        self,
        X: Any,
        return_std: bool = False,
        return_cov: bool = False,
        *,
        interval: float | None = None,
        include_noise: Any = None,
    ) -> Any:
        """The mean at each row of X, and how sure it is; before ``fit`` the prior's.

        Args:
            X: ``(m, d)``.
            return_std: also the standard deviation, ``(m,)`` or ``(m, t)``.
            return_cov: also the covariance of the rows, ``(m, m)`` or ``(m, m, t)``.
            interval: a share such as 0.9: also the limits between which a new y lies with that probability, if the
                model is right: the mean plus and minus a normal quantile of the deviation.
            include_noise: what the deviation is of. None: of f, plus the noise of a ``White`` kernel but not of
                ``alpha`` and ``noise`` (as in scikit-learn), except that ``interval`` takes True. False: of f. True: of
                a new y. An array ``(m,)``: of a new y whose known variance, in units of y squared, it holds (for rows
                with noise of their own).

        Returns:
            The mean, ``(m,)`` or ``(m, t)``; (mean, deviation); (mean, covariance); or (mean, lower, upper).

        Raises:
            RuntimeError: more than one of ``return_std``, ``return_cov`` and ``interval``.
            ValueError: ``include_noise=True`` where the noise is known for the training rows only.
        """
        if sum((bool(return_std), bool(return_cov), interval is not None)) > 1:
            raise RuntimeError("At most one of return_std or return_cov can be requested, and neither with interval.")
        given = self._check_points(X)
        model = self._model()
        location, scale = self._location_and_scale(model)
        points = self._on_device(given.points)
        mean = model.mean(points)
        location, scale = location.to(mean.device), scale.to(mean.device)
        mean = mean * scale + location  # (m, t)
        if not (return_std or return_cov or interval is not None):
            return given.answer(_squeezed(mean))
        level = None if interval is None else check_level(interval)
        with_noise, extra = self._noise(True if level and include_noise is None else include_noise, len(mean), scale)
        if return_cov:
            joint = model.joint_covariance(points, with_noise=with_noise)
            joint.diagonal().add_(extra)
            return given.answer(_squeezed(mean)), given.answer(_squeezed(joint[..., None] * scale.square()))
        deviation = (model.variance(points, with_noise=with_noise) + extra).sqrt()[:, None] * scale
        if level is None:
            return given.answer(_squeezed(mean)), given.answer(_squeezed(deviation))
        half = float(norm.ppf(0.5 + 0.5 * level)) * deviation
        return tuple(given.answer(_squeezed(limit)) for limit in around(mean, half))

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0, *, include_noise: Any = None) -> Any:
        """Draws of the process at the rows of X together, ``(m, n_samples)`` or ``(m, t, n_samples)``.

        Args:
            X: ``(m, d)``.
            n_samples: how many.
            random_state: int, generator or None.
            include_noise: as in :meth:`predict`.

        Cost: an eigendecomposition of ``(m, m)``.
        """
        given = self._check_points(X)
        model = self._model()
        points = self._on_device(given.points)
        mean = model.mean(points)
        location, scale = (v.to(mean.device) for v in self._location_and_scale(model))
        with_noise, extra = self._noise(include_noise, len(mean), scale)
        joint = model.joint_covariance(points, with_noise=with_noise)
        joint.diagonal().add_(extra)
        values, vectors = torch.linalg.eigh(joint)
        root = vectors * values.clamp(min=0.0).sqrt()
        rng = as_random_state(random_state)
        draws = [
            torch.from_numpy(rng.standard_normal((n_samples, len(mean)))).to(mean.device) @ root.mT for _ in scale
        ]  # one a target: (n_samples, m)
        samples = (torch.stack(draws, 1) + mean.mT) * scale[:, None] + location[:, None]  # (n_samples, t, m)
        samples = samples.movedim(0, -1).movedim(0, 1)  # (m, t, n_samples)
        return given.answer(samples.squeeze(1) if len(scale) == 1 else samples)

    def sample_functions(
        self, n_samples: int = 1, random_state: Any = 0, *, n_features: int = 1024, within: Any = None
    ) -> PosteriorFunctions:
        """Draws of f given the data as functions: evaluate them anywhere, again and again, and differentiate them.

        Args:
            n_samples: how many.
            random_state: int, generator or None.
            n_features: random Fourier features of each draw of a stationary kernel's prior. Covariances over many
                draws are right whatever the number; a single draw looks Gaussian where it is large.
            within: points that will be asked about, where the model has a Fourier series (``tolerance``): its draws
                live in the box of the data and of these.

        Returns:
            A function of X ``(m, d)``: ``(m, n_samples)`` or ``(m, t, n_samples)``, without noise.

        Raises:
            TypeError: the kernel has neither a spectrum nor finitely many features; :meth:`sample_y` takes any.
            ValueError: before ``fit``, or after one with gradients.

        Cost: ``n_samples`` solutions with K, and then for each point ``n_samples (n_features + n)`` multiply-adds; with
        a Fourier series of M weights ``M`` for each, whatever n.

        >>> import torch
        >>> from mercer.learn import GaussianProcessRegressor
        >>> x = torch.linspace(0.0, 6.0, 20, dtype=torch.float64)[:, None]
        >>> model = GaussianProcessRegressor("RBF() + White(0.01)", optimizer=None).fit(x, x[:, 0].sin())
        >>> functions = model.sample_functions(3)
        >>> here = torch.tensor([[1.5]], dtype=torch.float64, requires_grad=True)
        >>> slope, = torch.autograd.grad(functions(here)[0, 0], here)
        >>> bool(abs(slope - here.cos()) < 0.5)
        True
        """
        if not hasattr(self, "_posterior"):
            raise ValueError("sample_functions draws given the data: fit first. sample_y draws from the prior too.")
        if hasattr(self, "gradients_train_"):
            raise ValueError("sample_functions is for models of values alone; sample_y takes those with gradients.")
        Y = as_targets(self.y_train_, self._diagonal.device)[0]
        if within is not None and isinstance(self._posterior, FourierPosterior):
            self._posterior.cover(self._check_points(within).points)
        evaluate = draw_functions(
            self._posterior, Y, n_samples=n_samples, n_features=n_features, random_state=random_state
        )
        location, scale = self._location_and_scale(self._posterior)
        return PosteriorFunctions(evaluate, location, scale, n_samples, self.X_train_.shape[1])

    def _on_device(self, points: Any) -> Any:
        return points.to(self._diagonal.device) if hasattr(self, "_diagonal") and isinstance(points, Tensor) else points

    def _model(self) -> Posterior | FourierPosterior | Prior:
        if hasattr(self, "_posterior"):
            return self._posterior
        return Prior(self._starting_covariance(), self.n_targets or 1)

    def _location_and_scale(self, model: Posterior | FourierPosterior | Prior) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of y, ``(t,)``."""
        if isinstance(model, Prior):
            ones = torch.ones(model.n_targets, dtype=torch.float64)
            return torch.zeros_like(ones), ones
        return as_tensor(self._y_train_mean), as_tensor(self._y_train_std)

    def _noise(self, include: Any, m: int, scale: Tensor) -> tuple[bool, Tensor]:
        """Whether the kernel's own noise counts, and what comes on top, in units of the normalised y squared."""
        zero = torch.zeros((), dtype=torch.float64, device=scale.device)
        if include is None or include is False:
            return include is None, zero
        alpha = as_tensor(self.alpha, dtype=torch.float64, device=scale.device)
        if include is True:
            noise = as_tensor(0.0 if self.noise is None else self.noise, dtype=torch.float64, device=scale.device)
            if max(alpha.numel(), noise.numel()) > 1:
                raise ValueError(
                    "The noise is known for the training rows only: give include_noise=array with the variance of y at "
                    "each row of X, or include_noise=False for the deviation of f."
                )
            return True, alpha.reshape(()) + noise.reshape(()) / scale[0] ** 2
        known = as_tensor(include, dtype=torch.float64, device=scale.device)
        if known.shape != (m,) or bool((known < 0).any()):
            raise ValueError(f"include_noise must be True, False, None or {m} variances, one for each row of X.")
        return True, known / scale[0] ** 2 + (alpha.reshape(()) if alpha.numel() == 1 else zero)


def _squeezed(values: Tensor) -> Tensor:
    """Without the last axis where there is one target."""
    return values.squeeze(-1) if values.shape[-1] == 1 else values
