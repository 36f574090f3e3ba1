"""The average gradient outer product of a kernel predictor, and the coordinates in which it is the identity."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["average_outer_product", "median_distance", "root_of"]

_RANK_TOLERANCE = 1e-10  # of the largest eigenvalue: directions that change a squared distance by less are left out
_DISTANCE_ROWS = 500


def average_outer_product(G: Tensor, root: Tensor | None, *, weights: Tensor | None, diagonal: bool) -> Tensor:
    r"""The average outer product of gradients at points, in the columns of X.

    .. math:: M = \frac{1}{n} \sum_{i,t} s_i \nabla f_t(x_i) \nabla f_t(x_i)^\top,
        \quad \text{divided by its largest entry}

    Args:
        G: gradients of f_1 .. f_t at the transformed points Z = X root, ``(n, t, r)``.
        root: ``(d, r)``, a diagonal ``(d,)``, or None for the identity.
        weights: s, of the points, or None.
        diagonal: only the diagonal of M, ``(d,)``.

    The gradients in X are never formed: those in Z are enough, since ``grad_x = root grad_z``. M is divided by its
    largest entry, so that a common factor of G does not matter.

    Source: Radhakrishnan et al., Mechanism for feature learning in neural networks and backpropagation-free machine
    learning models (Science 2024, arXiv 2212.13881), eq. 2 and algorithm 1.
    """
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
    """The median distance of two of up to 500 points, in the norm ``(sum |z|^p)^(1/p)``; 1 where it is 0."""
    if len(Z) > _DISTANCE_ROWS:
        Z = Z[torch.randperm(len(Z), generator=generator)[:_DISTANCE_ROWS].to(Z.device)]
    n = len(Z)
    if n < 2:
        return 1.0
    if norm == 2.0:
        Z = Z - Z.mean(0)
        norms = Z.square().sum(1)
        S = (norms[:, None] + norms - 2.0 * Z @ Z.mT).flatten()
        # All but the diagonal: every pair twice, which leaves the median as it is.
        middle = float(S[:-1].view(n - 1, n + 1)[:, 1:].median().clamp(min=0.0).sqrt())
    else:
        middle = float(torch.nn.functional.pdist(Z, p=norm).median())
    return middle if middle > 1e-14 else 1.0
