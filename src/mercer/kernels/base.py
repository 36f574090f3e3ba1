"""The base of all kernels: from data to a matrix, and the algebra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mercer.arrays import as_tensor, broadcast_shapes
from mercer.errors import ShapeError
from mercer.kernels.arguments import Arguments
from mercer.kernels.binder import Binder
from mercer.kernels.draws import draw
from mercer.kernels.embedding import MeanEmbedding
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.points import as_points, column_names, require_usable
from mercer.kernels.spectral_measure import SpectralMeasure
from mercer.operators.kernel_operator import KernelOperator
from mercer.operators.maps import Expression
from mercer.operators.operands import Identity

if TYPE_CHECKING:
    from mercer.kernels.gradients import GradientKernel

POSITIVE = Domain()
POSITIVE_VECTOR = Domain(vector=True)
NOT_NEGATIVE = Domain(strict=False)
REAL = Domain(least=-math.inf)


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
        shapes = {t.shape[: t.dim() - e] for t, e in zip(binder.theta, binder.event_dims, strict=True)}
        shapes |= {X.shape[:-2], Y.shape[:-2]}
        batch = broadcast_shapes(*shapes)
        identity = None
        if symmetric and spec.side is not None:  # the same points, but each triangle has values of its own
            symmetric, position = False, torch.arange(X.shape[-2], device=X.device)
            identity = Identity(position, position)
        points = [_expand(t, (*batch, *t.shape[-2:])) for t in ((X,) if symmetric else (X, Y))]
        theta = [
            t.to(X.device).expand((*batch, *t.shape[t.dim() - e :]))
            for t, e in zip(binder.theta, binder.event_dims, strict=True)
        ]
        operator = KernelOperator(*points, *theta, spec=spec, symmetric=symmetric, identity=identity)
        return operator if plan is None else operator.with_plan(plan)

    def mean_embedding(self, X: Any, weights: Any = None) -> MeanEmbedding:
        """The mean of the kernel over a sample, with distances to others; see :class:`mercer.kernels.MeanEmbedding`."""
        return MeanEmbedding(self, X, weights)

    def trace(self, binder: Binder) -> list[Expression]:
        """The terms of the kernel, written with the binder's statistics and hyperparameters."""
        raise NotImplementedError

    def resolve(self, names: Sequence[str]) -> Kernel:
        """The same kernel with column names replaced by positions in ``names``."""
        changes = {name: child.resolve(names) for name, child in self._children() if isinstance(child, Kernel)}
        return self._rebuild(changes) if changes else self

    # frequencies

    def spectrum(self, d: int) -> SpectralMeasure:
        """What frequencies a stationary kernel of points with ``d`` columns is made of.

        Raises:
            TypeError: the kernel is no function of x - y alone, or its frequencies are not known here.
        """
        raise TypeError(
            f"{self!r} has no spectrum: it does not depend on x - y alone, or its frequencies are not known. "
            f"Stationary kernels have one, and their sums, multiples, products and powers."
        )

    def spectral_density(self, omega: Any) -> Tensor:
        r"""The spectral density at angular frequencies (radians per unit of x).

        .. math:: k(x, y) = \int S(\omega) \cos(\omega \cdot (x - y))\, d\omega, \quad
            k(x, x) = \int S(\omega)\, d\omega

        Args:
            omega: ``(..., d)``; for points with one column ``(n, 1)``.

        Returns:
            ``(...)``, in the dtype of ``omega``, computed in float64; infinite where the density is.

        Raises:
            TypeError: the kernel has no spectrum, or one without a density in closed form: constants, kernels of
                some columns only, products.
            ShapeError: ``omega`` is a number.

        >>> from mercer.kernels import RBF
        >>> RBF(lengthscale=2.0).spectral_density(torch.tensor([[0.0], [1.0]]))
        tensor([0.7979, 0.1080])
        """
        at = as_tensor(omega)
        if at.dim() == 0:
            raise ShapeError(
                "spectral_density(omega): omega must be (..., d); for one column use omega.reshape(-1, 1)."
            )
        return self.spectrum(at.shape[-1]).density(at.to(torch.float64)).to(at.dtype)

    def sample_frequencies(self, n: int, d: int, *, method: str = "iid", random_state: Any = None) -> Tensor:
        """Angular frequencies drawn from the spectral density of points with ``d`` columns, ``(n, d)``, float64.

        The mean of ``k(x, x) * cos(omega @ (x - y))`` over the draws is k(x, y), up to their error.

        Args:
            n: how many.
            d: columns.
            method: "iid", "orthogonal" or "quasi"; each row has the same distribution.
            random_state: int, generator or None.

        Raises:
            TypeError: the kernel has no spectrum.
            ValueError: an unknown method.

        >>> from mercer.kernels import Matern
        >>> Matern(lengthscale=0.5).sample_frequencies(1000, 3, random_state=0).shape
        torch.Size([1000, 3])
        """
        spectrum = self.spectrum(d)
        drawn = draw(n, spectrum.widths, spectrum.n_uniforms, method=method, random_state=random_state)
        return spectrum.frequencies(*drawn).omega

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

    # derivatives

    def derivative(self, order_x: int | Sequence[int], order_y: int | Sequence[int]) -> Kernel:
        """The covariance of derivatives of f(x) and f(y): a number for one column, else an order for each.

        See :class:`mercer.kernels.Derivative` for what is smooth enough, and for errors.
        """
        from mercer.kernels.derivative import Derivative

        return Derivative(self, order_x, order_y)

    def with_gradients(self, *, interleaved: bool = True) -> GradientKernel:
        """The covariance of values and gradients together; see :class:`mercer.kernels.GradientKernel`."""
        from mercer.kernels.gradients import GradientKernel

        return GradientKernel(self, interleaved)

    # other libraries

    def to_gpytorch(self, *, batch_shape: Sequence[int] = ()) -> Any:
        """A ``gpytorch.kernels.Kernel`` with this kernel's hyperparameters; see :func:`mercer.kernels.to_gpytorch`."""
        from mercer.kernels.gpytorch_bridge import to_gpytorch

        return to_gpytorch(self, batch_shape=batch_shape)


def _expand(t: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """``t`` itself where it has the shape: what was found out about a tensor's points stays known."""
    return t if t.shape == shape else t.expand(shape)
