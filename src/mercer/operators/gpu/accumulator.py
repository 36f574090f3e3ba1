"""What a fused kernel adds up over the tiles of its rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Accumulator:
    """A sum over tiles: its name, what a tile adds, and its shape; None: a value a pair, summed over columns."""

    name: str
    addend: str
    shape: str | None = None
