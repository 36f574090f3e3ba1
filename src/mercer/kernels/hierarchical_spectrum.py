"""Eigenvalues of kernels: of patches on the torus without noise by cosine transforms, and of any kernel on data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mercer.errors import ShapeError
from mercer.kernels.base import Kernel
from mercer.kernels.hierarchical import HierarchicalConv

Array = np.ndarray[Any, Any]


def torus_spectrum(kernel: HierarchicalConv, n_frequencies: Sequence[int]) -> tuple[Array, Array]:
    """The exact eigenvalues of a hierarchical kernel of patches of two numbers, uniform on circles.

    A patch of two is an angle, and the kernel depends on differences of angles only, so its eigenfunctions are waves
    and its eigenvalues its Fourier coefficients. Read no frequency near half of an axis' grid, and give axes that are
    not read a grid finer than the largest frequency read in the same sector: what is beyond is folded back.

    Args:
        kernel: with ``filters[0] == 2``, one axis and one channel.
        n_frequencies: points of the grid along each patch's angle, one number a patch.

    Returns:
        The eigenvalues ``(*n_frequencies)``, in the order of ``numpy.fft.fftn``; and the sector of each, int8, -1 where
        no meta-patch holds all of its patches.

    Raises:
        ValueError: another kernel.
        ShapeError: a number of patches that the filters do not divide.

    Cost: the kernel and a cosine transform on a sixteenth of the grid (four patches), in float64, and a copy of the
    whole: 64^4 points take half a second and 0.2 GB.

    >>> values, sectors = torus_spectrum(HierarchicalConv((2, 2)), (16, 16))
    >>> sectors[:2, :2].tolist()
    [[0, 1], [1, 2]]
    """
    if not isinstance(kernel, HierarchicalConv) or kernel.filters[0] != 2 or kernel.ndim != 1 or kernel.channels != 1:
        raise ValueError(
            f"torus_spectrum: the patches have to be pairs (filters[0] = 2, ndim=1), not as in {kernel!r}."
        )
    sizes = tuple(int(n) for n in n_frequencies)
    tree, _ = kernel.hierarchy(2 * len(sizes))

    # The kernel is even in each angle, so half of each axis has all of its values, and the transform is of cosines.
    halves = tuple(n // 2 + 1 for n in sizes)

    def versine(patch: int) -> torch.Tensor:
        angle = 2.0 * np.pi * np.arange(halves[patch]) / sizes[patch]
        values = torch.from_numpy(2.0 * np.sin(angle / 2.0) ** 2)
        return values.reshape([-1 if axis == patch else 1 for axis in range(len(sizes))])

    spectrum: Array = tree.of_versines(versine).expand(halves).numpy()
    for axis, n in enumerate(sizes):
        spectrum = np.moveaxis(np.tensordot(_cosines(n), spectrum, (1, axis)), 0, axis)
    folded = [np.minimum(np.arange(n), n - np.arange(n)) for n in sizes]
    return spectrum[np.ix_(*folded)], _sectors(kernel, sizes)


def _cosines(n: int) -> Array:
    """From the first ``n // 2 + 1`` of n values that are even about the first to as many Fourier coefficients."""
    m = np.arange(n // 2 + 1)
    twice = np.where((m == 0) | (2 * m == n), 1.0, 2.0)
    table: Array = np.cos((2.0 * np.pi / n) * (np.outer(m, m) % n)) * twice / n
    return table


def _sectors(kernel: HierarchicalConv, sizes: tuple[int, ...]) -> Array:
    """By which patches have a frequency: 2^p cases."""
    p = len(sizes)
    table = np.empty(1 << p, dtype=np.int8)
    for case in range(1 << p):
        found = kernel.sector_of([case >> i & 1 for i in range(p)])
        table[case] = -1 if found is None else found
    index = np.zeros(sizes, dtype=np.uint8 if p <= 8 else np.int64)
    for i, n in enumerate(sizes):
        active = (np.arange(n) > 0).reshape([-1 if axis == i else 1 for axis in range(p)])
        index += (active << i).astype(index.dtype)
    labels: Array = table[index]
    return labels


def gram_spectrum(kernel: Kernel, X: Any) -> Array:
    """Eigenvalues of ``kernel(X) / n``, descending: estimates of those of the kernel under the law of the rows of X.

    Args:
        kernel: any.
        X: ``(n, d)``; the matrix is formed in float64.

    Raises:
        ShapeError: no points.

    >>> from mercer.kernels import Linear
    >>> gram_spectrum(Linear(), torch.eye(2)).round(3)
    array([0.5, 0.5])
    """
    K = kernel(torch.as_tensor(X, dtype=torch.float64)).to_dense()
    if not len(K):
        raise ShapeError("gram_spectrum: X has no rows.")
    values: Array = torch.linalg.eigvalsh(K / len(K)).flip(0).numpy()
    return values
