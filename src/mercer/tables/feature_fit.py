"""The recursive feature machine of a table: settings are tried on some rows, the best is fitted to all."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mercer.kernels import PowerExponential
from mercer.learn import RecursiveFeatureMachine, RecursiveFeatureMachineClassifier
from mercer.tables.compare import Fitted, with_probabilities
from mercer.tables.costs import Costs
from mercer.tables.options import FitOptions
from mercer.tables.parts import Parts
from mercer.tables.results import FeatureFacts
from mercer.tables.stages import Stages

__all__ = ["FEATURE_SETTINGS", "FeatureFit", "fit_features", "make_feature_machine"]

Machine = RecursiveFeatureMachine | RecursiveFeatureMachineClassifier
Settings = Mapping[str, Any]

# What is tried, the most useful first: chosen on other tables than those of the benchmark (benchmarks/tables.py).
FEATURE_SETTINGS: tuple[Settings, ...] = (
    {"alpha": 1e-2, "lengthscale": 10.0, "relative": False, "exponent": 1.0, "diagonal": False},
    {"alpha": 1e-1, "lengthscale": 3.0, "relative": True, "exponent": 1.0, "diagonal": True},
    {"alpha": 1e-2, "lengthscale": 3.0, "relative": True, "exponent": 0.8, "diagonal": True},
    {"alpha": 1.0, "lengthscale": 3.0, "relative": True, "exponent": 1.0, "diagonal": False},
    {"alpha": 1e-3, "lengthscale": 10.0, "relative": True, "exponent": 1.2, "diagonal": True},
    {"alpha": 1e-1, "lengthscale": 1.0, "relative": True, "exponent": 1.2, "diagonal": False},
)
_ROWS = (2000, 1500, 1000, 700, 400)  # on which settings are tried and metrics learnt
_LEAF_SIZES = (10_000, 5000, 2500)
_TRYING_SHARE = 0.5  # of the seconds that are left
_FITS_ALONE = 4.0  # iterates of one setting, on the average
_RTOL = 1e-4


@dataclass(frozen=True)
class FeatureFit:
    """The fitted recursive feature machine, and how it was made."""

    model: Fitted
    settings: Settings
    facts: FeatureFacts


def make_feature_machine(
    settings: Settings,
    *,
    classes: bool,
    random_state: int,
    candidates: tuple[Settings, ...] = (),
    n_feature_rows: int = _ROWS[0],
    leaf_size: int = _LEAF_SIZES[0],
) -> Machine:
    """The estimator with these settings, not fitted yet."""
    kind = RecursiveFeatureMachineClassifier if classes else RecursiveFeatureMachine
    return kind(
        **settings,
        candidates=list(candidates) or None,
        n_feature_rows=n_feature_rows,
        leaf_size=leaf_size,
        rtol=_RTOL,
        random_state=random_state,
    )


def fit_features(
    parts: Parts, options: FitOptions, stages: Stages, costs: Costs, *, reserve: float
) -> tuple[FeatureFit | None, str]:
    """Try settings, then fit; each a stage with its prediction.

    The validation part takes no part in it. Up to 2000 rows settings are judged by leaving one row out at a time, and
    what was tried is the model; beyond, by rows of the training part other than those they were tried on.

    Args:
        parts: of the table.
        options: for the seed.
        stages: the clock.
        costs: predictions.
        reserve: seconds that what comes afterwards will need.

    Returns:
        the model, or None where the seconds that are left are too few, and a sentence on how it came about.
    """
    train, n_targets = parts.train, parts.train.Y.shape[1]
    n, d = train.X.shape
    left = stages.left - reserve
    plan = _what_fits(n, d, n_targets, costs, seconds=left)
    if plan is None:
        least = costs.features(min(n, _ROWS[-1]), d, n_targets, 1, leave_one_out=n <= _ROWS[-1])
        return None, (
            f"The recursive feature machine was not tried: about {least:.1f} s were predicted for its first settings, "
            f"{max(_TRYING_SHARE * left, 0.0):.1f} s allowed. More time: --time-budget."
        )
    n_rows, n_settings, predicted = plan
    first, *others = FEATURE_SETTINGS[:n_settings]
    y = train.truth if parts.is_class else train.Y[:, 0]
    begun = time.perf_counter()
    with stages.stage(f"try {n_settings} feature machine{'s' * (n_settings > 1)}", predicted=predicted) as stage:
        machine = make_feature_machine(
            first,
            classes=parts.is_class,
            random_state=options.random_state,
            candidates=tuple(others),
            n_feature_rows=n_rows,
        )
        if n <= n_rows:
            machine.fit(train.X, y)
        else:
            order = np.random.default_rng(options.random_state + 3).permutation(n)
            rows, judges = order[:n_rows], order[n_rows : 2 * n_rows]
            if parts.is_class:
                judges = judges[np.isin(y[judges], y[rows])]
            machine.fit(train.X[rows], y[rows], X_val=train.X[judges], y_val=y[judges])
        settings = machine.chosen_[0]
        stage.note = f"{_describe(settings)} is best of {n_settings}"
    tried = [
        (_describe(candidate), loss)
        for candidate, loss in zip(FEATURE_SETTINGS[:n_settings], machine.candidate_losses_[0], strict=True)
    ]
    leaf_size = n_rows
    if n > n_rows:
        found = _fit_all(parts, y, settings, machine, n_rows, options, stages, costs, reserve=reserve)
        if isinstance(found, str):
            return None, found
        machine, leaf_size = found
    shares = _by_column(machine, parts)
    facts = FeatureFacts(
        text=_describe(settings),
        candidates=sorted(tried, key=lambda pair: pair[1]),
        n_feature_rows=min(n, n_rows),
        n_leaves=machine.n_leaves_,
        leaf_size=min(n, leaf_size),
        iterations=[int(best) for best in machine.best_iter_],
        residual=float(machine.residual_),
        importances=shares,
        n_rows=n,
    )
    leaves = f" in {machine.n_leaves_} leaves" if machine.n_leaves_ > 1 else ""
    reason = (
        f"The settings of the recursive feature machine ({_describe(settings)}) had the least squared error of "
        f"{n_settings} on rows that it had not seen; it has a coefficient for each of the {n:,} training rows{leaves}."
    )
    return FeatureFit(with_probabilities(machine, parts, begun), settings, facts), reason


def _what_fits(n: int, d: int, n_targets: int, costs: Costs, *, seconds: float) -> tuple[int, int, float] | None:
    """Rows and settings to try and their predicted seconds: more settings before more rows; None where none fit."""
    for n_settings in (len(FEATURE_SETTINGS), len(FEATURE_SETTINGS) // 2, 1):
        for n_rows in dict.fromkeys(min(n, rows) for rows in _ROWS):
            predicted = costs.features(n_rows, d, n_targets, n_settings, leave_one_out=n_rows == n)
            if predicted <= _TRYING_SHARE * seconds:
                return n_rows, n_settings, predicted
    return None


def _fit_all(
    parts: Parts,
    y: np.ndarray,
    settings: Settings,
    trial: Machine,
    n_rows: int,
    options: FitOptions,
    stages: Stages,
    costs: Costs,
    *,
    reserve: float,
) -> tuple[Machine, int] | str:
    """The chosen settings on all rows, in the largest leaves that the seconds allow; why not, where none do."""
    X, n_targets = parts.train.X, parts.train.Y.shape[1]
    left = stages.left - reserve
    iterate = stages.done[-1].used / trial.n_fits_  # what one took just now says more than any table
    kernel = PowerExponential(settings["lengthscale"], settings["exponent"])
    predicted = np.inf
    for leaf_size in _LEAF_SIZES:
        n_leaves = 2 ** max(0, int(np.ceil(np.log2(len(X) / leaf_size))))
        solve = costs.exact(kernel, X[: -(-len(X) // n_leaves)], n_targets)
        predicted = n_leaves * (_FITS_ALONE * iterate + solve) + (n_leaves - 1) * iterate
        if predicted <= left:
            break
    else:
        return (
            f"The recursive feature machine was tried on {n_rows:,} rows but not fitted to all: about {predicted:.0f} "
            f"s were predicted, {max(left, 0.0):.0f} s were left. More time: --time-budget."
        )
    name = f"fit {n_leaves} feature machine{'s' * (n_leaves > 1)}"
    with stages.stage(f"{name} to {len(X):,} rows", predicted=predicted) as stage:
        machine = make_feature_machine(
            settings,
            classes=parts.is_class,
            random_state=options.random_state,
            n_feature_rows=n_rows,
            leaf_size=leaf_size,
        )
        machine.fit(X, y)
        stage.note = f"metric after {max(machine.best_iter_)} iterations, relative residual {machine.residual_:.0e}"
    return machine, leaf_size


def _by_column(machine: Machine, parts: Parts) -> list[tuple[str, float]]:
    """The share of each of the table's columns in the diagonal of M, the largest first."""
    shares: dict[str, float] = {}
    for feature, share in zip(parts.features.features, machine.feature_importances_, strict=True):
        shares[feature.source] = shares.get(feature.source, 0.0) + float(share)
    return sorted(shares.items(), key=lambda pair: -pair[1])


def _describe(settings: Settings) -> str:
    what = "columns weighed" if settings["diagonal"] else "directions weighed"
    unit = " median distances" if settings["relative"] else ""
    kernel = f"exponent {settings['exponent']:g}, lengthscale {settings['lengthscale']:g}{unit}"
    return f"{kernel}, ridge {settings['alpha']:g}, {what}"
