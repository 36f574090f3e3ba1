"""Products of random signs: features of powers of a dot product."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mercer.kernels.features.maclaurin import PowerSeries

__all__ = ["draw_sign_products", "shifted_coefficients", "sign_products"]


def draw_sign_products(
    series: PowerSeries, m: int, d: int, *, all_degrees: bool, source: torch.Generator
) -> tuple[dict[str, Tensor], Tensor, list[int]]:
    r"""Degrees and signs of m features ``prod_j (r_j . x)``, with which ``E[prod (r_j . x) (r_j . w)] = (w . x)^n``.

    A degree n is drawn with a probability like ``2^(-n-1)``, by systematic sampling: of m features as many have it as
    they should, but for one.

    Args:
        series: what the features are of.
        m: how many.
        d: columns.
        all_degrees: also those whose coefficient is 0 around 0, but not around a bias.
        source: the generator.

    Returns:
        ``{"signs" (rows, d), "size" (m,)}``; the degree of each feature, the largest first; and how many features have
        a degree above 0, 1, ...: one block of the rows of "signs" each.
    """
    degrees, chances = series.chances(all_degrees=all_degrees)
    places = (torch.arange(m, dtype=torch.float64) + torch.rand((), dtype=torch.float64, generator=source)) / m
    chance = torch.tensor(chances, dtype=torch.float64)
    drawn = torch.searchsorted(chance.cumsum(0), places).clamp(max=len(degrees) - 1)
    drawn = drawn.flip(0)  # the largest degrees first, so that those above a level are the first ones
    found = torch.tensor(degrees)[drawn]
    counts = [int((found > level).sum()) for level in range(int(found.max()))]
    signs = 2.0 * torch.randint(2, (sum(counts), d), generator=source).to(torch.float64) - 1.0
    return {"signs_of_products": signs, "size": (m * chance[drawn]).rsqrt()}, found, counts


def sign_products(state: Mapping[str, Tensor], counts: Sequence[int], X: Tensor) -> Tensor:
    """``(..., d) -> (..., m)``: the products; 1 for degree 0."""
    m = state["size"].shape[0]
    product = X.new_ones(*X.shape[:-1], m)
    projected = X @ state["signs_of_products"].to(X).mT
    start = 0
    for count in counts:
        raised = product[..., :count] * projected[..., start : start + count]
        product = torch.cat([raised, product[..., count:]], -1)
        start += count
    return product


def shifted_coefficients(coefficients: Sequence[float], b: Tensor) -> Tensor:
    """Of the series around each b: ``f(z + b) = sum_n table[:, n] z^n``, ``(o,) -> (o, N)``.

    In float64: binomial coefficients of degree 23 are large, and what they multiply is small.
    """
    n = len(coefficients)
    wide = b.to(torch.float64)
    powers = wide[:, None] ** torch.arange(n, dtype=torch.float64, device=b.device)
    spread = torch.zeros(n, n, dtype=torch.float64)  # of b^i, for z^j
    for k, a in enumerate(coefficients):
        for j in range(k + 1):
            spread[k - j, j] += a * math.comb(k, j)
    return (powers @ spread.to(b.device)).to(b.dtype)
