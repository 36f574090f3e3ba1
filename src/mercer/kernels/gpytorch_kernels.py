"""GPyTorch's kernels that have no twin here, evaluated by GPyTorch."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.gpytorch_bridge import import_gpytorch
from mercer.kernels.parameters import DEFAULT_BOUNDS, Domain, Hyperparameter
from mercer.operators.maps import Expression
from mercer.operators.statistics import Columns, TileStatistic

_LOCK = threading.Lock()  # a module with other parameters put in for a moment serves one thread at a time


class _Slot(NamedTuple):
    """One torch parameter of the module: its name there, its path here, its constraint."""

    name: str
    path: str
    constraint: Any

    @property
    def is_positive(self) -> bool:
        return self.constraint is not None and float(self.constraint.lower_bound.min()) >= 0.0

    def value(self, raw: Tensor) -> Tensor:
        value: Tensor = self.constraint.transform(raw) if self.is_positive else raw
        return value

    def raw(self, value: Tensor) -> Tensor:
        raw: Tensor = self.constraint.inverse_transform(value) if self.is_positive else value
        return raw


class GPyTorchKernel(Kernel):
    """A kernel of GPyTorch by its own code, on all columns: ``active_dims`` is :meth:`on` here.

    :func:`mercer.kernels.from_gpytorch` gives one, with its columns chosen.

    Positive parameters are hyperparameters, by their path in the module (``kernel__base_kernel__lengthscale``); others
    count as frozen. Gradients in X, and in the module's own parameters until other values are put in.

    Args:
        kernel: a ``gpytorch.kernels.Kernel`` without batch, one output a point.

    Raises:
        TypeError: something else.

    Cost: what GPyTorch needs, by tiles; K is stored where it fits. First derivatives only.
    """

    in_grammar: ClassVar[bool] = False

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self._tensors: dict[str, Tensor] = {}
        self.check()

    def check(self) -> None:
        """Raise TypeError for what is no single-output kernel of GPyTorch."""
        gpytorch = import_gpytorch()
        if not isinstance(self.kernel, gpytorch.kernels.Kernel):
            raise TypeError(f"GPyTorchKernel needs a kernel of gpytorch.kernels, not {type(self.kernel).__name__}.")
        if self.kernel.batch_shape:
            raise TypeError(
                f"{type(self.kernel).__name__} has a batch of hyperparameters and no twin in mercer: "
                f"wrap each of its kernels, kernel[i], on its own."
            )

    def _slots(self) -> list[_Slot]:
        return [
            _Slot(name, "kernel__" + name.replace("raw_", "").replace(".", "__"), constraint)
            for name, _, constraint in self.kernel.named_parameters_and_constraints()
        ]

    def _value(self, slot: _Slot) -> Tensor:
        if slot.path in self._tensors:
            return self._tensors[slot.path]
        return slot.value(self.kernel.get_parameter(slot.name)).to(torch.float64)

    def hyperparameters(self) -> list[Hyperparameter]:
        """The module's parameters as they are after their constraints."""
        return [
            Hyperparameter(
                slot.path,
                self._value(slot),
                Domain(vector=True) if slot.is_positive else Domain(vector=True, least=-math.inf),
                DEFAULT_BOUNDS,
                None,
                not (slot.is_positive and self.kernel.get_parameter(slot.name).requires_grad),
            )
            for slot in self._slots()
        ]

    def _with_values(self, values: Mapping[str, Any]) -> Self:
        new = type(self)(copy.deepcopy(self.kernel))
        new._tensors = dict(self._tensors)
        for slot in self._slots():
            if slot.path in values:
                value = torch.as_tensor(values[slot.path], dtype=torch.float64)
                parameter = new.kernel.get_parameter(slot.name)
                value = value.reshape(parameter.shape)
                with torch.no_grad():
                    parameter.copy_(slot.raw(value.detach()))
                new._tensors[slot.path] = value
        return new

    def trace(self, binder: Binder) -> list[Expression]:
        """GPyTorch's values."""
        x = binder.X[..., list(binder.all_columns)].detach()
        if self.kernel.num_outputs_per_input(x, x) != 1:
            raise TypeError(
                f"{type(self.kernel).__name__} has several outputs a point; a kernel here has one number a pair."
            )
        slots = self._slots()
        values = [self._value(slot) for slot in slots]
        positions = tuple(binder.slot(value, value.dim()) for value in values)
        function = GPyTorchTile(self.kernel, slots)
        return [binder.statistic(TileStatistic(Columns(binder.columns), function=function, slots=positions))]

    def __repr__(self) -> str:
        values = ", ".join(
            f"{slot.path.removeprefix('kernel__')}={self._value(slot).tolist()}" for slot in self._slots()
        )
        return f"GPyTorchKernel({type(self.kernel).__name__}({values}))"


class GPyTorchTile:
    """A tile function that asks GPyTorch; theta are the values of ``slots``, in order."""

    bytes_per_pair = 64.0
    flops_per_pair = 1e3

    def __init__(self, kernel: Any, slots: list[_Slot]) -> None:
        self.module, self.slots = _Dense(kernel), slots

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d), theta -> (p, q)``."""
        return self._call(X, Y, theta, diag=False)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), theta -> (p,)``."""
        return self._call(X, X, theta, diag=True)

    def _call(self, X: Tensor, Y: Tensor, theta: tuple[Tensor, ...], *, diag: bool) -> Tensor:
        if torch._C._functorch.maybe_current_level() is not None:
            raise NotImplementedError("kernels of GPyTorch have first derivatives only, and no torch.func transforms.")
        raw = {f"kernel.{s.name}": s.raw(t).to(X.dtype) for s, t in zip(self.slots, theta, strict=True)}
        with _LOCK:
            values: Tensor = torch.func.functional_call(self.module, raw, (X, Y, diag))
        return values


class _Dense(torch.nn.Module):
    """A kernel that is evaluated at once, while other parameters are in it."""

    def __init__(self, kernel: Any) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, X: Tensor, Y: Tensor, diag: bool) -> Tensor:
        """``(p, q)`` values, or ``(p,)`` on the diagonal."""
        found = self.kernel.forward(X, Y, diag=diag)
        values: Tensor = found if isinstance(found, Tensor) else found.to_dense()
        return values.diagonal() if diag and values.dim() == 2 else values  # some kernels know no diag
