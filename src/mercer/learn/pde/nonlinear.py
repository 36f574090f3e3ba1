"""Nonlinear parts of differential operators: functions of the solution and of derivatives of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mercer.arguments import check_finite_number
from mercer.learn.pde.operators import DifferentialOperator, Identity, Summand, as_operator

__all__ = ["Nonlinear", "Power"]


class Nonlinear(Summand):
    """A function of the solution and of derivatives of it, point by point: ``Laplacian() + Nonlinear(torch.sin)``.

    In a file it is its name alone: a solver that is loaded predicts, and to ``fit`` again it needs the function.

    Args:
        fn: elementwise function of as many arrays as ``of`` has operators.
        dfn: gives its partial derivatives: an array for one operator, a tuple for more. None: ``fn`` is written in
            torch, and its derivatives come from there.
        of: linear operators whose values at the solution are the arguments; default the solution itself. Burgers:
            ``Nonlinear(lambda u, slope: u * slope, of=(Identity(), D("x")))``.
    """

    _not_saved = ("fn", "dfn")
    fn: Callable[..., Any] | None

    def __init__(
        self, fn: Callable[..., Any], dfn: Callable[..., Any] | None = None, *, of: Sequence[Any] = ()
    ) -> None:
        self.fn, self.dfn, self.name = fn, dfn, getattr(fn, "__name__", "fn")
        self.of = tuple(as_operator(o) for o in of) or (Identity(),)
        if not all(operator.is_linear for operator in self.of):
            raise TypeError("Nonlinear(of=...) takes linear operators; what is nonlinear belongs into fn.")

    def __repr__(self) -> str:
        return f"Nonlinear({self.name})"

    def _restore(self) -> None:
        self.fn = self.dfn = None

    def _value(self, arguments: Sequence[Any]) -> Any:
        if self.fn is None:
            raise ValueError(f"{self!r} comes from a file, which holds no functions: give the operator anew.")
        return self.fn(*arguments)

    def values(self, arguments: Sequence[np.ndarray[Any, Any]]) -> tuple[Any, list[Any]]:
        """The function and its partial derivatives at arrays."""
        if self.dfn is not None:
            slopes = self.dfn(*arguments)
            slopes = list(slopes) if isinstance(slopes, tuple | list) else [slopes]
            if len(slopes) != len(self.of):
                raise ValueError(
                    f"{self!r}: dfn gave {len(slopes)} derivatives for {len(self.of)} arguments: return one each."
                )
            return np.asarray(self._value(arguments)), [
                np.array(np.broadcast_to(s, arguments[0].shape)) for s in slopes
            ]
        leaves = [torch.tensor(a, requires_grad=True) for a in arguments]
        try:
            value = self._value(leaves)
        except RuntimeError as error:
            if "numpy()" not in str(error):
                raise
            value = None  # NumPy's functions cannot be called on tensors with a graph
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{self!r}: without dfn, fn has to be written in torch, so that it can be differentiated.")
        slopes = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        return value.detach().numpy(), [
            np.zeros_like(a) if s is None else s.numpy() for a, s in zip(arguments, slopes, strict=True)
        ]

    def torch_values(self, arguments: Sequence[Any]) -> Any:
        """The function at tensors, with their graph, where it can be run on them; for gradients by all unknowns."""
        if self.dfn is None:
            return self._value(arguments)
        value, slopes = self.values([a.detach().cpu().numpy() for a in arguments])
        total = arguments[0].new_tensor(np.array(value))
        for a, slope in zip(arguments, slopes, strict=True):
            total = total + a.new_tensor(np.array(slope)) * (a - a.detach())
        return total

    def require_start(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError where the function or a slope of it is no number at u = 0, where all methods begin."""
        with np.errstate(all="ignore"):
            value, slopes = self.values([np.zeros(shape) for _ in self.of])
        if not all(np.isfinite(part).all() for part in (value, *slopes)):
            raise ValueError(
                f"{self!r}: the nonlinear term or its slope is NaN or infinite at u = 0, where the solution begins. "
                f"Write the equation for u + c, or give another form of the term."
            )

    def as_operator(self) -> DifferentialOperator:
        """The operator that has this one function."""
        return DifferentialOperator((), [(1.0, self)])


class Power(Nonlinear):
    """``u ** exponent``; unlike a function of one's own it is whole in a file.

    >>> from mercer.learn.pde import Laplacian
    >>> Laplacian() + Power(3) - Identity()  # Allen-Cahn
    Laplacian() + -1 * Identity() + Power(3)
    """

    def __init__(self, exponent: float) -> None:
        check_finite_number("Power: the exponent", exponent)
        self.exponent = exponent
        self.of = (Identity(),)

    def __repr__(self) -> str:
        return f"Power({self.exponent!r})"

    def values(self, arguments: Sequence[np.ndarray[Any, Any]]) -> tuple[Any, list[Any]]:
        """The power and its derivative."""
        (u,) = arguments
        return u**self.exponent, [self.exponent * u ** (self.exponent - 1)]

    def torch_values(self, arguments: Sequence[Any]) -> Any:
        """The power."""
        return arguments[0] ** self.exponent
