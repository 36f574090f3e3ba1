"""The exponential dot product kernel: attention before its rows are normalised."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression


class Softmax(Kernel):
    r"""Exponential dot product kernel, the one that softmax attention normalises by rows.

    .. math:: k(x, y) = \exp\left(\sum_j \frac{x_j y_j}{\ell_j^2}\right)

    Attention with head size d has ``lengthscale = d ** 0.25``: ``K @ V`` over ``K @ 1`` of ``K = k(Q, keys)``. Divided
    by ``sqrt(k(x, x) k(y, y))`` it is :class:`RBF`.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).

    Raises:
        ValueError: a lengthscale that is not positive; at binding, an entry that overflows.

    Cost: one fused pass; a pair costs ``d`` multiply-adds and one exponential. Binding reads the data once; where the
    norms alone cannot exclude an overflow of ``k(X, Y)``, all dot products are computed once.
    Source: Choromanski et al., Rethinking attention with Performers (ICLR 2021), eq. 5.

    >>> Softmax(lengthscale=2.0)(torch.ones(1, 4), torch.ones(1, 4)).to_dense()
    tensor([[2.7183]])
    """

    domains: ClassVar[dict[str, Domain]] = {"lengthscale": POSITIVE_VECTOR}

    def __init__(self, lengthscale: Value = 1.0) -> None:
        self.lengthscale = lengthscale
        self.check()

    def trace(self, binder: Binder) -> list[Expression]:
        """exp(s)."""
        lengthscale = self.hyperparameter("lengthscale")
        if torch._C._functorch.maybe_current_level() is None and binder.X.numel() and binder.Y.numel():
            _require_no_overflow(binder, lengthscale.detach())
        return [torch.exp(binder.dot_product(lengthscale))]  # type: ignore[list-item, arg-type]


def _require_no_overflow(binder: Binder, lengthscale: Tensor) -> None:
    columns = list(binder.all_columns)
    scale = lengthscale if lengthscale.dim() == 0 else lengthscale.unsqueeze(-2).to(binder.X.device)
    X, Y = (Z.detach()[..., columns].double() / scale for Z in (binder.X, binder.Y))
    # Tiles work in float32 at least; half types that overflow on the way out are infinite, as everywhere in torch.
    limit = math.log(torch.finfo(torch.promote_types(binder.X.dtype, torch.float32)).max) - 1.0
    if not (bool(torch.isfinite(X).all()) and bool(torch.isfinite(Y).all())):
        return  # the kernel says where, once it is bound
    largest = float((X.norm(dim=-1).amax(-1) * Y.norm(dim=-1).amax(-1)).max())
    if limit < largest < math.inf and binder.X is not binder.Y:  # k(x, x) is one of the entries when both are the same
        largest = max(float((part @ Y.mT).max()) for part in X.split(1024, -2))
    if limit < largest < math.inf:  # NaN and infinity among the points are refused by name after this
        raise ValueError(
            f"Softmax: the largest dot product is {largest:.4g} in lengthscales, and exp of it overflows "
            f"{binder.X.dtype} (limit {limit:.4g}). Use a larger lengthscale, or normalise the points; "
            f"RBF is the same kernel with k(x, x) = 1."
        )
