"""Choosing points that tell most: the greedy maximum of a log-determinant, and the coding rate it is a gain of."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from linear_operator import LinearOperator
from torch import Tensor

from mercer.arrays import check_finite
from mercer.config import require_memory
from mercer.errors import ShapeError
from mercer.operators.functions import logdet_tensor
from mercer.operators.solvers import Matrix, System

__all__ = ["Selection", "coding_rate", "greedy_logdet"]


class Selection(NamedTuple):
    """What :func:`greedy_logdet` chose, in order: ``indices`` int64 and ``gains`` float64, both ``(k,)``."""

    indices: Tensor
    gains: Tensor


@torch.no_grad()
def greedy_logdet(
    A: Matrix,
    n_select: int,
    *,
    noise: float = 0.0,
    bonus: Tensor | None = None,
    criterion: Literal["sum", "diagonal"] = "sum",
    costs: Tensor | None = None,
    budget: float | None = None,
    condition_on: Tensor | None = None,
) -> Selection:
    r"""Rows of a kernel matrix chosen one by one, each the one that adds most to its log-determinant.

    .. math:: F(S) = \tfrac12 \log\det(I + A_{SS} / \text{noise}) + \sum_{i \in S} \text{bonus}_i

    with ``1/2 log det A_SS`` in place of the first term at noise 0. The gain of i is
    ``1/2 log(1 + r_i / noise) + bonus_i``, r_i what is left of its variance given S: one pivoted Cholesky factorisation
    gives all. F is submodular, so where no gain is negative F of the result is at least 1 - 1/e of the largest (without
    costs).

    Args:
        A: symmetric positive semidefinite ``(n, n)``, tensor or operator; or features ``(n, r)``, a tensor that is not
            square, for ``A = features @ features.T``.
        n_select: the most rows. Fewer are returned when what is left of every row is round-off, or the budget is spent.
        noise: a variance, 0 or more, in the units of A.
        bonus: ``(n,)``, such as a multiple of an entropy; 0 or more for "diagonal".
        criterion: "sum" is F. "diagonal" adds the bonus to the noise on the diagonal instead and maximises
            ``1/2 log det(A_SS + diag(noise + bonus))`` (relative to noise, where that is positive): a row of high bonus
            suppresses its neighbours less. Only for comparison with the official code of KECOR.
        costs: ``(n,)``, > 0; the gain per cost is maximised. Needs noise > 0, since only then gains are not negative.
        budget: on the sum of the costs; rows that no longer fit are left out.
        condition_on: indices that are in S from the start; they are never chosen again and gains are beyond theirs.

    Returns:
        A named tuple; equal gains go to the lower index. Without bonus, ``2 * gains.sum()`` is the log-determinant.

    Raises:
        ValueError, ShapeError: arguments out of range, indices that are not there, or more rows than there are.
        MemoryBudgetError: the factor does not fit.

    Cost: ``n k (k + m) / 2`` multiply-adds for k rows beyond m given ones and k + m rows of A; for features ``n r k``
    and no memory beside them. All in float64.
    Source: Chen, Zhang & Zhou, Fast greedy MAP inference for determinantal point processes (2018); bonus, costs and
    conditioning: Luo et al., KECOR, arXiv 2307.07942.

    >>> greedy_logdet(torch.tensor([[2.0, 1.9, 0.0], [1.9, 2.0, 0.0], [0.0, 0.0, 1.0]]), 2).indices
    tensor([0, 2])
    """
    rows = _source(A)
    n, device = rows.n, rows.diagonal.device
    bonus = _vector(bonus, "bonus", n, device)
    cost = _vector(costs, "costs", n, device)
    given = _indices([] if condition_on is None else condition_on, n, device)
    _check(n, n_select, noise, bonus, criterion, cost, budget, given)
    diagonal = torch.full((n,), noise, dtype=torch.float64, device=device)
    if bonus is not None and criterion == "diagonal":
        diagonal, bonus = diagonal + bonus, None
    unit = math.log(noise) if noise > 0.0 else 0.0
    rows.reserve(len(given) + n_select)
    left = rows.diagonal.clamp(min=0.0)
    floor = 4 * torch.finfo(torch.float64).eps * max(1, n_select + len(given)) * left
    free = torch.ones(n, dtype=torch.bool, device=device)
    for i in given.tolist():
        if left[i] + diagonal[i] > floor[i]:  # else it repeats the ones before it
            left = (left - rows.take(i, float(left[i] + diagonal[i])).square_()).clamp_(min=0.0)
        free[i] = False
    chosen: list[int] = []
    gains: list[float] = []
    while len(chosen) < n_select:
        open_rows = free & (left > floor)
        if cost is not None and budget is not None:
            open_rows &= cost <= budget
        if not bool(open_rows.any()):
            break
        gain = 0.5 * ((left + diagonal).clamp(min=1e-300).log() - unit)
        if bonus is not None:
            gain = gain + bonus
        score = gain if cost is None else gain / cost
        i = int(torch.where(open_rows, score, -torch.inf).argmax())
        left = (left - rows.take(i, float(left[i] + diagonal[i])).square_()).clamp_(min=0.0)
        free[i] = False
        chosen.append(i)
        gains.append(float(gain[i]))
        if budget is not None and cost is not None:
            budget -= float(cost[i])
    return Selection(
        torch.tensor(chosen, dtype=torch.long, device=device), torch.tensor(gains, dtype=torch.float64, device=device)
    )


class _MatrixRows:
    """The growing factor F of a matrix: ``take`` appends a row to F', memory ``8 n k`` bytes."""

    def __init__(self, A: Matrix) -> None:
        self.system = System(A)
        self.n, self.diagonal, self.used = self.system.n, self.system.diagonal(), 0

    def reserve(self, rank: int) -> None:
        require_memory(
            8 * self.n * rank, asked=f"greedy_logdet of {rank} of {self.n} rows", instead="Choose fewer rows."
        )
        self.F = torch.empty(rank, self.n, dtype=torch.float64, device=self.system.device)

    def take(self, i: int, variance: float) -> Tensor:
        """What row i explains of the others: ``(A_i - F F_i) / sqrt(variance)``, ``(n,)``, a copy."""
        F, k = self.F, self.used
        row = self.system.rows(torch.tensor([i], device=self.system.device))[0]
        F[k] = (row - F[:k, i] @ F[:k]) / math.sqrt(variance)
        self.used += 1
        return F[k].clone()


