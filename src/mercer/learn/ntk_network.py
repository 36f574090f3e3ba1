"""The ``network`` argument of an estimator: a network of infinite width as its two kernels."""

from __future__ import annotations

import copy
from typing import Any

from mercer.kernels import NNGP, NTK, HierarchicalConv, InfiniteNetwork, Kernel, NetworkKernel, parse

__all__ = ["network_kernels"]


def network_kernels(network: Any, shape: tuple[int, ...] | None = None, kind: str = "nngp") -> dict[str, Kernel]:
    """The kernels ``{"ntk": ..., "nngp": ...}`` of a network.

    Args:
        network: an :class:`InfiniteNetwork`, one of its kernels, :class:`NTK` or :class:`NNGP`, the text of a kernel,
            or None for three fully connected layers with ReLU.
        shape: of images that came as such, channels first; where the network has none.
        kind: by which training goes.

    Raises:
        TypeError: something else.
        ValueError: the kernel of the prior, and training by the tangent kernel.

    >>> network_kernels("NTK(depth=2)")["nngp"]
    NNGP(depth=2, activation='relu', sigma_w=1.0, sigma_b=0.1)
    """
    given = parse(network) if isinstance(network, str) else NTK() if network is None else network
    if kind == "ntk" and (isinstance(given, NNGP) or getattr(given, "kind", "ntk") == "nngp"):
        raise ValueError(
            f"network={given!r} is the kernel of networks before training, but kind='ntk' trains by their tangent "
            f"kernel. Set kind='nngp', or give the network or its NTK."
        )
    if isinstance(given, NTK | NNGP):
        arguments = (given.depth, given.activation, given.sigma_w, given.sigma_b)
        return {"ntk": NTK(*arguments), "nngp": NNGP(*arguments)}
    if isinstance(given, InfiniteNetwork):
        given = given.ntk
    if isinstance(given, NetworkKernel) and shape is not None and given.shape is None:
        given = NetworkKernel(given.layers, given.kind, shape, given.sigma_w, given.sigma_b)
    if not isinstance(given, NetworkKernel | HierarchicalConv):
        what = type(given).__name__
        raise TypeError(
            f"network must be an InfiniteNetwork, an NTK or NNGP kernel, or its text, not {what}. For any other kernel "
            f"use KernelRidge or GaussianProcessRegressor."
        )
    if isinstance(given, HierarchicalConv) and shape is not None:
        given = given.of_images(shape)
    kernels: dict[str, Kernel] = {}
    for kind in ("ntk", "nngp"):
        kernel = copy.copy(given)
        kernel.kind = kind
        kernels[kind] = kernel
    return kernels
