"""Kernels of mercer inside GPyTorch's models."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mercer.errors import MissingExtra
from mercer.kernels.base import Kernel
from mercer.kernels.parameters import DEFAULT_BOUNDS, Gamma, Hyperparameter, LogNormal


def import_gpytorch() -> Any:
    """The package, which is an extra.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import gpytorch
    except ImportError:
        raise MissingExtra("Kernels of GPyTorch need gpytorch: pip install 'mercer[parity]'") from None
    return gpytorch


def to_gpytorch(kernel: Kernel, *, batch_shape: Sequence[int] = ()) -> Any:
    """A ``gpytorch.kernels.Kernel`` that computes with mercer: for ``ExactGP`` and whatever else takes kernels.

    Each hyperparameter becomes a torch parameter ``raw_<path>`` with a constraint: ``Positive`` (softplus, GPyTorch's
    own default) where its bounds are mercer's default, else ``Interval``. Frozen ones do not require gradients; a
    ``LogNormal`` or ``Gamma`` prior becomes GPyTorch's. Values that are switched off (0) stay as they are.
    Matrices are mercer's operators, so solving and log-determinants are too.

    The module has two members of its own: ``kernel`` (the mercer kernel with the current values, gradients attached)
    and ``to_mercer()`` (the same, detached).

    Args:
        kernel: any kernel.
        batch_shape: of independent hyperparameters, all starting from the kernel's values.

    Raises:
        MissingExtra: GPyTorch is not installed.
        TypeError: another kind of prior, which GPyTorch has no equal for.
        ValueError: a value outside its bounds.

    >>> module = to_gpytorch(2.0 * RBF(lengthscale=0.3))
    >>> [name for name, _ in module.named_parameters()]
    ['raw_scale', 'raw_kernel__lengthscale']
    """
    return _module_class()(kernel, torch.Size(batch_shape))


@functools.cache
def _module_class() -> type[Any]:
    """The class of such modules; made on first use, since its base is GPyTorch's."""
    gpytorch = import_gpytorch()

    base: Any = gpytorch.kernels.Kernel

    class MercerKernel(base):
        """A kernel of mercer with torch parameters; see :func:`to_gpytorch`."""

        has_lengthscale = False

        def __init__(self, kernel: Kernel, batch_shape: torch.Size) -> None:
            super().__init__(batch_shape=batch_shape)
            found = kernel.hyperparameters()
            self._start = kernel._with_values({h.path: h.value.detach() for h in found if h.value.requires_grad})
            self._paths = [h.path for h in found if bool((h.value > 0.0).any())]
            for h in found:
                if h.path in self._paths:
                    self._register(h)

        def _register(self, h: Hyperparameter) -> None:
            value = h.value.detach()
            if h.domain.vector and value.dim() == 0 and self.batch_shape:
                value = value.reshape(1)  # behind batch dimensions, one lengthscale for all columns has shape (1,)
            low, high = h.bounds
            if h.bounds == DEFAULT_BOUNDS:
                constraint = gpytorch.constraints.Positive()
                value = value.clamp(min=low)  # a frequency of 0 among others
            elif bool((value <= low).any()) or bool((value >= high).any()):
                raise ValueError(
                    f"{h.path}={value.tolist()} must lie inside its bounds {h.bounds}, not on them: GPyTorch's "
                    f"Interval is open."
                )
            else:
                constraint = gpytorch.constraints.Interval(low, high)
            raw = constraint.inverse_transform(value).to(torch.get_default_dtype())
            name = f"raw_{h.path}"
            parameter = torch.nn.Parameter(raw.expand(self.batch_shape + raw.shape).clone())
            self.register_parameter(name, parameter.requires_grad_(not h.frozen))
            self.register_constraint(name, constraint)
            if h.prior is not None:
                get, put = (functools.partial(f, path=h.path) for f in (_get, _put))
                self.register_prior(f"{h.path}_prior", _prior(gpytorch, h), get, put)

        @property
        def kernel(self) -> Kernel:
            """The kernel with the current values, of which gradients reach the raw parameters."""
            return self._start._with_values({path: _get(self, path) for path in self._paths})

        def to_mercer(self) -> Kernel:
            """The kernel with the current values, on its own."""
            return self._start._with_values({path: _get(self, path).detach().clone() for path in self._paths})

        def __call__(self, *args: Any, **options: Any) -> Any:
            # our matrices are lazy already; inside GPyTorch's own lazy ones its solvers would be used instead of ours
            with gpytorch.settings.lazily_evaluate_kernels(False):
                return super().__call__(*args, **options)

        def forward(
            self, x1: Tensor, x2: Tensor, diag: bool = False, last_dim_is_batch: bool = False, **params: Any
        ) -> Any:
            """k(x1, x2) as an operator, or its diagonal as a tensor."""
            if last_dim_is_batch:
                same = x1 is x2
                x1 = x1.mT.unsqueeze(-1)
                x2 = x1 if same else x2.mT.unsqueeze(-1)
            K = self.kernel(x1) if _same(x1, x2) else self.kernel(x1, x2)
            return K.diagonal(dim1=-1, dim2=-2) if diag else K

        def __repr__(self) -> str:
            return f"MercerKernel({self.to_mercer()!r})"

    return MercerKernel


def _get(module: Any, path: str) -> Tensor:
    raw, constraint = getattr(module, f"raw_{path}"), getattr(module, f"raw_{path}_constraint")
    value: Tensor = constraint.transform(raw)
    return value


def _put(module: Any, value: Any, path: str) -> None:
    raw, constraint = getattr(module, f"raw_{path}"), getattr(module, f"raw_{path}_constraint")
    tensor = torch.as_tensor(value).to(raw)
    module.initialize(**{f"raw_{path}": constraint.inverse_transform(tensor).expand_as(raw)})


def _prior(gpytorch: Any, h: Hyperparameter) -> Any:
    if isinstance(h.prior, LogNormal):
        return gpytorch.priors.LogNormalPrior(h.prior.mu, h.prior.sigma)
    if isinstance(h.prior, Gamma):
        return gpytorch.priors.GammaPrior(h.prior.shape, h.prior.rate)
    raise TypeError(f"{h.path}: GPyTorch has no prior like {h.prior!r}. Use LogNormal or Gamma, or register one there.")


def _same(x1: Tensor, x2: Tensor) -> bool:
    """Whether both are the same points; GPyTorch gives the same tensor twice, or two that are equal."""
    if x1 is x2:
        return True
    return x1.shape == x2.shape and not (x1.requires_grad or x2.requires_grad) and torch.equal(x1, x2)
