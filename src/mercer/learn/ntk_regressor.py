"""Regression by networks of infinite width, trained in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin

from mercer.learn.inputs import as_targets, check_data
from mercer.learn.ntk_model import NTKModel

__all__ = ["NTKRegressor"]


class NTKRegressor(MultiOutputMixin, RegressorMixin, NTKModel):
    r"""What a network of infinite width predicts after training by gradient descent for some time, and how surely.

    Training minimises ``sum((f - y)**2) / (2 n)`` from a random start. At infinite width the outputs of the network are
    then Gaussian, with mean and covariance in closed form at every time t:

    .. math:: \mu_t = \Theta(x, X)\, c_t, \quad c_t = V \frac{1 - e^{-\eta (\lambda + \alpha) t / n}}{\lambda + \alpha}
        V^T y, \quad \Theta(X, X) = V \lambda V^T

    Args:
        network: a :class:`mercer.kernels.InfiniteNetwork`, ``NTK(...)`` or another kernel of a network, or its text;
            None is ``NTK(depth=3)``.
        time: in steps of the learning rate; None trains to the end; "loo" stops where the mean squared leave-one-out
            error, exact at every time, is least.
        learning_rate: eta. With a continuous time it is only its unit.
        kind: "ntk" trains all layers; "nngp" the last one only, which at the end is the Bayesian posterior.
        alpha: >= 0, a ridge on the distance from the random start; for "nngp" the variance of the noise in y.
        discrete: count whole steps of plain gradient descent instead of a continuous time. The rate must then be
            stable.

    Attributes:
        eigenvalues_: of the kernel matrix, ``(n,)``, the largest first.
        components_: its eigenvectors in rows, ``(n, n)``: the kernel principal components of the training points.
        learning_times_: after which a share 1 / e of each component is left, ``n / (eta (lambda + alpha))``.
        time_: what was trained for; infinity is the end.
        loo_times_, loo_errors_: among which "loo" chose.
        dual_coef_: c at that time, ``(n,)`` or ``(n, t)``.
        X_fit_: the training points.

    Raises:
        ValueError: in ``fit``: a discrete rate that is not stable, with the bound; a singular kernel matrix at the end
            of training without alpha, with the rows that are equal; a network of depth 0.
        MemoryBudgetError: in ``fit``, before anything is allocated.

    Cost: the kernel matrix and its eigenvalues, ``9 n^3``; then ``n^2`` for every time. For many rows at the end of
        training use ``KernelRidge(kernel=network.ntk)``.
    Source: Jacot et al., Neural Tangent Kernel (NeurIPS 2018); Lee et al. (NeurIPS 2019), eq. 10 and 11.

    >>> X = np.linspace(-1.0, 1.0, 20)[:, None]
    >>> model = NTKRegressor("NTK(depth=3)").fit(X, np.sin(3.0 * X[:, 0]))
    >>> mean, std = model.predict([[0.5], [3.0]], return_std=True)
    >>> bool(abs(mean[0] - np.sin(1.5)) < 0.01), bool(std[0] < 0.01 < std[1])
    (True, True)
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train, in closed form.

        Args:
            X: ``(n, d)`` array, table or tensor, or images ``(n, channels, height, width)``. Standardised columns suit
                the theory: rows whose squared norm is near d.
            y: ``(n,)`` or ``(n, t)``; the ensemble has mean 0 before training.
        """
        given, y = check_data(self, self._flat(X, reset=True), y, reset=True, multi_output=True, y_numeric=True)
        Y, self._is_vector = as_targets(y, given.device)
        self._fit(given, Y)
        if self._is_vector:
            self.dual_coef_ = self.dual_coef_[:, 0]
        return self

    def predict(self, X: Any, return_std: bool = False, return_cov: bool = False) -> Any:
        """The mean over networks at time ``time_``, ``(m,)`` or ``(m, t)``.

        Args:
            X: as in ``fit``.
            return_std: also the standard deviation over networks, in the shape of the mean (targets share it).
            return_cov: also the covariance between the points, ``(m, m)``.

        Raises:
            RuntimeError: both are asked for.
        """
        if return_std and return_cov:
            raise RuntimeError("At most one of return_std or return_cov can be requested.")
        given = self._checked(X)
        mean = self._values(given, as_targets(self.dual_coef_)[0])
        mean = mean.squeeze(-1) if self._is_vector else mean
        if return_cov:
            return given.answer(mean), given.answer(self._covariance(given, whole=True))
        if return_std:
            std = self._covariance(given, whole=False).sqrt()
            std = std if self._is_vector else std[:, None].expand_as(mean).contiguous()
            return given.answer(mean), given.answer(std)
        return given.answer(mean)

    def predict_curve(self, X: Any, times: Sequence[float | None]) -> Any:
        """The mean at several times of training, ``(times, m)`` or ``(times, m, t)``; None or infinity is the end.

        >>> model = NTKRegressor().fit([[0.0], [1.0]], [1.0, 2.0])
        >>> model.predict_curve([[0.0], [1.0]], [0.0, None]).round(6)
        array([[0., 0.],
               [1., 2.]])
        """
        given, values = self._curve(X, times)
        return given.answer(values.squeeze(-1) if self._is_vector else values)

    def leave_one_out(self, times: Sequence[float | None] | None = None) -> Any:
        """For every training row, y minus the prediction of networks trained without it, exact at every time.

        Args:
            times: several; None is ``time_`` alone, without the first axis.

        Returns:
            ``(n,)`` or ``(n, t)``, or with a first axis of times.

        Raises:
            ValueError: with ``discrete=True`` and a rate above half of the stable one.
        """
        flow = self._flow()
        errors = flow.leave_one_out(as_targets(self._targets)[0], [self.time_] if times is None else times)
        errors = errors.squeeze(-1) if self._is_vector else errors
        errors = errors[0] if times is None else errors
        return errors if isinstance(self.dual_coef_, torch.Tensor) else np.asarray(errors)
