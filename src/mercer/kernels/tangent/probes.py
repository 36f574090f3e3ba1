"""Which of torch's ways to gradients are right for a module, as two rows show against plain backward passes.

torch 2.13 has wrong batched derivatives (of ``prelu`` under two vmaps), operations without a batched form (recurrent
layers) and such without forward mode (``weight_norm``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mercer.kernels.tangent.gradients import factors, jacobian, pull, push
from mercer.kernels.tangent.layers import gradients

if TYPE_CHECKING:
    from mercer.kernels.tangent.network import Network

__all__ = ["with_entries", "with_products", "wrong_layers"]

_AGREES = {torch.float64: 1e-8, torch.float32: 1e-3}  # relative; 3e-2 in types of fewer digits
_FAILURES = (RuntimeError, IndexError)  # NotImplementedError is a RuntimeError
_LARGE = 1 << 25  # parameters beyond which products take one column at a time

Tensors = Mapping[str, Tensor]


@torch.no_grad()
def with_entries(network: Network, groups: Sequence[Sequence[str]], X: Tensor, state: Tensors) -> Network:
    """The network with vmap where Jacobians by it are right.

    Raises:
        ValueError: there are none by plain backward passes either.
    """
    u = _cotangents(network, state)
    plain = replace(network, rows_at_once=False, outputs_at_once=False)

    def agrees(candidate: Network) -> bool:
        for names in groups:
            expected = jacobian(plain, state, names, X, u)
            if not _alike(jacobian(candidate, state, names, X, u), expected):
                return False
        return True

    found = _first([network, replace(network, outputs_at_once=False), plain], agrees)
    if isinstance(found, Exception):
        raise ValueError(f"EmpiricalNTK: torch.func has no gradients of this module. It says: {found}") from found
    return found


@torch.no_grad()
def with_products(network: Network, X: Tensor, state: Tensors, method: str) -> Network:
    """The network with that way of ``J w`` which is right: ``<u, J J' u>`` is ``|J' u|^2``.

    Raises:
        ValueError: there is none, and ``method`` is "product".
    """
    u = _cotangents(network, state)[: 1 if network.n_parameters > _LARGE else 2]

    def agrees(candidate: Network) -> bool:
        expected = pull(replace(candidate, outputs_at_once=False), state, X, u)
        pulled = pull(candidate, state, X, u)
        squares = torch.stack([w.square().reshape(len(w), -1).sum(1) for w in expected.values()]).sum(0)
        products = (push(candidate, state, X, expected) * u).sum((1, 2))
        return all(_alike(pulled[name], w) for name, w in expected.items()) and _alike(products, squares)

    forward = [network, replace(network, outputs_at_once=False)]
    found = _first([*forward, *(replace(candidate, has_forward=False) for candidate in forward)], agrees)
    if not isinstance(found, Exception):
        return found
    if method == "product":
        raise ValueError(
            f"EmpiricalNTK(method='product'): torch has no forward mode and no second derivatives of this module. "
            f"Use method='jacobian'. It says: {found}"
        ) from found
    return replace(network, has_products=False)


@torch.no_grad()
def wrong_layers(network: Network, X: Tensor, state: Tensors) -> set[str]:
    """Paths of layers whose gradients are not what their products say."""
    u = _cotangents(network, state)
    try:
        pieces = factors(network, state, X, u)
    except _FAILURES:  # a layer that is used differently for two rows
        return {layer.path for layer in network.layers}
    wrong = set()
    for layer, (a, g) in zip(network.layers, pieces, strict=True):
        if a.shape[:2] != g.shape[1:3]:
            wrong.add(layer.path)
            continue
        ours = gradients(a, g, layer, state)
        theirs = jacobian(network, state, layer.names, X, u, flat=False)
        if not all(_alike(ours[name], theirs[name]) for name in layer.names):
            wrong.add(layer.path)
    return wrong


def _first(candidates: Iterable[Network], agrees: Callable[[Network], bool]) -> Network | Exception:
    """The first that agrees; if none does, why the last one does not."""
    why: Exception = RuntimeError("derivatives by different ways differ.")
    for candidate in candidates:
        try:
            if agrees(candidate):
                return candidate
        except _FAILURES as error:
            why = error
    return why


def _cotangents(network: Network, state: Tensors) -> Tensor:
    """Two for each of two rows, ``(2, 2, n_outputs)``, the same on every device."""
    like = state[network.names[0]]
    return torch.randn(2, 2, network.n_outputs, generator=torch.Generator().manual_seed(0)).to(like)


def _alike(ours: Tensor, theirs: Tensor) -> bool:
    limit = _AGREES.get(theirs.dtype, 3e-2) * float(theirs.abs().max())
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) <= limit
