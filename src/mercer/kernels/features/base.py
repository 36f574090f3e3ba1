"""What every feature map has in common."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.arguments import Arguments
from mercer.kernels.base import Kernel
from mercer.kernels.draws import METHODS
from mercer.kernels.points import as_points

if TYPE_CHECKING:
    from mercer.kernels.features.feature_kernel import FeatureKernel


class Features(Arguments):
    """A map phi of points such that <phi(x), phi(y)> is, or approximates, ``kernel``; complete once constructed.

    ``features(X)`` is differentiable in X and in the hyperparameters of the kernel; whatever was drawn stays the same
    when those change through ``with_values`` or ``learnable``. Two maps are equal only if they are one object.

    Attributes:
        kernel: what it stands for.
        d: columns of the points.
        n_features: columns of the features.
    """

    kernel: Kernel
    d: int
    n_features: int

    def __call__(self, X: Any) -> Tensor:
        """The features of points.

        Args:
            X: ``(n, d)`` or ``(*batch, n, d)``; numpy, pandas, torch or nested lists.

        Returns:
            ``(*batch, n, n_features)``, in the dtype and on the device of X. Half types are computed in float32.

        Raises:
            ShapeError: X is no matrix of points, or has another number of columns; a batch of hyperparameters.
        """
        points = as_points(X, "X")
        if points.shape[-1] != self.d:
            raise ShapeError(f"{type(self).__name__} is for points with {self.d} columns; X has {points.shape[-1]}.")
        if self.is_batched:
            raise ShapeError(
                f"{self!r} has a batch of hyperparameters. features(X) takes one of each; "
                f"features.as_kernel()(X) takes batches."
            )
        wide = points.float() if points.dtype in (torch.float16, torch.bfloat16) else points
        return self.compute(wide).to(points.dtype)

    def compute(self, X: Tensor) -> Tensor:
        """The features of points ``(*batch, n, d)`` in float32 or float64."""
        raise NotImplementedError

    @property
    def is_batched(self) -> bool:
        """Whether some hyperparameter has a batch of values; the kernel of the features takes them one by one."""
        return any(h.value.dim() > int(h.domain.vector) for h in self.hyperparameters())

    def as_kernel(self) -> FeatureKernel:
        """The kernel <phi(x), phi(y)>: of finite rank, and composed like any other."""
        from mercer.kernels.features.feature_kernel import FeatureKernel

        return FeatureKernel(self)

    def _rebuild(self, changes: Mapping[str, Any]) -> Self:
        # A copy keeps what was drawn, also where random_state is None.
        other = copy.copy(self)
        for name, value in changes.items():
            setattr(other, name, value)
        other.check()
        return other

    def __sklearn_clone__(self) -> Self:
        """What ``sklearn.base.clone`` gives: the same map, drawn once; without this, None would draw again."""
        return self.with_values({})

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def require_count(owner: str, name: str, value: Any, *, multiple: int = 1) -> None:
    """Raise unless ``value`` is a whole number >= 1, and a multiple of ``multiple``.

    Raises:
        TypeError: no whole number.
        ValueError: too small, or no multiple.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{owner}({name}={value!r}): {name} must be a whole number.")
    if value < 1 or value % multiple:
        kind = "even and " if multiple == 2 else ""
        raise ValueError(f"{owner}({name}={value}): {name} must be {kind}>= {multiple}.")


def require_method(owner: str, method: Any) -> None:
    """Raise ValueError for a way of drawing that does not exist."""
    if method not in METHODS:
        raise ValueError(f"{owner}(method={method!r}): choose from: {', '.join(METHODS)}.")
