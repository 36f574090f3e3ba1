"""How points enter a statistic: which columns, divided by what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Embed(Protocol):
    """Points to rows of features, ``(*batch, n, d) -> (*batch, n, r)``; hashable, picklable, differentiable by
    autograd.

    ``center`` is ``(*batch, 1, d)`` or None: what a translation-invariant statistic subtracts first, before a division
    could round the difference away.
    """

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor: ...


@dataclass(frozen=True)
class Columns:
    """The chosen columns (None: all), divided by the lengthscales ``theta[scale]`` of shape ``(*batch, 1 or r)``."""

    columns: tuple[int, ...] | None = None
    scale: int | None = None

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        if center is not None:
            X = X - center
        if self.columns is not None:
            X = X[..., list(self.columns)]
        return X if self.scale is None else X / theta[self.scale].to(X.dtype).unsqueeze(-2)


@dataclass(frozen=True)
class OneHot:
    """Indicators of known categories, each column's divided by the square root of its lengthscale.

    Half the squared distance of two points is then the weighted number of columns in which they differ.
    ``categories[j]`` are the values of ``columns[j]``; others (there are none when bound to its own data) give zeros.
    """

    columns: tuple[int, ...]
    categories: tuple[tuple[float, ...], ...]
    scale: int

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        weights = theta[self.scale].to(X.dtype).rsqrt()  # (*batch, 1 or c)
        weights = weights.expand(*weights.shape[:-1], len(self.columns))
        parts = []
        for j, (column, values) in enumerate(zip(self.columns, self.categories, strict=True)):
            known = torch.tensor(values, dtype=X.dtype, device=X.device)
            hot = (X[..., column].unsqueeze(-1) == known).to(X.dtype)  # (*batch, n, categories of the column)
            parts.append(hot * weights[..., j, None, None])
        return torch.cat(parts, -1)


@dataclass(frozen=True)
class Codes:
    """The chosen columns as they are, then each one's weight ``sqrt(1 / theta[scale])``: what ``Mismatch`` compares."""

    columns: tuple[int, ...]
    scale: int

    def __call__(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        codes = X[..., list(self.columns)]
        return torch.cat([codes, theta[self.scale].to(X.dtype).rsqrt().unsqueeze(-2).expand_as(codes)], -1)
