"""Elementwise expressions: the ``map`` of a kernel as plain data.

A kernel writes its map as ordinary torch code. Called with :class:`Expression` leaves instead of tensors, that code
leaves behind a small graph that can be differentiated, simplified, compared, pickled, evaluated on tensors of any
device, compiled for tiles (``program.py``) or printed as source for another compiler. Equal expressions are one object,
so a statistic used twice is computed once.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Operation:
    """How one op is computed, differentiated and simplified.

    Attributes:
        compute: from tensors, and the node's attribute as ``value``; plain torch.
        derivative: ``(node, i)`` to the partial derivative in argument ``i``.
        into: the same as ``compute`` with an ``out=`` argument; None where the op has to be expanded first.
        simplify: arguments to a simpler equal expression, or None.
        expand: ``(node, argument)`` to the same in terms of simpler ops.
    """

    compute: Callable[..., Tensor]
    derivative: Callable[[Expression, int], Expression]
    into: Callable[..., Any] | None = None
    simplify: Callable[..., Expression | None] | None = None
    expand: Callable[[Expression, Expression], Expression] | None = None


# Filled by operations.py, which needs expressions to say how ops are differentiated.
OPERATIONS: dict[str, Operation] = {}
TORCH_NAMES: dict[Any, str] = {}
Leaf = str
LEAVES = frozenset({"statistic", "row", "column", "theta", "delta", "constant"})


class Expression:
    """A node: ``op`` applied to ``args``; ``value`` is a constant, a slot number or an attribute of the op.

    Leaves: ``statistic`` g (one value a pair), ``row`` g and ``column`` g (row values of x and y), ``theta`` i (a
    scalar hyperparameter), ``delta`` (1 where x and y are the same point, else 0), ``constant``.
    Nodes are interned: ``a is b`` when they are equal. Combine them with arithmetic and the torch functions in
    :data:`OPERATIONS`.
    """

    __slots__ = ("__weakref__", "args", "op", "value")
    op: str
    args: tuple[Expression, ...]
    value: Any
    _interned: ClassVar[weakref.WeakValueDictionary[Any, Expression]] = weakref.WeakValueDictionary()

    def __new__(cls, op: str, args: tuple[Expression, ...] = (), value: Any = None) -> Expression:
        key = (op, args, value)
        node = cls._interned.get(key)
        if node is None:
            node = object.__new__(cls)
            node.op, node.args, node.value = op, args, value
            cls._interned[key] = node
        return node

    def __reduce__(self) -> tuple[Any, ...]:
        return (Expression, (self.op, self.args, self.value))

    @property
    def is_constant(self) -> bool:
        """Whether this is a number."""
        return self.op == "constant"

    @property
    def number(self) -> float:
        """The value of a constant, slot or attribute."""
        assert isinstance(self.value, float), self.op
        return self.value

    def __add__(self, other: Expression | float) -> Expression:
        return make("add", self, other)

    def __radd__(self, other: float) -> Expression:
        return make("add", self, other)

    def __sub__(self, other: Expression | float) -> Expression:
        return make("sub", self, other)

    def __rsub__(self, other: float) -> Expression:
        return make("sub", other, self)

    def __mul__(self, other: Expression | float) -> Expression:
        return make("mul", self, other)

    def __rmul__(self, other: float) -> Expression:
        return make("mul", self, other)

    def __truediv__(self, other: Expression | float) -> Expression:
        return make("div", self, other)

    def __rtruediv__(self, other: float) -> Expression:
        return make("div", other, self)

    def __neg__(self) -> Expression:
        return make("mul", self, -1.0)

    def __pow__(self, exponent: Expression | float) -> Expression:
        return make("pow", self, exponent)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Expression:
        name = TORCH_NAMES.get(function)
        if name is None:
            known = ", ".join(sorted(set(TORCH_NAMES.values())))
            raise TypeError(
                f"torch.{getattr(function, '__name__', function)} is not in the op set of a kernel's map. "
                f"Use one of: {known}; or give the kernel a tile statistic."
            )
        if name == "clamp":
            return clamp(*args, **(kwargs or {}))
        return make(name, *args)

    def __repr__(self) -> str:
        if self.op == "constant":
            return repr(self.value)
        if self.op in LEAVES:
            return self.op if self.value is None else f"{self.op}[{int(self.value)}]"
        attribute = "" if self.value is None else f", {self.value!r}"
        return f"{self.op}({', '.join(map(repr, self.args))}{attribute})"


def constant(value: float) -> Expression:
    """A number as an expression."""
    return Expression("constant", (), float(value))


def leaf(kind: Leaf, slot: int | None = None) -> Expression:
    """A leaf of one of the kinds in :data:`LEAVES`."""
    return Expression(kind, (), None if slot is None else float(slot))


def clamp(x: Expression, min: float = -math.inf, max: float = math.inf) -> Expression:
    """``x`` limited to ``[min, max]``; both are numbers. Nested clamps merge into one."""
    if x.is_constant:
        return constant(sorted((min, x.number, max))[1])
    if x.op == "clamp" and x.value[0] <= max and min <= x.value[1]:
        x, min, max = x.args[0], sorted((x.value[0], min))[1], sorted((x.value[1], max))[0]
    return Expression("clamp", (x,), (float(min), float(max)))


def make(op: str, *operands: Expression | float, value: Any = None) -> Expression:
    """``op`` applied to ``operands``, folded and simplified where that is exact."""
    args = tuple(o if isinstance(o, Expression) else constant(o) for o in operands)
    operation = OPERATIONS[op]
    if args and all(a.is_constant for a in args):
        tensors = [torch.tensor(a.number, dtype=torch.float64) for a in args]
        return constant(float(operation.compute(*tensors, value=value)))
    simplified = operation.simplify(*args) if operation.simplify else None
    return simplified if simplified is not None else Expression(op, args, value)


def postorder(roots: Iterable[Expression]) -> Sequence[Expression]:
    """Every node below ``roots`` once, arguments before the nodes that use them."""
    return _postorder(tuple(roots))


@lru_cache(maxsize=1024)
def _postorder(roots: tuple[Expression, ...]) -> tuple[Expression, ...]:
    """The same few expressions are walked through in every product."""
    order: list[Expression] = []
    seen: set[Expression] = set()
    stack = [(root, False) for root in roots]
    while stack:
        node, ready = stack.pop()
        if node in seen:
            continue
        if ready:
            seen.add(node)
            order.append(node)
        else:
            stack.append((node, True))
            stack.extend((arg, False) for arg in node.args)
    return tuple(order)


def rebuild(
    roots: tuple[Expression, ...], rule: Callable[[Expression, tuple[Expression, ...]], Expression]
) -> tuple[Expression, ...]:
    """The roots with every node replaced by ``rule(node, rebuilt arguments)``, each node once."""
    new: dict[Expression, Expression] = {}
    for node in postorder(roots):
        new[node] = rule(node, tuple(new[a] for a in node.args))
    return tuple(new[root] for root in roots)


def same_op(node: Expression, args: tuple[Expression, ...]) -> Expression:
    """``node`` with other arguments, simplified again."""
    return node if node.op in LEAVES else make(node.op, *args, value=node.value)


def substitute(roots: tuple[Expression, ...], values: Mapping[Expression, Expression]) -> tuple[Expression, ...]:
    """The roots with some leaves replaced; numbers fold away."""
    return rebuild(roots, lambda node, args: values.get(node) or same_op(node, args))


def leaves(roots: Iterable[Expression], kind: Leaf | None = None) -> list[Expression]:
    """The leaves below ``roots`` (of one kind), by slot."""
    return [n for n in _all_leaves(tuple(roots)) if kind is None or n.op == kind]


@lru_cache(maxsize=1024)
def _all_leaves(roots: tuple[Expression, ...]) -> list[Expression]:
    """Planners ask again and again for the same few expressions."""
    found = [n for n in postorder(roots) if n.op in LEAVES and not n.is_constant]
    return sorted(found, key=lambda n: (n.op, n.value or 0.0))


def derivatives(root: Expression, wrt: Iterable[Expression]) -> list[Expression]:
    """Partial derivatives of ``root`` with respect to leaves, as expressions that share their parts (reverse mode)."""
    return list(_derivatives(root, tuple(wrt)))


@lru_cache(maxsize=256)
def _derivatives(root: Expression, wrt: tuple[Expression, ...]) -> tuple[Expression, ...]:
    """Every gradient asks for the derivatives of its kernel again."""
    adjoint: dict[Expression, Expression] = {root: constant(1.0)}
    for node in reversed(postorder([root])):
        bar = adjoint.get(node)
        if bar is None or node.op in LEAVES:
            continue
        for position, arg in enumerate(node.args):
            if arg.is_constant:
                continue
            step = bar * OPERATIONS[node.op].derivative(node, position)
            adjoint[arg] = adjoint[arg] + step if arg in adjoint else step
    return tuple(adjoint.get(w, constant(0.0)) for w in wrt)


def choose_forms(roots: tuple[Expression, ...], form: int) -> tuple[Expression, ...]:
    """The roots with every shortcut replaced by its exact (0) or its quick form (1)."""
    if not any(node.op == "shortcut" for node in postorder(roots)):
        return roots
    return rebuild(roots, lambda node, args: args[form] if node.op == "shortcut" else same_op(node, args))


@lru_cache(maxsize=1024)
def _exact_forms(roots: tuple[Expression, ...]) -> tuple[Expression, ...]:
    """Evaluated as often as the same few expressions are."""
    return choose_forms(roots, 0)


def evaluate(roots: Iterable[Expression], values: Mapping[Expression, Tensor]) -> list[Tensor]:
    """The roots on tensors that broadcast against each other: the plain definition, differentiable by autograd."""
    like = next(iter(values.values()), torch.zeros((), dtype=torch.float64))
    roots = _exact_forms(tuple(roots))
    done: dict[Expression, Tensor] = dict(values)
    for node in postorder(roots):
        if node in done:
            continue
        if node.is_constant:
            done[node] = torch.tensor(node.number, dtype=like.dtype, device=like.device)
        elif node.op in LEAVES:
            raise KeyError(f"no value given for {node!r}")
        else:
            done[node] = OPERATIONS[node.op].compute(*(done[a] for a in node.args), value=node.value)
    return [done[root] for root in roots]
