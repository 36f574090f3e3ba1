"""The average gradient outer product of a kernel predictor, and the coordinates in which it is the identity."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.operators.kernel_operator import KernelOperator
from mercer.operators.tiles import point_gradients

__all__ = ["average_outer_product", "median_distance", "root_of"]

_RANK_TOLERANCE = 1e-10  # of the largest eigenvalue: directions that change a squared distance by less are left out
_DISTANCE_ROWS = 1000


def average_outer_product(
    K: KernelOperator, dual: Tensor, root: Tensor | None, *, weights: Tensor | None, diagonal: bool
) -> Tensor:
    r"""The average gradient outer product of ``f_t(x) = sum_j dual_jt k(x, x_j)`` over its own points.

    .. math:: M = \frac{1}{n} \sum_{i,t} s_i \nabla f_t(x_i) \nabla f_t(x_i)^\top,
        \quad \text{divided by its largest entry}

    Args:
        K: ``k(Z, Z)`` at the transformed points Z = X root.
        dual: ``(n, t)``.
        root: ``(d, r)``, a diagonal ``(d,)``, or None for the identity.
        weights: s, of the points, or None.
        diagonal: only the diagonal of M, ``(d,)``.

    The gradients in X are never formed: those in Z are enough, since ``grad_x = root grad_z``.

    Source: Radhakrishnan et al., Mechanism for feature learning in neural networks and backpropagation-free machine
    learning models (Science 2024, arXiv 2212.13881), eq. 2 and algorithm 1.
    """
    G = point_gradients(K, dual)  # (n, t, r)
    if weights is not None:
        G = G * weights.sqrt().to(G.dtype)[:, None, None]
    G = G.flatten(0, 1).double()
    wide = None if root is None else root.double()
    if diagonal:
        M = G.square().sum(0)
        M = M if wide is None else M * wide.square()
    else:
        M = G.mT @ G
        M = M if wide is None else wide @ M @ wide.mT
    largest = M.max()
    if not float(largest) > 0.0:  # a constant function: no direction matters more than another
        return torch.ones_like(M) if diagonal else torch.eye(len(M), dtype=M.dtype, device=M.device)
    return M / largest


def root_of(M: Tensor, *, symmetric: bool) -> Tensor:
    """A root R with ``R R' = M``, float64.

    Args:
        M: ``(d, d)``, or a diagonal ``(d,)``.
        symmetric: the symmetric root, which norms other than the Euclidean need. Otherwise ``(d, r)``: the same
            distances in fewer coordinates, where M has directions of no weight.
    """
    if M.dim() == 1:
        return M.clamp(min=0.0).sqrt()
    values, vectors = torch.linalg.eigh(M)
    kept = values > _RANK_TOLERANCE * values[-1]
    half = vectors[:, kept] * values[kept].sqrt()
    result: Tensor = half @ vectors[:, kept].mT if symmetric else half
    return result


def median_distance(Z: Tensor, *, norm: float, generator: torch.Generator) -> float:
    """The median distance of two of up to 1000 points, in the norm ``(sum |z|^p)^(1/p)``; 1 where it is 0."""
    if len(Z) > _DISTANCE_ROWS:
        Z = Z[torch.randperm(len(Z), generator=generator)[:_DISTANCE_ROWS].to(Z.device)]
    distances = torch.nn.functional.pdist(Z.float(), p=norm)
    middle = float(distances.median()) if len(distances) else 0.0
    return middle if middle > 1e-14 else 1.0
