"""The leading eigenvectors of a Hankel matrix: filters that suit slowly forgetting linear systems."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mercer.config import require_memory

__all__ = ["hankel_basis", "hankel_rows"]

LOST = 1e-14  # below this share of the first eigenvalue, eigenvectors are round-off


def hankel_basis(length: int, n_vectors: int) -> Tensor:
    """Eigenvectors of ``H_ij = 2 / (s^3 - s)``, s = i + j, i and j from 1 to ``length``: ``(length, n_vectors)``.

    Those of the largest eigenvalues, in falling order, with a first entry that is not negative. The eigenvalues fall
    exponentially, so float64 knows a few dozen of them.

    Raises:
        ValueError: more vectors than float64 can tell apart.

    >>> hankel_basis(100, 3).shape
    torch.Size([100, 3])
    """
    from scipy.linalg import hankel
    from scipy.sparse.linalg import LinearOperator, eigsh

    entries = _entries(length)
    if length <= 512 or n_vectors >= length - 1:
        values, vectors = np.linalg.eigh(hankel(entries[:length], entries[length - 1 :]))
        values, vectors = values[::-1][:n_vectors], vectors[:, ::-1][:, :n_vectors]
    else:
        n = 4 * length
        spectrum = np.fft.rfft(entries, n)

        def multiply(x: np.ndarray) -> np.ndarray:  # H x is a correlation
            product = np.fft.irfft(spectrum * np.fft.rfft(x.ravel()[::-1], n), n)
            return product[length - 1 : 2 * length - 1]

        start = np.ones(length)  # a start of its own would be drawn from NumPy's global generator
        operator = LinearOperator((length, length), matvec=multiply, dtype=np.float64)
        values, vectors = eigsh(operator, n_vectors, v0=start)
        values, vectors = values[::-1], vectors[:, ::-1]
    known = int((values > LOST * values[0]).sum())
    if known < n_vectors:
        raise ValueError(
            f"layout='hankel': of {n_vectors} eigenvectors at length {length} float64 tells {known} apart. Use "
            f"kernel_dim={known} or less."
        )
    vectors = vectors * np.where(vectors[:1] < 0.0, -1.0, 1.0)
    return torch.from_numpy(np.ascontiguousarray(vectors))


def hankel_rows(length: int, n_rows: int) -> Tensor:
    """The first rows of the matrix of all eigenvectors, by rising eigenvalues, as columns ``(length, n_rows)``.

    What the official code takes in place of :func:`hankel_basis`. Most of the eigenvalues are round-off, and each sign
    is LAPACK's choice, so another machine may give others.
    """
    from scipy.linalg import hankel

    entries = _entries(length)
    require_memory(16 * length**2, asked=f"All eigenvectors at length {length}", instead="Give reference=False.")
    vectors = np.linalg.eigh(hankel(entries[:length], entries[length - 1 :]))[1]
    return torch.from_numpy(np.ascontiguousarray(vectors[:n_rows].T))


def _entries(length: int) -> np.ndarray:
    """Of the matrix, by s from 2 to 2 ``length``."""
    s = np.arange(2, 2 * length + 1, dtype=np.float64)
    found: np.ndarray = 2.0 / (s**3 - s)
    return found
