"""What a model has learnt, seen from outside: the gain from more rows, the weight of columns, their effects."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mercer.tables.baselines import fit_boosting, fit_ridge
from mercer.tables.cells import as_labels, as_numbers, without_missing
from mercer.tables.compare import Fitted, choosing_score, predict_part, with_probabilities
from mercer.tables.feature_fit import make_feature_machine
from mercer.tables.models import LearntKernel, make_estimator
from mercer.tables.options import FitOptions
from mercer.tables.parts import Part, Parts
from mercer.tables.results import Curve, Effect
from mercer.tables.scores import score_classes, score_numbers
from mercer.tables.target import NumberTarget

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["column_effects", "column_importances", "learning_curve"]

_SIZES = (250, 500, 1000, 2000, 4000, 8000, 16_000)
_GROWTH = 3.0  # of the seconds when the rows double: between the square and the cube of a solve
_GRID = 25
_MOST_LEVELS = 12

Predict = Callable[["pd.DataFrame"], np.ndarray]


def curve_sizes(n: int) -> list[int]:
    """Training sizes at which all models may be fitted again; the full size comes from the fit itself."""
    return [size for size in _SIZES if size <= 0.7 * n]


def learning_curve(
    parts: Parts,
    learnt: LearntKernel,
    settings: Mapping[str, Any] | None,
    full: dict[str, float],
    options: FitOptions,
    *,
    seconds: float,
) -> Curve:
    """Validation score of each model on the first rows of a random order of the training part.

    The kernel keeps its hyperparameters, and is exact at every size but perhaps the full one; the recursive feature
    machine keeps its settings and learns its metric anew.

    Args:
        parts: of the table.
        learnt: the kernel, and ``settings``: of the recursive feature machine, or None.
        full: score of each model on the whole training part, by name.
        options: for the seed.
        seconds: a size is left out when the one before says that it would take longer than what is left of them.
    """
    order = np.random.default_rng(options.random_state + 2).permutation(len(parts.train.X))
    values: dict[str, list[float]] = {name: [] for name in full}
    sizes: list[int] = []
    begun, expected = time.perf_counter(), 0.0
    for size in curve_sizes(len(order)):
        started = time.perf_counter()
        if not _has_all_classes(parts, order[:size]) or started - begun + expected > seconds:
            continue
        for name in full:
            again = _fit_on(name, order[:size], parts, learnt, settings, options)
            values[name].append(_score(again, parts.validation, parts))
        sizes.append(size)
        expected = _GROWTH * (time.perf_counter() - started)
    for name, score in full.items():
        values[name].append(score)
    sign = -1.0 if parts.is_class else 1.0
    curves = {name: [sign * value for value in line] for name, line in values.items()}
    return Curve("log loss" if parts.is_class else "R2", [*sizes, len(order)], curves)


def column_importances(
    predict: Predict, part: Part, parts: Parts, *, n_rows: int, random_state: int
) -> list[tuple[str, float]]:
    """How much R2 falls (or log loss rises) when a column's values are shuffled among some test rows; largest first."""
    generator = np.random.default_rng(random_state)
    rows = generator.permutation(len(part.truth))[:n_rows]
    frame, truth = part.frame.iloc[rows], part.truth[rows]
    base = _score_of(predict(frame), truth, parts)
    losses = []
    for transform in parts.features.transforms:
        shuffled = frame.copy()
        shuffled[transform.name] = frame[transform.name].to_numpy()[generator.permutation(len(rows))]
        losses.append((transform.name, base - _score_of(predict(shuffled), truth, parts)))
    return sorted(losses, key=lambda pair: -pair[1])


