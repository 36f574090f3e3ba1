"""The leading eigenvalues of a centred kernel matrix: all of them, by Lanczos, or by random projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sklearn.utils.validation import _check_psd_eigenvalues
from torch import Tensor

from mercer.arrays import generator
from mercer.config import require_memory
from mercer.operators.functions import eigsh
from mercer.operators.matrices import CenteredOperator
from mercer.operators.solvers import Matrix, System

__all__ = ["CenteredSpectrum", "centered_spectrum", "flip_signs"]

SOLVERS = ("auto", "dense", "arpack", "randomized")
_SMALL = 1000  # rows up to which the whole matrix is centred and decomposed, as in eigsh
_OVERSAMPLING = 10  # directions beyond the ones asked for, as in scikit-learn


@dataclass(frozen=True)
class CenteredSpectrum:
    """What :func:`centered_spectrum` gives; float64.

    Attributes:
        values: ``(k,)``, the largest first; what round-off makes of 0 is 0.
        vectors: ``(n, k)``, orthonormal, the entry of largest magnitude of each positive.
        means: of the columns of K, ``(n,)``.
    """

    values: Tensor
    vectors: Tensor
    means: Tensor


@torch.no_grad()
def centered_spectrum(
    K: Matrix, k: int, *, solver: str, tol: float, max_iter: int | None, n_power: int | str, random_state: Any
) -> CenteredSpectrum:
    """The ``k`` leading eigenvalues of K centred in feature space.

    Args:
        K: ``(n, n)``, tensor or operator.
        solver: "dense" decomposes the stored matrix; "arpack" is :func:`mercer.operators.eigsh`, which stores nothing;
            "auto" the one up to 1000 rows, the other beyond; "randomized" projects on random directions multiplied
            ``n_power`` times by the matrix, and takes the eigenvalues of largest magnitude.
        tol: relative residual of "arpack"; 0 is 1e-8.
        max_iter: block products of "arpack"; None is 300.
        n_power: "auto" is 7 for few components, else 4.

    Raises:
        ValueError: there are eigenvalues well below 0 among them, or another solver.
        NotConverged: ``tol`` was not reached.
        MemoryBudgetError: "dense" does not fit.

    Source: Halko, Martinsson & Tropp, Finding structure with randomness (2011), algorithms 4.4 and 5.3.
    """
    if solver not in SOLVERS:
        raise ValueError(f"eigen_solver must be one of {', '.join(SOLVERS)}, not {solver!r}.")
    system = System(K)
    n = system.n
    centered: Any
    if solver == "dense" or n <= _SMALL:
        require_memory(
            32 * n * n, asked=f"All eigenvalues of {n} rows", instead="Use eigen_solver='arpack' and n_components."
        )
        whole = system.block(slice(0, n), slice(0, n))
        means = whole.mean(0)
        # In the order of scikit-learn's KernelCenterer: a matrix that is not symmetric gives the same as there.
        centered = whole - means - whole.mean(1, keepdim=True) + means.mean()
    else:
        means = system.product(torch.full((n, 1), 1.0 / n, dtype=torch.float64, device=system.device))[:, 0]
        centered = CenteredOperator(K, means)
    if solver == "randomized":
        values, vectors = _randomized(System(centered), k, n_power, random_state)
    elif isinstance(centered, Tensor):
        values, vectors = (part.flip(-1)[..., :k] for part in torch.linalg.eigh(centered))
    elif _is_zero(centered):
        values = means.new_zeros(k)
        vectors = torch.eye(n, k, dtype=means.dtype, device=means.device)
    else:
        found = eigsh(centered, k, rtol=tol or 1e-8, max_iter=max_iter or 300, random_state=random_state)
        values, vectors = found.values, found.vectors
    checked = torch.from_numpy(_check_psd_eigenvalues(values.cpu().numpy().copy(), enable_warnings=False))
    order = checked.argsort(descending=True, stable=True)
    return CenteredSpectrum(checked[order].to(means.device), flip_signs(vectors)[:, order.to(means.device)], means)


def flip_signs(vectors: Tensor) -> Tensor:
    """Columns times 1 or -1, so that the entry of largest magnitude of each is positive (scikit-learn's svd_flip)."""
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return vectors * torch.where(largest < 0.0, -1.0, 1.0)


def _randomized(system: System, k: int, n_power: int | str, random_state: Any) -> tuple[Tensor, Tensor]:
    n = system.n
    width = min(n, k + _OVERSAMPLING)
    if n_power == "auto":
        n_power = 7 if k < 0.1 * n else 4
    basis = torch.randn(n, width, dtype=torch.float64, generator=generator(random_state)).to(system.device)
    for _ in range(1 + int(n_power)):
        basis = torch.linalg.qr(system.product(basis))[0]
    values, mixing = torch.linalg.eigh(basis.mT @ system.product(basis))
    order = values.abs().argsort(descending=True)[:k]
    return values[order], basis @ mixing[:, order]


def _is_zero(centered: CenteredOperator) -> bool:
    """Whether all points are alike, so that centring leaves nothing but round-off, which has no eigenvectors."""
    exact = centered.double()
    scale = torch.as_tensor(exact.operator.diagonal()).abs().sum()
    return bool(torch.as_tensor(exact.diagonal()).abs().sum() <= 1e-12 * scale)
