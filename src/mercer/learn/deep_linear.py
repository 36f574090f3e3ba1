r"""The deep linear kernel machine in closed form: the Gram matrices between two that are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import as_tensor, like
from mercer.errors import NotConverged, ShapeError
from mercer.kernels import check_gram
from mercer.nn.gram_state import gram_factor

__all__ = ["deep_linear_gram_matrices"]

_SWEEPS = 1000


def deep_linear_gram_matrices(bottom: Any, top: Any, nu: Sequence[float], *, rtol: float = 1e-12) -> list[Any]:
    r"""Gram matrices of hidden linear layers between ``bottom`` and ``top``: the one optimum, without a gradient.

    .. math:: \min \sum_{l=1}^{L+1} \nu_l\, \mathrm{KL}(N(0, G_l) \,\Vert\, N(0, G_{l-1}))

    With equal ``nu`` they are :math:`G_0 (G_0^{-1} G_{L+1})^{l / (L+1)}`. Otherwise each layer solves, given its
    neighbours, :math:`\nu_l G G_{l-1}^{-1} G + (\nu_{l+1} - \nu_l) G = \nu_{l+1} G_{l+1}`, which has one positive
    solution, and sweeps over the layers go on until nothing changes.

    Args:
        bottom: G_0, ``(P, P)``, positive definite: of the inputs.
        top: G_{L+1}, of the outputs.
        nu: of the L hidden layers and of the output, ``L + 1`` positive numbers.
        rtol: largest relative change in a sweep at which they end.

    Returns:
        G_1 to G_L, in the kind of ``bottom``.

    Raises:
        ShapeError: matrices of different shapes.
        IndefiniteGram: one that is not positive definite.
        ValueError: fewer than two ``nu``, or one that is not positive and finite.
        NotConverged: the sweeps did not end.

    Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023).

    >>> (middle,) = deep_linear_gram_matrices(torch.eye(2), 4.0 * torch.eye(2), [1.0, 1.0])
    >>> middle
    tensor([[2., 0.],
            [0., 2.]])
    """
    low, high = as_tensor(bottom, dtype=torch.float64), as_tensor(top, dtype=torch.float64)
    for name, matrix in (("bottom", low), ("top", high)):
        check_gram(matrix, name)
    if low.shape != high.shape:
        raise ShapeError(f"bottom and top must be alike, but are {tuple(low.shape)} and {tuple(high.shape)}.")
    if len(nu) < 2 or not all(0.0 < value < math.inf for value in nu):
        raise ValueError(f"nu must be positive and finite, one for each hidden layer and the output, not {list(nu)}.")
    gram_factor(high, "deep_linear_gram_matrices: top")
    depth = len(nu) - 1
    grams = _geodesic(low, high, depth)
    if len(set(nu)) > 1:
        grams = _sweep(low, high, grams, [float(value) for value in nu], rtol)
    example = bottom if isinstance(bottom, Tensor) else None
    return [like(G, example) for G in grams]


def _geodesic(low: Tensor, high: Tensor, depth: int) -> list[Tensor]:
    """At equal distances on the way from ``low`` to ``high``."""
    C = gram_factor(low, "deep_linear_gram_matrices: bottom")
    values, vectors = torch.linalg.eigh(_whiten(C, high))
    sides = C @ vectors
    shares = [layer / (depth + 1) for layer in range(1, depth + 1)]
    return [(sides * values.clamp(min=0.0) ** share) @ sides.mT for share in shares]


def _sweep(low: Tensor, high: Tensor, grams: list[Tensor], nu: list[float], rtol: float) -> list[Tensor]:
    chain = [low, *grams, high]
    change = math.inf
    for _ in range(_SWEEPS):
        change = 0.0
        for layer in range(1, len(chain) - 1):
            better = _between(chain[layer - 1], chain[layer + 1], nu[layer - 1], nu[layer])
            change = max(change, float((better - chain[layer]).norm() / better.norm()))
            chain[layer] = better
        if change <= rtol:
            return chain[1:-1]
    raise NotConverged(
        f"deep_linear_gram_matrices: after {_SWEEPS} sweeps the matrices still change by {change:.1g}; rtol is "
        f"{rtol:.1g}. Give a larger rtol.",
        chain[1:-1],
    )


def _between(below: Tensor, above: Tensor, nu: float, nu_above: float) -> Tensor:
    """The layer between two: in the basis where ``below`` is 1, a quadratic equation for each eigenvalue."""
    C = gram_factor(below, "deep_linear_gram_matrices: a layer")
    values, vectors = torch.linalg.eigh(_whiten(C, above))
    gap = nu_above - nu
    values = (-gap + (gap * gap + 4.0 * nu * nu_above * values.clamp(min=0.0)).sqrt()) / (2.0 * nu)
    sides = C @ vectors
    result: Tensor = (sides * values) @ sides.mT
    return result


def _whiten(C: Tensor, G: Tensor) -> Tensor:
    half = torch.linalg.solve_triangular(C, G, upper=False)
    whole = torch.linalg.solve_triangular(C, half.mT, upper=False)
    result: Tensor = 0.5 * (whole + whole.mT)
    return result
