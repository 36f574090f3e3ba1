"""Classification by kernel ridge regression."""

from __future__ import annotations

from typing import Any, Self

import torch
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if

from mercer.arguments import check_not_negative
from mercer.learn.calibration import Calibration
from mercer.learn.classes import find_classes
from mercer.learn.inputs import as_weights, check_data, weighted_mean
from mercer.learn.model import RidgeModel
from mercer.learn.one_vs_rest import OneVsRest, one_vs_rest

__all__ = ["KernelRidgeClassifier"]


def _has_probability(estimator: Any) -> bool:
    if not estimator.probability:
        raise AttributeError("predict_proba is available when probability=True; it costs the leave-one-out errors.")
    return True


class KernelRidgeClassifier(OneVsRest, RidgeModel):
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
            ValueError: fewer than two classes, a y of numbers that are no classes, or both ``probability`` and
                ``n_centers``.
        """
        if self.probability and self.n_centers is not None:
            raise ValueError(
                "probability=True needs leave-one-out errors, and with n_centers the training rows are not kept. Leave "
                "one of them out, or calibrate with sklearn.calibration.CalibratedClassifierCV."
            )
        given, y = check_data(self, X, y, reset=True, accept_sparse=True)
        self.classes_, codes = find_classes(y)
        n_classes = len(self.classes_)
        weights = as_weights(sample_weight, given)
        if self.class_weight is not None:
            by_class = torch.from_numpy(compute_sample_weight(self.class_weight, y)).to(given.device, torch.float64)
            weights = by_class if weights is None else weights * by_class
        Y = one_vs_rest(codes, n_classes).to(given.device)
        mean = weighted_mean(Y, weights)
        self.intercept_ = given.coefficients(mean)
        Y = Y - mean
        dual = self._solve(self._similarity(given), given, Y, weights, self._alphas(Y.shape[1]))
        self._remember(given, Y, weights, dual, is_vector=n_classes == 2)
        if self.probability:
            truth = torch.from_numpy(codes).to(given.device)
            self._slope = Calibration.fit(Y - self._errors() + mean, truth, weights).slope
        return self

    @available_if(_has_probability)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, ``(m, classes)``; only with ``probability=True``."""
        return self._probabilities(X)

    def _alphas(self, n_targets: int) -> list[float]:
        check_not_negative("alpha", self.alpha)
        return [float(self.alpha)] * n_targets