class _FeatureRows:
    """The same for ``A = Z Z'``: ``F = Z G`` with G ``(r, k)``, and F is never stored."""

    def __init__(self, Z: Tensor) -> None:
        self.Z = Z.to(torch.float64)
        self.n, self.diagonal, self.used = len(Z), self.Z.square().sum(1), 0

    def reserve(self, rank: int) -> None:
        self.G = torch.empty(rank, self.Z.shape[1], dtype=torch.float64, device=self.Z.device)

    def take(self, i: int, variance: float) -> Tensor:
        """See :class:`_MatrixRows`."""
        G, k, z = self.G, self.used, self.Z[i]
        G[k] = (z - (G[:k] @ z) @ G[:k]) / math.sqrt(variance)
        self.used += 1
        return self.Z @ G[k]


def _source(A: Matrix) -> _MatrixRows | _FeatureRows:
    if isinstance(A, Tensor):
        if A.ndim != 2:
            raise ShapeError(f"greedy_logdet: A must be a matrix (n, n) or features (n, r), not {tuple(A.shape)}.")
        check_finite(A, "greedy_logdet: A")
        return _MatrixRows(A) if A.shape[0] == A.shape[1] else _FeatureRows(A)
    return _MatrixRows(A)


def _vector(values: Any, name: str, n: int, device: torch.device) -> Tensor | None:
    if values is None:
        return None
    tensor = torch.as_tensor(values, dtype=torch.float64, device=device).detach()
    if tensor.shape != (n,):
        raise ShapeError(f"greedy_logdet: {name} must be one a row, ({n},), but has shape {tuple(tensor.shape)}.")
    check_finite(tensor, f"greedy_logdet: {name}")
    return tensor


def _indices(values: Any, n: int, device: torch.device) -> Tensor:
    tensor = torch.as_tensor(values, device=device)
    if tensor.numel() == 0:
        return torch.zeros(0, dtype=torch.long, device=device)
    if tensor.ndim != 1 or tensor.is_floating_point() or len(tensor.unique()) != len(tensor):
        raise ValueError("greedy_logdet: condition_on must be a vector of different row numbers.")
    if int(tensor.min()) < 0 or int(tensor.max()) >= n:
        raise ValueError(f"greedy_logdet: condition_on must be row numbers from 0 to {n - 1}.")
    return tensor.to(torch.long)


