"""The gap-weighted subsequence kernel of strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from mercer.kernels.base import POSITIVE, Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.parameters import Domain, Value
from mercer.kernels.spectrum import require_length
from mercer.kernels.strings import normalised
from mercer.operators.maps import Expression


@dataclass(frozen=True)
class CommonSubsequences:
    """A tile function: subsequences of ``length`` characters in common, each with weight decay ** (its two spans).

    ``width`` is the number of characters of a row.
    """

    length: int
    width: int

    @property
    def flops_per_pair(self) -> float:
        """Triangular products a character of the subsequences; passes over all pairs of characters, as measured."""
        return self.length * (4.0 * self.width**3 + 1500.0 * self.width**2)

    @property
    def bytes_per_pair(self) -> float:
        """Tables of all pairs of characters, counted four times: in smaller tiles they stay in cache, 2.4x faster."""
        return 128.0 * self.width**2

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, L), (q, L), decay -> (p, q)``."""
        return self._of_matches(_matches(X.unsqueeze(1), Y), *theta)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, L), decay -> (p,)``."""
        return self._of_matches(_matches(X, X), *theta)

    def _of_matches(self, M: Tensor, decay: Tensor) -> Tensor:
        """From which characters agree, ``(..., L, L)``.

        Lodhi's two recursions along the strings, K'' and K', multiply by the triangle of powers of the decay.
        """
        decay = decay.to(M.dtype)
        gaps = torch.arange(self.width, device=M.device)
        gaps = gaps.unsqueeze(1) - gaps
        triangle = (decay ** gaps.clamp(min=0)).tril()
        M = M * (decay * decay)
        S = M
        for _ in range(self.length - 1):
            prefixes = triangle @ S @ triangle.mT  # K' of the prefixes up to both characters, these included
            S = M * pad(prefixes, (1, 0, 1, 0))[..., :-1, :-1]
        return S.sum((-2, -1))


def _matches(X: Tensor, Y: Tensor) -> Tensor:
    """Which characters are equal and not padding, ``(..., L), (..., L) -> (..., L, L)`` of 0 and 1."""
    equal = (X.unsqueeze(-1) == Y.unsqueeze(-2)) & (X.unsqueeze(-1) > 0)
    return equal.to(X.dtype)


class Subsequence(Kernel):
    r"""Subsequence kernel: strings are alike when they have characters in the same order, with gaps in between.

    .. math:: k(x, y) = \frac{K(x, y)}{\sqrt{K(x, x) K(y, y)}}, \quad
        K(x, y) = \sum_{|u| = p} \sum_{i: x_i = u} \sum_{j: y_j = u} \lambda^{s(i) + s(j)}

    where i and j are places of the p characters u, and s(i) is how many characters lie from the first place to the
    last. The rows of X are strings, written by :func:`encode`. A string shorter than ``length`` is like nothing: k = 0.

    Args:
        length: p, characters, >= 1; 3 to 6 are usual for text. Not learnable.
        decay: lambda, ``()``, > 0 and usually below 1: small values want the characters close together.

    Raises:
        ValueError: a length that is no whole number >= 1, or a decay that is not positive.

    Cost: a pair of strings of L characters costs ``4 (p - 1) L^3`` multiply-adds as GEMMs: at p = 3
    and L = 30 about 15 us (float32, one core of Zen 3).
    Source: Lodhi et al., Text classification using string kernels (2002), definition 1 and section 4.

    >>> Subsequence(length=2, decay=0.5)(encode(["cat", "car"])).to_dense()
    tensor([[1.0000, 0.4444],
            [0.4444, 1.0000]])
    """

    domains: ClassVar[dict[str, Domain]] = {"decay": POSITIVE}

    def __init__(self, length: int = 3, decay: Value = 0.5) -> None:
        self.length, self.decay = length, decay
        self.check()

    def check(self) -> None:
        """Raise ValueError for an argument outside its domain."""
        super().check()
        require_length("Subsequence", self.length)

    def trace(self, binder: Binder) -> list[Expression]:
        """The normalised sum over common subsequences."""
        function = CommonSubsequences(self.length, binder.width)
        return normalised(binder, function, (binder.slot(self.hyperparameter("decay"), 0),))
