"""Kernels as text: what ``repr`` writes and :func:`parse` reads is one grammar, and the form in which models are saved.

A small subset of Python's expressions, read from its syntax tree and never evaluated::

    2.0 * RBF(lengthscale=[0.3, 1.0]).on(['carat', 'depth']) + Linear(bias=Parameter(1.0, frozen=True)) ** 2 + 0.5
"""

from __future__ import annotations

import ast
import difflib
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from mercer.kernels.algebra import Power, as_kernel
from mercer.kernels.base import Kernel
from mercer.kernels.neural import layers
from mercer.kernels.parameters import Gamma, LogNormal, Parameter

LONGEST_TEXT = 100_000  # characters; real kernels have a few hundred
DEEPEST_TREE = 200  # Python's own parser and our recursion stay far from their limits


def vocabulary() -> dict[str, Callable[..., Any]]:
    """The names that may be called: every public kernel class that a text can build, Parameter and the priors."""
    from mercer import kernels

    classes = {name: getattr(kernels, name) for name in kernels.__all__}
    names = {
        name: found
        for name, found in classes.items()
        if isinstance(found, type) and issubclass(found, Kernel) and found.in_grammar and found is not Kernel
    }
    return names | {c.__name__: c for c in (Parameter, LogNormal, Gamma)}


def parse(text: str) -> Kernel:
    """The kernel that a text describes: ``parse(repr(kernel)) == kernel``.

    Read are the kernel classes with their arguments by name or position, ``+``, ``*``, ``** whole number``,
    ``.on([columns])``, numbers, lists, column names in quotes, ``Parameter``, ``LogNormal`` and ``Gamma``. A number is
    a :class:`Constant` where it is added and a scale where it is multiplied.

    Raises:
        ValueError: anything else; the message quotes what was read, where, and says what is allowed.

    >>> parse("2 * RBF(0.3) + Linear()")
    2.0 * RBF(lengthscale=0.3) + Linear(lengthscale=1.0, bias=0.0)
    """
    if not isinstance(text, str):
        raise TypeError(f"parse needs a text such as '2 * RBF() + Linear()', not {type(text).__name__}.")
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the text of a kernel has at most {LONGEST_TEXT} characters, not {len(text)}.")
    source = text.strip().replace("\n", " ").replace("\r", " ")
    reader = _Reader(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on how to write programs
            tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = (getattr(error, "offset", None) or 1) - 1
        reader.fail(None, f"this is no kernel ({getattr(error, 'msg', error)})", column=column)
    value = reader.read(tree.body)
    if isinstance(value, Kernel):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return as_kernel(value)
    reader.fail(tree.body, "this is no kernel")


def to_text(kernel: Kernel) -> str:
    """The text from which :func:`parse` builds the kernel again; what models are saved with.

    Raises:
        ValueError: a part of the kernel is a function or another object that no text can hold.
    """
    text = repr(kernel)
    try:
        again = parse(text)
    except ValueError as error:
        raise ValueError(
            f"{text} cannot be written as text, so it cannot be saved. Build it from the kernels of mercer.kernels; "
            f"a function of yours becomes one when it is a class. What stands in the way: {error}"
        ) from error
    assert repr(again) == text, text
    return text


class _Reader:
    """Turns a syntax tree into numbers, lists, names and kernels, and refuses all else."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.names = vocabulary() | layers.vocabulary()
        self.depth = 0

    def fail(self, node: ast.AST | None, problem: str, *, column: int | None = None, teach: bool = True) -> NoReturn:
        """Raise, quoting the place; ``teach`` adds what is allowed."""
        start = int(getattr(node, "col_offset", 0)) if column is None else column
        end = int(getattr(node, "end_col_offset", None) or len(self.source.encode()))
        line = self.source.encode()  # the syntax tree counts bytes
        read = line[start:end].decode(errors="replace") or self.source
        shown = read if len(read) <= 60 else f"{read[:57]}..."
        allowed = f" A kernel is written with +, *, ** and .on([columns]) from numbers and {', '.join(vocabulary())}."
        place = len(line[:start].decode(errors="replace")) + 1
        raise ValueError(f"{shown!r} at character {place}: {problem}.{allowed if teach else ''}")

    def read(self, node: ast.expr) -> Any:
        """The value of a node."""
        self.depth += 1
        if self.depth > DEEPEST_TREE:
            self.fail(node, f"more than {DEEPEST_TREE} levels deep")
        try:
            match node:
                case ast.Constant(value=bool() | int() | float() | str() | None):
                    return node.value
                case ast.List(elts=items) | ast.Tuple(elts=items):
                    values = [self.read(item) for item in items]
                    return values if isinstance(node, ast.List) else tuple(values)
                case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                    return -number
                case ast.BinOp():
                    return self.combine(node)
                case ast.Call(func=ast.Name(id=name)):
                    return self.call(node, name, self.names.get(name))
                case ast.Call(func=ast.Attribute(value=inner, attr="on")):
                    kernel = self.read(inner)
                    if not isinstance(kernel, Kernel):
                        self.fail(inner, "only a kernel has columns to be .on")
                    return self.call(node, "on", kernel.on)
                case ast.Name(id=name) if name in self.names:
                    self.fail(node, f"brackets are missing, write {name}()")
            self.fail(node, "this is not understood")
        finally:
            self.depth -= 1

    def combine(self, node: ast.BinOp) -> Kernel:
        """A sum, a product or a power; at least one side is a kernel."""
        left, right = self.read(node.left), self.read(node.right)
        others = {type(side) for side in (left, right) if not isinstance(side, Kernel)}
        try:
            if len(others) < 2 and others <= _FACTORS and (isinstance(left, Kernel) or isinstance(right, Kernel)):
                match node.op:
                    case ast.Add():
                        return as_kernel(left) + as_kernel(right)
                    case ast.Mult():
                        product: Kernel = left * right if isinstance(left, Kernel) else right * left
                        return product
                    case ast.Pow() if isinstance(left, Kernel):
                        return Power(left, right)
        except (TypeError, ValueError, OverflowError) as error:
            self.fail(node, str(error).rstrip("."), teach=False)
        self.fail(node, "this is not understood; a kernel is added to or multiplied by a kernel or a number")

    def call(self, node: ast.Call, name: str, function: Callable[..., Any] | None) -> Any:
        """A kernel, a Parameter or a prior."""
        if function is None:
            near = difflib.get_close_matches(name.lower(), {n.lower(): n for n in self.names}, 1)
            meant = next((f", did you mean {n}" for n in self.names if near and n.lower() == near[0]), "")
            self.fail(node, f"there is no {name!r}{meant}")
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            self.fail(node, "* and ** before arguments are not understood")
        positional = [self.read(a) for a in node.args]
        named = {str(k.arg): self.read(k.value) for k in node.keywords}
        signature = inspect.signature(function)
        try:
            signature.bind(*positional, **named)
        except TypeError as error:
            arguments = _arguments(signature.parameters)
            self.fail(node, f"{name}: {error}; the arguments of {name} are {arguments}", teach=False)
        try:
            return function(*positional, **named)
        except (TypeError, ValueError, OverflowError) as error:
            self.fail(node, str(error).rstrip("."), teach=False)


_FACTORS = {int, float, list, Parameter}


def _arguments(parameters: Mapping[str, inspect.Parameter]) -> str:
    return ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters.values())
