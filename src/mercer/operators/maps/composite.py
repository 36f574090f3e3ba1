"""Ops that simpler ones compute, and whose slopes simpler ones give: autograd records one step, not each of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mercer.operators.maps.expression import Expression, evaluate, leaf

__all__ = ["composite"]

Formula = Callable[[Expression, Any], Expression]

ARGUMENT = leaf("statistic", 0)


class _Composite(torch.autograd.Function):
    generate_vmap_rule = True

    # Formulas come as functions: torch would look at expressions among the arguments as if they were tensors.
    @staticmethod
    def forward(x: Tensor, of: Formula, slope: Formula, values: tuple[Hashable, ...]) -> tuple[Tensor, ...]:
        return tuple(evaluate(_formulas(of, values), {ARGUMENT: x}))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, _, ctx.slope, ctx.values = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        slopes = evaluate(_formulas(ctx.slope, ctx.values), {ARGUMENT: x})
        total = sum(g * slope for g, slope in zip(grads, slopes, strict=True))
        return total, None, None, None  # type: ignore[return-value]


def composite(x: Tensor, of: Formula, slope: Formula, values: tuple[Hashable, ...]) -> tuple[Tensor, ...]:
    """Members of a family of functions at ``x``, which share what their formulas share.

    Args:
        x: any shape.
        of: gives the member ``value`` of the family at an expression.
        slope: gives its derivative.
        values: which members.

    Returns:
        a tensor like ``x`` for each of ``values``.
    """
    result: tuple[Tensor, ...] = _Composite.apply(x, of, slope, values)  # type: ignore[no-untyped-call]
    return result


@lru_cache(maxsize=64)
def _formulas(family: Formula, values: tuple[Hashable, ...]) -> tuple[Expression, ...]:
    return tuple(family(ARGUMENT, value) for value in values)
