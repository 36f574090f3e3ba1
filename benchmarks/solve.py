"""Kernel ridge regression's linear system, against scikit-learn and GPyTorch (target P4)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.kernels import RBF
from mercer.operators import solve
from mercer.timing import machine

SIZES = (10_000, 20_000)
DIMENSIONS = (3, 30)
NOISES = (1.0, 1e-2, 1e-4)
SCIKIT_LEARN_LIMIT = 12_000  # its threaded Cholesky crashes at 17 000


def sklearn_solution(X: Tensor, y: Tensor, lengthscale: float, noise: float) -> tuple[Tensor, dict[str, Any]]:
    """KernelRidge in float64, as its users run it."""
    from sklearn.kernel_ridge import KernelRidge

    model = KernelRidge(alpha=noise, kernel="rbf", gamma=0.5 / lengthscale**2)
    model.fit(X.double().numpy(), y.double().numpy())
    return torch.from_numpy(np.asarray(model.dual_coef_)), {}


def gpytorch_solution(X: Tensor, y: Tensor, lengthscale: float, noise: float) -> tuple[Tensor, dict[str, Any]]:
    """GPyTorch's preconditioned conjugate gradients at its default tolerance for predictions, 1e-2, tightened to
    1e-6."""
    import gpytorch
    import linear_operator

    kernel = gpytorch.kernels.RBFKernel()
    kernel.lengthscale = lengthscale
    settings = linear_operator.settings
    with settings.cg_tolerance(1e-6), settings.max_cg_iterations(1000), settings.max_cholesky_size(0):
        K = kernel(X, X).evaluate_kernel().add_diagonal(torch.tensor(noise))
        return K.solve(y.unsqueeze(-1)).squeeze(-1), {}


def mercer_solution(X: Tensor, y: Tensor, lengthscale: float, noise: float) -> tuple[Tensor, dict[str, Any]]:
    """operators.solve at its default residual, 1e-6."""
    solution = solve(RBF(lengthscale)(X), y, noise=noise)
    kept = ("residual", "n_iter", "method", "precision", "rank", "reason")
    return solution.x, {name: getattr(solution, name) for name in kept}


SOLVERS: dict[str, Callable[..., tuple[Tensor, dict[str, Any]]]] = {
    "mercer": mercer_solution,
    "GPyTorch": gpytorch_solution,
    "scikit-learn": sklearn_solution,
}


def true_residual(X: Tensor, y: Tensor, x: Tensor, lengthscale: float, noise: float) -> float:
    """|y - (K + noise I) x| / |y| with K formed in float64 by scipy from the given points, 1000 rows at a time."""
    from scipy.spatial.distance import cdist

    points, x, y = X.double().numpy(), x.double(), y.double()
    residual = y - noise * x
    for i in range(0, len(points), 1000):
        K = np.exp(-0.5 * cdist(points[i : i + 1000], points, "sqeuclidean") / lengthscale**2)
        residual[i : i + 1000] -= torch.from_numpy(K) @ x
    return float(residual.norm() / y.norm())


@torch.no_grad()
def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes. One call a solver: each takes seconds to minutes."""
    rows = []
    for n in sizes:
        for d in DIMENSIONS:
            generator = torch.Generator().manual_seed(n + d)
            X = torch.randn(n, d, generator=generator)
            y = torch.sin(X.sum(1)) + 0.1 * torch.randn(n, generator=generator)
            for noise in NOISES:
                row: dict[str, Any] = {
                    "case": "solve",
                    "n": n,
                    "d": d,
                    "noise": noise,
                    "machine": machine(),
                    "solvers": {},
                }
                for name, solver in SOLVERS.items():
                    if name == "scikit-learn" and n > SCIKIT_LEARN_LIMIT:
                        continue
                    if name == "GPyTorch" and n > SCIKIT_LEARN_LIMIT:
                        continue
                    start = time.perf_counter()
                    x, facts = solver(X, y, d**0.5, noise)
                    seconds = time.perf_counter() - start
                    row["solvers"][name] = {
                        "seconds": seconds,
                        "residual": true_residual(X, y, x, d**0.5, noise),
                        **facts,
                    }
                rows.append(row)
                print(f"solve n = {n}, d = {d}, noise = {noise:g}: {_line(row['solvers'])}", flush=True)
    return rows


def _line(solvers: dict[str, dict[str, Any]]) -> str:
    return "; ".join(f"{name} {s['seconds']:.2f} s, residual {s['residual']:.1e}" for name, s in solvers.items())
