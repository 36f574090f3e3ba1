"""Gradients of a network's outputs: factors of layers, Jacobians of single parameters, products with vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from mercer.kernels.tangent.layers import backward_rows, inputs_of

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
    if len(cotangents) == 1:
        (back,) = pullback(cotangents[0])
        back = [g.unsqueeze(0) for g in back]
    else:
        (back,) = vmap(pullback)(cotangents)
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

    def of_row(x: Tensor, u: Tensor) -> dict[str, Tensor]:
        pullback: Any = vjp(lambda theta: network({**state, **theta}, x[None])[0], chosen)[1]
        if len(u) == 1:
            return {name: g.unsqueeze(0) for name, g in pullback(u[0])[0].items()}
        found: dict[str, Tensor] = vmap(pullback)(u)[0]
        return found

    rows = vmap(of_row, in_dims=(0, 1), out_dims=1)(X, cotangents)
    return torch.cat([rows[name].flatten(2) for name in names], 2) if flat else rows


def pull(network: Network, state: State, X: Tensor, cotangents: Tensor) -> dict[str, Tensor]:
    """``J' u`` in all parameters of the kernel, ``(e, *shape)``, for cotangents ``(e, n, n_outputs)``."""
    chosen = {name: state[name] for name in network.names}
    pullback: Any = vjp(lambda theta: network({**state, **theta}, X), chosen)[1]
    if len(cotangents) == 1:
        return {name: g.unsqueeze(0) for name, g in pullback(cotangents[0])[0].items()}
    found: dict[str, Tensor] = vmap(pullback)(cotangents)[0]
    return found


def push(network: Network, state: State, X: Tensor, tangents: Mapping[str, Tensor]) -> Tensor:
    """``J w`` at all rows, ``(e, n, n_outputs)``, for tangents ``(e, *shape)``."""
    chosen = {name: state[name] for name in network.names}

    def along(w: dict[str, Tensor]) -> Tensor:
        moved: Tensor = jvp(lambda theta: network({**state, **theta}, X), (chosen,), (w,))[1]
        return moved

    first = next(iter(tangents.values()))
    if len(first) == 1:
        return along({name: w[0] for name, w in tangents.items()}).unsqueeze(0)
    found: Tensor = vmap(along)(dict(tangents))
    return found
