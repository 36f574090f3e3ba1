"""Gaussian process classification."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.gaussian_process.kernels import RBF, CompoundKernel, ConstantKernel
from sklearn.utils.multiclass import _ovr_decision_function, check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.learn.binary_laplace import BinaryLaplace
from mercer.learn.covariance import Array, MercerCovariance
from mercer.learn.kernel_model import KernelModel
from mercer.learn.laplace import Mode
from mercer.learn.learning_rows import learning_rows
from mercer.learn.logistic_normal import logistic_normal
from mercer.learn.random_states import as_random_state

__all__ = ["GaussianProcessClassifier"]

_BELOW_HALF = float(np.nextafter(0.5, 0.0))


class GaussianProcessClassifier(ClassifierMixin, KernelModel):
    r"""Gaussian process classification: ``p(y = 1 | x) = 1 / (1 + exp(-f(x)))``, ``f ~ GP(0, k)``.

    The posterior of f is approximated by a Gaussian at its mode (Laplace), and hyperparameters maximise the marginal
    likelihood of that approximation. Several classes are several two-class models. Up to 5000 rows Newton's equations
    are solved by Cholesky factorisation; beyond, by conjugate gradients that begin at the last step's answer, and the
    kernel matrix is not stored.

    Stands in for ``sklearn.gaussian_process.GaussianProcessClassifier``: arguments before ``subset`` are the same.

    Args:
        kernel: a mercer kernel or its text, or a kernel object of ``sklearn.gaussian_process``; None is scikit-learn's
            ``1.0 * RBF(1.0)`` with both values kept.
        optimizer: "fmin_l_bfgs_b", None (keep the hyperparameters), or a function as in scikit-learn.
        n_restarts_optimizer: further starts, drawn log-uniformly within the bounds.
        max_iter_predict: Newton steps.
        warm_start: whether Newton's method begins at the mode of the last hyperparameters.
        copy_X_train: whether to keep a copy of X.
        random_state: of restarts and ``subset``.
        multi_class: "one_vs_rest", or "one_vs_one" (no probabilities).
        n_jobs: two-class models learnt at a time, in threads.
        subset: learn the hyperparameters on so many rows, drawn without replacement (``subset_indices_``); None is all
            of them up to 5000 rows and 2000 beyond, with a warning. All rows are used for predictions.

    Attributes:
        classes_, n_classes_: the classes, sorted, and how many.
        kernel_: the kernel with learnt hyperparameters, in the library it came from; for more than two classes a
            ``CompoundKernel`` of scikit-learn's kernels, or a list of mercer's.
        X_train_, y_train_: the data; y as numbers of classes.
        log_marginal_likelihood_value_: the approximate log marginal likelihood; the mean over two-class models.

    Cost: a step of learning about ``4 n^3`` multiply-adds for each two-class model.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), algorithms 3.1, 3.2 and 5.1.

    >>> X = np.linspace(0.0, 6.0, 20)[:, None]
    >>> model = GaussianProcessClassifier("RBF()").fit(X, np.where(np.sin(X[:, 0]) > 0, "up", "down"))
    >>> model.predict([[1.5], [4.5]])
    array(['up', 'down'], dtype='<U4')
    """

    _not_saved = ("_machines",)
    _likelihood_value: float | None

    def __init__(
        self,
        kernel: Any = None,
        *,
        optimizer: Any = "fmin_l_bfgs_b",
        n_restarts_optimizer: int = 0,
        max_iter_predict: int = 100,
        warm_start: bool = False,
        copy_X_train: bool = True,
        random_state: Any = None,
        multi_class: str = "one_vs_rest",
        n_jobs: int | None = None,
        subset: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.max_iter_predict = max_iter_predict
        self.warm_start = warm_start
        self.copy_X_train = copy_X_train
        self.random_state = random_state
        self.multi_class = multi_class
        self.n_jobs = n_jobs
        self.subset = subset

    def fit(self, X: Any, y: Any) -> Self:
        """Learn the hyperparameters and condition on all rows.

        Args:
            X: ``(n, d)``; objects of another kind where the (scikit-learn) kernel takes them.
            y: ``(n,)`` classes: numbers or text.

        Raises:
            ValueError: fewer than two classes, a y of numbers that are no classes, NaN or infinity.
            numpy.linalg.LinAlgError: the kernel matrix is not positive semi-definite.
        """
        if isinstance(self.kernel, CompoundKernel):
            raise ValueError("kernel cannot be a CompoundKernel: give the kernel that every class starts from.")
        if self.multi_class not in ("one_vs_rest", "one_vs_one"):
            raise ValueError(f"multi_class must be 'one_vs_rest' or 'one_vs_one', not {self.multi_class!r}.")
        given, y = self._check_training(X, y, y_numeric=False)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.n_classes_ = len(self.classes_)
        if self.n_classes_ == 1:
            raise ValueError(
                f"GaussianProcessClassifier requires 2 or more distinct classes; got 1 class (only class "
                f"{self.classes_[0]} is present)."
            )
        self.X_train_ = given.keep(copy=self.copy_X_train)
        self.y_train_ = given.coefficients(torch.from_numpy(codes))
        covariance = self._starting_covariance()
        problems = self._problems()

        def learn(rows: Tensor, signs: Tensor) -> BinaryLaplace:
            rng = as_random_state(self.random_state)
            is_learning = self.optimizer is not None and len(covariance.theta) > 0
            chosen = learning_rows(len(signs), self.subset, rng, is_learning=is_learning)
            return BinaryLaplace.fit(
                covariance,
                self._rows(rows),
                signs,
                rows=None if chosen is None else torch.from_numpy(chosen),
                optimizer=self.optimizer,
                n_restarts=self.n_restarts_optimizer,
                max_iter=self.max_iter_predict,
                warm_start=self.warm_start,
                rng=rng,
            )

        workers = Parallel(n_jobs=self.n_jobs, prefer="threads")
        self._machines = list(workers(delayed(learn)(rows, signs) for rows, signs in problems))
        self._remember()
        return self

    def predict(self, X: Any) -> Array:
        """The class of each row, ``(m,)``; an ndarray, since classes may be text."""
        check_is_fitted(self)
        points = self._on_device(self._check_points(X).points)
        if self.n_classes_ == 2:
            best = (self._machines[0].posterior().mean(points)[:, 0] > 0).long()
        else:
            best = self._scores(points).argmax(1)
        classes: Array = self.classes_[best.cpu().numpy()]
        return classes

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, ``(m, classes)``: the logistic function's mean over the posterior of f.

        Raises:
            ValueError: with more than two classes and "one_vs_one".
        """
        check_is_fitted(self)
        if self.n_classes_ > 2 and self.multi_class == "one_vs_one":
            raise ValueError(
                "one_vs_one multi-class mode does not support predicting probability estimates. Use one_vs_rest mode "
                "instead."
            )
        given = self._check_points(X)
        points = self._on_device(given.points)
        if self.n_classes_ == 2:
            positive = _probability(self._machines[0], points)
            return given.answer(torch.stack([1.0 - positive, positive], 1))
        values = self._scores(points)
        return given.answer(values / values.sum(1, keepdim=True))

    def latent_mean_and_variance(self, X: Any) -> tuple[Any, Any]:
        """Mean and variance of f at each row, ``(m,)`` each; two classes only."""
        check_is_fitted(self)
        if self.n_classes_ > 2:
            raise ValueError(
                "Returning the mean and variance of the latent function f is only supported for binary classification, "
                f"received {self.n_classes_} classes."
            )
        given = self._check_points(X)
        points, posterior = self._on_device(given.points), self._machines[0].posterior()
        return given.answer(posterior.mean(points)[:, 0]), given.answer(posterior.variance(points, with_noise=True))

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> float | tuple[float, Array]:
        """The approximate log marginal likelihood of the rows that hyperparameters were learnt on, without priors.

        Args:
            theta: logarithms of the hyperparameters; for more than two classes those of all two-class models one after
                another, or of one, which then hold for each. None is the learnt ones.
            eval_gradient: also give the gradient by theta, ``(p,)``; two classes only.
            clone_kernel: False sets ``kernel_`` to theta.
        """
        check_is_fitted(self)
        if theta is None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated for theta!=None: give theta=model.theta_.")
            return self.log_marginal_likelihood_value_
        theta = np.asarray(theta, dtype=np.float64)
        if eval_gradient and self.n_classes_ > 2:
            raise NotImplementedError("Gradient of log-marginal-likelihood not implemented for multi-class GPC.")
        size = len(self._machines[0].covariance.theta)
        if len(theta) not in (size, size * len(self._machines)):
            raise ValueError(
                f"Shape of theta must be either {size} or {size * len(self._machines)}. Obtained theta with shape "
                f"{len(theta)}."
            )
        parts = [theta] * len(self._machines) if len(theta) == size else np.split(theta, len(self._machines))
        found = [
            m.log_marginal_likelihood(t, gradient=eval_gradient) for m, t in zip(self._machines, parts, strict=True)
        ]
        if not clone_kernel:
            for machine, part in zip(self._machines, parts, strict=True):
                machine.covariance = machine.covariance.at(part)
            self._kernels = [machine.covariance.kernel for machine in self._machines]
        value = np.float64(np.mean([pair[0] for pair in found]))
        return (value, found[0][1]) if eval_gradient else value

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The log marginal likelihood that was reached; computed when it is first asked for."""
        check_is_fitted(self)
        if self._likelihood_value is None:
            self._likelihood_value = float(np.mean([m.log_marginal_likelihood()[0] for m in self._machines]))
        return np.float64(self._likelihood_value)

    @property
    def theta_(self) -> Array:
        """Logarithms of the hyperparameters that are learnt, of all two-class models one after another."""
        check_is_fitted(self)
        return np.concatenate([machine.covariance.theta for machine in self._machines])

    @property
    def kernel_(self) -> Any:
        """The kernel with learnt hyperparameters."""
        check_is_fitted(self)
        if self.n_classes_ == 2:
            return self._kernels[0]
        first = self._machines[0].covariance
        is_ours = isinstance(first, MercerCovariance) and first.translation is None
        return list(self._kernels) if is_ours else CompoundKernel(self._kernels)

    def _default_kernel(self) -> Any:
        return ConstantKernel(1.0, "fixed") * RBF(1.0, "fixed")

    def _problems(self) -> list[tuple[Tensor, Tensor]]:
        """Of each two-class model: its rows, and -1 or 1 for each."""
        codes = torch.as_tensor(self.y_train_)
        everything = torch.arange(len(codes), device=codes.device)
        if self.n_classes_ == 2:
            return [(everything, _signs(codes == 1))]
        if self.multi_class == "one_vs_rest":
            return [(everything, _signs(codes == c)) for c in range(self.n_classes_)]
        problems = []
        for first, second in combinations(range(self.n_classes_), 2):
            rows = everything[(codes == first) | (codes == second)]
            problems.append((rows, _signs(codes[rows] == second)))
        return problems

    def _rows(self, rows: Tensor) -> Any:
        points = self._points()
        if len(rows) == len(points):
            return points
        return points[rows] if isinstance(points, Tensor) else points[rows.cpu().numpy()]

    def _scores(self, points: Any) -> Tensor:
        """Of each class, ``(m, classes)``; the largest wins."""
        positive = torch.stack([_probability(machine, points) for machine in self._machines], 1)
        if self.multi_class == "one_vs_rest":
            return positive
        votes = torch.stack([machine.posterior().mean(points)[:, 0] > 0 for machine in self._machines], 1)
        return torch.from_numpy(
            _ovr_decision_function(votes.long().cpu().numpy(), positive.cpu().numpy(), self.n_classes_)
        )

    def _on_device(self, points: Any) -> Any:
        return points.to(self._machines[0].signs.device) if isinstance(points, Tensor) else points

    def _remember(self) -> None:
        """What a file keeps of the two-class models."""
        self._kernels = [machine.covariance.kernel for machine in self._machines]
        self._modes = [[m.mode.f, m.mode.weights, m.mode.curvature] for m in self._machines]
        self._likelihood_value = None
        self.__dict__.pop("subset_indices_", None)
        if self._machines[0].rows is not None:
            chosen = [machine.rows.numpy() for machine in self._machines if machine.rows is not None]
            self.subset_indices_ = chosen[0] if self.n_classes_ == 2 else chosen

    def _restore(self) -> None:
        if not hasattr(self, "X_train_"):
            return
        subsets = getattr(self, "subset_indices_", None)
        subsets = [subsets] * len(self._kernels) if subsets is None or self.n_classes_ == 2 else subsets
        self._machines = [
            BinaryLaplace(
                self._covariance_of(kernel),
                self._rows(rows),
                signs,
                None if chosen is None else torch.from_numpy(chosen),
                self.max_iter_predict,
                self.warm_start,
                Mode(as_tensor(parts[0]), as_tensor(parts[1]), as_tensor(parts[2]), 0.0, 0),
            )
            for kernel, parts, chosen, (rows, signs) in zip(
                self._kernels, self._modes, subsets, self._problems(), strict=True
            )
        ]


def _signs(is_positive: Tensor) -> Tensor:
    return 2.0 * is_positive.to(torch.float64) - 1.0


def _probability(machine: BinaryLaplace, points: Any) -> Tensor:
    """Of the class that counts as 1."""
    posterior = machine.posterior()
    mean = posterior.mean(points)[:, 0]
    # Of the class that is not predicted: below one half even where the two are alike and round-off would decide.
    lesser = logistic_normal(-mean.abs(), posterior.variance(points, with_noise=True)).clamp(max=_BELOW_HALF)
    return torch.where(mean > 0, 1.0 - lesser, lesser)
