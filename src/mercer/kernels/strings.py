"""Strings as rows of numbers, and what string kernels have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.binder import Binder
from mercer.operators.maps import Expression, reciprocal_or_zero, safe_sqrt
from mercer.operators.statistics import Columns, TileFunction, TileStatistic


def encode(strings: Sequence[str], *, length: int | None = None) -> Tensor:
    """Strings as the rows that string kernels read: the code point of each character, then zeros.

    Args:
        strings: any text; upper and lower case differ.
        length: columns of the result, so that X and Y agree; None takes the longest string.

    Returns:
        ``(n, length)``, int64. As floating point, code points need float32 or float64.

    Raises:
        TypeError: something that is no string.
        ValueError: a string with the character 0, which stands for the end.
        ShapeError: a string longer than ``length``.

    >>> encode(["ab", "c"])
    tensor([[97, 98],
            [99,  0]])
    """
    if isinstance(strings, str):
        raise TypeError(f"encode needs a sequence of strings, not the one string {strings!r}: give [{strings!r}].")
    for i, string in enumerate(strings):
        if not isinstance(string, str):
            raise TypeError(f"encode: entry {i} (counted from 0) is no string, but {type(string).__name__}.")
        if "\0" in string:
            raise ValueError(f"encode: string {i} (counted from 0) holds the character 0, which stands for the end.")
    longest = max(map(len, strings), default=0)
    length = longest if length is None else length
    if longest > length:
        raise ShapeError(f"encode(length={length}): a string has {longest} characters. Give length={longest} or more.")
    return torch.tensor([[*map(ord, s), *[0] * (length - len(s))] for s in strings], dtype=torch.int64).reshape(
        len(strings), length
    )


@dataclass(frozen=True)
class InverseNorm:
    """1 / sqrt(k(x, x)) of a tile function, 0 where that is 0."""

    columns: Columns
    function: TileFunction
    slots: tuple[int, ...] = ()

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        statistic = TileStatistic(self.columns, function=self.function, slots=self.slots)
        itself = statistic.itself(self.columns(X, theta, None), statistic.parameters(theta))
        return reciprocal_or_zero(safe_sqrt(itself))


def normalised(binder: Binder, function: TileFunction, slots: tuple[int, ...] = ()) -> list[Expression]:
    """The tile function's values over the roots of both self-similarities."""
    columns = Columns(binder.columns)
    row, column = binder.row_value(InverseNorm(columns, function, slots))
    return [binder.statistic(TileStatistic(columns, function=function, slots=slots)) * (row * column)]
