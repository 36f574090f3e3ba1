"""Standard normal and uniform numbers, drawn in three ways: what spectra and random features are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mercer.arrays import generator


class Draws(NamedTuple):
    """Standard normal matrices ``(n, width)``, one for each width asked for; uniform numbers ``(n, n_uniforms)``."""

    normals: tuple[Tensor, ...]
    uniforms: Tensor


def draw(n: int, widths: Sequence[int], n_uniforms: int, *, method: str, random_state: Any) -> Draws:
    """Rows each of which is distributed as independent standard normal and uniform numbers.

    Args:
        n: rows.
        widths: columns of each normal matrix.
        n_uniforms: columns of the uniform matrix; values in (0, 1).
        method: "iid": independent rows. "orthogonal": blocks of orthogonal rows, as many as there are columns, with the
            lengths of independent normal vectors. "quasi": a Sobol sequence, scrambled, through the inverse of the
            normal distribution function; at most 21 201 columns in all, best with a power of 2 rows.
        random_state: int, generator or None; drawn on the CPU in float64, so every device gets the same numbers.

    Raises:
        ValueError: an unknown method.

    Source: Yu et al., Orthogonal random features (NIPS 2016), section 3; Avron et al., Quasi-Monte Carlo feature maps
    for shift-invariant kernels (JMLR 17, 2016).
    """
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r}. Choose from: {', '.join(METHODS)}.")
    return METHODS[method](n, tuple(widths), n_uniforms, generator(random_state))


def _iid(n: int, widths: tuple[int, ...], n_uniforms: int, source: torch.Generator) -> Draws:
    normals = tuple(torch.randn(n, w, dtype=torch.float64, generator=source) for w in widths)
    return Draws(normals, _uniform(n, n_uniforms, source))


def _orthogonal(n: int, widths: tuple[int, ...], n_uniforms: int, source: torch.Generator) -> Draws:
    return Draws(tuple(orthogonal_rows(n, w, source) for w in widths), _uniform(n, n_uniforms, source))


def _quasi(n: int, widths: tuple[int, ...], n_uniforms: int, source: torch.Generator) -> Draws:
    seed = int(torch.randint(2**31 - 1, (), generator=source))
    columns = sum(widths) + n_uniforms
    if columns > torch.quasirandom.SobolEngine.MAXDIM:
        raise ValueError(
            f"method='quasi' draws at most {torch.quasirandom.SobolEngine.MAXDIM} columns, not {columns}. "
            f"Use 'orthogonal'."
        )
    if columns == 0:
        return Draws((), torch.empty(n, 0, dtype=torch.float64))
    points = torch.quasirandom.SobolEngine(columns, scramble=True, seed=seed).draw(n, dtype=torch.float64)
    # The engine has 30 bits; half a step keeps 0 away.
    *normals, uniforms = (points + 2.0**-31).split([*widths, n_uniforms], dim=1)
    return Draws(tuple(torch.special.ndtri(u) for u in normals), uniforms)


METHODS: dict[str, Callable[[int, tuple[int, ...], int, torch.Generator], Draws]] = {
    "iid": _iid,
    "orthogonal": _orthogonal,
    "quasi": _quasi,
}


def orthogonal_rows(n: int, width: int, source: torch.Generator) -> Tensor:
    """Standard normal rows ``(n, width)``, orthogonal within each block of ``width``; blocks are independent."""
    if width == 0:
        return torch.empty(n, 0, dtype=torch.float64)
    blocks = -(-n // width)
    Q, R = torch.linalg.qr(torch.randn(blocks, width, width, dtype=torch.float64, generator=source))
    Q = Q * R.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # without this Q is not uniform among rotations
    lengths = torch.randn(n, width, dtype=torch.float64, generator=source).norm(dim=1, keepdim=True)
    rows: Tensor = Q.reshape(-1, width)[:n] * lengths
    return rows


def _uniform(n: int, columns: int, source: torch.Generator) -> Tensor:
    """In (0, 1): never 0."""
    return torch.rand(n, columns, dtype=torch.float64, generator=source).clamp(min=2.0**-54)
