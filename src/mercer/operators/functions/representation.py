"""The tensors behind a matrix, and derivatives of ``w' (A v)`` by them, whatever kind of matrix it is."""

from collections.abc import Callable
from typing import Any

import torch
from linear_operator import LinearOperator
from torch import Tensor

from mercer.operators.solvers import Matrix

__all__ = ["bilinear_gradients", "take_apart", "tracks_gradient"]

Rebuild = Callable[..., Any]


def take_apart(A: Matrix) -> tuple[Rebuild, tuple[Tensor, ...]]:
    """``rebuild, tensors`` with ``rebuild(*tensors)`` the same matrix; a tensor is its own only part."""
    if isinstance(A, LinearOperator):
        return A.representation_tree(), tuple(A.representation())
    return _same, (A,)


def tracks_gradient(*values: Any) -> bool:
    """Whether gradients are on and any of the tensors and operators wants one."""
    return torch.is_grad_enabled() and any(bool(getattr(value, "requires_grad", False)) for value in values)


def bilinear_gradients(
    rebuild: Rebuild, tensors: tuple[Tensor, ...], wanted: list[bool], W: Tensor, V: Tensor
) -> list[Tensor | None]:
    """The gradient of ``sum(W * (A @ V))`` by each of the tensors that is wanted, None for the others.

    Itself differentiable, also through W and V, where gradients are on (``create_graph``).
    """
    if not any(wanted):
        return [None] * len(tensors)
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases keep apart what A depends on here from what W and V already depend on.
        aliases = [
            t.view_as(t) if create_graph and t.requires_grad else t.detach().requires_grad_(want)
            for t, want in zip(tensors, wanted, strict=True)
        ]
        A = rebuild(*aliases)
        value = (W.to(A.dtype) * (A @ V.to(A.dtype))).sum()
        targets = [alias for alias, want in zip(aliases, wanted, strict=True) if want]
        gradients = iter(torch.autograd.grad(value, targets, create_graph=create_graph, allow_unused=True))
    return [next(gradients) if want else None for want in wanted]


def _same(A: Tensor) -> Tensor:
    return A
