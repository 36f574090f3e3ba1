"""One case of a check: sizes, type, shift and scale of the points, and the seed that draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

SIZES = ("n", "m", "d", "t")
MOST_TRIES = 80  # evaluations that shrinking may spend; bisection needs about 7 a size


@dataclass(frozen=True)
class Case:
    """What a property is checked on.

    Attributes:
        n, m: points of X and of Y, or rows and columns.
        d: columns of the points.
        t: right-hand sides.
        dtype: of the points and right-hand sides.
        shift, scale: the points are ``scale * X + shift``.
        seed: draws points and right-hand sides.

    >>> Case(n=64, m=1, dtype=torch.float32, shift=1e4)
    Case(n=64, m=1, dtype=torch.float32, shift=10000.0)
    """

    n: int = 7
    m: int = 5
    d: int = 3
    t: int = 2
    dtype: torch.dtype = torch.float64
    shift: float = 0.0
    scale: float = 1.0
    seed: int = 0

    def __repr__(self) -> str:
        standard = Case()
        changed = [
            f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__ if _differs(self, standard, name)
        ]
        return f"Case({', '.join(changed)})"

    def describe(self, fields: Sequence[str] = SIZES) -> str:
        """The case in words: ``n=64, d=1, float32, X + 1e4``; ``fields`` are the sizes that matter."""
        parts = [f"{name}={getattr(self, name)}" for name in fields]
        parts.append(str(self.dtype).removeprefix("torch."))
        if self.scale != 1.0:
            parts.append(f"X * {self.scale:g}")
        if self.shift != 0.0:
            parts.append(f"X + {self.shift:g}")
        return ", ".join(parts)


def _with_size(case: Case, name: str, size: int) -> Case:
    changes: dict[str, Any] = {name: size}
    return replace(case, **changes)


def _differs(case: Case, other: Case, name: str) -> bool:
    return bool(getattr(case, name) != getattr(other, name))


def shrink(
    fails: Callable[[Case], bool], case: Case, smallest: Case, fields: Iterable[str], dims: Sequence[int]
) -> Case:
    """The smallest case that still fails: shift and scale go first, then t, d, m and n, each by bisection.

    Bisection finds the place where failing begins if there is one such place; else it finds one of them.

    Args:
        fails: whether a case fails.
        case: one that does.
        smallest: sizes below which the property means nothing.
        fields: the sizes that the property uses.
        dims: the numbers of columns that the kernel takes, ascending.
    """
    tried: dict[Case, bool] = {case: True}

    def still_fails(candidate: Case) -> bool:
        if candidate not in tried and len(tried) < MOST_TRIES:
            tried[candidate] = fails(candidate)
        return tried.get(candidate, False)

    def least(case: Case, name: str, candidates: Sequence[int]) -> Case:
        low, high = -1, len(candidates)  # candidates[high] fails, or case itself; candidates[low] does not
        while high - low > 1:
            # the smallest first: most failures begin there
            middle = 0 if low < 0 and high == len(candidates) else (low + high) // 2
            if still_fails(_with_size(case, name, candidates[middle])):
                high = middle
            else:
                low = middle
        return case if high == len(candidates) else _with_size(case, name, candidates[high])

    for simpler in ({"shift": 0.0}, {"scale": 1.0}):
        candidate = replace(case, **simpler)  # type: ignore[arg-type]
        case = candidate if still_fails(candidate) else case
    before = None
    while before != case:
        before = case
        for name in ("t", "d", "m", "n"):
            if name in fields:
                value, start = getattr(case, name), getattr(smallest, name)
                candidates = [k for k in dims if k < value] if name == "d" else list(range(start, value))
                case = least(case, name, candidates)
    return case
