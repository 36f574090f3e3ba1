"""A module read as a function of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mercer.errors import ShapeError
from mercer.kernels.tangent.layers import Call, Layer, has_products, inputs_of
from mercer.kernels.tangent.probes import with_entries, with_products, wrong_layers

__all__ = ["Network", "read"]

Layers = str | Iterable[str] | Callable[[str], bool]
_GROUP = 1 << 16  # numbers of parameters whose Jacobians are computed together


@dataclass(frozen=True, eq=False)
class Network:
    """A module, which of its parameters a kernel is about, and by which way their gradients are found.

    Attributes:
        module: the module; its own parameters are never read again.
        names: parameters of the kernel.
        constants: the rest of its state, by name.
        outputs: "trace", "full" or "sum".
        n_outputs: numbers that come out for one row.
        layers: those whose gradients are products.
        calls: how a forward pass uses them, in order.
        groups: names of the other parameters, those whose Jacobians are held at the same time together.
        n_activations: numbers that a forward pass holds for a row.
        sizes: of each parameter.
        rows_at_once, outputs_at_once: whether torch's vmap over rows, and over what is pulled back or pushed, is right.
        has_forward: whether its forward mode is; else a push is two backward passes.
        has_products: whether there is a way to push at all.
    """

    module: nn.Module
    names: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: str
    n_outputs: int
    layers: tuple[Layer, ...] = ()
    calls: tuple[Call, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    n_activations: int = 1
    sizes: Mapping[str, int] = field(default_factory=dict)
    rows_at_once: bool = True
    outputs_at_once: bool = True
    has_forward: bool = True
    has_products: bool = True

    def __call__(self, state: Mapping[str, Tensor], X: Tensor) -> Tensor:
        """The outputs, ``(n, n_outputs)``."""
        with _elementary(self.module):
            out: Tensor = functional_call(self.module, dict(state), (X,))
        return out.reshape(len(X), -1)

    @property
    def n_parameters(self) -> int:
        """Numbers in the parameters of the kernel."""
        return sum(self.sizes[name] for name in self.names)

    @property
    def n_cotangents(self) -> int:
        """Backward passes for each row: one for each output of a trace, else one."""
        return self.n_outputs if self.outputs == "trace" else 1

    def state(self, tensors: Iterable[Tensor]) -> dict[str, Tensor]:
        """Parameters and constants by name."""
        return dict(zip((*self.names, *self.constants), tensors, strict=True))


def read(
    module: nn.Module,
    X: Tensor,
    state: Mapping[str, Tensor],
    *,
    layers: Layers = "all",
    outputs: str = "trace",
    method: str = "auto",
) -> Network:
    """Look at a module with a forward pass of the first row, and at its gradients with two.

    Raises:
        ValueError: no parameter is chosen, a row's outputs depend on other rows, ``method="structured"`` and a
            parameter outside of layers with products, or derivatives that torch does not have.
        ShapeError: rows that the module does not take, or outputs without a first axis of rows.
    """
    _require_evaluation(module)
    trained = [name for name, p in module.named_parameters() if p.requires_grad]
    seen = _Seen.of(module, X[:1], state)
    names = tuple(_chosen(trained, layers, seen))
    if not names:
        raise ValueError(
            f"EmpiricalNTK(layers={layers!r}): no trained parameter is among these layers. The module's parameters are "
            f"{', '.join(trained[:8]) or 'none, or frozen (requires_grad=False)'}{', ...' * (len(trained) > 8)}."
        )
    constants = tuple(name for name in state if name not in names)
    sizes = {name: state[name].numel() for name in names}
    network = Network(module, names, constants, outputs, seen.n_outputs, n_activations=seen.n_numbers, sizes=sizes)
    _require_rows(network, X, state)
    two = X[[0, -1]]
    if method != "product":
        network = with_entries(network, list(_groups(names, sizes)), two, state)
    if method not in ("jacobian", "product"):
        network = _with_layers(network, seen, two, state)
    covered = {name for layer in network.layers for name in layer.names}
    others = [name for name in names if name not in covered]
    if method == "structured" and others:
        raise ValueError(
            f"EmpiricalNTK(method='structured'): {others[0]!r} is no weight or bias of a Linear, Conv1d or Conv2d "
            f"layer (ungrouped), or is used in another way too. Use method='auto', which takes its Jacobian."
        )
    network = replace(network, groups=tuple(_groups(others, sizes)))
    return with_products(network, two, state, method) if method in ("auto", "product") else network


@contextmanager
def _elementary(module: nn.Module) -> Iterator[None]:
    """Recurrent layers step by step: of the libraries' fused ones torch has first gradients only, in all weights."""
    if not any(isinstance(part, nn.RNNBase) for part in module.modules()):
        yield
        return
    is_on: bool = torch._C._get_mkldnn_enabled()
    try:
        # torch.backends.mkldnn.flags does the same, and warns of Intel's GPUs.
        torch._C._set_mkldnn_enabled(False)
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch._C._set_mkldnn_enabled(is_on)


