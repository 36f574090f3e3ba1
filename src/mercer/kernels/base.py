"""The base of all kernels: calling, algebra, hyperparameters, text."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import (
    Domain,
    Hyperparameter,
    Parameter,
    Value,
    as_value,
    format_value,
    with_value,
)
from mercer.operators.expression import Expression
from mercer.operators.kernel_operator import KernelOperator

POSITIVE = Domain()
POSITIVE_VECTOR = Domain(vector=True)
NOT_NEGATIVE = Domain(strict=False)


class Kernel:
    """A positive semidefinite function k(x, y) of two points.

    ``kernel(X)`` and ``kernel(X, Y)`` give lazy matrices. Kernels add, multiply, scale, take whole powers and look at some
    columns only: ``2.0 * RBF(lengthscale=0.3) + Linear().on([0, 1])``; ``repr`` is what :func:`mercer.kernels.parse` reads.
    A subclass stores its arguments under their names, declares the numeric ones in ``domains`` and writes its terms in
    :meth:`trace`.
    """

    domains: ClassVar[Mapping[str, Domain]] = {}

    # matrices

    def __call__(self, X: Any, Y: Any = None, *, plan: str | None = None) -> KernelOperator:
        """The kernel matrix k(X, Y) as a lazy operator; nothing is computed.

        Args:
            X: ``(n, d)`` or ``(*batch, n, d)``; numpy, pandas, torch or nested lists.
            Y: ``(m, d)``; None means X.
            plan: force an algorithm (:attr:`mercer.operators.Plan.name`).

        Raises:
            ShapeError: X or Y is no matrix of points, or they have different numbers of columns.
        """
        names = list(map(str, X.columns)) if hasattr(X, "columns") else None
        X = as_points(X, "X")
        symmetric = Y is None
        Y = X if Y is None else as_points(Y, "Y", like=X)
        if X.shape[-1] != Y.shape[-1]:
            raise ShapeError(f"k(X, Y): X has {X.shape[-1]} columns and Y has {Y.shape[-1]}; they must agree.")
        kernel = self.resolve(names) if names is not None else self
        binder = Binder(X, Y)
        spec = binder.spec(kernel.trace(binder), repr(self))
        batch = torch.broadcast_shapes(
            X.shape[:-2],
            Y.shape[:-2],
            *(t.shape[: t.dim() - e] for t, e in zip(binder.theta, binder.event_dims, strict=True)),
        )
        points = [t.expand((*batch, *t.shape[-2:])) for t in ((X,) if symmetric else (X, Y))]
        theta = [
            t.to(X.device).expand((*batch, *t.shape[t.dim() - e :]))
            for t, e in zip(binder.theta, binder.event_dims, strict=True)
        ]
        operator = KernelOperator(*points, *theta, spec=spec, symmetric=symmetric)
        return operator if plan is None else operator.with_plan(plan)

    def trace(self, binder: Binder) -> list[Expression]:
        """The terms of the kernel, written with the binder's statistics and hyperparameters."""
        raise NotImplementedError

    def resolve(self, names: Sequence[str]) -> Kernel:
        """The same kernel with column names replaced by positions in ``names``."""
        return self._rebuild({k: v.resolve(names) for k, v in self._children()})

    def value(self, name: str) -> Tensor:
        """A hyperparameter as a float64 tensor."""
        return as_value(getattr(self, name), f"{type(self).__name__}({name})")

    # algebra

    def __add__(self, other: Kernel | float) -> Kernel:
        from mercer.kernels.algebra import Sum, as_kernel

        return Sum(self, as_kernel(other))

    def __radd__(self, other: float) -> Kernel:
        from mercer.kernels.algebra import Sum, as_kernel

        return Sum(as_kernel(other), self)

    def __mul__(self, other: Kernel | Value) -> Kernel:
        from mercer.kernels.algebra import Product, Scaled

        return Product(self, other) if isinstance(other, Kernel) else Scaled(self, other)

    def __rmul__(self, other: Value) -> Kernel:
        from mercer.kernels.algebra import Scaled

        return Scaled(self, other)

    def __pow__(self, exponent: int) -> Kernel:
        from mercer.kernels.algebra import Power

        return Power(self, exponent)

    def on(self, columns: Sequence[int | str] | int | str) -> Kernel:
        """The kernel of some columns only, by position or (where X is a pandas table) by name."""
        from mercer.kernels.algebra import On

        return On(self, columns)

    # hyperparameters

    @classmethod
    def _argument_names(cls) -> list[str]:
        return [p for p in inspect.signature(cls.__init__).parameters if p != "self"]

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._argument_names()}

    def _children(self) -> Iterator[tuple[str, Kernel]]:
        return ((name, value) for name, value in self._arguments().items() if isinstance(value, Kernel))

    def _rebuild(self, changes: Mapping[str, Any]) -> Self:
        return type(self)(**{**self._arguments(), **changes}) if changes else self

    def check(self) -> None:
        """Raise ValueError or TypeError for a hyperparameter outside its domain."""
        for name, domain in self.domains.items():
            domain.check(name, getattr(self, name), type(self).__name__)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments by name, those of inner kernels as ``inner__name``; scikit-learn's protocol."""
        found = self._arguments()
        if deep:
            for name, child in list(self._children()):
                found |= {f"{name}__{key}": value for key, value in child.get_params().items()}
        return found

    def set_params(self, **params: Any) -> Self:
        """Change arguments in place; a plain value keeps the bounds, prior and frozen of a :class:`Parameter`.

        Raises:
            ValueError: an unknown name, or a value outside its domain.
        """
        known = self.get_params()
        for path, value in params.items():
            if path not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {path!r}. It has: {', '.join(known)}.")
            owner, _, rest = path.partition("__")
            if rest:
                getattr(self, owner).set_params(**{rest: value})
            else:
                setattr(self, path, with_value(getattr(self, path), value) if path in self.domains else value)
        self.check()
        return self

    def hyperparameters(self) -> list[Hyperparameter]:
        """All numeric hyperparameters, in the order of ``get_params``."""
        own = []
        for name, domain in self.domains.items():
            raw = getattr(self, name)
            wrapper = raw if isinstance(raw, Parameter) else Parameter(raw)
            own.append(
                Hyperparameter(name, self.value(name), domain, wrapper.bounds, wrapper.prior, wrapper.frozen)
            )
        for prefix, child in self._children():
            for h in child.hyperparameters():
                own.append(Hyperparameter(f"{prefix}__{h.path}", h.value, h.domain, h.bounds, h.prior, h.frozen))
        return own

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """A copy with some hyperparameters changed; tensors keep their graph, so gradients reach them."""
        return copy.deepcopy(self).set_params(**values) if not _has_graph(self) else self._with_values(values)

    def _with_values(self, values: Mapping[str, Any]) -> Self:
        changes: dict[str, Any] = {
            k: with_value(getattr(self, k), v) for k, v in values.items() if "__" not in k
        }
        for name, child in self._children():
            inner = {k.removeprefix(f"{name}__"): v for k, v in values.items() if k.startswith(f"{name}__")}
            changes[name] = child._with_values(inner)
        return self._rebuild(changes)

    def learnable(self, *paths: str) -> Self:
        """A copy whose hyperparameters (those named, or all that are not frozen) are float64 leaves that require gradients."""
        chosen = [h for h in self.hyperparameters() if (h.path in paths if paths else not h.frozen)]
        return self._with_values({h.path: h.value.detach().clone().requires_grad_(True) for h in chosen})

    def tensors(self) -> list[Tensor]:
        """The hyperparameters that require gradients, for an optimiser."""
        return [h.value for h in self.hyperparameters() if h.value.requires_grad]

    # text

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={format_value(value)}" for name, value in self._arguments().items())
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


def _has_graph(kernel: Kernel) -> bool:
    return any(h.value.requires_grad for h in kernel.hyperparameters())


def as_points(X: Any, name: str, *, like: Tensor | None = None) -> Tensor:
    """Points as a floating-point tensor ``(*batch, n, d)``."""
    tensor = as_tensor(X) if like is None else as_tensor(X, dtype=like.dtype, device=like.device)
    if tensor.dim() < 2:
        raise ShapeError(
            f"{name} has shape {tuple(tensor.shape)}, but a kernel needs points (n, d). "
            f"For n numbers use {name}.reshape(-1, 1)."
        )
    return tensor
