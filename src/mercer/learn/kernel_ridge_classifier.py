"""Classification by kernel ridge regression."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.calibration import Calibration
from mercer.learn.inputs import Given, as_weights, check_data
from mercer.learn.model import RidgeModel

__all__ = ["KernelRidgeClassifier"]


def _has_probability(estimator: Any) -> bool:
    if not estimator.probability:
        raise AttributeError("predict_proba is available when probability=True; it costs the leave-one-out errors.")
    return True


class KernelRidgeClassifier(ClassifierMixin, RidgeModel):
    """Kernel ridge regression on +1 for a class and -1 for the others, one class at a time; the largest value wins.

    The values lean on their mean ``intercept_``: far from all data the larger class is predicted. All classes share one
    factorisation or one run of block conjugate gradients. Relates to :class:`KernelRidge` as
    scikit-learn's ``RidgeClassifier`` to ``Ridge``.

    Args:
        alpha: >= 0.
        kernel, gamma, degree, coef0, kernel_params, n_centers, center_sampling, rtol, random_state: as in
            :class:`KernelRidge`.
        class_weight: None, "balanced" (each class counts the same in all), or a dict from class to weight.
        probability: whether ``predict_proba`` will be asked for. Probabilities are a logistic model of the values that
            each row gets from a model made without it (the intercept kept), so they are calibrated on unseen data.

    Attributes:
        classes_: the classes, sorted.
        dual_coef_: ``(n,)`` for two classes, else ``(n, classes)``.
        intercept_: the weighted mean of +1 and -1, ``(1,)`` or ``(classes,)``.
        X_fit_, center_indices_, kernel_, solver_, residual_, n_iter_: as in :class:`KernelRidge`.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> KernelRidgeClassifier(0.1, kernel="rbf").fit(X, ["a", "a", "b", "b"]).predict([[0.2], [2.8]])
    array(['a', 'b'], dtype='<U1')
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        kernel: Any = "linear",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict[str, Any] | None = None,
        class_weight: Any = None,
        probability: bool = False,
        n_centers: int | None = None,
        center_sampling: str = "uniform",
        rtol: float = 1e-6,
        random_state: Any = 0,
    ) -> None:
        self.alpha = alpha
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.class_weight = class_weight
        self.probability = probability
        self.n_centers = n_centers
        self.center_sampling = center_sampling
        self.rtol = rtol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from all rows.

        Args:
            X: as in :meth:`KernelRidge.fit`.
            y: ``(n,)`` classes: numbers or text.
            sample_weight: ``(n,)``, >= 0; multiplied by the class weights.

        Raises:
            ValueError: fewer than two classes, or a y of numbers that are no classes.
        """
        given, y = check_data(self, X, y, reset=True, accept_sparse=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"A classifier needs at least two classes, but y has one class: {self.classes_.tolist()[0]!r}."
            )
        weights = as_weights(sample_weight, given)
        if self.class_weight is not None:
            by_class = torch.from_numpy(compute_sample_weight(self.class_weight, y)).to(given.device, torch.float64)
            weights = by_class if weights is None else weights * by_class
        truth = torch.from_numpy(codes).to(given.device)
        Y = torch.full((len(y), n_classes), -1.0, dtype=torch.float64, device=given.device)
        Y.scatter_(1, truth[:, None], 1.0)
        Y = Y[:, 1:] if n_classes == 2 else Y
        mean = Y.mean(0) if weights is None else weights @ Y / weights.sum()
        self.intercept_ = given.coefficients(mean)
        Y = Y - mean
        dual = self._solve(self._similarity(given), given, Y, weights, self._alphas(1)[0])
        self._remember(given, Y, weights, dual, is_vector=n_classes == 2)
        if self.probability:
            self._slope = Calibration.fit(Y - self._errors() + mean, truth, weights).slope
        return self

    def decision_function(self, X: Any) -> Any:
        """The regressions: ``(m,)`` for two classes, positive for ``classes_[1]``; else ``(m, classes)``."""
        given, values = self._values(X)
        return given.answer(values.squeeze(-1) if self._is_vector else values)

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """The class of each row, ``(m,)``; an ndarray, since classes may be text."""
        _, values = self._values(X)
        best = (values[:, 0] > 0).long() if self._is_vector else values.argmax(1)
        classes: np.ndarray[Any, Any] = self.classes_[best.cpu().numpy()]
        return classes

    @available_if(_has_probability)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, ``(m, classes)``; only with ``probability=True``."""
        given, values = self._values(X)
        return given.answer(Calibration(self._slope)(values))

    def _values(self, X: Any) -> tuple[Given, Tensor]:
        given, values = self._evaluate(X)
        return given, values + as_tensor(self.intercept_, device=values.device)

    def _alphas(self, n_targets: int) -> list[float]:
        if not 0.0 <= float(self.alpha) < float("inf"):
            raise ValueError(f"alpha must be a number >= 0, not {self.alpha!r}.")
        return [float(self.alpha)] * n_targets
