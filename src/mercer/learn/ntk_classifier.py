"""Classification by networks of infinite width, trained in closed form on one-hot targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from sklearn.base import ClassifierMixin
from torch import Tensor

from mercer.learn.classes import Array, find_classes
from mercer.learn.inputs import as_targets, check_data
from mercer.learn.ntk_model import NTKModel

__all__ = ["NTKClassifier"]

_RANGE, _STEP = 8.0, 0.5  # of the trapezoidal rule over a standard normal variable, exact to round-off


class NTKClassifier(ClassifierMixin, NTKModel):
    """A network of infinite width with an output for each class, trained by gradient descent on one-hot targets.

    The targets are ``1 - 1 / classes`` for the class of a row and ``-1 / classes`` for the others; the largest output
    wins. Probabilities are shares of an ensemble: how many of the drawn and trained networks choose each class.

    Args:
        network, time, learning_rate, kind, alpha, discrete: as in :class:`NTKRegressor`.

    Attributes:
        classes_: the classes, sorted.
        eigenvalues_, components_, learning_times_, time_, loo_times_, loo_errors_, X_fit_: as in :class:`NTKRegressor`.
        dual_coef_: ``(n, classes)``.

    Raises:
        ValueError: in ``fit``: fewer than two classes, or as :class:`NTKRegressor`.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = NTKClassifier().fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[0.2], [2.8]])
    array(['a', 'b'], dtype='<U1')
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train, in closed form.

        Args:
            X: as in :meth:`NTKRegressor.fit`.
            y: ``(n,)`` classes: numbers or text.
        """
        given, y = check_data(self, self._flat(X, reset=True), y, reset=True)
        self.classes_, codes = find_classes(y)
        n_classes = len(self.classes_)
        Y = torch.full((len(codes), n_classes), -1.0 / n_classes, dtype=torch.float64)
        Y.scatter_add_(1, torch.from_numpy(codes)[:, None], torch.ones(len(codes), 1, dtype=torch.float64))
        self._fit(given, Y.to(given.device))
        return self

    def decision_function(self, X: Any) -> Any:
        """The mean outputs ``(m, classes)``; of two classes the difference ``(m,)``, positive for ``classes_[1]``."""
        given = self._checked(X)
        values = self._values(given, as_targets(self.dual_coef_)[0])
        return given.answer(values[:, 1] - values[:, 0] if values.shape[1] == 2 else values)

    def predict(self, X: Any) -> Array:
        """The class of each row, ``(m,)``; an ndarray, since classes may be text."""
        values = self._values(self._checked(X), as_targets(self.dual_coef_)[0])
        classes: Array = self.classes_[values.argmax(1).cpu().numpy()]
        return classes

    def predict_proba(self, X: Any) -> Any:
        """The share of networks that choose each class, ``(m, classes)``."""
        given = self._checked(X)
        mean = self._values(given, as_targets(self.dual_coef_)[0])
        return given.answer(_shares(mean, self._covariance(given, whole=False).sqrt()))

    def predict_curve(self, X: Any, times: Sequence[float | None]) -> Any:
        """The mean outputs at several times of training, ``(times, m, classes)``."""
        given, values = self._curve(X, times)
        return given.answer(values)


def _shares(mean: Tensor, std: Tensor) -> Tensor:
    r"""How often each of independent Gaussians of one standard deviation is the largest, ``(m, classes)``.

    .. math:: p_c = \int \phi(z) \prod_{j \ne c} \Phi\Bigl(z + \frac{\mu_c - \mu_j}{\sigma}\Bigr) dz
    """
    # A deviation of 0 is a limit: far below the differences, and ties are shared.
    scale = std.clamp(min=1e-12)[:, None]
    total = torch.zeros_like(mean)
    steps = round(_RANGE / _STEP)
    z = _STEP * torch.arange(-steps, steps + 1, dtype=mean.dtype, device=mean.device)
    weights = _STEP / math.sqrt(2.0 * math.pi) * torch.exp(-0.5 * z.square())
    for c in range(mean.shape[1]):
        others = torch.cat([mean[:, :c], mean[:, c + 1 :]], 1)
        ahead = (mean[:, c : c + 1] - others) / scale
        for shift, weight in zip(z, weights, strict=True):
            total[:, c] += weight * torch.special.ndtr(shift + ahead).prod(1)
    return total / total.sum(1, keepdim=True)
