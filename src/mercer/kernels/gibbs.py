"""Gibbs' kernel, whose lengthscale changes from place to place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.kernels.base import POSITIVE_VECTOR, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.operators.maps import Expression, make
from mercer.operators.spec import RowValue

Stretch = Callable[[Tensor], Tensor]
LARGEST_EXPONENT = 40.0  # exp(80), the square, is near the largest float32; an optimiser tries any weights


@dataclass(frozen=True)
class LogLinear:
    """exp of a weighted sum of the columns, which ends at -40 and 40."""

    columns: tuple[int, ...]
    weights: int

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        exponent = (X[..., list(self.columns)] * theta[self.weights].to(X.dtype).unsqueeze(-2)).sum(-1)
        return exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT).exp()


@dataclass(frozen=True)
class FunctionOfRows:
    """A positive function of the chosen columns. The parameters ``names`` of a module come from ``theta[slots]``."""

    columns: tuple[int, ...]
    function: Stretch
    names: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        return self._of(X[..., list(self.columns)], tuple(theta[i] for i in self.slots))

    def _of(self, X: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
        if X.dim() > 2:
            parts = [self._of(x, tuple(p[i] for p in parameters)) for i, x in enumerate(X)]
            return torch.stack(parts) if parts else X.new_empty(X.shape[:-1])
        values: Tensor
        if isinstance(self.function, nn.Module):
            named = {name: p.to(X.dtype) for name, p in zip(self.names, parameters, strict=True)}
            values = torch.func.functional_call(self.function, named, (X,))
        else:
            values = self.function(X)
        if values.shape != X.shape[:1]:
            raise ShapeError(
                f"Gibbs: the function got {len(X)} points, so it must return ({len(X)},) values, but returned "
                f"{tuple(values.shape)}."
            )
        if torch._C._functorch.maybe_current_level() is None and not bool((values > 0.0).all()):
            raise ValueError("Gibbs: the function must return positive values; end it with exp or softplus.")
        return values


class Gibbs(Kernel):
    r"""Gibbs kernel: the lengthscale is ``lengthscale * g(x)``, so functions are wavy here and calm there.

    .. math:: k(x, y) = \left(\frac{2 g(x) g(y)}{g(x)^2 + g(y)^2}\right)^{d/2}
        \exp\left(-\frac{1}{g(x)^2 + g(y)^2} \sum_j \frac{(x_j - y_j)^2}{\ell_j^2}\right)

    with ``g(x) = exp(sum_j w_j x_j)``, the sum kept within -40 and 40, or a function of the user's. A constant g of 1
    is :class:`RBF`.

    Args:
        lengthscale: ``()`` or ``(d,)``, > 0, in the units of the columns of X. One value, or one a column (ARD).
        weights: w, ``()`` or ``(d,)``, of any sign, in 1 / units of X. At 0, the default, it stays 0 when other
            hyperparameters are learnt: give what you start from, such as ``Parameter(0.0)``.
        function: g as a function ``(n, d) -> (n,)`` in torch, positive and smooth; weights are not used then. The
            parameters of a ``torch.nn.Module`` get gradients like ``theta``; such a kernel cannot be saved as text.

    Raises:
        ValueError: a lengthscale that is not positive, weights that are not finite; on use, values of ``function`` that
            are not positive.
        TypeError: ``function`` cannot be called.
        ShapeError: on use, ``function`` returns another number of values.

    Cost: one fused pass; a pair costs ``d + 8`` operations and one exponential; g is computed once a point.
    Source: Gibbs, Bayesian Gaussian processes for regression and classification (1997), section 3.10; Paciorek &
    Schervish, Nonstationary covariance functions for Gaussian process regression (NIPS 2004), eq. 4.

    >>> x = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
    >>> Gibbs(weights=0.5)(x).to_dense()[[0, 2], [1, 3]]
    tensor([0.7196, 0.9371])
    """

    domains: ClassVar[dict[str, Domain]] = {
        "lengthscale": POSITIVE_VECTOR,
        "weights": Domain(vector=True, least=-torch.inf, strict=False),
    }

    def __init__(self, lengthscale: Value = 1.0, weights: Value = 0.0, function: Stretch | None = None) -> None:
        self.lengthscale, self.weights, self.function = lengthscale, weights, function
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        if self.function is not None and not callable(self.function):
            raise TypeError(f"Gibbs(function={self.function!r}): give a function of points (n, d), or None.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The Gaussian of lengthscales that are the quadratic means of both points'."""
        s = binder.squared_distance(self.hyperparameter("lengthscale"))
        g, h = binder.row_value(self._stretch(binder))
        total = g * g + h * h
        ratio = 2.0 * (g * h) / total
        # a root and whole powers: a power to a fraction takes as long as ten multiplications
        overlap = ratio ** float(binder.width // 2) * (make("sqrt", ratio) if binder.width % 2 else 1.0)
        return [overlap * make("exp", -(s / total))]

    def _stretch(self, binder: Binder) -> RowValue:
        if self.function is None:
            return LogLinear(binder.all_columns, binder.vector(self.hyperparameter("weights"), "weights"))
        if not isinstance(self.function, nn.Module):
            return FunctionOfRows(binder.all_columns, self.function)
        named = dict(self.function.named_parameters())
        slots = tuple(binder.slot(p, p.dim()) for p in named.values())
        return FunctionOfRows(binder.all_columns, self.function, tuple(named), slots)
