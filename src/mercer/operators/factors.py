"""A term of a kernel as a product of factors, sorted by what each depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import mul

import torch
from torch import Tensor

from mercer.operators.maps import Expression, constant, evaluate, leaf, leaves
from mercer.operators.operands import Operands

__all__ = ["Factors", "factor", "number_value", "side_values"]

ONE = constant(1.0)


@dataclass(frozen=True)
class Factors:
    """``term = number * row * column * pair``.

    Attributes:
        number: of hyperparameters only.
        row, column: of one side's row values, and hyperparameters.
        pairs: the factors in which statistics occur, or both sides.
    """

    number: Expression
    row: Expression
    column: Expression
    pairs: tuple[Expression, ...]


def factor(term: Expression) -> Factors:
    """The factors of a term, as they were multiplied; nothing is expanded."""
    kinds: dict[str, list[Expression]] = {"number": [], "row": [], "column": [], "pair": []}
    for part in _split(term):
        kinds[_kind(part)].append(part)
    number, row, column = (reduce(mul, kinds[k], ONE) for k in ("number", "row", "column"))
    return Factors(number, row, column, tuple(kinds["pair"]))


def number_value(operands: Operands) -> Tensor:
    """The number in front of a kernel of one term, ``()`` or ``(*batch,)``; differentiable."""
    (term,) = operands.spec.smooth_terms
    number = side_values(factor(term).number, operands, "row")
    like = operands.like
    return (
        number.squeeze(-1) if isinstance(number, Tensor) else torch.tensor(number, dtype=like.dtype, device=like.device)
    )


def theta_values(operands: Operands) -> Mapping[Expression, Tensor]:
    """The scalar hyperparameters as values of their leaves, each ``(*batch, 1)`` to go with one value a row."""
    slots = zip(operands.spec.scalars, operands.theta, strict=True)
    return {leaf("theta", slot): t.to(operands.like.dtype).unsqueeze(-1) for slot, t in slots}


def side_values(expression: Expression, operands: Operands, side: str) -> Tensor | float:
    """A factor of one side, ``(*batch, n)`` or a number; differentiable."""
    if expression.is_constant:
        return expression.number
    values = dict(theta_values(operands))
    sources = operands.row if side == "row" else operands.columns
    values |= {leaf(side, g): a for g, a in enumerate(sources)}
    return evaluate([expression], values)[0]


def _split(term: Expression) -> Iterable[Expression]:
    if term.op == "mul":
        for arg in term.args:
            yield from _split(arg)
    elif term.op == "div":
        yield from _split(term.args[0])
        yield from (1.0 / part for part in _split(term.args[1]))
    else:
        yield term


def _kind(part: Expression) -> str:
    depends = {n.op for n in leaves([part])} - {"theta"}
    if not depends:
        return "number"
    return depends.pop() if depends in ({"row"}, {"column"}) else "pair"
