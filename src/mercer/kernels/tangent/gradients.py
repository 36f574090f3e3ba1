"""Gradients of a network's outputs: factors of layers, Jacobians of single parameters, products with vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from mercer.kernels.tangent.layers import backward_rows, inputs_of
from mercer.kernels.tangent.norms import written_out

if TYPE_CHECKING:
    from mercer.kernels.tangent.network import Network

__all__ = ["factors", "jacobian", "pull", "push"]

State = Mapping[str, Tensor]


def factors(network: Network, state: State, X: Tensor, cotangents: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each layer with products what goes in ``(n, positions, in)`` and comes back ``(o, n, positions, out)``.

    One forward pass, and one backward pass for each of the ``o`` cotangents ``(o, n, n_outputs)``.
    """
    modules = [network.module.get_submodule(layer.path) for layer in network.layers]
    # Something to take derivatives in, added to the output of each layer.
    probes = [cotangents.new_zeros(len(X), *call.shape) for call in network.calls]

    def run(probes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        inputs: list[Tensor] = []

        def hook(module: Any, arguments: tuple[Tensor, ...], out: Tensor) -> Tensor:
            call = len(inputs)
            inputs.append(inputs_of(module, network.layers[network.calls[call].layer], arguments[0]))
            return out + probes[call]

        handles = [module.register_forward_hook(hook) for module in modules]
        try:
            return network(state, X), inputs
        finally:
            for handle in handles:
                handle.remove()

    found: Any = vjp(run, probes, has_aux=True)  # torch's type is of both forms, with and without a third part
    _, pullback, inputs = found
    back = _each(lambda u: pullback(u)[0], cotangents, at_once=network.outputs_at_once)
    pieces: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in modules]
    for call, a, g in zip(network.calls, inputs, back, strict=True):
        pieces[call.layer][0].append(a)
        pieces[call.layer][1].append(backward_rows(modules[call.layer], g))
    # A layer that is used twice has positions of both.
    return [(a[0], g[0]) if len(a) == 1 else (torch.cat(a, 1), torch.cat(g, 2)) for a, g in pieces]


def jacobian(
    network: Network, state: State, names: Sequence[str], X: Tensor, cotangents: Tensor, *, flat: bool = True
) -> Any:
    """Gradients of each row in some parameters: ``(o, n, p)``, or by name ``(o, n, *shape)``."""
    chosen = {name: state[name] for name in names}

    def of_row(x: Tensor, u: Tensor) -> list[Tensor]:
        pullback: Any = vjp(lambda theta: network({**state, **theta}, x[None])[0], chosen)[1]
        return _each(lambda v: list(pullback(v)[0].values()), u, at_once=network.outputs_at_once)

    rows = [g.movedim(0, 1) for g in _each(of_row, X, cotangents.movedim(1, 0), at_once=network.rows_at_once)]
    # A parameter may be a single number, without axes.
    return torch.cat([g.reshape(*g.shape[:2], -1) for g in rows], 2) if flat else dict(zip(names, rows, strict=True))


def pull(network: Network, state: State, X: Tensor, cotangents: Tensor) -> dict[str, Tensor]:
    """``J' u`` in all parameters of the kernel, ``(e, *shape)``, for cotangents ``(e, n, n_outputs)``."""
    chosen = {name: state[name] for name in network.names}
    pullback: Any = vjp(lambda theta: network({**state, **theta}, X), chosen)[1]
    found = _each(lambda u: list(pullback(u)[0].values()), cotangents, at_once=network.outputs_at_once)
    return dict(zip(network.names, found, strict=True))


def push(network: Network, state: State, X: Tensor, tangents: Mapping[str, Tensor]) -> Tensor:
    """``J w`` at all rows, ``(e, n, n_outputs)``, for tangents ``(e, *shape)``."""
    chosen = {name: state[name] for name in network.names}

    def outputs(theta: dict[str, Tensor]) -> Tensor:
        return network({**state, **theta}, X)

    def along(*w: Tensor) -> list[Tensor]:
        moved = dict(zip(tangents, w, strict=True))
        if network.has_forward:
            return [jvp(outputs, (chosen,), (moved,))[1]]
        # J w is the gradient of <J' u, w> in u, at any u
        anywhere = w[0].new_zeros(len(X), network.n_outputs)
        with written_out(True):
            pullback: Any = vjp(lambda u: vjp(outputs, chosen)[1](u)[0], anywhere)[1]
            return [pullback(moved)[0]]

    (found,) = _each(along, *tangents.values(), at_once=network.outputs_at_once)
    return found


def _each(function: Callable[..., list[Tensor]], *batches: Tensor, at_once: bool) -> list[Tensor]:
    """The function of each entry along the first axis, stacked: together, or one by one where torch's vmap is wrong."""
    if at_once and len(batches[0]) != 1:
        together: list[Tensor] = vmap(function)(*batches)
        return together
    parts = [function(*entry) for entry in zip(*batches, strict=True)]
    return [torch.stack(part) for part in zip(*parts, strict=True)]
