"""Self-distillation: a model taught by its own predictions and the truth, a few times over."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.learn.calibration import Calibration
from mercer.learn.distillation_kernel import EigenForm, KernelRounds
from mercer.learn.distillation_path import DistillationPath
from mercer.learn.distillation_refits import class_probabilities
from mercer.learn.distillation_ridge import as_kernel_ridge
from mercer.learn.distillation_rounds import Judge, LeaveOneOut, Rounds, Trail
from mercer.learn.distillation_settings import check_settings, split_rows
from mercer.learn.distillation_tasks import KernelTask, RefitTask, Task, one_vs_rest
from mercer.learn.inputs import as_targets, check_data
from mercer.learn.kernel_ridge import KernelRidge
from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier
from mercer.learn.saving import Saved

__all__ = ["SelfDistillation"]


def _has(name: str) -> Any:
    def check(model: Any) -> bool:
        if not model._offers(name):
            raise AttributeError(f"{type(model._inner()).__name__} gives SelfDistillation no {name}.")
        return True

    return check


class SelfDistillation(MetaEstimatorMixin, Saved, BaseEstimator):
    r"""A model fitted again and again to a mixture of its own predictions and the truth.

    .. math:: f^{(t)} = \operatorname{fit}\bigl( \alpha_t y + (1 - \alpha_t) f^{(t-1)}(X) \bigr), \quad f^{(0)}(X) = y

    Round 1 is the estimator's own fit; every further one is regularised more, the more so the less weight the truth has. It
    helps a model that is regularised too little for the noise in its labels, and the best weight has a closed form
    (:func:`optimal_weight`). A kernel ridge regression whose penalty was chosen well gains nothing: its rounds tend to
    ridge regression with the penalty ``lambda / alpha``.

    For kernel ridge regression and the mean of a Gaussian process (mercer's and scikit-learn's) all rounds come from one
    factorisation, without a single refit; ``closed_form_`` says so. Any other scikit-learn regressor, or classifier with
    ``predict_proba``, is fitted anew in each round.

    Args:
        estimator: the model; None is :class:`KernelRidge`.
        n_rounds: how many rounds, the first fit included.
        alpha: the weight of the truth: "optimal" chooses it in each round by ``validation``; or one number, or a number for
            each round (that of round 1 has no effect).
        clip: between which optimal weights are kept, and given ones have to lie; None leaves them free. Free weights gain
            more in one round and then oscillate.
        validation: by what weights are chosen. A share of the rows to hold out: when the weights are known, all rows are
            fitted with them. Or ``(X, y)``. Or "loo": leave-one-out errors in closed form (kernel models only), exact for
            round 1 and an approximation after. None where alpha is given.
        teacher: "previous" round or the "first".
        center: whether a kernel model is fitted to y minus its mean. Without, each round shrinks the mean as well, and round
            1 is to the digit what the estimator gives. Other estimators are given y as it is.
        warm_start: whether a second ``fit`` on the same data keeps the rounds there are and adds those that are missing.
        random_state: of the held-out rows.

    Attributes:
        path_: all rounds with weights, errors and filters, a :class:`DistillationPath`.
        closed_form_: whether no model was refitted.
        solver_: how the rounds were found.
        models_: the fitted clones, one a round; only where they are refitted.
        classes_: the classes, sorted; only of classifiers.
        validation_indices_: the rows that were held out; only with a share.

    Raises:
        NotConverged: in ``fit``, a kernel model of many rows missed its residual.

    Cost: in closed form one eigendecomposition, ``9 n^3``, or beyond 5000 rows one Cholesky factorisation or one
        preconditioner; else one fit a round, and two while weights are chosen.
    Source: Borup & Andersen, Even your Teacher Needs Guidance (2021).

    >>> X = np.linspace(0.0, 1.0, 30)[:, None]
    >>> y = np.sin(6.0 * X[:, 0]) + 0.3 * np.cos(97.0 * X[:, 0])
    >>> model = SelfDistillation(KernelRidge(1e-3, kernel="rbf", gamma=30.0), validation="loo").fit(X, y)
    >>> bool(model.path_.scores[-1] < model.path_.scores[0])
    True
    """

    def __init__(
        self,
        estimator: Any = None,
        n_rounds: int = 5,
        alpha: Any = "optimal",
        *,
        clip: tuple[float, float] | None = (0.0, 1.0),
        validation: Any = 0.2,
        teacher: str = "previous",
        center: bool = True,
        warm_start: bool = False,
        random_state: Any = 0,
    ) -> None:
        self.estimator = estimator
        self.n_rounds = n_rounds
        self.alpha = alpha
        self.clip = clip
        self.validation = validation
        self.teacher = teacher
        self.center = center
        self.warm_start = warm_start
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """All rounds.

        Args:
            X: ``(n, d)``, or whatever the estimator takes.
            y: ``(n,)`` or ``(n, t)``.

        Raises:
            ValueError: settings that do not fit together; the message says which.
        """
        settings = check_settings(self)
        inner = self._inner()
        underneath = as_kernel_ridge(inner, X, y)
        kept = self._kept_models() if self.warm_start and underneath is None else (Trail(), Trail())
        self.closed_form_ = underneath is not None
        if settings.is_leave_one_out and underneath is None:
            raise ValueError(
                f"validation='loo' needs a closed form, which {type(inner).__name__} has not. Give a share such as 0.2, or (X, y)."
            )
        if underneath is not None:
            task: Task = self._kernel_task(underneath, X, y)
        else:
            if hasattr(self, "classes_"):
                del self.classes_
            task = self._refit_task(inner, X, y)
        ...
        return self
