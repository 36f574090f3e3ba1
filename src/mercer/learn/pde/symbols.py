"""Coefficients of differential operators that are no plain numbers: functions of where, and unknowns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mercer.arguments import check_finite_number
from mercer.learn.saving import Saved

__all__ = ["Field", "Symbol", "Unknown"]


class Symbol(Saved):
    """What stands in front of a derivative and is no plain number; ``symbol * D("x")`` is the operator's product."""


class Field(Symbol):
    """A coefficient that depends on where: ``Field("c", lambda X: 1 + X[:, 0]**2) * Laplacian()``.

    In a file it is its name alone: a solver that is loaded predicts, and to ``fit`` again it needs the function.

    Args:
        name: how messages call it.
        values: a function of points ``(m, d)`` that gives ``(m,)``.
    """

    _not_saved = ("values",)

    def __init__(self, name: str, values: Callable[[Any], Any] | None = None) -> None:
        self.name, self.values = name, values

    def _restore(self) -> None:
        self.values = None

    def __repr__(self) -> str:
        return f"Field({self.name!r})"


class Unknown(Symbol):
    """A coefficient that is learnt from observations of the solution, by ``method="marginal"``: an inverse problem.

    Args:
        name: the key in ``coefficients_``.
        start: where the search begins.
    """

    def __init__(self, name: str, start: float = 1.0) -> None:
        check_finite_number(f"Unknown({name!r}): start", start)
        self.name, self.start = name, start

    def __repr__(self) -> str:
        return f"Unknown({self.name!r}, {self.start!r})"
