"""Self-distillation: a model taught by its own predictions and the truth, a few times over."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.utils import column_or_1d, get_tags, indexable
from torch import Tensor

from mercer.learn.calibration import Calibration
from mercer.learn.classes import Array, find_classes
from mercer.learn.distillation_kernel import EigenForm, KernelRounds
from mercer.learn.distillation_path import DistillationPath
from mercer.learn.distillation_predictions import DistillationPredictions
from mercer.learn.distillation_ridge import Underneath, as_kernel_ridge
from mercer.learn.distillation_rounds import Trail
from mercer.learn.distillation_run import Outcome, run
from mercer.learn.distillation_settings import check_settings
from mercer.learn.distillation_tasks import KernelTask, RefitTask
from mercer.learn.inputs import as_targets, check_data, copy_columns
from mercer.learn.kernel_ridge_classifier import KernelRidgeClassifier
from mercer.learn.one_vs_rest import one_vs_rest
from mercer.learn.saving import Saved

__all__ = ["SelfDistillation"]


class SelfDistillation(DistillationPredictions, MetaEstimatorMixin, Saved, BaseEstimator):
    r"""A model fitted again and again to a mixture of its own predictions and the truth.

    .. math:: f^{(t)} = \operatorname{fit}\bigl( \alpha_t y + (1 - \alpha_t) f^{(t-1)}(X) \bigr), \quad f^{(0)}(X) = y

    Round 1 is the estimator's own fit; every further one is regularised more, the more so the less weight the truth
    has. It helps a model that is regularised too little for the noise in its labels, and the best weight has a closed
    form (:func:`optimal_weight`). A kernel ridge regression whose penalty was chosen well gains nothing: its rounds
    tend to ridge regression with the penalty ``lambda / alpha``.

    For kernel ridge regression and the mean of a Gaussian process (mercer's and scikit-learn's) all rounds come from
    one factorisation, without a single refit; ``closed_form_`` says so. Any other scikit-learn regressor, or
    classifier with ``predict_proba``, is fitted anew in each round.

    Args:
        estimator: the model; None is :class:`KernelRidge`.
        n_rounds: how many rounds, the first fit included.
        alpha: the weight of the truth: "optimal" chooses it in each round by ``validation``; or one number, or a
            number for each round (that of round 1 has no effect).
        clip: between which optimal weights are kept, and given ones have to lie; None leaves them free. Free weights
            gain more in one round and then oscillate.
        validation: by what weights are chosen. A share of the rows to hold out: when the weights are known, all rows
            are fitted with them. Or ``(X, y)``. Or "loo": leave-one-out errors in closed form (kernel models only),
            exact for round 1 and an approximation after. None where alpha is given.
        teacher: "previous" round or the "first".
        center: whether kernel ridge regression and Gaussian processes are fitted to y minus its mean. Without, each
            round shrinks the mean as well, and round 1 is to the digit what the estimator gives. Other estimators
            are given y as it is.
        warm_start: whether a second ``fit`` on the same data keeps the rounds there are and adds those that are
            missing.
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

    Cost: in closed form one eigendecomposition, ``9 n^3``, or beyond 5000 rows one preconditioner for all rounds and a
        solve for each; else one fit a round, and two while weights are chosen.
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
        if settings.is_leave_one_out and underneath is None:
            raise ValueError(
                f"validation='loo' needs a closed form, which {type(inner).__name__} has not. Give a share such as "
                f"0.2, or (X, y)."
            )
        whole, part = self._kept() if self.warm_start and underneath is None else (Trail(), Trail())
        self.closed_form_ = underneath is not None
        task = self._refit_task(inner, X, y) if underneath is None else self._kernel_task(underneath, X, y)
        found = run(
            task,
            settings,
            whole=whole,
            part=part,
            needs_diagonal=self._offers("predict_proba") and underneath is not None,
            random_state=self.random_state,
        )
        self.__dict__.pop("validation_indices_", None)
        if found.left is not None:
            self.validation_indices_ = found.left
        self._keep(task, found)
        return self

    def _kernel_task(self, underneath: Underneath, X: Any, y: Any) -> KernelTask:
        is_class = isinstance(underneath.ridge, KernelRidgeClassifier)
        kinds = {} if is_class else {"multi_output": True, "y_numeric": True}
        given, y = check_data(self, X, y, reset=True, accept_sparse=True, **kinds)
        codes: Array | None = None
        if not is_class:
            Y, self._is_vector = as_targets(y, given.device)
        else:
            self.classes_, codes = find_classes(y)
            Y, self._is_vector = one_vs_rest(codes, len(self.classes_)).to(given.device), len(self.classes_) == 2
        copy_columns(self, underneath.ridge)
        return KernelTask(
            underneath,
            given,
            Y,
            codes=codes,
            classes=None if codes is None else self.classes_,
            center=self.center,
            check=lambda points: check_data(self, points, reset=False, accept_sparse=True),
        )

    def _refit_task(self, inner: Any, X: Any, y: Any) -> RefitTask:
        for name in ("classes_", "n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
        if y is None:
            raise ValueError("SelfDistillation requires y to be passed, but the target y is None.")
        values = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
        X, values = indexable(X, values)
        if not len(values):
            raise ValueError("Found array with 0 sample(s): at least one row is needed.")
        if not is_classifier(inner):
            return RefitTask(inner, X, values.astype(np.float64), classes=None)
        if not hasattr(inner, "predict_proba"):
            raise TypeError(
                f"{type(inner).__name__} has no predict_proba, so it cannot teach: rounds pass probabilities on. "
                f"Wrap it in sklearn.calibration.CalibratedClassifierCV, or use KernelRidgeClassifier."
            )
        values = column_or_1d(values, warn=True)
        self.classes_, _ = find_classes(values)
        return RefitTask(inner, X, values, classes=self.classes_)

    def _kept(self) -> tuple[Trail, Trail]:
        """The rounds of the last fit."""
        if not hasattr(self, "models_"):
            return Trail(), Trail()

        def trail(models: list[Any]) -> Trail:
            return Trail(list(models), self.path_.alphas.tolist(), self.path_.proposals.tolist()) if models else Trail()

        return trail(self.models_), trail(self._held_models)

    def _keep(self, task: Any, found: Outcome) -> None:
        """Fitted attributes from the rounds."""
        options: dict[str, Any] = {}
        if isinstance(found.rounds, KernelRounds):
            self._keep_states(task, found.rounds, found.whole.models)
            form = found.rounds.form
            self.solver_ = form.reason
            if isinstance(form, EigenForm):
                filters = form.filters(torch.stack(found.whole.models))
                options = {
                    "eigenvalues": form.values.cpu().numpy(),
                    "filters": filters.cpu().numpy(),
                    "penalty": form.alpha,
                }
        else:
            self.models_, self._held_models = found.whole.models, found.part.models
            self.solver_ = f"{len(self.models_)} rounds of {type(self._inner()).__name__}, fitted one by one"
            copy_columns(self.models_[0], self)
        self.path_ = DistillationPath(
            self,
            alphas=np.array(found.whole.alphas),
            proposals=np.array(found.whole.proposals),
            scores=found.scores,
            **options,
        )

    def _keep_states(self, task: KernelTask, rounds: KernelRounds, states: list[Tensor]) -> None:
        expansions = [rounds.form.expansion(state) for state in states]
        self._ridge, self._offset = task.ridge, rounds.offset
        last = expansions[-1]
        self._ridge._keep(task.similarity, task.given, task.points if task.similarity is None else last.points)
        self._ridge._remember(task.given, task.Y - rounds.offset, None, last.dual, self._is_vector)
        self._coefficients = [(expansion.dual, expansion.feature_weights) for expansion in expansions]
        if self._offers("predict_proba"):
            truth = torch.from_numpy(task.codes).to(task.Y.device)
            self._slopes = []
            for state in states:
                residual, rest = rounds.left_out(state)
                self._slopes.append(Calibration.fit(task.Y - residual / rest[:, None], truth, None).slope)

    def _restore(self) -> None:
        if hasattr(self, "path_"):
            self.path_._model = self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self._inner())
        tags.estimator_type, tags.classifier_tags, tags.regressor_tags = (
            inner.estimator_type,
            inner.classifier_tags,
            inner.regressor_tags,
        )
        tags.input_tags, tags.target_tags = inner.input_tags, inner.target_tags
        return tags
