"""A hidden nonlinear feature, sought by five kinds of models at equal samples.

    python -m benchmarks.hierarchical_peers --models mercer kernel boosting network  # the others' numbers are kept
    PYTHONPATH=xrfm-folder python -m benchmarks.hierarchical_peers --models xrfm  # pip install --no-deps xrfm tqdm

Two targets in 20 normal columns. The first is of the class for which ``HierarchicalRegressor`` is made: a cubic
function of a quadratic form in all columns, and the estimator is told the degree of the form, 2. The second is of the
class for which xRFM is: three columns matter. Every model gets the same rows. Those that choose something by validation
(all but mercer) take 15 % of them for it: kernel ridge 5 lengthscales x 5 ridges, boosting and the network early
stopping and 3 settings each, xRFM early stopping and 2 ridges. Scores are R2 on 10,000 other points.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mercer.data import hierarchical_polynomial
from mercer.learn import HierarchicalRegressor, KernelRidge
from mercer.store import write_atomic
from mercer.timing import machine

RESULTS = Path(__file__).parent / "results" / "hierarchical_peers.json"
D, SEEDS, N_TEST = 20, 3, 10_000
SIZES = (400, 1600, 6400)
Array = np.ndarray[Any, Any]
Predict = Callable[[Array], Array]


def hidden_feature(n: int, seed: int) -> tuple[Array, Array]:
    """y = g(p(x)), p quadratic in all columns, g cubic."""
    X, y, _ = hierarchical_polynomial(D, n, random_state=seed)
    return X, y


def three_columns(n: int, seed: int) -> tuple[Array, Array]:
    """y = x1 x2 + sin 2 x3."""
    X = np.random.default_rng(seed).normal(size=(n, D))
    return X, X[:, 0] * X[:, 1] + np.sin(2.0 * X[:, 2])


TARGETS = {"hidden quadratic feature": hidden_feature, "three columns": three_columns}


def mercer(X: Array, y: Array) -> Predict:
    """The estimator of paper 24, with its own choices."""
    return HierarchicalRegressor(degree=2, refine=2).fit(X, y).predict


def best_of(fits: Iterator[Callable[[Array, Array], Predict]], X: Array, y: Array) -> Predict:
    """Of several configurations the one with the least error on the last 15 % of the rows."""
    cut = round(0.85 * len(X))
    found = []
    for fit in fits:
        predict = fit(X[:cut], y[:cut])
        found.append((float(np.mean((predict(X[cut:]) - y[cut:]) ** 2)), predict))
    return min(found, key=lambda pair: pair[0])[1]


def kernel(X: Array, y: Array) -> Predict:
    """Ridge regression with a Gaussian kernel."""

    def fits() -> Iterator[Callable[[Array, Array], Predict]]:
        for scale in (0.5, 1.0, 2.0, 4.0, 8.0):
            for alpha in (1e-3, 1e-2, 0.1, 1.0, 10.0):
                model = KernelRidge(alpha, kernel=f"RBF({scale * D**0.5})")
                yield lambda A, b, model=model: model.fit(A, b).predict

    return best_of(fits(), X, y)


def boosting(X: Array, y: Array) -> Predict:
    """Trees of scikit-learn."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    def fits() -> Iterator[Callable[[Array, Array], Predict]]:
        for rate, leaves in ((0.1, 31), (0.05, 15), (0.03, 7)):
            options = {"learning_rate": rate, "max_leaf_nodes": leaves, "max_iter": 1000, "early_stopping": True}
            model = HistGradientBoostingRegressor(**options, n_iter_no_change=20, random_state=0)
            yield lambda A, b, model=model: model.fit(A, b).predict

    return best_of(fits(), X, y)


def network(X: Array, y: Array) -> Predict:
    """Three layers, 20-256-256-1, by Adam."""
    from sklearn.neural_network import MLPRegressor

    def fits() -> Iterator[Callable[[Array, Array], Predict]]:
        for decay in (1e-4, 1e-1, 3.0):
            options = {"alpha": decay, "early_stopping": True, "validation_fraction": 0.15, "n_iter_no_change": 20}
            model = MLPRegressor(hidden_layer_sizes=(256, 256), **options, max_iter=400, batch_size=128, random_state=0)
            yield lambda A, b, model=model: model.fit(A, b).predict

    return best_of(fits(), X, y)


def xrfm(X: Array, y: Array) -> Predict:
    """Recursive feature machines of xRFM, in its own default configuration and with more ridge."""
    from xrfm import xRFM

    cut = round(0.85 * len(X))
    valid = torch.from_numpy(X[cut:]).float(), torch.from_numpy(y[cut:, None]).float()

    def fits() -> Iterator[Callable[[Array, Array], Predict]]:
        for ridge in (1e-3, 1e-1):

            def fit(A: Array, b: Array, ridge: float = ridge) -> Predict:
                options = {"kernel": "l2", "bandwidth": 10.0, "exponent": 1.0, "diag": False}
                params = {"model": options, "fit": {"reg": ridge, "iters": 5, "verbose": False}}
                model = xRFM(params, device="cpu", max_leaf_size=10_000, random_state=0, verbose=False)
                model.fit(torch.from_numpy(A).float(), torch.from_numpy(b[:, None]).float(), *valid)
                return lambda Z: np.asarray(model.predict(torch.from_numpy(Z).float())).reshape(-1)

            yield fit

    return best_of(fits(), X, y)


MODELS = {"mercer": mercer, "xrfm": xrfm, "boosting": boosting, "network": network, "kernel": kernel}


def run(models: list[str], sizes: tuple[int, ...] = SIZES, seeds: int = SEEDS) -> list[dict[str, Any]]:
    """A row for each target, model and number of rows."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # that there is no feature, or that the network has not converged
    rows = []
    for target, make in TARGETS.items():
        for name in models:
            for n in sizes:
                scores, seconds = [], []
                for seed in range(seeds):
                    X, y = make(n + N_TEST, seed)
                    started = time.process_time()
                    predict = MODELS[name](X[:n], y[:n])
                    seconds.append(time.process_time() - started)
                    scores.append(1.0 - float(np.mean((predict(X[n:]) - y[n:]) ** 2) / np.var(y[n:])))
                rows.append(
                    {
                        "case": target,
                        "model": name,
                        "rows": n,
                        "r2": float(np.median(scores)),
                        "least": min(scores),
                        "most": max(scores),
                        "cpu_seconds": float(np.median(seconds)),
                    }
                )
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """What is measured replaces what the file had of the same models."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hierarchical_peers", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    arguments = parser.parse_args()
    found = run(arguments.models, tuple(arguments.sizes))
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    new = {(row["model"], row["rows"]) for row in found}
    rows = [{k: v for k, v in row.items() if k != "machine"} for row in kept if (row["model"], row["rows"]) not in new]
    places = list(MODELS), list(TARGETS)
    rows = sorted(rows + found, key=lambda r: (places[1].index(r["case"]), places[0].index(r["model"]), r["rows"]))
    rows[0]["machine"] = machine()
    write_atomic(RESULTS, json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
