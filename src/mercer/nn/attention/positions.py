"""Positions as rotations of queries and keys: their inner products then know the distance only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mercer.nn.attention.chunked import accumulator

__all__ = ["Positions", "RotaryPositions", "rotary"]

Positions = Literal["lrpe", "rope"] | None
Table = tuple[Tensor, Tensor]


class RotaryPositions(nn.Module):
    r"""Rotates pairs of features by ``position * angle``.

    Pair i is (i, e / 2 + i). The angles start at :math:`10000^{-2i/e}`, and stay in float32 whatever type the network
    is given: at place 64,000 a half type would have lost every digit of a turn.

    Args:
        head_size: e, even.
        learned: whether the angles are trained.
        reflect: first reflect at a random plane, ``x - 2 (x . u) u``, drawn once and kept.

    Raises:
        ValueError: an odd head size.

    Source: Su et al. 2021 (RoPE); learned angles and the reflection: Qin et al. 2022.

    >>> positions = RotaryPositions(4)
    >>> x = torch.ones(1, 1, 4).expand(1, 3, 4)
    >>> scores = [positions(x, torch.arange(3) + far) @ positions(x, torch.arange(3) + far).mT for far in (0, 50_000)]
    >>> torch.allclose(*scores, atol=1e-5)
    True
    """

    def __init__(self, head_size: int, *, learned: bool = True, reflect: bool = True) -> None:
        super().__init__()
        if head_size % 2:
            raise ValueError(f"Rotations turn pairs, but heads have {head_size} features. Give positions=None.")
        angles = 10_000.0 ** (-2.0 * torch.arange(head_size // 2, dtype=torch.float32) / head_size)
        self.angles: Tensor
        self.mirror: Tensor | None
        if learned:
            self.angles = nn.Parameter(angles)
        else:
            self.register_buffer("angles", angles)
        direction = nn.functional.normalize(torch.randn(head_size), dim=0) if reflect else None
        self.register_buffer("mirror", direction)

    def table(self, position: Tensor, dtype: torch.dtype) -> Table:
        """Cosines and sines at ``(n,)`` or ``(B, n)`` places: ``(n, e / 2)`` or ``(B, 1, n, e / 2)``."""
        # Turns are counted in float64, so that only the part of a turn that is left has to be exact.
        turns = position[..., None].double() * (self.angles.double() / (2.0 * torch.pi))
        rest = (turns - turns.detach().round()).to(accumulator(dtype)) * (2.0 * torch.pi)
        rest = rest[:, None] if position.dim() == 2 else rest
        return rest.cos(), rest.sin()

    def rotate(self, x: Tensor, table: Table) -> Tensor:
        """``(B, H, n, e)`` turned by a table, computed in at least float32."""
        cosines, sines = table
        wide = x.to(cosines.dtype)
        if self.mirror is not None:
            u = self.mirror.to(cosines.dtype)
            wide = wide - 2.0 * (wide @ u)[..., None] * u
        a, b = wide.chunk(2, -1)
        return torch.cat([a * cosines - b * sines, a * sines + b * cosines], -1).to(x.dtype)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """``(..., n, e)`` at the places ``(n,)``."""
        return self.rotate(x, self.table(position, x.dtype))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """What moves and converts modules; it may move the angles and widen them, but not shorten them."""
        before = self.angles.detach()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.angles.element_size() < 4:
            self.angles.data = before.to(self.angles.device)
        return self


def rotary(positions: Positions, head_size: int) -> RotaryPositions | None:
    """The rotation of that name: "lrpe" learns and reflects, "rope" does neither, None does not rotate.

    Raises:
        ValueError: another name, or an odd head size.
    """
    if positions is None:
        return None
    if positions not in ("lrpe", "rope"):
        raise ValueError(f'positions={positions!r}: choose "lrpe", "rope" or None.')
    return RotaryPositions(head_size, learned=positions == "lrpe", reflect=positions == "lrpe")
