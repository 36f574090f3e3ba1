"""The Cholesky factor of a matrix to which the squares of further rows are added."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.errors import ShapeError

__all__ = ["cholesky_update"]


def cholesky_update(L: Tensor, V: Tensor) -> Tensor:
    r"""The lower factor of :math:`L L^T + V^T V`, without forming it.

    Row by row of the factor one reflection turns ``[L_jj, V_:j]`` into a single number: of one row V that is the
    rank-one update, of several all their updates at once. Exact, and no digits are lost by squares. Where V has more
    rows than a quarter of the columns, one orthogonal factorisation of ``[L^T; V]`` is quicker and gives the same.

    Args:
        L: ``(r, r)``, lower triangular, float64, of positive diagonal.
        V: ``(k, r)``.

    Returns:
        ``(r, r)``, of positive diagonal.

    Raises:
        ShapeError: sizes that do not fit.

    Cost: ``2 k r^2`` multiply-adds.
    Source: Golub & Van Loan, Matrix computations (4th ed., 2013), section 6.5.4.

    >>> L = torch.tensor([[2.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    >>> updated = cholesky_update(L, torch.tensor([[0.0, 1.0]], dtype=torch.float64))
    >>> updated @ updated.mT  # L L' is [[4, 2], [2, 2]]
    tensor([[4.0000, 2.0000],
            [2.0000, 3.0000]], dtype=torch.float64)
    """
    r = len(L)
    if L.shape != (r, r) or V.dim() != 2 or V.shape[1] != r:
        raise ShapeError(f"cholesky_update: L is {tuple(L.shape)} and V {tuple(V.shape)}; V needs {r} columns.")
    if 4 * len(V) > r:
        R = torch.linalg.qr(torch.cat([L.mT, V]), mode="r").R
        updated: Tensor = (R * R.diagonal().sign()[:, None]).mT.contiguous()
        return updated
    R, V = L.mT.clone(), V.clone()
    for j in range(r):
        head, column = R[j, j].clone(), V[:, j].clone()
        square = column.square().sum()
        if float(square) == 0.0:
            continue
        norm = (head.square() + square).sqrt()
        first = -square / (head + norm)  # head - norm, without its cancellation
        # I - u u' / (-norm first) with u = [first, column] reflects [head, column] onto [norm, 0].
        weights = (first * R[j, j:] + column @ V[:, j:]) / (-norm * first)
        R[j, j:] -= first * weights
        V[:, j:] -= torch.outer(column, weights)
    return R.mT.contiguous()
