"""Products by the plans that use structure, against linear_operator (under GPyTorch) and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mercer.kernels import RBF, Kernel, Linear, Matern, Wendland
from mercer.timing import compare

SIZES = (250_000,)
ROUNDS = 11
ROWS = 50  # at which errors are measured, in float64


def kronecker(n: int) -> tuple[Kernel, Tensor, Callable[[Tensor], Tensor]]:
    """A grid of pixels, against a Kronecker product of linear_operator."""
    from linear_operator.operators import KroneckerProductLinearOperator

    axis = torch.linspace(0.0, 1.0, round(n**0.5))
    factor = RBF(0.1)(axis[:, None]).to_dense()
    theirs = KroneckerProductLinearOperator(factor, factor)
    return RBF(0.1), torch.cartesian_prod(axis, axis), lambda v: theirs @ v


def toeplitz(n: int) -> tuple[Kernel, Tensor, Callable[[Tensor], Tensor]]:
    """A long series, against a Toeplitz matrix of linear_operator."""
    from linear_operator.operators import ToeplitzLinearOperator

    X = torch.linspace(0.0, 1.0, n)[:, None]
    theirs = ToeplitzLinearOperator(Matern(0.05)(X.double(), X[:1].double()).to_dense()[:, 0].float())
    return Matern(0.05), X, lambda v: theirs @ v


def lowrank(n: int) -> tuple[Kernel, Tensor, Callable[[Tensor], Tensor]]:
    """A linear kernel, against a root of linear_operator."""
    from linear_operator.operators import RootLinearOperator

    X = torch.randn(n, 32)
    theirs = RootLinearOperator(X)
    return Linear(), X, lambda v: theirs @ v


def sparse(n: int) -> tuple[Kernel, Tensor, Callable[[Tensor], Tensor]]:
    """A kernel of compact support, against scipy.sparse with the same entries."""
    import scipy.sparse

    from mercer.operators import to_sparse

    X = torch.rand(n // 5, 2)
    csr = to_sparse(Wendland(0.02)(X))
    parts = (csr.values().numpy(), csr.col_indices().numpy(), csr.crow_indices().numpy())
    theirs = scipy.sparse.csr_matrix(parts, shape=csr.shape)
    return Wendland(0.02), X, lambda v: torch.from_numpy(theirs @ v.numpy())


CASES = {"kronecker": kronecker, "toeplitz": toeplitz, "lowrank": lowrank, "sparse": sparse}


@torch.no_grad()
def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes."""
    rows = []
    for n in sizes:
        for name, make in CASES.items():
            kernel, X, theirs = make(n)
            v = torch.randn(len(X), 1, generator=torch.Generator().manual_seed(0))
            K = kernel(X, plan=name)
            K @ v
            tiles_seconds = K.with_plan("tiles").plan.seconds
            comparison = compare(
                {
                    "mercer": lambda K=K, v=v: K @ v,
                    "mercer, found anew": lambda X=X, v=v, kernel=kernel: kernel(X) @ v,
                    "peer": lambda theirs=theirs, v=v: theirs(v),
                },
                rounds=ROUNDS,
                error=_error_of(kernel, X, v),
                work=float(len(X)) ** 2,
            )
            print(f"\n{name}: {K.plan}; tiles would take {tiles_seconds:.3g} s\n{comparison}", flush=True)
            row = {"case": "structure", "plan": name, "kernel": repr(kernel), "n": len(X), "tiles": tiles_seconds}
            rows.append({**row, **comparison.as_dict()})
    return rows


def _error_of(kernel: Kernel, X: Tensor, v: Tensor) -> Callable[[Tensor], float]:
    at = torch.arange(0, len(X), max(1, len(X) // ROWS))
    exact = kernel(X[at].double(), X.double(), plan="tiles") @ v.double()
    return lambda out: float((out[at].double() - exact).norm() / exact.norm())
