"""Kernel objects of ``sklearn.gaussian_process.kernels``: any of them as one of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import DEFAULT_BOUNDS, Domain, Hyperparameter
from mercer.operators.maps import Expression
from mercer.operators.statistics import Columns, TileStatistic


class SklearnKernel(Kernel):
    """A scikit-learn kernel evaluated by scikit-learn, in float64, tile by tile on the CPU.

    Its hyperparameters are learnable like ours (their paths are ``kernel__length_scale`` and so on, with scikit-learn's
    bounds), by ``eval_gradient``; there are no gradients in X and no second derivatives. It cannot be saved.
    :func:`from_sklearn` makes one where there is no twin.

    Args:
        kernel: of ``sklearn.gaussian_process.kernels``, or a class of the user's that extends its ``Kernel``.

    Raises:
        TypeError: no such kernel, or one of structured objects or of several matrices (``CompoundKernel``).
        ValueError: at binding, a kernel with noise on its diagonal: write that as ``+ WhiteKernel()``.
    """

    in_grammar: ClassVar[bool] = False

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self._tensors: dict[str, Tensor] = {}  # hyperparameters that carry a graph
        self.check()

    def check(self) -> None:
        """Raise TypeError for what is no scikit-learn kernel of points."""
        if not all(hasattr(self.kernel, name) for name in ("clone_with_theta", "hyperparameters", "diag")):
            raise TypeError(f"{self.kernel!r} is no kernel of sklearn.gaussian_process.kernels.")
        if type(self.kernel).__name__ == "CompoundKernel" or not self.kernel.requires_vector_input:
            raise TypeError(f"{self.kernel!r} gives no single matrix of points, so it cannot be used here.")

    # scikit-learn's way of optimising: logarithms, fixed ones left out

    @property
    def theta(self) -> np.ndarray[Any, Any]:
        """Logarithms of the hyperparameters that are not fixed."""
        theta: np.ndarray[Any, Any] = self.kernel.theta
        return theta

    @property
    def bounds(self) -> np.ndarray[Any, Any]:
        """Bounds of :attr:`theta`, ``(n, 2)``, logarithms too."""
        bounds: np.ndarray[Any, Any] = self.kernel.bounds
        return bounds

    def clone_with_theta(self, theta: np.ndarray[Any, Any]) -> SklearnKernel:
        """A copy with other values of :attr:`theta`."""
        return SklearnKernel(self.kernel.clone_with_theta(theta))

    # our way

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The kernel, and its own parameters as ``kernel__name``."""
        inner = {f"kernel__{key}": value for key, value in self.kernel.get_params().items()} if deep else {}
        return {"kernel": self.kernel, **inner}

    def set_params(self, **params: Any) -> Self:
        """Change the scikit-learn kernel in place."""
        self._tensors = {}
        return super().set_params(**params)

    def hyperparameter(self, name: str) -> Tensor:
        """A hyperparameter by its path, ``kernel__length_scale``."""
        if name in self._tensors:
            return self._tensors[name]
        value = np.asarray(self.kernel.get_params()[name.removeprefix("kernel__")], dtype=np.float64)
        return torch.from_numpy(np.array(value))

    def hyperparameters(self) -> list[Hyperparameter]:
        """scikit-learn's hyperparameters in its order."""
        return [
            Hyperparameter(
                f"kernel__{h.name}",
                self.hyperparameter(f"kernel__{h.name}"),
                Domain(vector=h.n_elements > 1),
                DEFAULT_BOUNDS if h.fixed else common_bounds(h),
                None,
                h.fixed,
            )
            for h in self.kernel.hyperparameters
        ]

    def _with_values(self, values: Mapping[str, Any]) -> Self:
        from sklearn.base import clone

        copy = type(self)(clone(self.kernel))
        copy._tensors = dict(self._tensors)
        for path, value in values.items():
            tensor = torch.as_tensor(value, dtype=torch.float64)
            plain = tensor.detach().cpu().numpy()
            copy.kernel.set_params(**{path.removeprefix("kernel__"): float(plain) if plain.ndim == 0 else plain})
            copy._tensors[path] = tensor
        return copy

    def trace(self, binder: Binder) -> list[Expression]:
        """scikit-learn's values."""
        found = self.hyperparameters()
        slots = tuple(binder.slot(h.value, h.value.dim()) for h in found)
        function = SklearnTile(self.kernel, [h.path.removeprefix("kernel__") for h in found])
        function.require_no_noise(binder.X[..., list(binder.all_columns)])
        return [binder.statistic(TileStatistic(Columns(binder.columns), function=function, slots=slots))]

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.kernel.get_params(deep=False).items())
        return f"SklearnKernel({type(self.kernel).__name__}({arguments}))"


