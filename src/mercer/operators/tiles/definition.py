"""Kernel values by the definition: plain torch, any batch, differentiable any number of times."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from mercer.operators.maps import LEAVES, Expression, evaluate, leaf, leaves, postorder
from mercer.operators.operands import Identity, Operands
from mercer.operators.statistics import DotProduct, L1Distance, SquaredDistance

__all__ = ["few_entries", "is_small", "reference_rows"]

# Differences of coordinates up to which a matrix is made by plain torch: preparing tiles takes 2 ms, their gradient 4,
# which a fit of 50 points does fifty times.
SMALL = 1 << 15
PLAIN_STATISTICS = (SquaredDistance, DotProduct, L1Distance)
PLAIN = frozenset({"add", "sub", "mul", "exp"})  # autograd of them is right wherever points lie
SMOOTHEST = 3.5  # nu of a Matern kernel whose polynomial stays finite as far as float64 squares distances


def is_small(operands: Operands) -> bool:
    """Whether :func:`few_entries` is faster than tiles, and as good: in float64, for the plainest of maps."""
    spec = operands.spec
    if operands.like.dtype != torch.float64 or not all(isinstance(s, PLAIN_STATISTICS) for s in spec.statistics):
        return False
    n, m = operands.shape
    width = max((E.shape[-1] for E in operands.left), default=1)
    return math.prod(operands.like.shape[:-2]) * n * m * max(width, 1) <= SMALL and _is_plain(spec.total)


@lru_cache(maxsize=256)
def _is_plain(root: Expression) -> bool:
    """Whether autograd of a map is right wherever points lie."""
    for node in postorder([root]):
        is_matern = node.op == "matern" and node.number <= SMOOTHEST
        is_scaling = node.op == "div" and all(n.op == "theta" for n in leaves([node.args[1]]))  # by a lengthscale
        if not (node.op in LEAVES or node.op in PLAIN or is_matern or is_scaling):
            return False
    return True


def few_entries(operands: Operands, identity: Identity | None) -> Tensor:
    """K without ``delta``, ``(*batch, n, m)``, a new tensor; distances from differences, so that no digit is lost."""
    return reference_rows(operands, identity, 0, operands.shape[0], exact=True).contiguous()


def reference_rows(operands: Operands, identity: Identity | None, i0: int, i1: int, *, exact: bool = False) -> Tensor:
    """Rows ``i0:i1`` of K; ``exact`` takes distances from differences, at any number of columns."""
    spec = operands.spec
    same = _coincident(operands, identity, i0, i1)
    values: dict[Expression, Tensor] = {}
    for g, statistic in enumerate(spec.statistics):
        table = statistic.exact_table if exact else statistic.table
        S = table(operands.left[g][..., i0:i1, :], operands.rights[g], operands.parameters[g])
        values[leaf("statistic", g)] = S if same is None or not statistic.vanishes else S.masked_fill(same, 0.0)
    for g in range(len(spec.row_values)):
        values[leaf("row", g)] = operands.row[g][..., i0:i1, None]
        values[leaf("column", g)] = operands.columns[g][..., None, :]
    for slot, theta in zip(spec.scalars, operands.theta, strict=True):
        values[leaf("theta", slot)] = theta.to(operands.like.dtype)[..., None, None]
    values[leaf("delta")] = operands.like.new_zeros(())
    K = evaluate([spec.total], values)[0]
    n, m = operands.shape
    return K.expand(*operands.like.shape[: K.dim() - 2] if K.dim() > 2 else (), min(i1, n) - i0, m)


def _coincident(operands: Operands, identity: Identity | None, i0: int, i1: int) -> Tensor | None:
    n = operands.shape[0]
    if operands.symmetric:
        positions = torch.arange(n, device=operands.like.device)
        return positions[i0:i1, None] == positions[None, :]
    return None if identity is None else identity.rows[i0:i1, None] == identity.columns[None, :]
