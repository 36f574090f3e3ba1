"""How much of a kernel stands on polynomials of each degree."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mercer.kernels.base import Kernel
from mercer.kernels.features.base import require_count
from mercer.kernels.grammar import parse
from mercer.kernels.hermite import of_each_degree

__all__ = ["hermite_degree_shares"]

_ROTATION_TOLERANCE = 1e-9  # of k(x, x), for values in float64


def hermite_degree_shares(kernel: Kernel | str, d: int, *, max_degree: int = 8, n_nodes: int = 48) -> np.ndarray:
    r"""The share of E k(x, x) that stands on polynomials of each degree, for d independent standard normal columns.

    Random functions of a Gaussian process with this kernel have that much of their variance on each degree. A rotation
    invariant kernel learns the degrees one after the other, each from about as many rows as there are polynomials of
    it, so little variance on a degree spread over many of them is learnt late:

    .. math:: s_j = E[k(x, x') k_j(x, x')] / E[k(x, x)]

    where k_j is the part of degree j of :class:`HermitePolynomial`.

    Args:
        kernel: rotation invariant: a function of inner products and norms; or its text.
        d: columns, >= 2.
        max_degree: the highest one given.
        n_nodes: of each of three Gauss rules (two norms and a cosine), more than ``max_degree``. Smooth kernels are
            exact to 1e-10 with 48; for kinks at equal points (Matern 1/2, ReLU networks) the error falls like a power
            of it.

    Returns:
        ``(max_degree + 1,)``, float64; what is missing to 1 stands on higher degrees.

    Raises:
        ValueError: the kernel is not rotation invariant, one column, or too few nodes.

    Cost: ``n_nodes^3`` values of the kernel.

    >>> hermite_degree_shares(mc.kernels.HermitePolynomial(2), 3, max_degree=3).round(6)  # 1, 3 and 6 of 10 products
    array([0.1, 0.3, 0.6, 0. ])
    """
    for name, value in (("d", d), ("max_degree", max_degree), ("n_nodes", n_nodes)):
        require_count("hermite_degree_shares", name, value)
    if d < 2:
        raise ValueError("hermite_degree_shares needs d >= 2: in one column there are no angles between points.")
    if n_nodes <= max_degree:
        raise ValueError(
            f"hermite_degree_shares(max_degree={max_degree}, n_nodes={n_nodes}): so few nodes cannot tell the degrees "
            f"apart. Give n_nodes > {max_degree}; 48 are the default."
        )
    if isinstance(kernel, str):
        kernel = parse(kernel)
    _require_invariance(kernel, d)
    i = np.arange(1.0, n_nodes)
    # |x|^2 / 2 is a gamma variable of shape d / 2; the density of a cosine goes like (1 - c^2)^((d - 3) / 2).
    halves, radial = _gauss_rule(2.0 * np.arange(n_nodes) + 0.5 * d, i * (i + 0.5 * d - 1.0))
    squared = np.append(1.0 / d, i[1:] * (i[1:] + d - 3.0) / ((2.0 * i[1:] + d - 4.0) * (2.0 * i[1:] + d - 2.0)))
    c, around = _gauss_rule(np.zeros(n_nodes), squared[: n_nodes - 1])
    used = radial > 1e-30 * radial.max()  # beyond, no double has room for the weight
    norms, radial = (2.0 * halves[used]).sqrt(), radial[used]
    X = norms[:, None] * torch.eye(1, d, dtype=torch.float64)  # (r, d)
    turned = torch.zeros(len(c), d, dtype=torch.float64)
    turned[:, 0], turned[:, 1] = c, (1.0 - c.square()).sqrt()
    Y = (norms[:, None, None] * turned).reshape(-1, d)  # (r c, d)
    K = kernel(X, Y).to_dense().reshape(len(norms), len(norms), len(c))
    s = norms[:, None, None] * norms[None, :, None] * c
    squares = norms.square()
    q = (squares[:, None] + squares)[..., None].expand_as(s)
    measure = radial[:, None, None] * radial[None, :, None] * around
    parts = [torch.ones_like(s), *of_each_degree(s, q, d, max_degree)]
    total = (kernel(X).diagonal() * radial).sum()
    shares: np.ndarray = torch.stack([(K * part * measure).sum() / total for part in parts]).numpy()
    return shares


def _gauss_rule(diagonal: np.ndarray, squared: np.ndarray) -> tuple[Tensor, Tensor]:
    """Nodes and weights, of sum 1, of the measure whose orthonormal polynomials have this recursion.

    The nodes are the eigenvalues of the Jacobi matrix, as Golub and Welsch (1969) have it; a weight is one over the sum
    of the squared polynomials there, which keeps the digits of small ones. No total mass, and so no Gamma of d, occurs.
    """
    from scipy.linalg import eigvalsh_tridiagonal

    sides = np.sqrt(squared)
    nodes = eigvalsh_tridiagonal(diagonal, sides)
    before, values = np.zeros_like(nodes), np.ones_like(nodes)
    total = np.ones_like(nodes)
    with np.errstate(over="ignore", invalid="ignore"):  # where a weight is 0 in double precision
        for j, side in enumerate(sides):
            step = (nodes - diagonal[j]) * values - (sides[j - 1] * before if j else 0.0)
            before, values = values, step / side
            total += values**2
    weights = np.nan_to_num(1.0 / total)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())


def _require_invariance(kernel: Kernel, d: int) -> None:
    generator = torch.Generator().manual_seed(0)
    X, Y = torch.randn(2, 5, d, dtype=torch.float64, generator=generator)
    rotation, _ = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator))
    before, after = _values(kernel, X, Y), _values(kernel, X @ rotation, Y @ rotation)
    scale = float(_values(kernel, X, X.clone()).diagonal().abs().max())
    gap = float((before - after).abs().max()) / scale if scale > 0.0 else math.inf
    if not gap <= _ROTATION_TOLERANCE:
        raise ValueError(
            f"hermite_degree_shares: {kernel!r} is not rotation invariant in {d} columns (a rotation of the points "
            f"changes it by {gap:.1e} of k(x, x)), so that it has no one share a degree."
        )


def _values(kernel: Kernel, X: Tensor, Y: Tensor) -> Tensor:
    return torch.as_tensor(kernel(X, Y).to_dense())
