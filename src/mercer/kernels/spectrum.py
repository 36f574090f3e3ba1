"""The spectrum kernel of strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.strings import normalised
from mercer.operators.maps import Expression


@dataclass(frozen=True)
class CommonSubstrings:
    """A tile function: the dot product of the counts of all substrings of one length."""

    length: int
    flops_per_pair: float = 5e4  # 5e6 pairs/s of 30 characters on one core
    bytes_per_pair: float = 32.0

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, L), (q, L) -> (p, q)``."""
        values: Tensor = _Common.apply(X, Y, self.length)  # type: ignore[no-untyped-call]
        return values

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, L) -> (p,)``."""
        counts = _counts(X.detach(), self.length)
        squares = torch.from_numpy(counts.multiply(counts).sum(1)).reshape(-1)
        return squares.to(dtype=X.dtype, device=X.device)


class _Common(torch.autograd.Function):
    """Characters have no gradient; as a function of its own, the tile sees plain tensors in every transform."""

    @staticmethod
    def forward(X: Tensor, Y: Tensor, length: int) -> Tensor:
        counts = _counts(torch.cat([X, Y]), length)
        common = (counts[: len(X)] @ counts[len(X) :].T).toarray()
        return torch.from_numpy(common).to(dtype=X.dtype, device=X.device)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing to remember."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        return None, None, None


def _counts(X: Tensor, length: int) -> Any:
    """How often each substring that occurs is in each row, ``(n, number of substrings)``, a sparse matrix of scipy."""
    from scipy.sparse import csr_array

    codes = X.cpu().to(torch.int64)
    n, windows = len(codes), max(0, codes.shape[1] - length + 1)
    # Numbers for substrings of one character, two, ...: each from the number of what is before, and the next character.
    base = int(codes.max()) + 1 if codes.numel() else 1
    names = codes[:, :windows]
    for k in range(1, length):
        _, names = torch.unique(names * base + codes[:, k : k + windows], return_inverse=True)
    inside = codes[:, length - 1 : length - 1 + windows] > 0
    rows = torch.arange(n).unsqueeze(1).expand(n, windows)[inside]
    columns = names[inside]
    shape = (n, int(columns.max()) + 1 if len(columns) else 1)
    ones = torch.ones(len(rows), dtype=torch.float64)
    return csr_array((ones.numpy(), (rows.numpy(), columns.numpy())), shape=shape)  # equal places add up


class Spectrum(Kernel):
    r"""Spectrum (k-mer) kernel: strings are alike when they have many substrings of one length in common.

    .. math:: k(x, y) = \frac{\langle \phi(x), \phi(y) \rangle}{\lVert \phi(x) \rVert \lVert \phi(y) \rVert}, \quad
        \phi_u(x) = \text{how often } u \text{ occurs in } x, \quad |u| = p

    The rows of X are strings, written by :func:`encode`. A string shorter than ``length`` is like nothing: k = 0.

    Args:
        length: p, characters, >= 1; 3 to 6 are usual for DNA and proteins. Not learnable.

    Raises:
        ValueError: a length that is no whole number >= 1.

    Cost: a tile counts its substrings (a sort a character of ``length``) and multiplies sparse matrices.
    Source: Leslie, Eskin & Noble, The spectrum kernel (PSB 2002), section 2; normalised as in section 4.

    >>> Spectrum(length=2)(encode(["statistics", "computation"])).to_dense()
    tensor([[1.0000, 0.3508],
            [0.3508, 1.0000]])
    """

    def __init__(self, length: int = 3) -> None:
        self.length = length
        self.check()

    def check(self) -> None:
        """Raise ValueError for an argument outside its domain."""
        require_length("Spectrum", self.length)

    def trace(self, binder: Binder) -> list[Expression]:
        """The normalised dot product of counts."""
        return normalised(binder, CommonSubstrings(self.length))


def require_length(kernel: str, length: Any) -> None:
    """Raise ValueError unless the length of substrings is a whole number >= 1."""
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"{kernel}(length={length!r}): the length must be a whole number >= 1.")
