"""The link of a hierarchical model: a function of the learnt features, as one can call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import as_tensor, like
from mercer.errors import ShapeError
from mercer.learn.descent import path_over_features
from mercer.learn.first_stage import best_of
from mercer.learn.link_basis import Basis
from mercer.learn.primal import StoredRows

__all__ = ["Link", "learn_link"]


@dataclass(frozen=True)
class Link:
    """``y = shift + scale <weights, basis(t)>``.

    Attributes:
        basis: functions of the features.
        weights: ``(r,)``.
        shift: and ``scale``: the units of y.
        n_features: p, of which it is a function.
    """

    basis: Basis
    weights: Tensor
    shift: float = 0.0
    scale: float = 1.0
    n_features: int = 1

    def __call__(self, t: Any) -> Any:
        """The prediction at one feature ``()``, ``(m,)`` of it, or ``(m, p)``, in the kind of what is given.

        Raises:
            ShapeError: another number of features than was learnt.
        """
        values = as_tensor(t, dtype=torch.float64, device=self.weights.device)
        rows = values if values.dim() == 2 else values.reshape(-1, 1)
        if values.dim() > 2 or rows.shape[1] != self.n_features:
            raise ShapeError(f"link: t must be (m, {self.n_features}) learnt features, not {tuple(values.shape)}.")
        return like(self.evaluate(rows).reshape(values.shape[:1]), t)

    def evaluate(self, t: Tensor) -> Tensor:
        """The same for tensors ``(m, p)`` in float64: ``(m,)``."""
        return self.shift + self.scale * (self.basis(t) @ self.weights)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Values ``(m,)`` and derivatives in each feature ``(m, p)``."""
        with torch.enable_grad():
            moved = t.detach().requires_grad_()
            values = self.evaluate(moved)
            (found,) = torch.autograd.grad(values.sum(), moved)
        return values.detach(), found


def learn_link(
    basis: Basis, t: Tensor, y: Tensor, *, alpha: float | None, n_steps: int | None = None
) -> tuple[Link, float, Tensor]:
    """Ridge regression of y ``(n,)`` on the basis functions: the link, its penalty, and left-out errors ``(n,)``."""
    F = basis(t)
    rows = StoredRows(len(F), F.shape[1], lambda block: F[block])
    found = best_of(path_over_features(rows, y[:, None], None, n_steps), alpha)
    return Link(basis, found.coefficients[:, 0], n_features=t.shape[1]), found.alpha, found.errors[:, 0]
