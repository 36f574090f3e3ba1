"""Differential operators from text: ``"D('t') + 200 * D('x')"``, the form that their ``repr`` has."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from mercer.learn.pde.nonlinear import Power
from mercer.learn.pde.operators import D, DifferentialOperator, Identity, Laplacian, as_operator
from mercer.learn.pde.symbols import Unknown

__all__ = ["parse_operator"]

NAMES: dict[str, Callable[..., Any]] = {
    "D": D,
    "Identity": Identity,
    "Laplacian": Laplacian,
    "Power": Power,
    "Unknown": Unknown,
}
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def parse_operator(value: Any) -> DifferentialOperator:
    """An operator from text; an operator as it is. Nothing in the text is run.

    Raises:
        ValueError: text that is no formula of ``D``, ``Identity``, ``Laplacian``, ``Power``, ``Unknown`` and numbers.
        TypeError: neither text nor an operator.

    >>> parse_operator("-Laplacian() + 3**2 * Identity()")
    -1 * Laplacian() + 9 * Identity()
    """
    if not isinstance(value, str):
        return as_operator(value)
    try:
        return as_operator(_value(ast.parse(value, mode="eval").body))
    except (SyntaxError, KeyError, TypeError) as error:
        raise ValueError(
            f"{value!r} is no differential operator ({error}): write a formula of {', '.join(NAMES)} and numbers, such "
            f"as \"D('t') + 200 * D('x')\"."
        ) from None


def _value(node: ast.expr) -> Any:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            return BINARY[type(op)](_value(left), _value(right))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.Constant(value=int() | float() | str() as constant):
            return constant
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return NAMES[name](*map(_value, args))
    raise SyntaxError(f"{ast.unparse(node)} is not allowed in it")
