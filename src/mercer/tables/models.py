"""The seam to the library: learning a kernel's hyperparameters, fitting to all rows, and what it should cost."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from mercer.kernels import Kernel, White
from mercer.learn import GaussianProcessRegressor, KernelRidge, KernelRidgeClassifier
from mercer.tables.transforms import Feature

__all__ = ["LearntKernel", "learn_kernel", "make_estimator"]

RTOL = 1e-4  # of the linear system: a tenth of a per cent of the noise in a prediction, and half the iterations of 1e-6
_SPREAD = 2.0  # standard deviation of the log of a lengthscale about its start, before data
_MULTIPLES = (1.0, 3.0, 0.3)
_JITTER = 1e-8


@dataclass(frozen=True)
class LearntKernel:
    """A kernel with learnt hyperparameters.

    Attributes:
        kernel: without noise.
        noise: variance of what the kernel cannot explain, in the model's units (the target has variance 1).
        likelihood: log marginal likelihood a row, of the rows it was learnt on.
        n_rows: how many those were.
        n_evaluations: of the likelihood and its gradient, and their ``seconds``.
    """

    kernel: Kernel
    noise: float
    likelihood: float
    n_rows: int
    n_evaluations: int
    seconds: float


def learn_kernel(
    kernel: Kernel,
    X: np.ndarray,
    Y: np.ndarray,
    *,
    noise: Any,
    features: Sequence[Feature],
    max_iter: int,
    seconds: float,
    random_state: int,
) -> LearntKernel:
    """Hyperparameters of greatest marginal likelihood on these rows; features of one tie share a lengthscale.

    Args:
        kernel: where to start; bounds and what is frozen are respected.
        X: ``(n, d)``, and Y: ``(n, t)``, few thousand rows: a step costs ``n^3``.
        noise: variance to start from, a number or a ``Parameter``.
        features: the meaning of the columns of X.
        max_iter: steps of L-BFGS, and ``seconds`` after which no further step begins.
        random_state: passed on.
    """
    from sklearn.exceptions import ConvergenceWarning

    optimiser = _TiedOptimiser(*_ties(kernel, features), max_iter, seconds)
    process = GaussianProcessRegressor(
        kernel + White(noise), alpha=_JITTER, optimizer=optimiser, random_state=random_state
    )
    begun = time.perf_counter()
    with warnings.catch_warnings():
        # A lengthscale at its upper bound says that the column does not matter: no reason to warn.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(X, Y[:, 0] if Y.shape[1] == 1 else Y)
    learnt: Any = process.kernel_
    return LearntKernel(
        kernel=learnt.left,
        noise=float(learnt.right.hyperparameter("noise")) + _JITTER,
        likelihood=-optimiser.value / len(X),
        n_rows=len(X),
        n_evaluations=optimiser.n_evaluations,
        seconds=time.perf_counter() - begun,
    )


def make_estimator(
    learnt: LearntKernel, *, n_centers: int | None, classes: bool, random_state: int
) -> KernelRidge | KernelRidgeClassifier:
    """Kernel ridge with the learnt kernel, not fitted yet: exact, or with centres."""
    kind = KernelRidgeClassifier if classes else KernelRidge
    return kind(alpha=learnt.noise, kernel=learnt.kernel, n_centers=n_centers, rtol=RTOL, random_state=random_state)


def _ties(kernel: Kernel, features: Sequence[Feature]) -> tuple[np.ndarray, np.ndarray]:
    """For every entry of theta (kernel, then noise): the number of the value it shares; whether it is a lengthscale."""
    shared: dict[object, int] = {}
    numbers, is_lengthscale = [], []
    for hyperparameter in kernel.hyperparameters():
        if hyperparameter.frozen:
            continue
        columns = _columns_of(kernel, hyperparameter.path, len(features))
        for entry in range(hyperparameter.value.numel()):
            is_one_a_column = hyperparameter.value.dim() == 1 and len(columns) == hyperparameter.value.numel()
            key = features[columns[entry]].tie if is_one_a_column else entry
            numbers.append(shared.setdefault((hyperparameter.path, key), len(shared)))
            is_lengthscale.append(hyperparameter.path.split("__")[-1] == "lengthscale")
    # The noise of the White kernel stands last.
    return np.array([*numbers, len(shared)]), np.array([*is_lengthscale, False])


def _columns_of(kernel: Kernel, path: str, n_columns: int) -> list[int]:
    """The columns of X that the innermost kernel of a hyperparameter sees, in its order."""
    columns = list(range(n_columns))
    for name in path.split("__")[:-1]:
        chosen = getattr(kernel, "columns", None)
        if chosen is not None:
            columns = [columns[place] for place in ([chosen] if isinstance(chosen, int) else chosen)]
        kernel = getattr(kernel, name)
    return columns


class _TiedOptimiser:
    """Minimises as scikit-learn's optimisers do, in the space where tied values are one; stops on time.

    It begins at the best of a few common multiples of all lengthscales, since far from the right ones there is no slope
    to follow. Lengthscales are drawn softly towards where they begin, so that a few hundred rows do not send them to
    the bounds.
    """

    def __init__(self, ties: np.ndarray, is_lengthscale: np.ndarray, max_iter: int, seconds: float) -> None:
        self.ties, self.is_lengthscale = ties, is_lengthscale
        self.max_iter, self.seconds = max_iter, seconds
        self.n_evaluations = 0
        self.value = 0.0

    def __call__(self, objective: Any, start: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
        first = np.unique(self.ties, return_index=True)[1]
        bounds, moves = bounds[first], self.is_lengthscale[first]
        begun = time.perf_counter()
        starts = [np.clip(start[first] + moves * np.log(m), bounds[:, 0], bounds[:, 1]) for m in _MULTIPLES]
        centre = min(starts, key=lambda values: objective(values[self.ties])[0])

        def reduced(values: np.ndarray) -> tuple[float, np.ndarray]:
            self.n_evaluations += 1
            value, gradient = objective(values[self.ties])
            off = moves * (values - centre) / _SPREAD
            total = np.bincount(self.ties, weights=gradient, minlength=len(centre))
            return value + 0.5 * float(off @ off), total + off / _SPREAD

        def stop_on_time(intermediate_result: Any) -> None:
            if time.perf_counter() - begun > self.seconds:
                raise StopIteration

        found: Any = minimize(  # type: ignore[call-overload] # the stubs know no callback that stops
            reduced,
            centre,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=stop_on_time,
            options={"maxiter": self.max_iter},
        )
        self.value = float(found.fun)
        self.n_evaluations += len(starts)
        return np.asarray(found.x)[self.ties], self.value
