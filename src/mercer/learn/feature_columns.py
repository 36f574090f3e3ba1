"""Columns as a feature machine sees them: numbers as they are, categories as indicators that are rarely written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

__all__ = ["FeatureColumns"]


class FeatureColumns:
    """Numeric columns, then an indicator for each category of each categorical column.

    Args:
        numeric: positions of the columns that are numbers.
        categorical: positions of the columns that are codes.
        values: the codes of each of them, sorted; others, seen later, have no indicator.
    """

    def __init__(self, numeric: Sequence[int], categorical: Sequence[int], values: Sequence[Any]) -> None:
        self.numeric, self.categorical = list(numeric), list(categorical)
        self.values = [torch.as_tensor(codes, dtype=torch.float64) for codes in values]

    @classmethod
    def fit(cls, X: Tensor, categorical: Sequence[int] | None) -> Self:
        """The columns of X ``(n, d)``.

        Raises:
            ValueError: a categorical column that X does not have, or that is named twice.
        """
        chosen = [] if categorical is None else [int(c) for c in categorical]
        wrong = [c for c in chosen if not 0 <= c < X.shape[1]]
        if wrong:
            raise ValueError(f"categorical_features names column {wrong[0]}, but X has {X.shape[1]} columns.")
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"categorical_features names a column twice: {chosen}.")
        numeric = [c for c in range(X.shape[1]) if c not in chosen]
        return cls(numeric, chosen, [X[:, c].double().unique() for c in chosen])

    @property
    def width(self) -> int:
        """How many numbers a row has when indicators are written out."""
        return len(self.numeric) + sum(len(codes) for codes in self.values)

    def sources(self) -> np.ndarray[Any, Any]:
        """The column of X that each of the ``width`` numbers comes from."""
        repeated = [[c] * len(codes) for c, codes in zip(self.categorical, self.values, strict=True)]
        return np.array(self.numeric + [c for group in repeated for c in group], dtype=np.int64)

    def times(self, X: Tensor, root: Tensor | None) -> Tensor:
        """The rows in new coordinates: ``(n, width) @ root``, a vector being a diagonal and None the identity.

        With a matrix, a category costs one row looked up, and no indicator is written.
        """
        if not self.categorical:
            return X if root is None else X * root if root.dim() == 1 else X @ root
        plain = X[:, self.numeric]
        codes = [self._code(X[:, c], known) for c, known in zip(self.categorical, self.values, strict=True)]
        if root is None or root.dim() == 1:
            parts = [plain, *(self._indicators(code, len(v), X) for code, v in zip(codes, self.values, strict=True))]
            wide = torch.cat(parts, 1)
            return wide if root is None else wide * root
        out = plain @ root[: len(self.numeric)]
        start = len(self.numeric)
        for code, known in zip(codes, self.values, strict=True):
            unknown = root.new_zeros(1, root.shape[1])
            out += torch.cat([root[start : start + len(known)], unknown])[code]
            start += len(known)
        return out

    def state(self) -> dict[str, Any]:
        """What :meth:`from_state` needs, as lists and arrays."""
        return {
            "numeric": self.numeric,
            "categorical": self.categorical,
            "values": [codes.cpu().numpy() for codes in self.values],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The inverse of :meth:`state`."""
        return cls(state["numeric"], state["categorical"], state["values"])

    @staticmethod
    def _code(column: Tensor, known: Tensor) -> Tensor:
        """Positions of the values among the known ones; the number of those for an unknown value."""
        known = known.to(column.device)
        values = column.double().contiguous()
        place = torch.searchsorted(known, values).clamp(max=len(known) - 1)
        return torch.where(known[place] == values, place, len(known))

    @staticmethod
    def _indicators(code: Tensor, count: int, like: Tensor) -> Tensor:
        return (code.unsqueeze(1) == torch.arange(count, device=like.device)).to(like.dtype)
