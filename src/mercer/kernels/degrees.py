"""How much of a kernel stands on polynomials of each degree."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mercer.kernels.base import Kernel
from mercer.kernels.features.base import require_count
from mercer.kernels.hermite import of_each_degree

__all__ = ["hermite_degree_shares"]

_ROTATION_TOLERANCE = 1e-9  # of k(x, x), for values in float64


def hermite_degree_shares(kernel: Kernel, d: int, *, max_degree: int = 8, n_nodes: int = 48) -> np.ndarray:
    r"""The share of E k(x, x) that stands on polynomials of each degree, for d independent standard normal columns.

    Random functions of a Gaussian process with this kernel have that much of their variance on each degree. A rotation
    invariant kernel learns the degrees one after the other, each from about as many rows as there are polynomials of
    it, so little variance on a degree spread over many of them is learnt late:

    .. math:: s_j = E[k(x, x') k_j(x, x')] / E[k(x, x)]

    where k_j is the part of degree j of :class:`HermitePolynomial`.

    Args:
        kernel: rotation invariant: a function of inner products and norms.
        d: columns, >= 2.
        max_degree: the highest one given.
        n_nodes: of each of three Gauss rules (two norms and a cosine). Smooth kernels are exact to 1e-10 with 48;
            for kinks at equal points (Laplacian, ReLU networks) the error falls like a power of it.

    Returns:
        ``(max_degree + 1,)``, float64; what is missing to 1 stands on higher degrees.

    Raises:
        ValueError: the kernel is not rotation invariant, or one column.

    Cost: ``n_nodes^3`` values of the kernel.

    >>> hermite_degree_shares(mc.kernels.HermitePolynomial(2), 3, max_degree=3).round(6)  # 1, 3 and 6 of 10 products
    array([0.1, 0.3, 0.6, 0. ])
    """
    from scipy.special import roots_genlaguerre, roots_jacobi

    for name, value in (("d", d), ("max_degree", max_degree), ("n_nodes", n_nodes)):
        require_count("hermite_degree_shares", name, value)
    if d < 2:
        raise ValueError("hermite_degree_shares needs d >= 2: in one column there are no angles between points.")
    _require_invariance(kernel, d)
    halves, weights = roots_genlaguerre(n_nodes, 0.5 * d - 1.0)  # |x|^2 / 2 is a gamma variable of shape d / 2
    cosines, angular = roots_jacobi(n_nodes, 0.5 * (d - 3), 0.5 * (d - 3))
    used = weights > 1e-30 * weights.max()  # beyond, no double has room for the weight
    norms = torch.from_numpy(np.sqrt(2.0 * halves[used]))
    radial = torch.from_numpy(weights[used] / weights.sum())
    around = torch.from_numpy(angular / angular.sum())
    c = torch.from_numpy(cosines)
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
