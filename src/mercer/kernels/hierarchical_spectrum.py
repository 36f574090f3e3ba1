"""Eigenvalues of kernels: of patches on circles and spheres without noise, and of any kernel on data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer import config
from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels.base import Kernel
from mercer.kernels.grammar import parse
from mercer.kernels.hierarchical import HierarchicalConv
from mercer.kernels.hierarchy import Hierarchy
from mercer.kernels.parameters import is_count

Array = np.ndarray[Any, Any]
BLOCK = 1 << 21  # numbers of the grid whose kernel is in work at a time


def torus_spectrum(
    kernel: HierarchicalConv, n_frequencies: Sequence[int], *, half: bool = False, device: Any = "cpu"
) -> tuple[Array, Array]:
    """The exact eigenvalues of a hierarchical kernel of patches of two numbers, uniform on circles.

    A patch of two is an angle, and the kernel depends on differences of angles only, so its eigenfunctions are waves
    and its eigenvalues its Fourier coefficients. Read no frequency near half of an axis' grid, and give axes that are
    not read a grid finer than the largest frequency read in the same sector: what is beyond is folded back.

    Args:
        kernel: with ``filters[0] == 2``, one axis and one channel.
        n_frequencies: points of the grid along each patch's angle, one number a patch.
        half: return the frequencies 0 to ``n // 2`` of each axis only; the others, being negative, repeat them.
        device: where it is computed, in float64; what is returned is in main memory.

    Returns:
        The eigenvalues ``(*n_frequencies)``, in the order of ``numpy.fft.fftn``; and the sector of each, int8, -1 where
        no meta-patch holds all of its patches.

    Raises:
        ValueError: another kernel or one without ``normalize``, a grid without points.
        ShapeError: a number of patches that the filters do not divide.
        MemoryBudgetError: before anything is computed, a grid that does not fit.

    Cost: the kernel and a cosine transform on a sixteenth of the grid (four patches), block by block, and a copy of the
    whole unless ``half``: 128^4 points take 4 s of a core and 0.4 GB with ``half``, 3 GB without; 192^4 points with
    ``half`` 20 s and 2 GB.

    >>> values, sectors = torus_spectrum(HierarchicalConv((2, 2)), (16, 16))
    >>> sectors[:2, :2].tolist()
    [[0, 1], [1, 2]]
    """
    if not isinstance(kernel, HierarchicalConv) or kernel.filters[0] != 2 or kernel.ndim != 1 or kernel.channels != 1:
        raise ValueError(
            f"torus_spectrum: the patches have to be pairs (filters[0] = 2, ndim=1), not as in {kernel!r}. "
            f"Patches of any size on spheres: multisphere_spectrum."
        )
    _require_unit_patches("torus_spectrum", kernel)
    sizes = _counts("torus_spectrum", "n_frequencies", n_frequencies)
    tree, _ = kernel.hierarchy(2 * len(sizes))
    # Of the kernel's values, between the axes, and twice the result.
    half_size, whole = math.prod(n // 2 + 1 for n in sizes), math.prod(sizes)
    config.require_memory(
        24 * half_size + (0 if half else 9 * whole),
        asked=f"torus_spectrum of {' x '.join(map(str, sizes))} points",
        instead="Take fewer points along the axes whose frequencies are not read, or half=True.",
    )
    # The kernel is even in each angle, so half of each axis has all of its values, and the transform is of cosines.
    angles = [2.0 * np.pi * np.arange(n // 2 + 1) / n for n in sizes]
    spectrum = _transformed(tree, angles, [_cosines(n) for n in sizes], device)
    if half:
        return spectrum, _sectors(kernel, spectrum.shape)
    folded = [np.minimum(np.arange(n), n - np.arange(n)) for n in sizes]
    return spectrum[np.ix_(*folded)], _sectors(kernel, sizes)


def multisphere_spectrum(
    kernel: HierarchicalConv, n_degrees: Sequence[int], *, n_nodes: int = 32, device: Any = "cpu"
) -> tuple[Array, Array]:
    r"""The eigenvalues of a hierarchical kernel whose patches are uniform on spheres, of any dimension.

    Eigenfunctions are products of spherical harmonics, one a patch, and the eigenvalue depends on their degrees only
    (Funk and Hecke):

    .. math:: \Lambda(k_1, \ldots, k_p) = \mathbb{E}\, \kappa(t_1, \ldots, t_p) \prod_i P_{k_i}(t_i)

    with t_i the cosine between two points of the sphere and P_k the Gegenbauer polynomial with P_k(1) = 1 (cos k theta
    for patches of two, Legendre's for three). The means are Gauss-Legendre quadrature in the angles.

    Args:
        kernel: patches of ``filters[0] ** ndim * channels`` numbers, two or more.
        n_degrees: how many degrees of each patch, from 0; one number a patch, patches in the tree's order.
        n_nodes: of the quadrature along each angle; at least twice the largest degree.
        device: where it is computed, in float64; what is returned is in main memory.

    Returns:
        The eigenvalues ``(*n_degrees)``, each that of all harmonics of these degrees; and the sector of each, int8, -1
        where no meta-patch holds all of its patches.

    Raises:
        ValueError: patches of one number or without ``normalize``, too few nodes, no degrees.
        ShapeError: a number of patches that the filters do not divide.

    Cost: the kernel at ``n_nodes ** p`` points, block by block: 0.2 s of a core for four patches. For patches of three
    the errors are 1e-12 with 32 nodes and 1e-13 with 48.

    >>> values, sectors = multisphere_spectrum(HierarchicalConv((3, 2)), (3, 3))
    >>> sectors[:2, :2].tolist(), float(round(values[0, 0], 4))
    ([[0, 1], [1, 2]], 0.8816)
    """
    _require_unit_patches("multisphere_spectrum", kernel)
    sizes = _counts("multisphere_spectrum", "n_degrees", n_degrees)
    width = kernel.filters[0] ** kernel.ndim * kernel.channels
    if width < 2:
        raise ValueError(f"multisphere_spectrum: patches of {kernel!r} are one number, which is no sphere.")
    if n_nodes < 2 * max(sizes):
        raise ValueError(
            f"multisphere_spectrum: n_nodes={n_nodes} do not resolve degrees up to {max(sizes) - 1}; "
            f"give at least {2 * max(sizes)}."
        )
    tree, _ = kernel.hierarchy(width * len(sizes))
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    angles = (nodes + 1.0) * (np.pi / 2.0)
    weights = weights * np.sin(angles) ** (width - 2)
    polynomials = _gegenbauer(np.cos(angles), width, max(sizes)) * (weights / weights.sum())
    spectrum = _transformed(tree, [angles] * len(sizes), [polynomials[:n] for n in sizes], device)
    return spectrum, _sectors(kernel, sizes)


def _require_unit_patches(name: str, kernel: HierarchicalConv) -> None:
    if not kernel.normalize:
        raise ValueError(
            f"{name}: the spectrum is that of patches of norm 1, but {kernel!r} keeps their norms. Give the kernel "
            f"with normalize=True; eigenvalues on data of any norms: gram_spectrum."
        )


def _counts(name: str, argument: str, given: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(given) if isinstance(given, Sequence | np.ndarray) else ()
    if not sizes or not all(map(is_count, sizes)):
        raise ValueError(f"{name}({argument}={given!r}): give one whole number >= 1 a patch.")
    return tuple(int(n) for n in sizes)


def _transformed(tree: Hierarchy, angles: Sequence[Array], tables: Sequence[Array], device: Any) -> Array:
    """The kernel on the grid of all angles, transformed by a table ``(found, angles)`` an axis, blocks of rows at a
    time, so that a block and what is found are all that is held."""
    versines = [torch.from_numpy(2.0 * np.sin(angle / 2.0) ** 2).to(device) for angle in angles]
    first, *others = (torch.from_numpy(np.ascontiguousarray(table)).to(device) for table in tables)
    inner = [len(table) for table in others]
    between = torch.empty(len(angles[0]), *inner, dtype=torch.float64, device=device)
    step = max(1, BLOCK // math.prod(len(angle) for angle in angles[1:]))
    for start in range(0, len(between), step):
        rows = [versines[0][start : start + step], *versines[1:]]

        def versine(patch: int, rows: Sequence[Tensor] = rows) -> Tensor:
            return rows[patch].reshape([-1 if axis == patch else 1 for axis in range(len(rows))])

        part = tree.of_versines(versine).expand([len(row) for row in rows])
        for axis, table in enumerate(others, 1):
            part = torch.tensordot(table, part, ([1], [axis])).movedim(0, axis)
        between[start : start + step] = part
    flat = between.reshape(len(between), -1)
    found = torch.empty(len(first), flat.shape[1], dtype=torch.float64)
    for start in range(0, flat.shape[1], BLOCK // len(flat) + 1):
        columns = slice(start, start + BLOCK // len(flat) + 1)
        found[:, columns] = first @ flat[:, columns]
    spectrum: Array = found.reshape(len(first), *inner).numpy()
    return spectrum


def _cosines(n: int) -> Array:
    """From the first ``n // 2 + 1`` of n values that are even about the first to as many Fourier coefficients."""
    m = np.arange(n // 2 + 1)
    twice = np.where((m == 0) | (2 * m == n), 1.0, 2.0)
    table: Array = np.cos((2.0 * np.pi / n) * (np.outer(m, m) % n)) * twice / n
    return table


def _gegenbauer(t: Array, width: int, count: int) -> Array:
    """The first ``count`` polynomials of the sphere in ``width`` dimensions at t, 1 at t = 1: ``(count, len(t))``."""
    found = [np.ones_like(t), t]
    for k in range(1, count - 1):
        found.append(((2 * k + width - 2) * t * found[k] - k * found[k - 1]) / (k + width - 2))
    return np.stack(found[:count])


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


def gram_spectrum(kernel: Kernel | str, X: Any) -> Array:
    """Eigenvalues of ``kernel(X) / n``, descending: estimates of those of the kernel under the law of the rows of X.

    Args:
        kernel: any, or its text.
        X: ``(n, d)`` array, table or tensor; the matrix is formed in float64.

    Raises:
        ShapeError: no points.

    >>> from mercer.kernels import Linear
    >>> gram_spectrum(Linear(), torch.eye(2)).round(3)
    array([0.5, 0.5])
    """
    made = parse(kernel) if isinstance(kernel, str) else kernel
    K = made(as_tensor(X, dtype=torch.float64)).to_dense()
    if not len(K):
        raise ShapeError("gram_spectrum: X has no rows.")
    values: Array = torch.linalg.eigvalsh(K / len(K)).flip(0).numpy()
    return values
