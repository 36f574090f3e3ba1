"""The kernel of a Gaussian process as its optimiser sees it: logarithms within bounds, a matrix, its own noise."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from mercer.errors import ApproximationWarning
from mercer.kernels import Constant, Kernel, Scaled, Sum, White, parse
from mercer.kernels.sklearn_kernels import SklearnKernel
from mercer.kernels.sklearn_translation import Translation, translate

__all__ = [
    "Array",
    "Covariance",
    "MercerCovariance",
    "as_covariance",
    "as_dense",
    "log_prior",
    "matrix_and_noise",
    "split_noise",
    "with_log_prior",
]

Array = np.ndarray[Any, Any]


class Covariance(Protocol):
    """A kernel with hyperparameters. ``theta`` holds the natural logarithms of those that are learnt.

    Hyperparameters that may be negative (``signed``) stand in it as they are.
    """

    @property
    def kernel(self) -> Any:
        """What estimators show as ``kernel_``."""

    @property
    def theta(self) -> Array:
        """``(p,)``."""

    @property
    def bounds(self) -> Array:
        """Of theta, ``(p, 2)``."""

    @property
    def names(self) -> list[str]:
        """The hyperparameter of each entry of theta."""

    @property
    def signed(self) -> list[bool]:
        """Which entries of theta are no logarithms."""

    def at(self, theta: Array) -> Self:
        """The same with other values."""

    def matrix(self, points: Any) -> tuple[Any, Tensor]:
        """k(X, X) in float64 without its own noise, as an operator or a tensor, and that noise, a variance."""

    def cross(self, points: Any, others: Any) -> Any:
        """k(X, Y) in float64, an operator or a tensor."""

    def diagonal(self, points: Any, *, with_noise: bool) -> Tensor:
        """k(x, x) of each point in float64, with or without the kernel's own noise."""


@dataclass(frozen=True)
class Slot:
    """Where a hyperparameter stands in theta: ``value = exp(power * theta[start:stop])``, or as it is (``signed``)."""

    path: str
    name: str
    size: int
    is_number: bool
    power: float = 1.0
    signed: bool = False


@dataclass(frozen=True)
class MercerCovariance:
    """A kernel of mercer, or one of scikit-learn that has a twin here (``translation``).

    ``tolerance`` is the error that products with its matrix may make; None is round-off.
    """

    own: Kernel
    translation: Translation | None = None
    tolerance: float | None = None

    @property
    def kernel(self) -> Any:
        """The kernel, in the library it came from."""
        return self.own if self.translation is None else self.translation.write_back(self.own)

    @cached_property
    def slots(self) -> list[Slot]:
        """The hyperparameters that are learnt, in the order of theta."""
        found = {h.path: h for h in self.own.hyperparameters() if not h.frozen}
        if self.translation is None:
            return [
                Slot(h.path, h.path, h.value.numel(), h.value.dim() == 0, signed=h.domain.signed)
                for h in found.values()
            ]
        return [
            Slot(link.path, link.name, found[link.path].value.numel(), found[link.path].value.dim() == 0, link.power)
            for link in self.translation.links
            if link.path in found
        ]

    @property
    def names(self) -> list[str]:
        """The hyperparameter of each entry of theta."""
        return [slot.name for slot in self.slots for _ in range(slot.size)]

    @property
    def signed(self) -> list[bool]:
        """Which entries of theta are no logarithms."""
        return [slot.signed for slot in self.slots for _ in range(slot.size)]

    @property
    def theta(self) -> Array:
        """Logarithms; one at 0 starts from the least that its bounds allow."""
        found = {h.path: h for h in self.own.hyperparameters()}
        parts = []
        for slot in self.slots:
            h = found[slot.path]
            value = h.value.detach().cpu().reshape(-1).numpy()
            if not slot.signed:
                value = np.log(np.where(value > 0, value, h.bounds[0])) / slot.power
            parts.append(value)
        return np.concatenate(parts) if parts else np.empty(0)

    @property
    def bounds(self) -> Array:
        """Of theta."""
        if self.translation is not None:
            theirs: Array = self.translation.original.bounds
            return theirs
        found = {h.path: h for h in self.own.hyperparameters()}
        of_slots = [(slot.size, slot.signed, found[slot.path].bounds) for slot in self.slots]
        rows = [bounds if signed else np.log(bounds) for size, signed, bounds in of_slots for _ in range(size)]
        return np.array(rows).reshape(-1, 2)

    def at(self, theta: Array) -> MercerCovariance:
        """The same with other values."""
        return replace(self, own=self.with_tensor(torch.as_tensor(theta, dtype=torch.float64)))

    def with_tensor(self, theta: Tensor) -> Kernel:
        """The kernel at theta, a tensor whose graph it keeps."""
        values: dict[str, Any] = {}
        start = 0
        for slot in self.slots:
            part = theta[start : start + slot.size]
            part = part if slot.signed else (part * slot.power).exp()
            plain = part[0] if slot.is_number else part
            values[slot.path] = plain if theta.requires_grad else plain.tolist()
            start += slot.size
        return self.own.with_values(values)

    def matrix(self, points: Any) -> tuple[Any, Tensor]:
        """The operator of the part without noise, and the noise."""
        K, noise = matrix_and_noise(self.own, points.to(torch.float64))
        return self.allow(K), noise

    def allow(self, K: Any) -> Any:
        """A matrix of this kernel whose products may make the error of ``tolerance``."""
        return K if self.tolerance is None else K.with_plan(None, tolerance=self.tolerance)

    def cross(self, points: Any, others: Any) -> Any:
        """The operator k(X, Y)."""
        return self.own(points.to(torch.float64), others.to(torch.float64))

    def diagonal(self, points: Any, *, with_noise: bool) -> Tensor:
        """k(x, x)."""
        K, noise = self.matrix(points)
        values = torch.as_tensor(K.diagonal())
        return values + noise if with_noise else values


