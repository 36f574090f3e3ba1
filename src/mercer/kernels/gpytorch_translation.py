"""From GPyTorch's kernels to the kernels here that say the same."""

from __future__ import annotations

import functools
import math
import operator
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mercer.errors import ApproximationWarning
from mercer.kernels.algebra import Scaled
from mercer.kernels.base import Kernel
from mercer.kernels.constant import Constant
from mercer.kernels.gpytorch_bridge import import_gpytorch
from mercer.kernels.gpytorch_kernels import GPyTorchKernel
from mercer.kernels.linear import Linear
from mercer.kernels.matern import Matern
from mercer.kernels.parameters import DEFAULT_BOUNDS, Gamma, LogNormal, Parameter, Prior
from mercer.kernels.periodic import Periodic
from mercer.kernels.polynomial import Polynomial
from mercer.kernels.rational_quadratic import RationalQuadratic
from mercer.kernels.rbf import RBF
from mercer.kernels.spectral import SpectralMixture


def from_gpytorch(kernel: Any) -> Kernel:
    """The kernel here that equals a ``gpytorch.kernels.Kernel``, with its current values.

    Kernels of the table below, their sums, products, scales and ``active_dims`` become mercer's own, batches included:
    bounds from intervals, LogNormal and Gamma priors, and ``frozen`` from ``requires_grad`` come along, and values are
    copied. Any other is evaluated by GPyTorch, tile by tile, with gradients in X and in its parameters
    (:class:`mercer.kernels.GPyTorchKernel`).

    ============================ =================================================================================
    ``RBFKernel``                ``RBF``
    ``MaternKernel``             ``Matern``
    ``RQKernel``                 ``RationalQuadratic``
    ``LinearKernel``             ``Linear`` with ``lengthscale = variance ** -0.5``
    ``PolynomialKernel``         ``Polynomial``
    ``ConstantKernel``           ``Constant``
    ``SpectralMixtureKernel``    ``SpectralMixture(separable=True)`` with ``lengthscale = 1 / (2 pi scale)``
    ============================ =================================================================================

    Raises:
        MissingExtra: GPyTorch is not installed.
        TypeError: no such kernel, or one with several outputs a point.

    Warns:
        ApproximationWarning: a prior that has no equal here is left out.

    >>> import gpytorch
    >>> from_gpytorch(gpytorch.kernels.RBFKernel(active_dims=[0, 2]).initialize(lengthscale=0.5))
    RBF(lengthscale=0.5).on([0, 2])
    """
    gpytorch = import_gpytorch()
    if not isinstance(kernel, gpytorch.kernels.Kernel):
        raise TypeError(f"from_gpytorch needs a kernel of gpytorch.kernels, not {type(kernel).__name__}.")
    twin = _twin(kernel)
    return twin if kernel.active_dims is None else twin.on(kernel.active_dims.tolist())


def _twin(kernel: Any) -> Kernel:
    """The same kernel of all columns, whatever ``active_dims`` says."""
    if hasattr(kernel, "to_mercer"):
        ours: Kernel = kernel.to_mercer()
        return ours
    translate = TRANSLATIONS.get(type(kernel).__name__) if type(kernel).__module__.startswith("gpytorch.") else None
    return GPyTorchKernel(kernel) if translate is None else translate(kernel)


def _joined(kernel: Any, join: Callable[[Kernel, Kernel], Kernel]) -> Kernel:
    return functools.reduce(join, [from_gpytorch(k) for k in kernel.kernels])


def _mixture(kernel: Any) -> Kernel:
    n = int(kernel.num_mixtures)
    return SpectralMixture(
        n,
        weights=_value(kernel, "mixture_weights"),
        frequencies=_value(kernel, "mixture_means", squeeze=-2),
        lengthscale=_value(kernel, "mixture_scales", squeeze=-2, change=lambda v: 0.5 / (math.pi * v)),
        separable=True,
    )


