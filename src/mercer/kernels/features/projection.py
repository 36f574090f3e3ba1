"""Products with a matrix of standard normal rows: stored, or made of Hadamard matrices and signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.kernels.draws import METHODS, draw
from mercer.operators import hadamard_transform

__all__ = ["PROJECTIONS", "draw_projection", "project", "row_squares"]

PROJECTIONS = (*METHODS, "hadamard")


def draw_projection(m: int, d: int, *, method: str, random_state: Any) -> dict[str, Tensor]:
    r"""What is drawn for a projection ``(m, d)``, float64: ``{"G"}``, or ``{"signs", "lengths"}`` of a structured one.

    A structured block of p rows, p the power of 2 from d on, is

    .. math:: \mathrm{diag}(\ell) \, p^{-3/2} H D_3 H D_2 H D_1

    with random signs on the diagonals and lengths of normal vectors of p coordinates; points get zeros up to p. Its
    rows are orthogonal, and nearly normal: exact as p grows, no more unbiased than that.

    Args:
        m: rows.
        d: columns.
        method: "iid", "orthogonal" or "quasi", as in :func:`mercer.kernels.draws.draw`; or "hadamard".
        random_state: int, generator or None.

    Source: Yu et al., Orthogonal random features (NIPS 2016), section 4.
    """
    if method != "hadamard":
        return {"G": draw(m, (d,), 0, method=method, random_state=random_state).normals[0]}
    source = generator(random_state)
    p = 1 << max(0, d - 1).bit_length()
    blocks = -(-m // p)
    signs = 2.0 * torch.randint(2, (3, blocks, p), generator=source).to(torch.float64) - 1.0
    # One row at a time: the squares of m p normal numbers need not be in memory together.
    lengths = torch.stack([torch.randn(p, dtype=torch.float64, generator=source).norm() for _ in range(m)])
    return {"signs": signs, "lengths": lengths}


def project(state: Mapping[str, Tensor], X: Tensor) -> Tensor:
    """``(..., d) -> (..., m)``: the dot products with all rows; in the dtype of X."""
    if "G" in state:
        return X @ state["G"].to(X).mT
    signs, lengths = state["signs"].to(X), state["lengths"].to(X)
    p = signs.shape[-1]
    Z = torch.nn.functional.pad(X, (0, p - X.shape[-1])).unsqueeze(-2)  # (..., 1, p)
    for diagonal in signs:
        Z = hadamard_transform(Z * diagonal, scale=p**-0.5)  # (..., blocks, p)
    projected: Tensor = Z.flatten(-2)[..., : len(lengths)] * lengths
    return projected


def row_squares(state: Mapping[str, Tensor]) -> tuple[Tensor, int]:
    """The squared length of each row, ``(m,)``, and of how many normal numbers it is.

    Those of a structured projection are p, since points of d columns are points of p with zeros.
    """
    if "G" in state:
        return state["G"].square().sum(-1), state["G"].shape[-1]
    return state["lengths"].square(), state["signs"].shape[-1]
