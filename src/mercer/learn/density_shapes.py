"""The shapes of a kernel density: a kernel that integrates to 1 once it is divided by a known number, and its draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import integrate

from mercer.kernels import RBF, Kernel, Laplacian, Matern, RationalQuadratic, parse
from mercer.kernels.binder import Binder
from mercer.kernels.spectra import one_a_column
from mercer.operators.logarithm import log_spec
from mercer.operators.maps import Expression, make

__all__ = ["NAMES", "Shape", "shape_of"]

Draw = Callable[[np.random.RandomState, int], NDArray[np.float64]]


@dataclass(frozen=True)
class Shape:
    """What stands around every point, in units of the bandwidth.

    Attributes:
        kernel: the values, 1 at distance 0 or anything positive.
        log_integral: the logarithm of its integral over all differences.
        draw: differences with that density, ``(n, d)``; None where drawing is not known.
        slow_decay: whether the spectrum has no end worth cutting, so that no Fourier series of few terms exists.
    """

    kernel: Kernel
    log_integral: float
    draw: Draw | None
    slow_decay: bool = False


class _Compact(Kernel):
    """A function of the squared distance that is 0 from the distance 1 on. Not positive semidefinite in general."""

    in_grammar = False


class _Tophat(_Compact):
    """1 within the distance 1."""

    def trace(self, binder: Binder) -> list[Expression]:
        """step(1 - s)."""
        return [make("step", 1.0 - binder.squared_distance(torch.ones(()).double()))]


class _Epanechnikov(_Compact):
    """1 - s."""

    def trace(self, binder: Binder) -> list[Expression]:
        """max(1 - s, 0)."""
        return [_positive_part(1.0 - binder.squared_distance(torch.ones(()).double()))]


class _Linear(_Compact):
    """1 - r."""

    def trace(self, binder: Binder) -> list[Expression]:
        """max(1 - sqrt(s), 0)."""
        return [_positive_part(1.0 - make("sqrt", binder.squared_distance(torch.ones(()).double())))]


class _Cosine(_Compact):
    """cos(pi r / 2), as the sine of the way to the edge, so that it is 0 from there on and not a rounded 0."""

    def trace(self, binder: Binder) -> list[Expression]:
        """sin(pi / 2 * max(1 - sqrt(s), 0))."""
        inside = _positive_part(1.0 - make("sqrt", binder.squared_distance(torch.ones(()).double())))
        return [_positive_part(make("sin", inside * (0.5 * math.pi)))]


def _positive_part(x: Expression) -> Expression:
    return torch.clamp(x, min=0.0)  # type: ignore[call-overload, no-any-return]


def _log_ball(d: int) -> float:
    """The logarithm of the volume of the unit ball."""
    return 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1.0)


def _log_cosine_moment(d: int) -> float:
    """``log(d * int_0^1 r^(d-1) cos(pi r / 2) dr)``."""
    return math.log(d * integrate.quad(lambda r: r ** (d - 1) * math.cos(0.5 * math.pi * r), 0.0, 1.0)[0])


def _around(d: int, radius: Draw) -> Draw:
    """Uniform directions times radii ``(n,)``."""

    def draw(rng: np.random.RandomState, n: int) -> NDArray[np.float64]:
        directions = rng.normal(size=(n, d))
        norms = np.sqrt(np.einsum("ij,ij->i", directions, directions))
        points: NDArray[np.float64] = directions * (radius(rng, n) / norms)[:, None]
        return points

    return draw


def _tophat_draw(d: int) -> Draw:
    """scikit-learn's way, so that a seed gives the same points: the radius from the length of the normal vector."""
    from scipy.special import gammainc

    def draw(rng: np.random.RandomState, n: int) -> NDArray[np.float64]:
        normal = rng.normal(size=(n, d))
        square = np.einsum("ij,ij->i", normal, normal)
        return np.asarray(normal * (gammainc(0.5 * d, 0.5 * square) ** (1.0 / d) / np.sqrt(square))[:, None])

    return draw


def _epanechnikov_radius(d: int) -> Draw:
    return lambda rng, n: np.sqrt(rng.beta(0.5 * d, 2.0, size=n))


def _cosine_radius(d: int) -> Draw:
    """By rejection from Epanechnikov's, of which at least pi / 4 is kept: cos(pi r / 2) <= 1 - r^2."""

    def radius(rng: np.random.RandomState, n: int) -> NDArray[np.float64]:
        kept, count = [], 0
        while count < n:
            r = _epanechnikov_radius(d)(rng, n)
            inside = rng.uniform(size=n) * (1.0 - r * r) < np.cos(0.5 * np.pi * r)
            kept.append(r[inside])
            count += int(inside.sum())
        return np.concatenate(kept)[:n] if kept else np.empty(0)

    return radius


def _gaussian_draw(d: int) -> Draw:
    return lambda rng, n: rng.normal(size=(n, d))


