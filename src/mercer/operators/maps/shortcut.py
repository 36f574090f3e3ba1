"""The op ``shortcut``: a value, and a quicker form of it for tiles in float32 on a CPU.

``make("shortcut", exact, quick, value=bounds)`` is ``exact``: its value, its derivatives, and what other devices and
types compute. Tiles take ``quick`` in its place, which has to agree to the round-off of float32 wherever the statistic
that :class:`Bounds` names lies between them; the other pairs, which have to be few, are computed exactly. Without
bounds it has to agree everywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from torch import Tensor

from mercer.operators.maps.expression import Expression, choose_forms, constant, postorder

__all__ = ["Bounds", "quick_forms", "shortcut", "shortcut_expand", "shortcut_rule"]


class Bounds(NamedTuple):
    """Where a quick form holds: statistic ``slot`` is between ``low`` and ``high``."""

    slot: int
    low: float
    high: float


def shortcut(exact: Tensor, quick: Tensor, *, value: Bounds | None) -> Tensor:
    """The exact form."""
    return exact


def shortcut_rule(node: Expression, position: int) -> Expression:
    """The derivative rule of the op: that of the exact form."""
    return constant(1.0 - position)


def shortcut_expand(node: Expression, exact: Expression) -> Expression:
    """The op in terms of simpler ones."""
    return exact


@lru_cache(maxsize=256)
def quick_forms(roots: tuple[Expression, ...]) -> tuple[tuple[Expression, ...], tuple[Bounds, ...]]:
    """The roots with all shortcuts taken, and where they hold."""
    bounds = {node.value: None for node in postorder(roots) if node.op == "shortcut" and node.value is not None}
    return choose_forms(roots, 1), tuple(bounds)
