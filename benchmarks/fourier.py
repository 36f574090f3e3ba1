"""Fourier series: products of a million points and a Gaussian process on them (target P5), against finufft by hand."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mercer.kernels import RBF
from mercer.operators.fourier import FourierLikelihood, FourierSolution
from mercer.timing import compare

SIZES = (1_000_000,)
LENGTHSCALE = 0.1  # of the side of the cube that the points fill
TOLERANCE = 1e-6
ROUNDS = 7
ROWS = 30  # at which errors are measured, in float64


def by_hand(X: Tensor, lengthscale: float, tolerance: float) -> Callable[[Tensor], Tensor]:
    """K @ v with finufft and the Gaussian's spectral density, equispaced as in Barnett, Greengard & Rachh (2023)."""
    import finufft

    d = X.shape[1]
    step = 1.0 / (1.0 + lengthscale * math.sqrt(2.0 * math.log(4.0 * d * 3.0**d / tolerance)))
    m = math.ceil(math.sqrt(math.log(d * 4.0 ** (d + 1) / tolerance) / 2.0) / (math.pi * lengthscale * step))
    k = torch.arange(-m, m + 1, dtype=torch.float64) * step
    axis = step * math.sqrt(2.0 * math.pi) * lengthscale * torch.exp(-2.0 * (math.pi * lengthscale * k) ** 2)
    spectrum = axis
    for _ in range(d - 1):
        spectrum = spectrum[..., None] * axis
    shape, weights = (2 * m + 1,) * d, spectrum.to(torch.float32).numpy()
    angles = ((X - 0.5) * (2.0 * math.pi * step)).to(torch.float32).mT.contiguous().numpy()
    options = {"eps": tolerance, "dtype": "complex64", "nthreads": torch.get_num_threads(), "showwarn": 0}
    plans = [finufft.Plan(kind, shape, isign=sign, **options) for kind, sign in ((1, -1), (2, 1))]
    for plan in plans:
        plan.setpts(*angles)

    def product(v: Tensor) -> Tensor:
        modes = plans[0].execute(v[:, 0].to(torch.complex64).numpy())
        return torch.from_numpy(plans[1].execute(modes * weights)).real[:, None]

    return product


def error_of(X: Tensor, v: Tensor) -> Callable[[Tensor], float]:
    """Normwise error on some rows, relative to ``|K| |v|``, against the definition in float64."""
    rows = torch.linspace(0, len(X) - 1, ROWS).long()
    distance = torch.cdist(X[rows].double(), X.double(), compute_mode="donot_use_mm_for_euclid_dist")
    K = torch.exp(-0.5 * (distance / LENGTHSCALE) ** 2)
    expected, scale = K @ v.double(), K @ v.double().abs()
    return lambda out: float((out[rows].double() - expected).norm() / scale.norm())


@torch.no_grad()
def product_row(n: int, d: int) -> dict[str, Any]:
    """K(X, X) @ v in float32, points sorted before and with the sorting."""
    X, v = torch.rand(n, d), torch.randn(n, 1)
    kernel = RBF(LENGTHSCALE)
    K = kernel(X).with_plan("fourier", tolerance=TOLERANCE)
    reason = K.plan.reason
    hand = by_hand(X, LENGTHSCALE, TOLERANCE)
    comparison = compare(
        {
            "planned": lambda: K @ v,
            "with planning": lambda: kernel(X).with_plan("fourier", tolerance=TOLERANCE) @ v,
            "finufft by hand": lambda: hand(v),
        },
        rounds=ROUNDS,
        error=error_of(X, v),
        work=float(n) * n,
    )
    print(f"\nK(X, X) @ v, n = {n}, d = {d}; {reason}; predicted error {K.plan.error:.1e}\n{comparison}")
    return {"case": "product", "n": n, "d": d, "predicted_error": K.plan.error, **comparison.as_dict()}


def gaussian_process_row(n: int) -> dict[str, Any]:
    """Three hyperparameters of a Gaussian process in 2-D by L-BFGS, then means and standard deviations."""
    from scipy.optimize import minimize

    draw = torch.Generator().manual_seed(0)
    X, new = (torch.rand(count, 2, dtype=torch.float64, generator=draw) for count in (n, 10_000))
    truth = FourierSolution(RBF(0.07)(torch.cat([X, new])), tolerance=1e-8).sample(1, draw)[:, 0]
    y = truth[:n] + 0.1 * torch.randn(n, dtype=torch.float64, generator=draw)
    wall, processor = time.perf_counter(), time.process_time()
    likelihood = FourierLikelihood(y, tolerance=TOLERANCE)

    def objective(logarithms: Any) -> tuple[float, Any]:
        theta = torch.tensor(logarithms, dtype=torch.float64, requires_grad=True)
        amplitude, lengthscale, noise = theta.exp()
        quad, logdet = likelihood((amplitude * RBF(lengthscale))(X), noise)
        value = 0.5 * (quad[0] + logdet) / n
        value.backward()
        return value.item(), theta.grad.numpy()  # type: ignore[union-attr]

    bounds = [(-5.0, 5.0), (math.log(0.05), 1.0), (-12.0, 2.0)]
    found = minimize(objective, [0.0, math.log(0.2), 0.0], jac=True, method="L-BFGS-B", bounds=bounds)
    amplitude, lengthscale, noise = (math.exp(x) for x in found.x)
    kernel = amplitude * RBF(lengthscale)
    solution = FourierSolution(kernel(X), tolerance=TOLERANCE, modes=None)
    cross = kernel(new, X)
    mean = solution.mean_of(cross, y[:, None], noise)[:, 0]
    deviation = (amplitude - solution.inv_quad_of(cross, noise)).sqrt()
    row = {
        "case": "gaussian process",
        "n": n,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "evaluations": found.nfev,
        "passes": likelihood.n_passes,
        "weights": solution.n_weights,
        "found": [amplitude, lengthscale, noise],
        "error_over_deviation": float(((mean - truth[n:]) / deviation).square().mean().sqrt()),
    }
    print(f"\nGaussian process, {row}")
    return row


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes."""
    rows = []
    for n in sizes:
        rows += [gaussian_process_row(n), *(product_row(n, d) for d in (1, 2, 3))]
    return rows