def _check(
    n: int,
    n_select: int,
    noise: float,
    bonus: Tensor | None,
    criterion: str,
    cost: Tensor | None,
    budget: float | None,
    given: Tensor,
) -> None:
    if not 0 <= n_select <= n - len(given):
        raise ValueError(f"greedy_logdet: n_select must be 0 to {n - len(given)}, the rows there are, not {n_select}.")
    if not (noise >= 0.0 and math.isfinite(noise)):
        raise ValueError(f"greedy_logdet: noise must be a variance, 0 or more, not {noise}.")
    if criterion not in ("sum", "diagonal"):
        raise ValueError(f"greedy_logdet: criterion must be 'sum' or 'diagonal', not {criterion!r}.")
    if criterion == "diagonal" and bonus is not None and bool((bonus < 0).any()):
        raise ValueError("greedy_logdet: with criterion='diagonal' the bonus is a variance and must not be negative.")
    if cost is not None and (not bool((cost > 0).all()) or noise == 0.0):
        raise ValueError("greedy_logdet: costs must be positive, and need noise > 0, which makes gains positive.")
    if budget is not None and cost is None:
        raise ValueError("greedy_logdet: a budget needs costs.")


def coding_rate(K_or_Z: Matrix, eps: float | None = None, noise: float | None = None) -> Tensor:
    r"""How many nats describe points up to a distortion: large for a diverse set; differentiable.

    .. math:: R = \tfrac12 \log\det\left(I + \tfrac{d}{n\,\varepsilon^2} Z Z^\top\right)
        \quad\text{or}\quad R_K = \tfrac12 \log\det(I + K / \text{noise})

    Args:
        K_or_Z: features ``(*batch, n, d)``, a tensor that is not square; or a kernel matrix ``(*batch, n, n)``, square
            tensor or operator. Square features: ``coding_rate(Z @ Z.mT, noise=n * eps**2 / d)``.
        eps: distortion, > 0, in the units of Z; only for features. Give this or ``noise``.
        noise: a variance, > 0; ``n eps^2 / d`` gives the same as eps.

    Returns:
        ``(*batch,)``, in the dtype given.

    Raises:
        ValueError: neither or both of eps and noise, not positive, or eps with a kernel matrix.

    Cost: features: ``n d min(n, d)`` and a Cholesky factorisation of the smaller side. A matrix: a log-determinant
    (:func:`mercer.operators.logdet`: exact to n = 4000, beyond it see there for the error).
    Source: Ma, Derksen, Hong & Wright, Segmentation of multivariate mixed data via lossy data coding and compression
    (2007), eq. 10, in nats instead of bits.

    >>> coding_rate(torch.tensor([[1.0], [1.0]]), eps=1.0)
    tensor(0.3466)
    """
    if (eps is None) == (noise is None):
        raise ValueError("coding_rate: give either eps (a distortion) or noise (a variance).")
    given = eps if noise is None else noise
    if not (given is not None and given > 0.0 and math.isfinite(given)):
        raise ValueError(f"coding_rate: {'eps' if noise is None else 'noise'} must be positive, not {given}.")
    if K_or_Z.ndim < 2:
        raise ShapeError(f"coding_rate needs features (n, d) or a kernel matrix, not shape {tuple(K_or_Z.shape)}.")
    n, d = K_or_Z.shape[-2:]
    if isinstance(K_or_Z, LinearOperator) or n == d:
        if noise is None:
            raise ValueError(f"coding_rate: for a kernel matrix ({n} x {d}) give noise; eps needs features (n, d).")
        of_matrix: Tensor = 0.5 * (logdet_tensor(K_or_Z, noise=noise) - n * math.log(noise))
        return of_matrix
    variance = n * eps**2 / d if eps is not None else given
    small = K_or_Z @ K_or_Z.mT if n < d else K_or_Z.mT @ K_or_Z
    eye = torch.eye(min(n, d), dtype=small.dtype, device=small.device)
    root: Tensor = torch.linalg.cholesky(eye + small / variance)
    return root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