def matrix_and_noise(kernel: Kernel, points: Tensor) -> tuple[Any, Tensor]:
    """The operator of the part of a kernel without noise, and the variance of the noise; differentiable."""
    rest, noise = split_noise(kernel)
    return (Constant(0.0) if rest is None else rest)(points), noise.to(points.device)


def log_prior(kernel: Kernel) -> Tensor | None:
    """The log density of the values of a kernel under their priors; None where it has none."""
    parts = [h.prior.log_density(h.value) for h in kernel.hyperparameters() if h.prior is not None and not h.frozen]
    return torch.stack(parts).sum() if parts else None


def with_log_prior(total: Tensor, kernel: Kernel) -> Tensor:
    """A log likelihood plus :func:`log_prior`; differentiable."""
    prior = log_prior(kernel)
    return total if prior is None else total + prior.to(total.device)


def as_dense(matrix: Any) -> Tensor:
    """What :class:`Covariance` gives, a tensor or an operator, as a tensor."""
    return matrix if isinstance(matrix, Tensor) else torch.as_tensor(matrix.to_dense())


def split_noise(kernel: Kernel) -> tuple[Kernel | None, Tensor]:
    """A kernel as (the rest, variance of the white noise added to it); the rest is None where there is only noise.

    Solvers do much better when they know the noise. Noise inside a product or on columns stays where it is.
    """
    zero = torch.zeros((), dtype=torch.float64)
    match kernel:
        case White():
            return None, kernel.hyperparameter("noise")
        case Scaled():
            rest, noise = split_noise(kernel.kernel)
            scaled = None if rest is None else Scaled(rest, kernel.scale)
            return (kernel, zero) if rest is kernel.kernel else (scaled, kernel.hyperparameter("scale") * noise)
        case Sum():
            left, left_noise = split_noise(kernel.left)
            right, right_noise = split_noise(kernel.right)
            if left is kernel.left and right is kernel.right:
                return kernel, zero
            rest = right if left is None else left if right is None else Sum(left, right)
            return rest, left_noise + right_noise
    return kernel, zero


def as_covariance(kernel: Any, names: Sequence[str] | None, *, n_features: int | None = None) -> Covariance:
    """What an estimator's ``kernel`` argument is to its optimiser.

    Args:
        kernel: a kernel of mercer, its text, or a kernel object of ``sklearn.gaussian_process``.
        names: of the columns, for kernels that look at some by name.
        n_features: columns of the data, where known: some kernels of scikit-learn have a twin for a single one only.

    Raises:
        TypeError: something else.
    """
    from mercer.learn.sklearn_covariance import SklearnCovariance

    if isinstance(kernel, str):
        kernel = parse(kernel)
    if isinstance(kernel, SklearnKernel):
        kernel = kernel.kernel
    if isinstance(kernel, Kernel):
        return MercerCovariance(kernel if names is None else kernel.resolve(names))
    if not hasattr(kernel, "clone_with_theta"):
        raise TypeError(
            f"kernel must be a kernel of mercer, its text, or a kernel object of sklearn.gaussian_process, "
            f"not {type(kernel).__name__}."
        )
    if getattr(kernel, "requires_vector_input", False):
        with warnings.catch_warnings():
            # Bounds of a single column are kept here: they are read from the original.
            warnings.simplefilter("ignore", ApproximationWarning)
            try:
                translation = translate(kernel, n_features=n_features)
            except TypeError:
                return SklearnCovariance(kernel)
        if not any(
            isinstance(part, SklearnKernel) for part in (translation.kernel, *translation.kernel.get_params().values())
        ):
            return MercerCovariance(translation.kernel, translation)
    return SklearnCovariance(kernel)