def _matern_draw(d: int, nu: float) -> Draw:
    """Normal vectors whose variance has a Gamma distribution: their density is ``r^nu K_nu(sqrt(2 nu) r)``."""

    def draw(rng: np.random.RandomState, n: int) -> NDArray[np.float64]:
        variance = rng.gamma(nu + 0.5 * d, 1.0 / nu, size=n)
        return rng.normal(size=(n, d)) * np.sqrt(variance)[:, None]

    return draw


def _student_draw(d: int, alpha: float) -> Draw:
    """The rational quadratic kernel is a Student t density with 2 alpha - d degrees of freedom."""
    freedom = 2.0 * alpha - d

    def draw(rng: np.random.RandomState, n: int) -> NDArray[np.float64]:
        stretch = np.sqrt(2.0 * alpha / rng.chisquare(freedom, size=n))
        return rng.normal(size=(n, d)) * stretch[:, None]

    return draw


NAMES: dict[str, Callable[[int], Shape]] = {
    "gaussian": lambda d: Shape(RBF(), 0.5 * d * math.log(2.0 * math.pi), _gaussian_draw(d)),
    "tophat": lambda d: Shape(_Tophat(), _log_ball(d), _tophat_draw(d), slow_decay=True),
    "epanechnikov": lambda d: Shape(
        _Epanechnikov(), _log_ball(d) + math.log(2.0 / (d + 2)), _around(d, _epanechnikov_radius(d)), slow_decay=True
    ),
    "exponential": lambda d: Shape(Matern(nu=0.5), _log_ball(d) + math.lgamma(d + 1.0), _matern_draw(d, 0.5)),
    "linear": lambda d: Shape(
        _Linear(), _log_ball(d) - math.log(d + 1), _around(d, lambda rng, n: rng.beta(d, 2.0, size=n)), slow_decay=True
    ),
    "cosine": lambda d: Shape(
        _Cosine(), _log_ball(d) + _log_cosine_moment(d), _around(d, _cosine_radius(d)), slow_decay=True
    ),
}


def shape_of(kernel: Any, d: int) -> Shape:
    """The shape that a kernel density was given by name, text or kernel.

    Args:
        kernel: one of scikit-learn's names, a mercer kernel that depends on x - y alone and is nowhere negative, or its
            text.
        d: columns of the points.

    Raises:
        ValueError: a kernel that does not integrate to a finite number, may be negative or is not stationary.
        TypeError: something that is no kernel.
    """
    if isinstance(kernel, str) and kernel in NAMES:
        return NAMES[kernel](d)
    if isinstance(kernel, str):
        try:
            kernel = parse(kernel)
        except ValueError as error:
            raise ValueError(
                f"kernel={kernel!r} is none of {', '.join(NAMES)}, and no text of a mercer kernel: {error}"
            ) from error
    if not isinstance(kernel, Kernel):
        raise TypeError(
            f"kernel must be one of {', '.join(NAMES)}, a stationary mercer kernel or its text, "
            f"not {type(kernel).__name__}."
        )
    zero = torch.zeros(1, d, dtype=torch.float64)
    spec = kernel(zero).spec
    if spec.has_delta or log_spec(spec) is None:
        raise ValueError(
            f"kernel={kernel!r} is no density: its values may be negative, or are not a function of x - y. Use RBF, "
            f"Matern, Laplacian or RationalQuadratic, or positive sums of them."
        )
    try:
        at_zero = float(kernel.spectral_density(zero)[0])
    except TypeError as error:
        raise ValueError(f"kernel={kernel!r} has no known integral, so the density has no scale: {error}") from error
    if not (0.0 < at_zero < math.inf):
        raise ValueError(
            f"kernel={kernel!r} in {d} columns does not integrate to a finite number, so the density does not exist. "
            f"A RationalQuadratic needs alpha > {d / 2:g} here; RBF and Matern always do."
        )
    # k(x) = int S(w) cos(w x) dw, so the integral of k is (2 pi)^d S(0).
    return Shape(kernel, math.log(at_zero) + d * math.log(2.0 * math.pi), _draw_of(kernel, d))


def _draw_of(kernel: Kernel, d: int) -> Draw | None:
    """How differences with the density of a kernel are drawn, if that is known."""
    unit: Draw
    if isinstance(kernel, RBF):
        unit = _gaussian_draw(d)
    elif isinstance(kernel, Matern):
        unit = _matern_draw(d, float(kernel.nu))
    elif isinstance(kernel, RationalQuadratic):
        unit = _student_draw(d, float(kernel.hyperparameter("alpha")))
    elif isinstance(kernel, Laplacian):

        def unit(rng: np.random.RandomState, n: int) -> NDArray[np.float64]:
            return rng.laplace(size=(n, d))
    else:
        return None
    scale = one_a_column(kernel.hyperparameter("lengthscale").detach(), d).numpy()
    return lambda rng, n: unit(rng, n) * scale
