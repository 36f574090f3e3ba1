"""What the layers of a deep kernel machine hand on: inner products, of inducing points and of the rows at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.gram import IndefiniteGram

__all__ = ["GramState", "check_state", "gram_factor"]

_ROUND_OFF = 1e-5  # of the mean of ii's diagonal: t this far below 0 is no inner product of a row with itself


@dataclass(frozen=True)
class GramState:
    """Inner products (or kernel values) in one layer.

    Attributes:
        ii: of the inducing points with each other, ``(P, P)``.
        ti: of the rows with the inducing points, ``(*rows, P)``. Rows of images have places too: ``(n, h, w, P)``.
        t: of each row with itself, ``(*rows,)``.

    Raises:
        ShapeError: sizes that do not fit together.
    """

    ii: Tensor
    ti: Tensor
    t: Tensor

    def __post_init__(self) -> None:
        P = self.ii.shape[-1]
        if self.ii.dim() != 2 or self.ii.shape[0] != P:
            raise ShapeError(f"GramState: ii must be square (P, P), not of shape {tuple(self.ii.shape)}.")
        if self.ti.shape[-1] != P or self.ti.shape[:-1] != self.t.shape:
            raise ShapeError(
                f"GramState: with ii of shape {tuple(self.ii.shape)}, ti must be (*rows, {P}) and t (*rows,), not "
                f"{tuple(self.ti.shape)} and {tuple(self.t.shape)}."
            )

    @property
    def n_inducing(self) -> int:
        """P."""
        return int(self.ii.shape[0])

    def whitened(self, asking: str = "GramState") -> tuple[Tensor, Tensor, Tensor]:
        """``C`` with ``C C' = ii``, ``W = ti C'^-1`` and what W leaves, ``t - |W|^2 >= 0``; differentiable.

        Raises:
            IndefiniteGram: ii is not positive definite, or t is negative; the message begins with ``asking``.
        """
        C = gram_factor(self.ii, asking)
        # The inverse of a triangle is as accurate as solving with it, and products take half the time of solves.
        inverse = torch.linalg.solve_triangular(C, torch.eye(len(C), dtype=C.dtype, device=C.device), upper=False)
        W = self.ti @ inverse.mT
        if bool((self.t.detach() < -_ROUND_OFF * self.ii.detach().diagonal().mean()).any()):
            least = float(self.t.detach().min())
            raise IndefiniteGram(f"{asking}: t holds {least:.3g}, and inner products of rows with themselves are >= 0.")
        return C, W, (self.t - W.square().sum(-1)).clamp(min=0.0)


def check_state(below: Any, n_inducing: int, name: str, dtype: torch.dtype) -> None:
    """Raise ShapeError or TypeError unless a layer of this size and type can take what it is given."""
    if not isinstance(below, GramState):
        raise ShapeError(f"{name} takes a GramState, which FeaturesToGram gives, not {type(below).__name__}.")
    if below.n_inducing != n_inducing:
        raise ShapeError(f"{name} has {n_inducing} inducing points, but what it is given has {below.n_inducing}.")
    if below.ii.dtype != dtype:
        raise TypeError(f"{name} is of {dtype}, but what it is given of {below.ii.dtype}: give all layers one dtype.")


def gram_factor(K: Tensor, asking: str) -> Tensor:
    """The Cholesky factors of kernel matrices ``(*batch, P, P)``; differentiable.

    Raises:
        IndefiniteGram: it has none; the message gives the smallest eigenvalue.
        TypeError: half precision.
    """
    if K.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(f"{asking}: {K.dtype} is too coarse to factorise kernel matrices. Use float32 or float64.")
    lower, failed = torch.linalg.cholesky_ex(K)
    if bool(failed.any()):
        values = K.detach().reshape(-1, *K.shape[-2:])[int(failed.flatten().argmax())]
        kind = f"{asking}: the {len(values)} x {len(values)} kernel matrix"
        if not bool(torch.isfinite(values).all()):
            raise IndefiniteGram(f"{kind} holds NaN or infinity. Scale the inputs, or take a smaller learning rate.")
        eigenvalues = torch.linalg.eigvalsh(values)
        raise IndefiniteGram(
            f"{kind} is not positive definite: its smallest eigenvalue is {float(eigenvalues[0]):.3g}, the largest "
            f"{float(eigenvalues[-1]):.3g}. Do points coincide? Give fewer of them, more jitter or noise, or float64."
        )
    result: Tensor = lower
    return result