class SklearnTile:
    """A tile function that asks scikit-learn; ``names`` are the hyperparameters that ``theta`` holds, in order."""

    bytes_per_pair = 32.0
    flops_per_pair = 3e4  # about 0.1 us a pair

    def __init__(self, kernel: Any, names: Sequence[str]) -> None:
        self.kernel, self.names = kernel, list(names)

    def at(self, theta: Sequence[Tensor]) -> Any:
        """The scikit-learn kernel with these values."""
        from sklearn.base import clone

        values = {n: t.detach().cpu().numpy() for n, t in zip(self.names, theta, strict=True)}
        return clone(self.kernel).set_params(**{n: float(v) if v.ndim == 0 else v for n, v in values.items()})

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d), theta -> (p, q)``."""
        if torch._C._functorch.maybe_current_level() is not None:
            raise NotImplementedError("scikit-learn kernels have first derivatives only, and no torch.func transforms.")
        if torch.is_grad_enabled() and (X.requires_grad or Y.requires_grad):
            raise NotImplementedError("scikit-learn kernels have no gradients in X; use a kernel of mercer.kernels.")
        values: Tensor = _Evaluate.apply(self, X, Y, *theta)  # type: ignore[no-untyped-call]
        return values

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), theta -> (p,)``; no gradients in theta: the diagonal of ``kernel(X)`` by tiles has them."""
        if torch.is_grad_enabled() and any(t.requires_grad for t in theta):
            parts = [self(x, x, *theta).diagonal() for x in X.split(32)]
            return torch.cat(parts) if parts else X.new_empty(0)
        return _back(self.at(theta).diag(_out(X)), X)

    def require_no_noise(self, X: Tensor) -> None:
        """Raise ValueError if k(x, x) is not what the diagonal has: such a part must be a kernel of its own."""
        if torch._C._functorch.maybe_current_level() is not None or X.numel() == 0:
            return
        x = _out(X.detach().reshape(-1, X.shape[-1])[:1])
        if not np.allclose(self.kernel(x, x)[0, 0], self.kernel.diag(x)[0], rtol=1e-9, atol=0.0):
            raise ValueError(f"{self.kernel!r} adds noise on the diagonal. Write that part as '+ WhiteKernel()'.")


class _Evaluate(torch.autograd.Function):
    """(tile, X, Y, *theta) -> K, differentiable once in theta."""

    @staticmethod
    def forward(tile: SklearnTile, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        return _back(tile.at(theta)(_out(X), _out(Y)), X)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.tile = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor | None, ...]:
        X, Y, *theta = ctx.saved_tensors
        kernel = ctx.tile.at(theta)
        # scikit-learn gives the gradient for one set of points only: take the block of both that is wanted
        p = len(X)
        _, slopes = kernel(_out(torch.cat([X, Y])), eval_gradient=True)  # (p + q, p + q, free), by log(theta)
        weights = np.einsum("pq,pqh->h", _out(G), slopes[:p, p:])
        grads: list[Tensor | None] = []
        used = 0
        fixed = {h.name: h.fixed for h in kernel.hyperparameters}
        for name, value in zip(ctx.tile.names, theta, strict=True):
            if fixed[name]:
                grads.append(None)
                continue
            part = torch.from_numpy(weights[used : used + value.numel()]).to(value)
            grads.append(part.reshape(value.shape) / value)
            used += value.numel()
        return None, None, None, *grads


def common_bounds(hyperparameter: Any) -> tuple[float, float]:
    """The bounds of a scikit-learn hyperparameter; of one a column, those that hold all."""
    bounds = np.atleast_2d(hyperparameter.bounds)
    return float(bounds[:, 0].min()), float(bounds[:, 1].max())


def _out(X: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = X.detach().cpu().double().numpy()
    return array


def _back(values: np.ndarray[Any, Any], example: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(values)).to(dtype=example.dtype, device=example.device)