# How each kernel of GPyTorch is built here; a new kernel of ours that has a twin there adds a line.
TRANSLATIONS: dict[str, Callable[[Any], Kernel]] = {
    "RBFKernel": lambda k: RBF(_scale(k)),
    "MaternKernel": lambda k: Matern(_scale(k), nu=float(k.nu)),
    "RQKernel": lambda k: RationalQuadratic(_scale(k), _value(k, "alpha", squeeze=-1)),
    "LinearKernel": lambda k: Linear(_one(_value(k, "variance", squeeze=-2, change=lambda v: v**-0.5))),
    "PolynomialKernel": lambda k: Polynomial(int(k.power), _value(k, "offset", squeeze=-1), 1.0),
    "PeriodicKernel": lambda k: Periodic(
        _one(_value(k, "lengthscale", squeeze=-2, change=torch.sqrt)), _one(_value(k, "period_length", squeeze=-2))
    ),
    "ConstantKernel": lambda k: Constant(_value(k, "constant", squeeze=-1)),
    "SpectralMixtureKernel": _mixture,
    # a ScaleKernel takes over the active_dims of what it scales
    "ScaleKernel": lambda k: Scaled(_twin(k.base_kernel), _value(k, "outputscale")),
    "AdditiveKernel": lambda k: _joined(k, operator.add),
    "ProductKernel": lambda k: _joined(k, operator.mul),
}


def _scale(kernel: Any) -> Any:
    return _one(_value(kernel, "lengthscale", squeeze=-2))


def _one(value: Any) -> Any:
    """A list of one number as the number: one lengthscale serves all columns."""
    plain = value.value if isinstance(value, Parameter) else value
    if not isinstance(plain, list) or len(plain) != 1:
        return value
    if not isinstance(value, Parameter):
        return plain[0]
    return Parameter(plain[0], value.bounds, value.prior, value.frozen)


def _value(
    kernel: Any, name: str, *, squeeze: int | None = None, change: Callable[[Tensor], Tensor] | None = None
) -> Any:
    """A hyperparameter with what is known about it; ``change`` is a monotonic function from theirs to ours."""
    raw = getattr(kernel, f"raw_{name}")
    constraint = getattr(kernel, f"raw_{name}_constraint", None)
    value = getattr(kernel, name).detach().double()
    if squeeze is not None:
        value = value.squeeze(squeeze)
    value = value if change is None else change(value)
    bounds = DEFAULT_BOUNDS
    if constraint is not None and not (math.isinf(float(constraint.upper_bound.max())) and _is_zero(constraint)):
        ends = torch.stack([constraint.lower_bound.min(), constraint.upper_bound.max()]).double()
        ends = ends if change is None else change(ends)
        low, high = sorted(float(e) for e in ends.clamp(*DEFAULT_BOUNDS))
        bounds = (low, high) if low < high else DEFAULT_BOUNDS
    prior = _prior(kernel, name, changed=change is not None)
    plain: Any = value if kernel.batch_shape else value.tolist()
    if bounds == DEFAULT_BOUNDS and prior is None and raw.requires_grad:
        return plain
    return Parameter(plain, bounds=bounds, prior=prior, frozen=not raw.requires_grad)


def _is_zero(constraint: Any) -> bool:
    return float(constraint.lower_bound.max()) == 0.0


def _prior(kernel: Any, name: str, *, changed: bool) -> Prior | None:
    for _, module, prior, closure, _ in kernel.named_priors():
        if module is not kernel or closure(module) is None or not _is_of(kernel, name, closure):
            continue
        kind = type(prior).__name__
        if kind == "LogNormalPrior" and not changed:
            return LogNormal(float(prior.loc), float(prior.scale))
        if kind == "GammaPrior" and not changed:
            return Gamma(float(prior.concentration), float(prior.rate))
        warnings.warn(
            f"{type(kernel).__name__}: the {kind} of {name} has no equal in mercer and is left out.",
            ApproximationWarning,
            stacklevel=2,
        )
    return None


def _is_of(kernel: Any, name: str, closure: Any) -> bool:
    """Whether a prior's closure gives this hyperparameter; several of equal value share the answer of the first."""
    found, value = closure(kernel), getattr(kernel, name)
    return found.shape == value.shape and bool(torch.equal(found, value))
