"""Kernels from any Python function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.operators.maps import Expression
from mercer.operators.statistics import Columns, TileStatistic

# Work of a pair in units of the planner, at 3e11 a second: a call of a Python function takes about a microsecond.
FLOPS_OF_A_CALL = 3e5
FLOPS_IN_BLOCKS = 1e3
DIAGONAL_BLOCK = 32  # points: k(x, x) is the diagonal of small blocks, 32 pairs a point instead of a call a point


@dataclass(frozen=True)
class PointFunction:
    """A function of two points as a tile function; it sees NumPy rows."""

    function: Callable[[Any, Any], Any]
    flops_per_pair: float = FLOPS_OF_A_CALL
    bytes_per_pair: float = 0.0

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d) -> (p, q)``, one call a pair; pairs of rows that both have are mirrored."""
        left, right = _rows(X), _rows(Y)
        shared = min(len(left), len(right)) if _begin_alike(X, Y) else 0
        values = np.empty((len(left), len(right)))
        for i, x in enumerate(left):
            known = i if i < shared else 0
            if known:
                values[i, :known] = values[:known, i]
            values[i, known:] = [float(self.function(x, y)) for y in right[known:]]
        return torch.from_numpy(values).to(X)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d) -> (p,)``."""
        return torch.tensor([float(self.function(x, x)) for x in _rows(X)], dtype=X.dtype, device=X.device)


@dataclass(frozen=True)
class BlockFunction:
    """A function of two blocks of points as a tile function; it sees tensors."""

    function: Callable[[Any, Any], Any]
    flops_per_pair: float = FLOPS_IN_BLOCKS
    bytes_per_pair: float = 0.0

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d) -> (p, q)``, one call."""
        values = self.function(X, Y)
        if not isinstance(values, Tensor):
            if _recording(X, Y):
                raise TypeError("The kernel function returns no tensor, so it has no gradients. Write it in torch.")
            values = as_tensor(values)
        if values.shape != (len(X), len(Y)):
            raise ShapeError(
                f"The kernel function got blocks of {len(X)} and {len(Y)} points, so it must return "
                f"({len(X)}, {len(Y)}) values, but returned {tuple(values.shape)}. For a function of two single "
                f"points use blocks=False."
            )
        return values.to(dtype=X.dtype, device=X.device)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d) -> (p,)``."""
        parts = [self(x, x).diagonal() for x in X.split(DIAGONAL_BLOCK)]
        return torch.cat(parts) if parts else X.new_empty(0)


class FunctionKernel(Kernel):
    """A kernel given by a Python function; see :func:`from_callable`."""

    in_grammar: ClassVar[bool] = False

    def __init__(
        self, function: Callable[[Any, Any], Any], blocks: bool = False, flops_per_pair: float | None = None
    ) -> None:
        self.function, self.blocks, self.flops_per_pair = function, blocks, flops_per_pair
        self.check()

    def check(self) -> None:
        """Raise TypeError for what cannot be called."""
        if not callable(self.function):
            raise TypeError(f"from_callable needs a function k(x, y), not {self.function!r}.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The function's values."""
        tile = BlockFunction if self.blocks else PointFunction
        default = FLOPS_IN_BLOCKS if self.blocks else FLOPS_OF_A_CALL
        function = tile(self.function, self.flops_per_pair or default)
        return [binder.statistic(TileStatistic(Columns(binder.columns), function=function))]


def from_callable(
    function: Callable[[Any, Any], Any], *, blocks: bool = False, flops_per_pair: float | None = None
) -> FunctionKernel:
    """A kernel from a Python function, which must be symmetric and positive semidefinite: neither is checked.

    ``kernel(X)`` evaluates each pair once and mirrors it. The kernel composes like any other; it cannot be saved.

    Args:
        function: with ``blocks=False`` it takes two points, NumPy arrays ``(d,)``, and returns a number: the convention
            of scikit-learn's callable kernels. With ``blocks=True`` it takes two blocks, tensors ``(p, d)`` and
            ``(q, d)``, and returns ``(p, q)`` values; written in torch it has gradients in X and Y of any order.
        blocks: which of the two.
        flops_per_pair: the work of a pair for the planner, which stores K where recomputing costs more; default 3e5
            (about a microsecond) for points, 1000 for blocks.

    Raises:
        TypeError: ``function`` cannot be called; gradients are asked of a function that has none.
        ShapeError: on use, blocks of another shape.

    >>> from_callable(lambda x, y: float(min(x[0], y[0])))(torch.tensor([[1.0], [2.0]])).to_dense()
    tensor([[1., 1.],
            [1., 2.]])
    """
    return FunctionKernel(function, blocks, flops_per_pair)


def _recording(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _begin_alike(X: Tensor, Y: Tensor) -> bool:
    """Whether the first rows of both are the same memory: a block on the diagonal of a symmetric matrix."""
    return X.data_ptr() == Y.data_ptr() and X.stride() == Y.stride() and X.dtype == Y.dtype


def _rows(X: Tensor) -> np.ndarray[Any, Any]:
    if _recording(X):
        raise TypeError(
            "A kernel function of two points has no gradients in X. Write it in torch for blocks of points and use "
            "from_callable(function, blocks=True)."
        )
    rows: np.ndarray[Any, Any] = X.detach().cpu().numpy()
    return rows
