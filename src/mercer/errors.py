"""What mercer raises where a caller may want to catch it. Other mistakes are plain ``ValueError`` and ``TypeError``."""

from typing import Any

__all__ = [
    "ApproximationWarning",
    "FileFormatError",
    "MemoryBudgetError",
    "MercerError",
    "MissingExtra",
    "NotConverged",
    "PerformanceWarning",
    "ShapeError",
    "TableError",
]


class MercerError(Exception):
    """The base of every error here: ``except mercer.errors.MercerError`` catches them all."""


class ShapeError(MercerError, ValueError):
    """Sizes that do not fit together."""


class MissingExtra(MercerError, ImportError):
    """A feature needs an optional package; the message gives the ``pip install`` line."""


class NotConverged(MercerError, RuntimeError):
    """An iterative method stopped before it reached the accuracy asked for.

    Args:
        message: what was asked, what was reached, and which argument to change.
        solution: the best answer so far, as the method would have returned it.
    """

    def __init__(self, message: str, solution: Any = None) -> None:
        super().__init__(message)
        self.solution = solution


class MemoryBudgetError(MercerError, MemoryError):
    """More memory would be needed than the budget allows; raised before any of it is taken.

    The budget is :func:`mercer.config.memory_budget`.
    """


class FileFormatError(MercerError, ValueError):
    """A saved file that is cut off, damaged, of another kind, or written by a newer mercer."""


class TableError(MercerError, ValueError):
    """A table from which no model can be made; the message names the column or the row."""


class ApproximationWarning(UserWarning):
    """An approximation, or a fall-back to something slower, that was not asked for in so many words."""


class PerformanceWarning(UserWarning):
    """What was asked takes long, and the message names an argument with which it would not."""