@dataclass
class _Seen:
    """What a forward pass of one row shows: uses of modules with parameters of their own, in order."""

    n_outputs: int
    n_numbers: int
    uses: list[tuple[str, Tensor | None, tuple[int, ...]]]  # path, input, shape of the output without the rows

    @property
    def paths(self) -> set[str]:
        """Of the modules used."""
        return {path for path, _, _ in self.uses}

    @classmethod
    def of(cls, module: nn.Module, X: Tensor, state: Mapping[str, Tensor]) -> _Seen:
        uses: list[tuple[str, Tensor | None, tuple[int, ...]]] = []
        numbers = [0]

        def look(path: str, part: nn.Module, arguments: tuple[Any, ...], out: Any) -> None:
            if isinstance(out, Tensor):
                numbers[0] += out.numel()
                if any(True for _ in part.parameters(recurse=False)):
                    first = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], Tensor) else None
                    uses.append((path, first, tuple(out.shape[1:])))

        handles = []
        for path, part in module.named_modules():

            def hook(part: nn.Module, arguments: Any, out: Any, path: str = path) -> None:
                look(path, part, arguments, out)

            handles.append(part.register_forward_hook(hook))
        try:
            with torch.no_grad():
                out = functional_call(module, dict(state), (X,))
        except (RuntimeError, IndexError) as error:
            raise ShapeError(
                f"EmpiricalNTK: the module does not take rows of shape {tuple(X.shape[1:])}. Give X as the module "
                f"wants it, (n, ...); it says: {error}"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
        if not isinstance(out, Tensor) or out.dim() == 0 or len(out) != len(X):
            shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ShapeError(
                f"EmpiricalNTK: for {len(X)} row the module gives {shape}. Its output has to be one tensor with an "
                f"entry along the first axis for each row; wrap it so that it is."
            )
        return cls(math.prod(out.shape[1:]), numbers[0] + out.numel(), uses)


def _chosen(trained: list[str], layers: Layers, seen: _Seen) -> list[str]:
    if callable(layers):
        return [name for name in trained if layers(name)]
    if isinstance(layers, str):
        if layers == "all":
            return trained
        if layers != "last":
            layers = (layers,)
        else:
            ends = [path for path, _, _ in seen.uses if not any(p != path and _is_inside(p, path) for p in seen.paths)]
            own = [[name for name in trained if name.rpartition(".")[0] == path] for path in ends]
            return next((names for names in reversed(own) if names), [])
    prefixes = tuple(layers)
    unknown = [p for p in prefixes if not any(name == p or name.startswith(f"{p}.") for name in trained)]
    if unknown:
        raise ValueError(
            f"EmpiricalNTK(layers=...): {unknown[0]!r} is no layer or trained parameter of the module. Give 'all', "
            f"'last', names such as {trained[0] if trained else 'none'!r} or of layers, or a function of the name."
        )
    return [name for name in trained if any(name == p or name.startswith(f"{p}.") for p in prefixes)]


def _is_inside(path: str, other: str) -> bool:
    return other == "" or path.startswith(f"{other}.")


def _require_evaluation(module: nn.Module) -> None:
    for path, part in module.named_modules():
        is_norm = isinstance(part, nn.modules.batchnorm._BatchNorm)
        is_dropout = isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0
        if part.training and (is_norm or is_dropout):
            raise ValueError(
                f"EmpiricalNTK: {path or 'the module'}, {type(part).__name__}, is in training mode, where a row's "
                f"output depends on other rows or on chance. Call module.eval() first."
            )


@torch.no_grad()
def _require_rows(network: Network, X: Tensor, state: Mapping[str, Tensor]) -> None:
    two = X[[0, -1]]
    together, alone = network(state, two), torch.cat([network(state, row[None]) for row in two])
    scale = float(alone.abs().max()) or 1.0
    if together.shape != alone.shape or float((together - alone).abs().max()) > 1e-3 * scale:
        raise ValueError(
            "EmpiricalNTK: a row's output depends on the other rows of its batch, so gradients of single rows mean "
            "nothing. Put normalisation over the batch into evaluation mode (module.eval())."
        )


def _with_layers(network: Network, seen: _Seen, X: Tensor, state: Mapping[str, Tensor]) -> Network:
    """The network with those layers whose gradients are products indeed, as two rows show."""
    found: dict[str, Layer] = {}
    calls = []
    # A tied parameter has several names and is listed under the first: its gradient has more parts than one layer's.
    tied = _tied(network.module)
    for path, x, shape in seen.uses:
        part = network.module.get_submodule(path)
        own = {name: f"{path}.{name}".lstrip(".") for name in ("weight", "bias")}
        own = {name: whole for name, whole in own.items() if whole in network.names and whole not in tied}
        if not own or not has_products(part) or x is None or x.shape[0] != 1 or not shape:
            continue
        layer = found.setdefault(path, Layer(path, own.get("weight"), own.get("bias")))
        with torch.no_grad():
            a = inputs_of(part, layer, x)
        n_out = math.prod(shape) // a.shape[1]
        calls.append(Call(list(found).index(path), shape, a.shape[2], n_out, a.shape[1]))
    if not found:
        return network
    network = replace(network, layers=tuple(found.values()), calls=tuple(calls))
    wrong = wrong_layers(network, X, state)
    if not wrong:
        return network
    kept = [k for k, layer in enumerate(network.layers) if layer.path not in wrong]
    calls = [replace(call, layer=kept.index(call.layer)) for call in calls if call.layer in kept]
    return replace(network, layers=tuple(network.layers[k] for k in kept), calls=tuple(calls))


def _tied(module: nn.Module) -> set[str]:
    """Names of parameters that stand in several places."""
    places: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(name)
    return {name for names in places.values() if len(names) > 1 for name in names}


def _groups(names: Iterable[str], sizes: Mapping[str, int]) -> Iterable[tuple[str, ...]]:
    """Small parameters together, large ones alone."""
    group: list[str] = []
    for name in names:
        if group and sum(sizes[n] for n in group) + sizes[name] > _GROUP:
            yield tuple(group)
            group = []
        group.append(name)
    if group:
        yield tuple(group)
