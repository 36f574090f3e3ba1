"""The neural tangent kernel of a network at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mercer.arrays import as_tensor, check_finite
from mercer.errors import ShapeError
from mercer.kernels.linear import Linear
from mercer.kernels.parameters import is_count
from mercer.kernels.tangent.network import Network, read
from mercer.kernels.tangent.operator import TangentOperator
from mercer.kernels.tangent.sketch import sketched
from mercer.operators import Operator

__all__ = ["EmpiricalNTK"]

METHODS = ("auto", "structured", "jacobian", "product")
OUTPUTS = ("trace", "full", "sum")


class EmpiricalNTK:
    r"""The neural tangent kernel of one network, as its parameters stand: inner products of its gradients.

    .. math:: k(x, y) = \sum_a \langle \partial_\theta f_a(x), \partial_\theta f_a(y) \rangle

    The matrix is lazy, and the Jacobian is never held. Entries of Linear and Conv layers come from what goes in and
    what comes back, ``(a . a') (g . g')``; those of all other parameters from their Jacobian, a parameter and some rows
    at a time. A product with a vector is one backward and one forward pass over the network, whatever its size.

    Args:
        module: any ``torch.nn.Module`` of one argument whose rows do not see each other; batch normalisation and
            dropout in evaluation mode. Frozen parameters (``requires_grad=False``) take no part.
        layers: "all", "last" (the last one called), names of layers or parameters, or a function of a parameter's name.
        method: "structured" (only layers as above, else an error), "jacobian" (entries of all parameters by Jacobians),
            "product" (nothing but passes; for networks too large for entries), or "auto", which takes each where it
            costs less.
        outputs: "trace" sums over outputs; "full" has a row for each output of each point, ``(n o, m o)``, those of
            one point together; "sum" is the kernel of the sum of the outputs.
        sketch: None is exact; a number of random features, see :meth:`features`.
        random_state: of the sketch, an int.

    Raises:
        ValueError: an unknown method or outputs, no parameters, rows that see each other, modules in training mode,
            derivatives that torch does not have.
        ShapeError: rows that the module does not take, or outputs without a first axis of rows.

    Cost: entries of layers with products ``n m`` times the widths; a product ``3 (n + m)`` forward passes, for a trace
        times the outputs.
    Source: Jacot et al., Neural Tangent Kernel (NeurIPS 2018); Novak et al., Fast finite width NTK (ICML 2022).

    >>> module = torch.nn.Sequential(torch.nn.Linear(2, 1))
    >>> EmpiricalNTK(module)(torch.tensor([[1.0, 0.0], [1.0, 1.0]])).to_dense()  # inner products of (x, 1)
    tensor([[2., 2.],
            [2., 3.]])
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        layers: str | Iterable[str] | Callable[[str], bool] = "all",
        method: str = "auto",
        outputs: str = "trace",
        sketch: int | None = None,
        random_state: int = 0,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"EmpiricalNTK needs a torch.nn.Module, not {type(module).__name__}.")
        for name, value, known in (("method", method, METHODS), ("outputs", outputs, OUTPUTS)):
            if value not in known:
                raise ValueError(f"EmpiricalNTK({name}={value!r}): it is one of {', '.join(known)}.")
        if sketch is not None and not is_count(sketch):
            raise ValueError(f"EmpiricalNTK(sketch={sketch!r}): it is a number of features >= 1, or None.")
        if not isinstance(layers, Iterable) and not callable(layers):
            raise TypeError(f"EmpiricalNTK(layers={layers!r}): give 'all', 'last', names, or a function of a name.")
        self.module, self.layers, self.method, self.outputs = module, layers, method, outputs
        self.sketch, self.random_state = sketch, random_state

    def __call__(self, X: Any, Y: Any = None, *, parameters: Mapping[str, Tensor] | None = None) -> Operator:
        """The matrix k(X, Y), lazy; nothing but passes of two rows is computed, some for each 2^16 parameters.

        They show which of torch's ways to gradients are right for this module: a layer without forward mode takes two
        backward passes instead, and one that ``vmap`` does not know (recurrent ones) goes row by row.

        The parameters are copied: training goes on without changing the matrix. Gradients flow into X and Y, and into
        ``parameters``.

        Args:
            X: ``(n, ...)``, what the module takes; numbers in the type of its parameters, whole numbers as they are.
            Y: the same; None means X.
            parameters: by name, in place of the module's own.

        Returns:
            ``(n, m)``, or ``(n o, m o)`` with ``outputs="full"``; with a sketch, a product of features.
        """
        if self.sketch is not None:
            left = self.features(X, parameters=parameters)
            return Linear()(left, None if Y is None else self.features(Y, parameters=parameters))
        network, state, X = self._read(X, parameters)
        tensors = [state[name] for name in (*network.names, *network.constants)]
        sides = [X, _rows(network, X)]
        if Y is not None:
            Y = self._points("Y", Y, state)
            if Y.shape[1:] != X.shape[1:]:
                raise ShapeError(f"EmpiricalNTK: X is {tuple(X.shape)} and Y {tuple(Y.shape)}; rows must be alike.")
            sides += [Y, _rows(network, Y)]
        return TangentOperator(*sides, *tensors, network=network, method=self.method, symmetric=Y is None)

    def features(self, X: Any, *, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Random features whose inner products are the kernel in the mean.

        The standard error of an entry is at most ``3 / sqrt(sketch)`` times ``sqrt(k(x, x) k(y, y))``
        (``sqrt(8 / sketch)`` on the diagonal); the same projection is used for every X.

        Args:
            X: ``(n, ...)``.
            parameters: as in a call.

        Returns:
            ``(n, sketch)`` for "sum", ``(n, o sketch)`` for "trace", ``(n o, sketch)`` for "full".

        Raises:
            ValueError: the kernel has no ``sketch``.

        >>> module = torch.nn.Linear(3, 1)
        >>> EmpiricalNTK(module, sketch=512).features(torch.eye(3)).shape
        torch.Size([3, 512])
        """
        if self.sketch is None:
            raise ValueError("EmpiricalNTK.features: say how many, EmpiricalNTK(module, sketch=512).")
        network, state, X = self._read(X, parameters)
        made = TangentOperator(
            X,
            _rows(network, X),
            *(state[name] for name in (*network.names, *network.constants)),
            network=network,
            method=self.method,
            symmetric=True,
        )
        parts = []
        for part in made._parts(len(made.left[1])):
            points, cotangents = made._rows(made.left, part)
            found = sketched(network, state, points, cotangents, size=int(self.sketch), seed=self.random_state)
            parts.append(found.movedim(0, 1).flatten(1))
        return torch.cat(parts)

    def _read(self, X: Any, parameters: Mapping[str, Tensor] | None) -> tuple[Network, dict[str, Tensor], Tensor]:
        state = {name: t.detach().clone() for name, t in self.module.named_parameters()}
        state |= {name: t.detach().clone() for name, t in self.module.named_buffers()}
        if parameters is not None:
            unknown = [name for name in parameters if name not in state]
            if unknown:
                raise ValueError(f"EmpiricalNTK(parameters=...): the module has no {unknown[0]!r}.")
            state |= parameters
        X = self._points("X", X, state)
        network = read(self.module, X, state, layers=self.layers, outputs=self.outputs, method=self.method)
        return network, state, X

    def _points(self, name: str, X: Any, state: Mapping[str, Tensor]) -> Tensor:
        like = next((t for t in state.values() if t.is_floating_point()), None)
        if like is None:
            raise ValueError("EmpiricalNTK: the module has no parameters.")
        X = X if isinstance(X, Tensor) else as_tensor(X, device=like.device)
        points: Tensor = X.to(like.device, like.dtype) if X.is_floating_point() else X.to(like.device)
        if points.dim() < 1 or not len(points):
            raise ShapeError(f"EmpiricalNTK: {name} needs at least one row, but has shape {tuple(points.shape)}.")
        if points.is_floating_point():
            check_finite(points, name)
        return points

    def __repr__(self) -> str:
        options = {"layers": "all", "method": "auto", "outputs": "trace", "sketch": None}
        shown = "".join(f", {k}={getattr(self, k)!r}" for k, v in options.items() if getattr(self, k) != v)
        return f"EmpiricalNTK({type(self.module).__name__}{shown})"


def _rows(network: Network, X: Tensor) -> Tensor:
    return torch.arange(len(X) * (network.n_outputs if network.outputs == "full" else 1), device=X.device)
