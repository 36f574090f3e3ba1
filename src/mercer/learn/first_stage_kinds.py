"""Which functions the first stage of a hierarchical model is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mercer.kernels import NNGP, HermitePolynomial
from mercer.kernels.features.exact import FeatureMap, exact_features
from mercer.kernels.neural.activations import Unit, as_unit, hermite_degree, hermite_sum
from mercer.learn.first_stage import FirstStage
from mercer.learn.ridge import primal_features
from mercer.learn.similarity import Similarity, naming, resolve

__all__ = ["KINDS", "draw_units", "first_stage", "hidden_unit", "is_hermite", "kernel_of"]

KINDS = ("kernel", "monomials", "random")
_UNITS_OF_A_PRODUCT = 4  # random units for each product of Hermite polynomials


def is_hermite(activation: Any) -> bool:
    """Whether the layer's kernel is one of polynomials: "hermite", or "hermite3" with a degree of its own."""
    return isinstance(activation, str) and (activation == "hermite" or hermite_degree(activation) is not None)


def hidden_unit(activation: Any, degree: int) -> Unit:
    """The activation of the hidden layer; "hermite" is the sum of h_1 to h_degree."""
    return hermite_sum(degree) if is_hermite(activation) else as_unit(activation)


def kernel_of(
    features: Any, activation: Any, degree: int, *, width: int, names: Sequence[str] | None
) -> Similarity | None:
    """The kernel of the first stage; None for random units."""
    if isinstance(features, str) and features == "random":
        return None
    if not (isinstance(features, str) and features in KINDS):
        with naming("features", KINDS):
            return resolve(features, width=width, names=names)
    if features == "monomials" or is_hermite(activation):
        return Similarity(HermitePolynomial(degree))
    return Similarity(NNGP(depth=2, activation=as_unit(activation), sigma_w=1.0, sigma_b=1.0))


def draw_units(
    d: int, degree: int, *, width: int | None, n: int, with_bias: bool, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows ``(width, d)`` uniform on the unit sphere, and biases ``(width,)``, standard normal or 0."""
    count = min(_UNITS_OF_A_PRODUCT * math.comb(d + degree, degree), max(1, n // 2)) if width is None else width
    drawn = torch.randn(count, d, generator=generator, dtype=torch.float64)
    rows = drawn / drawn.square().sum(1, keepdim=True).sqrt()
    drawn = torch.randn(count, generator=generator, dtype=torch.float64)
    return rows, drawn if with_bias else torch.zeros_like(drawn)


def first_stage(
    similarity: Similarity | None,
    points: Tensor,
    *,
    units: tuple[Tensor, Tensor, Unit] | None = None,
    limit: int | None = None,
    n_steps: int | None = None,
) -> FirstStage:
    """The ridge regression of a kernel or of random units, over features where there are few or it is asked for.

    Args:
        similarity: the kernel.
        points: of fit.
        units: rows, biases and activation of random units.
        limit: over features where the kernel has at most so many, 0 for never; None as the ridge core decides, where
            they are at most half the rows.
        n_steps: of gradient descent.

    Raises:
        ValueError: gradient descent over the rows.
    """
    if units is not None:
        rows, biases, unit = units
        scale = len(rows) ** -0.5

        def compute(X: Tensor) -> Tensor:
            features: Tensor = unit.function(X @ rows.mT + biases) * scale
            return features

        return FirstStage(None, FeatureMap(len(rows), compute), points, n_steps)
    assert similarity is not None
    if limit is None:
        features = primal_features(similarity, points)
    else:
        features = exact_features(similarity.kernel, points.shape[1], limit=limit)
    if features is None and n_steps is not None:
        raise ValueError(
            "solver='gd' descends over features, of which this kernel has more than half the rows or infinitely many. "
            "Use features='random' or 'monomials', or solver='ridge'."
        )
    return FirstStage(similarity, features, points, n_steps)
