"""From ``sklearn.gaussian_process.kernels`` to the kernels here that say the same, and values back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mercer.errors import ApproximationWarning
from mercer.kernels.algebra import Power, Product, Sum
from mercer.kernels.base import Kernel
from mercer.kernels.constant import Constant
from mercer.kernels.laplacian import Laplacian
from mercer.kernels.linear import Linear
from mercer.kernels.matern import Matern
from mercer.kernels.parameters import Parameter
from mercer.kernels.periodic import Periodic
from mercer.kernels.rational_quadratic import RationalQuadratic
from mercer.kernels.rbf import RBF
from mercer.kernels.sklearn_kernels import SklearnKernel, common_bounds
from mercer.kernels.white import White


@dataclass(frozen=True)
class Link:
    """Which hyperparameter of ours (``path``) is ``value ** power`` of scikit-learn's ``name``."""

    name: str
    path: str
    power: float = 1.0


@dataclass(frozen=True)
class Translation:
    """A scikit-learn kernel and its twin.

    Attributes:
        original: the scikit-learn kernel, untouched.
        kernel: the same in mercer.
        links: how their hyperparameters correspond, in the order of the original's ``theta``.
    """

    original: Any
    kernel: Kernel
    links: tuple[Link, ...]

    def write_back(self, kernel: Kernel) -> Any:
        """A copy of the original with the values that ``kernel``, a copy of the twin, has: for ``kernel_``."""
        from sklearn.base import clone

        values = {h.path: h.value.detach().cpu().numpy() for h in kernel.hyperparameters()}
        copy = clone(self.original)
        for link in self.links:
            value = values[link.path] ** (1.0 / link.power)
            was_number = np.ndim(copy.get_params()[link.name]) == 0
            copy.set_params(**{link.name: float(value.item()) if was_number else value.reshape(-1)})
        return copy


def from_sklearn(kernel: Any, *, n_features: int | None = None) -> Kernel:
    """The kernel here that equals a kernel object of ``sklearn.gaussian_process.kernels``.

    RBF, Matern, RationalQuadratic, ConstantKernel, WhiteKernel, DotProduct, PairwiseKernel of the metric "laplacian",
    ExpSineSquared of a single column, and sums, products and whole powers of them, become mercer's own, bounds included
    (``"fixed"`` becomes ``frozen``); any other is evaluated by scikit-learn (:class:`SklearnKernel`).

    Args:
        kernel: what to translate.
        n_features: columns of the data. ExpSineSquared is :class:`Periodic` only where this is 1: of several columns it
            takes the Euclidean distance.

    Raises:
        TypeError: no such kernel.

    >>> from sklearn.gaussian_process import kernels as theirs
    >>> from_sklearn(2.0 * theirs.RBF(0.5, length_scale_bounds="fixed"))
    Constant(value=Parameter(2.0)) * RBF(lengthscale=Parameter(0.5, frozen=True))
    """
    return translate(kernel, n_features=n_features).kernel


def translate(kernel: Any, *, n_features: int | None = None) -> Translation:
    """As :func:`from_sklearn`, with how the hyperparameters correspond."""
    twin, links = _twin(kernel, n_features)
    order = {h.name: i for i, h in enumerate(getattr(kernel, "hyperparameters", ()))}
    return Translation(kernel, twin, tuple(sorted(links, key=lambda link: order[link.name])))


def _twin(kernel: Any, n_features: int | None) -> tuple[Kernel, list[Link]]:
    from sklearn.gaussian_process import kernels as theirs

    kind = type(kernel)
    if kind is theirs.Matern and np.isinf(kernel.nu):
        kind = theirs.RBF
    if kind in (theirs.Sum, theirs.Product):
        left, right = _twin(kernel.k1, n_features), _twin(kernel.k2, n_features)
        links = _under(left[1], "k1", "left") + _under(right[1], "k2", "right")
        return (Sum if kind is theirs.Sum else Product)(left[0], right[0]), links
    if kind is theirs.Exponentiation and float(kernel.exponent).is_integer() and kernel.exponent >= 1:
        inner, links = _twin(kernel.kernel, n_features)
        return Power(inner, int(kernel.exponent)), _under(links, "kernel", "kernel")
    leaf = _leaves(theirs).get(kind)
    if leaf is not None and _has_twin(kernel, n_features):
        build, names = leaf
        arguments = {ours: _parameter(kernel, name, power) for name, ours, power in names}
        return build(kernel, arguments), [Link(name, ours, power) for name, ours, power in names]
    adapter = SklearnKernel(kernel)
    return adapter, [Link(h.name, f"kernel__{h.name}") for h in kernel.hyperparameters]


def _has_twin(kernel: Any, n_features: int | None) -> bool:
    """Whether the twin is one for these arguments and this data."""
    name = type(kernel).__name__
    if name == "PairwiseKernel":
        return bool(kernel.metric == "laplacian" and not kernel.pairwise_kernels_kwargs)
    return name != "ExpSineSquared" or n_features == 1


Build = Callable[[Any, dict[str, Parameter]], Kernel]


def _leaves(theirs: Any) -> dict[Any, tuple[Build, list[tuple[str, str, float]]]]:
    """For each class: how to build the twin, and (their name, our name, power) of each hyperparameter."""
    scale = ("length_scale", "lengthscale", 1.0)
    return {
        theirs.RBF: (lambda k, a: RBF(**a), [scale]),
        theirs.Matern: (lambda k, a: Matern(nu=float(k.nu), **a), [scale]),
        theirs.RationalQuadratic: (lambda k, a: RationalQuadratic(**a), [scale, ("alpha", "alpha", 1.0)]),
        theirs.ConstantKernel: (lambda k, a: Constant(**a), [("constant_value", "value", 1.0)]),
        theirs.WhiteKernel: (lambda k, a: White(**a), [("noise_level", "noise", 1.0)]),
        theirs.ExpSineSquared: (lambda k, a: Periodic(**a), [scale, ("periodicity", "period", 1.0)]),
        theirs.PairwiseKernel: (lambda k, a: Laplacian(**a), [("gamma", "lengthscale", -1.0)]),
        theirs.DotProduct: (lambda k, a: Linear(Parameter(1.0, frozen=True), **a), [("sigma_0", "bias", 2.0)]),
    }


def _parameter(kernel: Any, name: str, power: float) -> Parameter:
    """A hyperparameter with its bounds, raised to a power."""
    hyperparameter = getattr(kernel, f"hyperparameter_{name}")
    value = np.asarray(getattr(kernel, name), dtype=np.float64) ** power
    plain = value.tolist()
    if hyperparameter.fixed:
        return Parameter(plain, frozen=True)
    low, high = common_bounds(hyperparameter)
    if len(np.unique(np.atleast_2d(hyperparameter.bounds), axis=0)) > 1:
        warnings.warn(
            f"{kernel!r}: {name} has bounds of its own for each column; ({low:g}, {high:g}) is used for all.",
            ApproximationWarning,
            stacklevel=2,
        )
    low, high = sorted((low**power, high**power))
    return Parameter(plain, bounds=(low, high))


def _under(links: Sequence[Link], name: str, path: str) -> list[Link]:
    return [Link(f"{name}__{link.name}", f"{path}__{link.path}", link.power) for link in links]
