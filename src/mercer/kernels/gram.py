r"""Kernels of a Gram matrix: what a layer of infinitely many units makes of the inner products of its inputs.

A kernel that depends on two points only through ``s = <x, y>``, ``p = |x|^2`` and ``q = |y|^2`` needs no points: it
maps the matrix of inner products to the next one. Layers can so be stacked without features.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023);
Cho & Saul, Kernel methods for deep learning (NIPS 2009) for the arc-cosine kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mercer.errors import MercerError, ShapeError
from mercer.kernels.duals import Dual, ErrorFunction, GaussianErrorUnit, Ramp, inverse, root

__all__ = ["KERNELS_OF_GRAM", "IndefiniteGram", "check_gram", "gram_kernel", "is_homogeneous", "kernel_of_gram"]

KernelOfGram = Callable[[Tensor, Tensor, Tensor], Tensor]  # (s, p, q) to k, elementwise with broadcasting
_ROUND_OFF = 1e-6  # of the largest eigenvalue: an eigenvalue this far below 0 is no Gram matrix's


class IndefiniteGram(MercerError, ValueError):
    """A matrix that cannot be one of inner products: it has a negative eigenvalue."""


def _rbf(s: Tensor, p: Tensor, q: Tensor) -> Tensor:
    # In this order only two passes are as large as s. Not clamped: what round-off adds to 1 is far below any jitter.
    return (s - 0.5 * p - 0.5 * q).exp()


def _linear(s: Tensor, p: Tensor, q: Tensor) -> Tensor:
    return s


def _normalized_gaussian(s: Tensor, p: Tensor, q: Tensor) -> Tensor:
    return root(p) * root(q) * (-_versine(s, p, q)).exp()


def _of(dual: Dual) -> KernelOfGram:
    return lambda s, p, q: dual.covariance(_versine(s, p, q), p, q)


def _versine(s: Tensor, p: Tensor, q: Tensor) -> Tensor:
    return (1.0 - s * (inverse(root(p)) * inverse(root(q)))).clamp(0.0, 2.0)


KERNELS_OF_GRAM: dict[str, KernelOfGram] = {
    "rbf": _rbf,
    "relu": _of(Ramp(0.0, math.sqrt(2.0))),  # the height that keeps the diagonal
    "normalized_gaussian": _normalized_gaussian,
    "erf": _of(ErrorFunction()),
    "gelu": _of(GaussianErrorUnit()),
    "linear": _linear,
    "identity": _linear,
}


def kernel_of_gram(name: Any) -> KernelOfGram:
    """A kernel of three inner products by its name, elementwise.

    Raises:
        ValueError: there is none of that name.
    """
    if not isinstance(name, str) or name not in KERNELS_OF_GRAM:
        raise ValueError(f"kernel must be one of {', '.join(map(repr, KERNELS_OF_GRAM))}, not {name!r}.")
    return KERNELS_OF_GRAM[name]


def is_homogeneous(name: str) -> bool:
    """Whether a Gram matrix times c gives c times the kernel, so that one of weight and height says all."""
    return name in ("relu", "normalized_gaussian", "linear", "identity")


def gram_kernel(G: Tensor, kernel: str = "rbf") -> Tensor:
    r"""The kernel matrix that belongs to a Gram matrix.

    ==================== ===============================================================================
    ``rbf``              :math:`\exp(-(G_{ii} + G_{jj} - 2 G_{ij}) / 2)`; a lengthscale divides G by its square
    ``relu``             :math:`(\sqrt{G_{ii} G_{jj} - G_{ij}^2} + (\pi - \theta) G_{ij}) / \pi`
    normalized_gaussian  :math:`\sqrt{G_{ii} G_{jj}} \exp(\cos \theta - 1)`
    ``erf``, ``gelu``    of a layer of such units, whose weights have variance 1
    linear, identity     G itself
    ==================== ===============================================================================

    Args:
        G: ``(P, P)``, symmetric and positive semi-definite; differentiable.
        kernel: a name of the table.

    Raises:
        ShapeError: G is not square.
        IndefiniteGram: G is not symmetric or has a negative eigenvalue.

    Cost: one elementwise pass, and the eigenvalues of G for the check.

    >>> gram_kernel(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "relu")
    tensor([[1.0000, 0.3183],
            [0.3183, 1.0000]])
    """
    function = kernel_of_gram(kernel)
    check_gram(G)
    return square(function, G)


def square(function: KernelOfGram, G: Tensor) -> Tensor:
    """The kernel of Gram matrices ``(*batch, P, P)`` known to be such; its diagonal has no error of a difference."""
    p = G.diagonal(dim1=-2, dim2=-1)
    K = function(G, p[..., :, None], p[..., None, :])
    return torch.diagonal_scatter(K, function(p, p, p), dim1=-2, dim2=-1)


def check_gram(G: Tensor, name: str = "G") -> None:
    """Raise ShapeError or IndefiniteGram unless a matrix can be one of inner products."""
    if G.dim() != 2 or G.shape[0] != G.shape[1] or not len(G):
        raise ShapeError(
            f"{name} must be a square matrix of inner products (P, P), P >= 1, not of shape {tuple(G.shape)}."
        )
    values = G.detach()
    if not bool(torch.isfinite(values).all()):
        raise IndefiniteGram(f"{name} holds NaN or infinity, and inner products are finite.")
    if not torch.allclose(values, values.mT, rtol=1e-5, atol=1e-8 * float(values.abs().max())):
        raise IndefiniteGram(f"{name} is not symmetric, and inner products are. Give 0.5 * ({name} + {name}.T).")
    eigenvalues = torch.linalg.eigvalsh(values)
    least, most = float(eigenvalues[0]), float(eigenvalues[-1])
    if least < -_ROUND_OFF * max(most, 0.0) - torch.finfo(values.dtype).tiny:
        raise IndefiniteGram(
            f"{name} is no Gram matrix: its smallest eigenvalue is {least:.3g} (the largest is {most:.3g}), and those "
            f"of inner products are >= 0. Give X @ X.T of some features X."
        )
