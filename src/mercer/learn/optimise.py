"""Hyperparameters of greatest likelihood: L-BFGS-B on logarithms within bounds, from one start or several."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from mercer.learn.covariance import Array, Covariance

__all__ = ["maximise", "warn_at_bounds"]

Objective = Callable[[Array], tuple[float, Array]]
FLAT = 1e-4  # of the first gradient: the size of one at which a search has ended well, whatever it says


def maximise(
    objective: Objective, start: Array, bounds: Array, *, optimizer: Any, n_restarts: int, rng: np.random.RandomState
) -> tuple[Array, float]:
    """The best theta found, and its value.

    Args:
        objective: theta to (value, gradient).
        start: where to begin; restarts begin at points drawn uniformly within ``bounds``.
        optimizer: "fmin_l_bfgs_b", or a function ``(objective, start, bounds) -> (theta, least value)`` that minimises
            ``objective(theta, eval_gradient=True)``; scikit-learn's convention.

    Raises:
        ValueError: restarts without finite bounds, or an unknown optimizer.
    """
    if n_restarts > 0 and not np.isfinite(bounds).all():
        raise ValueError(
            "n_restarts_optimizer > 0 requires that all bounds are finite: starting points are drawn within them."
        )
    starts = [start]
    starts += [rng.uniform(bounds[:, 0], bounds[:, 1]) for _ in range(n_restarts)]
    found = [_minimise(objective, theta, bounds, optimizer) for theta in starts]
    theta, value = min(found, key=lambda pair: pair[1])
    return theta, -value


def _minimise(objective: Objective, start: Array, bounds: Array, optimizer: Any) -> tuple[Array, float]:
    steepness: list[tuple[Array, Array]] = []

    def negative(theta: Array, eval_gradient: bool = True) -> Any:
        value, gradient = objective(theta)
        steepness.append((theta.copy(), -gradient))
        return (-value, -gradient) if eval_gradient else -value

    if callable(optimizer):
        theta, value = optimizer(negative, start, bounds=bounds)
        return np.asarray(theta), float(value)
    if optimizer != "fmin_l_bfgs_b":
        raise ValueError(f"optimizer must be 'fmin_l_bfgs_b', a function or None, not {optimizer!r}.")
    # The stubs know only some of the forms that ``bounds`` may have.
    result: Any = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=bounds)  # type: ignore[call-overload]
    # Of nearly singular matrices round-off hides the last decrease from the line search, which then gives up.
    slopes = [np.abs(np.clip(x - g, *bounds.T) - x).max(initial=0.0) for x, g in (steepness[0], (result.x, result.jac))]
    if not result.success and not slopes[1] <= FLAT * slopes[0]:  # NaN too
        warnings.warn(
            f"L-BFGS-B stopped early after {result.nit} steps: {result.message} The hyperparameters may not be the "
            f"best: scale the data, give bounds, or try n_restarts_optimizer.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return result.x, float(result.fun)


def warn_at_bounds(covariance: Covariance) -> None:
    """Warn of every hyperparameter that ended at a bound, in scikit-learn's words, which some tools look for."""
    theta, bounds, names = covariance.theta, covariance.bounds, covariance.names
    entries = zip(theta, bounds, names, covariance.signed, strict=True)
    for i, (value, (low, high), name, signed) in enumerate(entries):
        for bound, side, change in ((low, "lower", "Decreasing"), (high, "upper", "Increasing")):
            if np.isclose(value, bound):
                least_or_most = float(f"{bound if signed else np.exp(bound):.12g}")
                warnings.warn(
                    f"The optimal value found for dimension {i - names.index(name)} of parameter {name} is close to "
                    f"the specified {side} bound {least_or_most}. {change} the bound and calling fit again may find a "
                    f"better value.",
                    ConvergenceWarning,
                    stacklevel=3,
                )
