"""The Fourier transform of small matrices as a module, whose matrices can be learnt."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.nn.convolution.monarch import (
    complex_of,
    dft_matrix,
    monarch_factors,
    monarch_fft,
    monarch_ifft,
    natural_order,
)
from mercer.nn.convolution.monarch_planes import Planes, dft_planes, fft_planes, ifft_planes
from mercer.nn.parameter_groups import group_parameters
from mercer.nn.seeding import seeded

__all__ = ["MonarchFFT"]

SPREAD = 0.01  # of what is added to the matrices, as in the official code


class MonarchFFT(nn.Module):
    """The discrete Fourier transform as products with small matrices, and if wanted with learnt ones.

    Args:
        N: its length; shorter inputs are padded with zeros.
        learn: whether the matrices are parameters, which start as those of the transform.
        radix: the largest matrix, except for prime lengths.
        inverse: the inverse transform, with its factor 1 / N.
        additive: learnt matrices are the transform's plus parameters of deviation 0.01.
        dropout: of the entries of that addition, in training.
        natural: frequencies in their order; False leaves them in that of the products, ``(B, ..., *factors)``, which
            saves a pass where two spectra are multiplied and transformed back.
        learning_rate: of the matrices; they have no weight decay.
        random_state: of what is added.

    Attributes:
        factors: the sizes of the matrices; their product is N.

    Raises:
        ValueError: no length, or a radix below 2.

    Cost: ``N sum(factors)`` complex multiply-adds, learnt or not. On a CPU :func:`torch.fft.fft` is faster by far;
    matrices are for tensor cores, and for what they can learn beyond the transform.
    Source: Fu et al., Simple Hardware-Efficient Long Convolutions for Sequence Modeling (ICML 2023).

    >>> x = torch.randn(2, 60)
    >>> torch.allclose(MonarchFFT(60)(x), torch.fft.fft(x), atol=1e-4)
    True
    """

    def __init__(
        self,
        N: int,
        *,
        learn: bool = False,
        radix: int = 16,
        inverse: bool = False,
        additive: bool = False,
        dropout: float = 0.0,
        natural: bool = True,
        learning_rate: float | None = 1e-3,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        self.N, self.learn, self.inverse, self.additive = N, learn, inverse, additive
        self.natural, self.learning_rate = natural, learning_rate
        self.factors = monarch_factors(N, radix=radix)
        self.dropout = nn.Dropout(dropout)
        self.matrices = nn.ParameterList()
        if learn:
            with seeded(random_state):
                for n in self.factors:
                    if additive:
                        value = SPREAD * torch.randn(n, n, 2)
                    else:
                        value = torch.view_as_real(self._exact(n)).to(torch.get_default_device(), copy=True)
                    self.matrices.append(nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        """The spectrum ``(B, ..., N)``, complex, of ``(B, ..., n <= N)``; the inverse goes the other way.

        Raises:
            ShapeError: an input that is longer than N.

        Half types are transformed in float32: there are no complex numbers of bfloat16.
        """
        if torch.compiler.is_compiling():
            return torch.complex(*self.planes(*((x.real, x.imag) if x.is_complex() else (x, None))))
        x = _in_full(x)
        matrices = self._matrices(x) if self.learn else None
        if not self.inverse:
            self._require_short(x)
            X = monarch_fft(x, self.factors, matrices=matrices)
            return natural_order(X, len(self.factors)) if self.natural else X
        if self.natural:
            first = x.dim() - 1
            X = x.reshape(*x.shape[:-1], *reversed(self.factors))
            x = X.permute(*range(first), *reversed(range(first, X.dim())))
        return monarch_ifft(x, n_factors=len(self.factors), matrices=matrices)

    def planes(self, real: Tensor, imaginary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """:meth:`forward` of two parts, None for zeros, and as two parts, by real products alone: what ONNX knows.

        >>> re, im = MonarchFFT(60).planes(torch.ones(60))
        >>> round(float(re[0])), round(float(im.abs().max()))
        (60, 0)
        """
        x: Planes = (_in_full(real), None if imaginary is None else _in_full(imaginary))
        learnt = self._learnt(x[0]) if self.learn else []
        exact = [dft_planes(n, x[0], inverse=self.inverse) for n in self.factors] if self.additive or not learnt else []
        matrices = [a + b for a, b in zip(learnt, exact, strict=True)] if learnt and exact else learnt or exact
        first = real.dim() - 1
        if not self.inverse:
            self._require_short(real)
            re, im = fft_planes(x, matrices)
            if not self.natural:
                return re, im
            return _reversed(re, first).flatten(first), _reversed(im, first).flatten(first)
        if self.natural:
            backward = tuple(reversed(self.factors))
            re, im = (
                _reversed(part.unflatten(-1, backward), first)
                for part in (x[0], torch.zeros_like(x[0]) if x[1] is None else x[1])
            )
            x = (re, im)
        return ifft_planes(x, matrices)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The matrices, with their learning rate and no decay."""
        own = {"weight_decay": 0.0} | ({} if self.learning_rate is None else {"lr": self.learning_rate})
        return group_parameters((p, own) for p in self.parameters())

    @property
    def multiply_adds(self) -> int:
        """Complex multiply-adds of a transform, learnt or not."""
        return self.N * sum(self.factors) if len(self.factors) > 1 else prod(self.factors) ** 2

    def _exact(self, n: int, dtype: torch.dtype = torch.complex64) -> Tensor:
        F = dft_matrix(n, dtype, torch.device("cpu"))
        return F.conj().resolve_conj() / n if self.inverse else F

    def _matrices(self, x: Tensor) -> list[Tensor]:
        dtype = complex_of(x.dtype)
        found = [torch.view_as_complex(planes).to(dtype) for planes in self._learnt(x)]
        if not self.additive:
            return found
        return [self._exact(n, dtype).to(x.device) + added for n, added in zip(self.factors, found, strict=True)]

    def _learnt(self, x: Tensor) -> list[Tensor]:
        """``(n, n, 2)`` each, of the real type of x."""
        dtype = x.real.dtype
        return [(self.dropout(p) if self.additive else p).to(dtype) for p in self.matrices]

    def _require_short(self, x: Tensor) -> None:
        if x.shape[-1] > self.N:
            raise ShapeError(f"MonarchFFT({self.N}): the input has {x.shape[-1]} entries. Cut it, or build it longer.")

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{self.N}, factors={self.factors}, learn={self.learn}"


def _in_full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _reversed(x: Tensor, first: int) -> Tensor:
    """Its dimensions from ``first`` on the other way round, so that frequencies stand in their order."""
    return x.permute(*range(first), *reversed(range(first, x.dim())))