def column_effects(
    predict: Predict,
    names: list[str],
    part: Part,
    parts: Parts,
    *,
    of: str,
    place: int,
    n_rows: int,
    random_state: int,
) -> list[Effect]:
    """Quartiles of the prediction over ``n_rows`` test rows while one column takes 25 values, or 12 levels, in turn.

    Args:
        predict: from a table to ``(n,)`` or ``(n, n_classes)``.
        names: of the columns; date-times are skipped.
        part: where the rows come from.
        parts: of the table.
        of: what is predicted, for the chart; ``place``: which class, where classes are.
        n_rows: and ``random_state``: of the rows.
    """
    rows = np.random.default_rng(random_state).permutation(len(part.truth))[:n_rows]
    frame = part.frame.iloc[rows]
    kinds = {transform.name: transform.kind for transform in parts.features.transforms}
    effects = []
    for name in names:
        if kinds[name] == "date-time":
            continue
        grid = _grid(name, kinds[name], part, parts)
        if len(grid) < 2:
            continue
        stacked: Any = frame.loc[frame.index.repeat(len(grid))].copy()
        stacked[name] = np.array(grid, dtype=object if isinstance(grid[0], str) else np.float64).tolist() * len(frame)
        prediction = predict(stacked)
        prediction = prediction[:, place] if prediction.ndim == 2 else prediction
        low, middle, high = np.quantile(prediction.reshape(len(frame), len(grid)), [0.25, 0.5, 0.75], axis=0)
        effects.append(Effect(name, grid, low, middle, high, of))
    return effects


def _has_all_classes(parts: Parts, rows: np.ndarray) -> bool:
    return not parts.is_class or len(np.unique(parts.train.truth[rows])) == parts.n_values


def _fit_on(
    name: str,
    rows: np.ndarray,
    parts: Parts,
    learnt: LearntKernel,
    settings: Mapping[str, Any] | None,
    options: FitOptions,
) -> Fitted:
    X, train = parts.train.X[rows], parts.train
    truth, is_class = train.truth[rows], parts.is_class
    if name in ("kernel", "features"):
        seed = options.random_state
        estimator: Any
        if name == "kernel":
            estimator = make_estimator(learnt, n_centers=None, classes=is_class, random_state=seed)
        else:
            assert settings is not None
            estimator = make_feature_machine(settings, classes=is_class, random_state=seed)
        return with_probabilities(estimator.fit(X, truth if is_class else train.Y[rows, 0]), parts, 0.0)
    classes = np.arange(parts.n_values)
    Y = (truth[:, None] == classes).astype(np.float64) if is_class else train.Y[rows]
    if name == "boosting":
        return Fitted(fit_boosting(X, Y, classes=is_class, random_state=options.random_state), None, 0.0)
    validation = parts.validation
    Y_validation = (validation.truth[:, None] == classes).astype(np.float64) if is_class else validation.Y
    return with_probabilities(fit_ridge(X, Y, validation=(validation.X, Y_validation), classes=is_class), parts, 0.0)


def _score(model: Fitted, part: Part, parts: Parts) -> float:
    return _score_of(predict_part(model, part.X, parts), part.truth, parts)


def _score_of(prediction: np.ndarray, truth: np.ndarray, parts: Parts) -> float:
    if isinstance(parts.target, NumberTarget):
        return choosing_score(score_numbers(truth, prediction, target=parts.target, unit="", seed=0))
    return choosing_score(score_classes(truth, prediction))


def _grid(name: str, kind: str, part: Part, parts: Parts) -> list[float] | list[str]:
    values = without_missing(part.frame[name], parts.features.missing)
    if kind == "number":
        numbers = as_numbers(values, name)
        numbers = numbers[~np.isnan(numbers)]
        return np.unique(np.quantile(numbers, np.linspace(0.01, 0.99, _GRID))).tolist() if len(numbers) else []
    labels, counts = np.unique(as_labels(values.dropna()).astype(str), return_counts=True)
    common = set(labels[np.argsort(-counts, kind="stable")[:_MOST_LEVELS]].tolist())
    transform: Any = next(transform for transform in parts.features.transforms if transform.name == name)
    in_order = transform.levels if kind == "ordered" else sorted(common)
    return [str(level) for level in in_order if level in common]
