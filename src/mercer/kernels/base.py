"""The base of all kernels: from data to a matrix, and the algebra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from mercer.errors import ShapeError
from mercer.kernels.arguments import Arguments
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.points import as_points, column_names, require_usable
from mercer.operators.expression import Expression
from mercer.operators.kernel_operator import KernelOperator

POSITIVE = Domain()
POSITIVE_VECTOR = Domain(vector=True)
NOT_NEGATIVE = Domain(strict=False)


class Kernel(Arguments):
    """A positive semidefinite function k(x, y) of two points.

    ``kernel(X)`` and ``kernel(X, Y)`` give lazy matrices. Kernels add, multiply, scale, take whole powers and look at
    some columns only: ``2.0 * RBF(lengthscale=0.3) + Linear().on([0, 1])``; ``repr`` is what
    :func:`mercer.kernels.parse` reads. A subclass stores its arguments under their names, declares the numeric ones in
    ``domains`` and writes its terms in :meth:`trace`.
    """

    in_grammar: ClassVar[bool] = True  # whether a text can build one: :func:`mercer.kernels.parse`
    __array_ufunc__ = None  # so that numpy leaves ``np.float64(2.0) * kernel`` to us

    # matrices

    def __call__(self, X: Any, Y: Any = None, *, plan: str | None = None) -> KernelOperator:
        """The kernel matrix k(X, Y) as a lazy operator; nothing is computed.

        Args:
            X: ``(n, d)`` or ``(*batch, n, d)``; numpy, pandas, torch or nested lists.
            Y: ``(m, d)``; None means X.
            plan: force an algorithm (:attr:`mercer.operators.Plan.name`).

        Raises:
            ShapeError: X or Y is no matrix of points, or they have different numbers of columns.
            ValueError: NaN, infinity or a number whose square overflows in a column that the kernel uses; columns of
                X and Y with different names.
        """
        names, other_names = column_names(X), column_names(Y)
        if names is not None and other_names is not None and names != other_names:
            raise ValueError(f"k(X, Y): the columns of X are {names}, those of Y are {other_names}; they must agree.")
        X = as_points(X, "X")
        symmetric = Y is None
        Y = X if Y is None else as_points(Y, "Y", like=X)
        if X.shape[-1] != Y.shape[-1]:
            raise ShapeError(f"k(X, Y): X has {X.shape[-1]} columns and Y has {Y.shape[-1]}; they must agree.")
        kernel = self.resolve(names) if names is not None else self
        binder = Binder(X, Y)
        spec = binder.spec(kernel.trace(binder), repr(self))
        require_usable(X, "X", binder.used, names)
        if not symmetric:
            require_usable(Y, "Y", binder.used, names)
        batch = torch.broadcast_shapes(
            X.shape[:-2],
            Y.shape[:-2],
            *(t.shape[: t.dim() - e] for t, e in zip(binder.theta, binder.event_dims, strict=True)),
        )
        points = [_expand(t, (*batch, *t.shape[-2:])) for t in ((X,) if symmetric else (X, Y))]
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
        changes = {name: child.resolve(names) for name, child in self._children() if isinstance(child, Kernel)}
        return self._rebuild(changes) if changes else self

    # algebra

    def __add__(self, other: Kernel | float) -> Kernel:
        from mercer.kernels.algebra import Sum, as_kernel

        return Sum(self, as_kernel(other))

    def __radd__(self, other: float) -> Kernel:
        from mercer.kernels.algebra import Sum, as_kernel

        if isinstance(other, int) and other == 0:
            return self  # what Python's sum() starts with
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


def _expand(t: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """``t`` itself where it has the shape: what was found out about a tensor's points stays known."""
    return t if t.shape == shape else t.expand(shape)
