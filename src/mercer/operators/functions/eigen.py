"""The largest eigenvalues of a matrix that need not be stored."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.config import require_memory
from mercer.errors import NotConverged
from mercer.operators.solvers import Matrix, System
from mercer.progress import Progress, track

__all__ = ["Eigen", "eigsh"]

_SMALL = 1000  # rows up to which all eigenvalues are found faster than a few


@dataclass(frozen=True)
class Eigen:
    """What :func:`eigsh` gives.

    Attributes:
        values: ``(k,)`` float64, the largest first.
        vectors: ``(n, k)`` float64, orthonormal columns in the order of the values; their signs are arbitrary.
        residual: the largest ``norm(A v - value v)``, relative to the largest value.
        n_iter: block products; 0 if all eigenvalues were computed.
    """

    values: Tensor
    vectors: Tensor
    residual: float
    n_iter: int


@torch.no_grad()
def eigsh(A: Matrix, k: int = 6, *, rtol: float = 1e-8, max_iter: int = 300, random_state: Any = 0) -> Eigen:
    """The ``k`` algebraically largest eigenvalues of a symmetric A and their eigenvectors, the largest first.

    Block Lanczos with full reorthogonalisation and thick restarts. A block multiplies by A as fast as one vector does
    where entries of A are recomputed, and finds eigenvalues that are equal. All eigenvalues at once up to n = 1000.

    Args:
        A: ``(n, n)``, tensor or linear operator.
        k: how many.
        rtol: residual of every pair, relative to the largest eigenvalue. Above 1e-5 products are in float32.
        max_iter: block products.
        random_state: of the start.

    Raises:
        NotConverged: ``.solution`` is the :class:`Eigen` reached.
        ValueError: ``k`` is not between 1 and n.

    Source: Wu & Simon, Thick-restart Lanczos method, SIAM J. Matrix Anal. 22 (2000).

    >>> eigsh(torch.diag(torch.tensor([3.0, 1.0, 2.0])), 2).values
    tensor([3., 2.], dtype=torch.float64)
    """
    system = System(A)
    n = system.n
    if not 1 <= k <= n:
        raise ValueError(f"eigsh: k must be between 1 and n = {n}, not {k}.")
    block = min(n, k + max(4, min(k // 2, 16)))
    largest_basis = 4 * block
    if n <= _SMALL or largest_basis >= n:
        require_memory(24 * n * n, asked=f"eigsh of {k} of {n} eigenvalues", instead="Ask for fewer.")
        values, vectors = torch.linalg.eigh(system.block(slice(0, n), slice(0, n)))
        return Eigen(values.flip(0)[:k], vectors.flip(1)[:, :k], 0.0, 0)
    require_memory(16 * n * (largest_basis + block), asked=f"eigsh of {k} of {n} eigenvalues", instead="Ask for fewer.")
    dtype = torch.float32 if rtol > 1e-5 else torch.float64
    start = torch.randn(n, block, dtype=torch.float64, generator=generator(random_state)).to(system.device)
    basis = torch.linalg.qr(start)[0]  # (n, m), orthonormal
    images = system.product(basis, dtype=dtype)  # A @ basis
    progress: Progress[int] = track(None, description="eigenvalues")
    with progress:
        for n_iter in range(1, max_iter + 1):
            values, mixing = torch.linalg.eigh(0.5 * (basis.mT @ images + images.mT @ basis))
            values, mixing = values.flip(0)[:block], mixing.flip(1)[:, :block]
            vectors, products = basis @ mixing, images @ mixing
            R = products - vectors * values
            residual = float(torch.linalg.vector_norm(R[:, :k], dim=0).max() / values[0].abs().clamp(min=1e-300))
            found = Eigen(values[:k], vectors[:, :k], residual, n_iter)
            progress.advance(note=f"residual {residual:.0e}")
            if residual <= rtol:
                return found
            if basis.shape[1] + block > largest_basis:
                basis, images = vectors, products
            # Twice: one pass leaves what round-off has put back.
            for _ in range(2):
                R = R - basis @ (basis.mT @ R)
                R = torch.linalg.qr(R)[0]
            basis = torch.cat([basis, R], 1)
            images = torch.cat([images, system.product(R, dtype=dtype)], 1)
    raise NotConverged(
        f"eigsh: a relative residual of {rtol:.0e} was asked for, {residual:.1e} was reached in {max_iter} block "
        f"products. Give a larger max_iter, rtol or k.",
        found,
    )
