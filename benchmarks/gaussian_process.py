"""Gaussian processes: a million points in the plane (P5), GPyTorch at 2,000, coverage (N5), a likelihood (P6)."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.kernels import RBF, Parameter, White
from mercer.learn import GaussianProcessRegressor
from mercer.operators import inv_quad_logdet
from mercer.operators.fourier import FourierSolution

SIZES = (2_000, 1_000_000)
PEERS_UP_TO = 2_000  # GPyTorch's exact model takes more than five minutes at 5,000
NEW = 10_000
LENGTHSCALE, NOISE = 0.07, 0.01
TOLERANCE = 1e-6
STEPS = 50  # of Adam, at a rate of 0.1, as in GPyTorch's examples
INDUCING = 500
DATA_SETS = 200
LIKELIHOOD_ROWS = 100_000

Prediction = tuple[Tensor, Tensor]  # mean and standard deviation of f


def simulate(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points in the unit square, noisy values, new points and the function there."""
    draw = torch.Generator().manual_seed(seed)
    X, new = (torch.rand(count, 2, dtype=torch.float64, generator=draw) for count in (n, NEW))
    truth = FourierSolution(RBF(LENGTHSCALE)(torch.cat([X, new])), tolerance=1e-8).sample(1, draw)[:, 0]
    return X, truth[:n] + NOISE**0.5 * torch.randn(n, dtype=torch.float64, generator=draw), new, truth[n:]


def ours(X: Tensor, y: Tensor, new: Tensor) -> tuple[Prediction, dict[str, Any]]:
    """Scale, lengthscale (at least 0.05 of the side) and noise learnt; means and deviations of f."""
    kernel = 1.0 * RBF(Parameter(0.2, bounds=(0.05, 10.0))) + White(1.0)
    model = GaussianProcessRegressor(kernel, tolerance=TOLERANCE).fit(X, y)
    prediction = model.predict(new, return_std=True, include_noise=False)
    return prediction, {"plan": str(model.plan_), "found": np.exp(model.theta_).tolist()}


def gpytorch(X: Tensor, y: Tensor, new: Tensor, *, inducing: int | None) -> tuple[Prediction, dict[str, Any]]:
    """The same model in GPyTorch, exact or with inducing points (SGPR)."""
    import gpytorch as gp

    class Model(gp.models.ExactGP):  # type: ignore[misc]
        def __init__(self, likelihood: Any) -> None:
            super().__init__(X, y, likelihood)
            self.mean = gp.means.ZeroMean()
            kernel = gp.kernels.ScaleKernel(gp.kernels.RBFKernel())
            kernel.base_kernel.lengthscale, kernel.outputscale = 0.2, 1.0
            points = None if inducing is None else X[:inducing].clone()
            self.kernel = (
                kernel
                if points is None
                else gp.kernels.InducingPointKernel(kernel, inducing_points=points, likelihood=likelihood)
            )

        def forward(self, x: Tensor) -> Any:
            return gp.distributions.MultivariateNormal(self.mean(x), self.kernel(x))

    likelihood = gp.likelihoods.GaussianLikelihood()
    likelihood.noise = 1.0
    model = Model(likelihood).double()
    objective = gp.mlls.ExactMarginalLogLikelihood(likelihood, model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = -objective(model(X), y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad(), gp.settings.skip_posterior_variances(False):
        found = [model(part) for part in new.split(2000)]
    mean, variance = (torch.cat([getattr(part, name) for part in found]) for name in ("mean", "variance"))
    return (mean, variance.clamp(min=1e-12).sqrt()), {"plan": f"{STEPS} steps of Adam"}


def measure(name: str, predict: Callable[[], tuple[Prediction, dict[str, Any]]], truth: Tensor) -> dict[str, Any]:
    """Times, memory and how good the predictions are: error of the mean, negative log density of the truth."""
    wall, processor = time.perf_counter(), time.process_time()
    (mean, deviation), more = predict()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    z = (truth - mean) / deviation
    nlpd = float((0.5 * z.square() + deviation.log() + 0.5 * math.log(2.0 * math.pi)).mean())
    return {
        "name": name,
        "seconds": wall,
        "processor_seconds": processor,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # of the process so far
        "rmse": float((mean - truth).square().mean().sqrt()),
        "nlpd": nlpd,
        "covered": float((z.abs() <= 1.96).double().mean()),
        **more,
    }


def coverage(first_seed: int) -> dict[str, Any]:
    """The share of new values inside 95 % intervals, over data sets drawn from the prior."""
    row: dict[str, Any] = {"case": "coverage", "first_seed": first_seed, "data_sets": DATA_SETS}
    kernel = 2.0 * RBF(0.7)
    for name, optimizer in (("known", None), ("learnt", "fmin_l_bfgs_b")):
        covered = []
        for seed in range(first_seed, first_seed + DATA_SETS):
            draw = np.random.default_rng(seed)
            X = draw.uniform(0, 5, size=(80, 1))
            root = np.linalg.cholesky(kernel(X).to_dense().numpy() + 0.09 * np.eye(80))
            y = root @ draw.normal(size=80)
            model = GaussianProcessRegressor(kernel + White(0.09), optimizer=optimizer).fit(X[:50], y[:50])
            _, low, high = model.predict(X[50:], interval=0.95)
            covered.append(np.mean((low <= y[50:]) & (y[50:] <= high)))
        row[name] = float(np.mean(covered))
        row[f"{name}_standard_error"] = float(np.std(covered) / len(covered) ** 0.5)
    return row


def likelihood(n: int = LIKELIHOOD_ROWS, d: int = 10) -> dict[str, Any]:
    """One value and gradient of the log marginal likelihood where the points have no structure (target P6)."""
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(n, d, generator=draw)
    y = (X[:, 0] * X[:, 1]).sin() + X[:, 2:].sum(1) / d + 0.1**0.5 * torch.randn(n, generator=draw)
    scale, lengthscale, noise = (
        torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.0, d**0.5, 0.1)
    )
    K = (Parameter(scale) * RBF(Parameter(lengthscale)))(X)
    wall = time.perf_counter()
    found = inv_quad_logdet(K, y, noise=noise, n_probes=10)
    value = -0.5 * (found.inv_quad + found.logdet + n * math.log(2.0 * math.pi))
    gradient = torch.autograd.grad(value, (scale, lengthscale, noise))
    return {
        "case": "likelihood",
        "n": n,
        "d": d,
        "seconds": time.perf_counter() - wall,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "value": float(value.detach()),
        "standard_error": 0.5 * float(found.standard_error),
        "gradient": [float(g) for g in gradient],
        "iterations": found.n_iter,
        "rank": found.rank,
    }


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes."""
    rows = []
    for n in sizes:
        X, y, new, truth = simulate(n)
        cases = {"mercer": lambda X=X, y=y, new=new: ours(X, y, new)}
        if n <= PEERS_UP_TO:
            cases["GPyTorch exact"] = lambda X=X, y=y, new=new: gpytorch(X, y, new, inducing=None)
            cases[f"GPyTorch SGPR {INDUCING}"] = lambda X=X, y=y, new=new: gpytorch(X, y, new, inducing=INDUCING)
        for name, predict in cases.items():
            row = {"case": "regression", "n": n, **measure(name, predict, truth)}
            print(row, flush=True)
            rows.append(row)
    rows.append(coverage(time.time_ns() % 2**31))
    print(rows[-1], flush=True)
    rows.append(likelihood())
    print(rows[-1])
    return rows
