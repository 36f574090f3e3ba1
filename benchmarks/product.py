"""The product of a Gaussian kernel matrix and a vector, against KeOps, GPyTorch and scikit-learn (target P1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.limits import product_limit
from mercer.kernels import RBF
from mercer.timing import compare

SIZES = (20_000,)
DIMENSIONS = (3, 16, 64, 100)
SCALES = (1.0, 4.0, 8.0, 30.0)
ROUNDS = 3  # KeOps takes ten seconds a call at d = 100


def keops_product(X: Tensor, Y: Tensor, v: Tensor, lengthscale: float) -> Tensor:
    """By a KeOps formula, compiled at its first use."""
    from pykeops.torch import LazyTensor

    x, y = LazyTensor(X[:, None, :] / lengthscale), LazyTensor(Y[None, :, :] / lengthscale)
    return (-((x - y) ** 2).sum(-1) / 2).exp() @ v


def gpytorch_product(X: Tensor, Y: Tensor, v: Tensor, lengthscale: float) -> Tensor:
    """By GPyTorch's lazy kernel matrix."""
    from gpytorch.kernels import RBFKernel

    kernel = RBFKernel()
    kernel.lengthscale = lengthscale
    return kernel(X, Y) @ v


def sklearn_product(X: Tensor, Y: Tensor, v: Tensor, lengthscale: float) -> Tensor:
    """By scikit-learn's kernel matrix and BLAS."""
    from sklearn.metrics.pairwise import rbf_kernel

    return torch.from_numpy(rbf_kernel(X.numpy(), Y.numpy(), gamma=0.5 / lengthscale**2) @ v.numpy())


def mercer_product(X: Tensor, Y: Tensor, v: Tensor, lengthscale: float) -> Tensor:
    """By mercer, operator and choice of the plan included."""
    return RBF(lengthscale)(X, Y) @ v


def tiles_product(X: Tensor, Y: Tensor, v: Tensor, lengthscale: float) -> Tensor:
    """By mercer from every entry, as the peers do, whatever the planner would choose."""
    return RBF(lengthscale)(X, Y, plan="tiles") @ v


PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "mercer": mercer_product,
    "mercer, tiles": tiles_product,
    "KeOps": keops_product,
    "GPyTorch": gpytorch_product,
    "scikit-learn": sklearn_product,
}


def error_of(X: Tensor, Y: Tensor, v: Tensor, lengthscale: float) -> Callable[[Tensor], float]:
    """Relative error on 200 rows against the definition in float64."""
    rows = torch.arange(0, len(X), max(1, len(X) // 200))
    distance = torch.cdist(X[rows].double(), Y.double(), compute_mode="donot_use_mm_for_euclid_dist")
    expected = torch.exp(-0.5 * (distance / lengthscale) ** 2) @ v.double()
    return lambda out: float((out[rows].double() - expected).norm() / expected.norm())


@torch.no_grad()
def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes."""
    rows: list[dict[str, Any]] = []
    for n in sizes:
        for d in DIMENSIONS:
            X, Y, v = torch.randn(n, d), torch.randn(n, d), torch.randn(n, 1)
            lengthscale = d**0.5
            limit = product_limit(d)
            comparison = compare(
                {name: partial(product, X, Y, v, lengthscale) for name, product in PRODUCTS.items()},
                rounds=ROUNDS,
                error=error_of(X, Y, v, lengthscale),
                work=float(n) * n,
                limit=limit["pairs"],
            )
            print(f"\nK(X, Y) @ v, n = m = {n}, d = {d}; limit {limit['pairs']:.3g} pairs/s\n{comparison}")
            rows.append({"case": "product", "n": n, "d": d, "parts": limit, **comparison.as_dict()})
        rows += [_scales(n), _symmetric(n)]
    return rows


def _scales(n: int) -> dict[str, Any]:
    """The same product where most exponentials underflow."""
    X, Y, v = torch.randn(n, 3), torch.randn(n, 3), torch.randn(n, 1)
    comparison = compare(
        {f"data / lengthscale = {s:g}": lambda s=s: RBF(1.0 / s)(X, Y, plan="tiles") @ v for s in SCALES},
        rounds=11,
        work=float(n) * n,
    )
    print(f"\nunderflow, n = m = {n}, d = 3\n{comparison}")
    return {"case": "scales", "n": n, "d": 3, **comparison.as_dict()}


def _symmetric(n: int) -> dict[str, Any]:
    """K(X, X), half of which is enough, with and without its gradient."""
    X, v = torch.randn(n, 16), torch.randn(n, 1)
    lengthscale = torch.tensor(4.0, dtype=torch.float64)

    def gradient() -> None:
        with torch.enable_grad():
            leaf, points = lengthscale.clone().requires_grad_(), X.clone().requires_grad_()
            (RBF(leaf)(points) @ v).sum().backward()

    comparison = compare(
        {
            "K(X, X) @ v": lambda: RBF(lengthscale)(X) @ v,
            "K(X, Y) @ v": lambda: RBF(lengthscale)(X, X) @ v,
            "with gradient": gradient,
        },
        rounds=11,
        work=float(n) * n,
    )
    print(f"\nsymmetry and gradient, n = {n}, d = 16\n{comparison}")
    return {"case": "symmetric", "n": n, "d": 16, **comparison.as_dict()}
