"""The tables of properties, and what a property is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from mercer.testing.case import SIZES, Case

Check = Callable[[Any, Case], Iterator["Finding"]]
Function = TypeVar("Function", bound=Check)


class NotApplicable(Exception):
    """Raised within a property that means nothing for the kernel or the case at hand; the message says why."""


@dataclass(frozen=True)
class Finding:
    """One comparison: ``error`` may be at most ``tolerance``; NaN is never in order."""

    what: str
    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


def claim(what: str, holds: bool) -> Finding:
    """A finding that is true or false."""
    return Finding(what, 0.0 if holds else 1.0, 0.0)


def close(what: str, actual: Tensor, expected: Tensor, rtol: float) -> Finding:
    """Largest difference of two tensors, in the unit of the largest entry of ``expected`` (at least 1)."""
    if actual.shape != expected.shape:
        return claim(f"{what} has shape {tuple(expected.shape)}, but got {tuple(actual.shape)}", False)
    if not expected.numel():
        return Finding(what, 0.0, rtol)
    actual, expected = actual.detach().double(), expected.detach().double()
    return Finding(what, float((actual - expected).abs().max() / expected.abs().max().clamp(min=1.0)), rtol)


@dataclass(frozen=True)
class Property:
    """A row of a table of properties.

    Attributes:
        name: for ``properties=[...]``.
        claim: what has to be true, in a sentence.
        check: ``(subject, case)`` to findings.
        cases: what to try, small cases first.
        smallest: sizes below which the property means nothing.
        fields: the sizes that matter.
        every_dtype: whether each case runs in every type asked for (else as it stands).
    """

    name: str
    claim: str
    check: Check
    cases: tuple[Case, ...]
    smallest: Case
    fields: tuple[str, ...]
    every_dtype: bool

    def cases_for(self, dtypes: Iterable[torch.dtype], seed: int) -> list[Case]:
        """The cases in every type asked for, drawn with another seed."""
        types = tuple(dtypes) if self.every_dtype else (None,)
        return [replace(c, dtype=dtype or c.dtype, seed=c.seed + seed) for c in self.cases for dtype in types]


SMALLEST = Case(1, 1, 1, 1)
KERNEL_PROPERTIES: dict[str, Property] = {}
OPERATOR_PROPERTIES: dict[str, Property] = {}


def kernel_property(
    *cases: Case, smallest: Case = SMALLEST, fields: tuple[str, ...] = SIZES, every_dtype: bool = False
) -> Callable[[Function], Function]:
    """Add a property of every kernel to :data:`KERNEL_PROPERTIES`, under the name of the function.

    The function takes a :class:`KernelSubject` and a :class:`Case`, and yields findings; its docstring is the claim.

    Args:
        cases: what to try, small cases first (default: ``Case()``).
        smallest: sizes below which the property means nothing.
        fields: the sizes of a case that the property uses.
        every_dtype: run each case in every type that the caller asks for.
    """
    return _register(KERNEL_PROPERTIES, cases, smallest, fields, every_dtype)


def operator_property(
    *cases: Case, smallest: Case = SMALLEST, fields: tuple[str, ...] = ("n", "m", "t")
) -> Callable[[Function], Function]:
    """Add a property of every operator to :data:`OPERATOR_PROPERTIES`; see :func:`kernel_property`."""
    return _register(OPERATOR_PROPERTIES, cases, smallest, fields, False)


def _register(
    table: dict[str, Property], cases: tuple[Case, ...], smallest: Case, fields: tuple[str, ...], every_dtype: bool
) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        name = getattr(function, "__name__", repr(function))
        sentence = (function.__doc__ or "").strip().partition("\n")[0]
        if not sentence:
            raise ValueError(f"The property {name} needs a docstring: its first line is what a failure reports.")
        table[name] = Property(name, sentence, function, cases or (Case(),), smallest, fields, every_dtype)
        return function

    return add


def choose(table: Mapping[str, Property], names: Iterable[str] | None, without: Iterable[str]) -> list[Property]:
    """The properties asked for, in the order of the table.

    Raises:
        ValueError: a name that is not in the table.
    """
    wanted = list(table) if names is None else list(names)
    left_out = list(without)
    for name in (*wanted, *left_out):
        if name not in table:
            raise ValueError(f"There is no property {name!r}. There are: {', '.join(table)}.")
    return [prop for name, prop in table.items() if name in wanted and name not in left_out]
