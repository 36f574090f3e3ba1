"""The table of kernels that drives every common property: a new kernel adds a row and gets them all.

A row holds the kernel and its definition, written here a second time with NumPy and SciPy in float64, and with none
of our code.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist  # the norms of differences, pair by pair
from scipy.special import gamma as gamma_function
from scipy.special import kv

from mercer.kernels import (
    ANOVA,
    NNGP,
    NTK,
    RBF,
    Additive,
    ArcCosine,
    ChangePoint,
    Constant,
    Cosine,
    Exponential,
    Gibbs,
    Hamming,
    HermitePolynomial,
    Intersection,
    Jaccard,
    Kernel,
    Laplacian,
    Linear,
    Matern,
    Pairwise,
    Periodic,
    Polynomial,
    PowerExponential,
    RationalQuadratic,
    SetKernel,
    Softmax,
    SpectralMixture,
    Spectrum,
    Subsequence,
    Tanimoto,
    Wendland,
    White,
    from_callable,
)

Array = np.ndarray[Any, Any]
LENGTHSCALES = (0.7, 1.9, 1.1)  # repeated to as many columns as there are


def ard(d: int) -> Array:
    return np.resize(np.array(LENGTHSCALES), d)


def distance(X: Array, Y: Array, lengthscale: Any = 1.0) -> Array:
    if np.ndim(lengthscale) == 0:
        return cdist(X, Y) / lengthscale
    return cdist(X, Y, w=lengthscale**-2.0)


def l1_distance(X: Array, Y: Array, lengthscale: Any = 1.0) -> Array:
    if np.ndim(lengthscale) == 0:
        return cdist(X, Y, "cityblock") / lengthscale
    return cdist(X, Y, "cityblock", w=1.0 / lengthscale)


def matern(r: Array, nu: float) -> Array:
    """The Bessel form for every nu; the closed forms are the code's business."""
    z = np.sqrt(2.0 * nu) * r
    safe = np.where(z > 0.0, z, 1.0)
    return np.where(z > 0.0, 2.0 ** (1.0 - nu) / gamma_function(nu) * safe**nu * kv(nu, safe), 1.0)


def closed_matern(r: Array, nu: float) -> Array:
    """The closed forms of the textbook, more accurate than the Bessel function."""
    z = np.sqrt(2.0 * nu) * r
    return {0.5: 1.0, 1.5: 1.0 + z, 2.5: 1.0 + z + z**2 / 3.0}[nu] * np.exp(-z)


def waves(d: int) -> dict[str, Any]:
    """Weights, frequencies and lengthscales of two waves."""
    frequencies = np.stack([0.2 * ard(d), 0.1 / ard(d)])
    return {"weights": [0.7, 0.4], "frequencies": frequencies, "lengthscale": np.stack([ard(d), 1.5 * ard(d)])}


def mixture(X: Array, Y: Array, envelope: Callable[[Array], Array], first: int = 0) -> Array:
    """The two waves of columns ``first`` and on; ``envelope`` is a function of minus half the squared distance."""
    z = X[:, None] - Y[None]
    chosen = slice(first, first + X.shape[1])
    values = waves(first + X.shape[1])
    parts = zip(values["weights"], values["frequencies"][:, chosen], values["lengthscale"][:, chosen], strict=True)
    return sum(
        w * envelope(-0.5 * ((z / scale) ** 2).sum(-1)) * np.cos(2.0 * np.pi * mu * z).prod(-1)
        for w, mu, scale in parts
    )


def same_point(X: Array, Y: Array) -> Array:
    return np.eye(len(X)) if X is Y else np.zeros((len(X), len(Y)))


def min_function(X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """A kernel that is no map of distances: sum_j min(x_j, y_j) of points with positive coordinates."""
    return torch.minimum(X[:, None], Y[None]).sum(-1)


def periodic(X: Array, Y: Array, lengthscale: Any, period: Any) -> Array:
    return np.exp(-2.0 * ((np.sin(np.pi * (X[:, None] - Y[None]) / period) / lengthscale) ** 2).sum(-1))


def hermite(X: Array, Y: Array, degree: int) -> Array:
    """Products of normalised Hermite polynomials of all columns, one by one."""

    def products(Z: Array) -> Array:
        values = [
            np.polynomial.hermite_e.hermeval(Z, np.eye(degree + 1)[j] / gamma_function(j + 1) ** 0.5)
            for j in range(degree + 1)
        ]
        columns = range(Z.shape[1])
        chosen = [c for q in range(degree + 1) for c in itertools.combinations_with_replacement(columns, q)]
        parts = ([values[times][:, i] for i, times in Counter(c).items()] for c in chosen)
        return np.stack([np.prod([np.ones(len(Z)), *part], axis=0) for part in parts], 1)

    return products(X) @ products(Y).T


def wendland(r: Array, d: int, smoothness: int) -> Array:
    """The closed forms of Wendland's book (Scattered data approximation, table 9.1), scaled to 1 at 0."""
    j = d // 2 + smoothness + 1
    polynomial = {
        0: 1.0,
        1: (j + 1) * r + 1.0,
        2: ((j**2 + 4 * j + 3) * r**2 + (3 * j + 6) * r + 3.0) / 3.0,
        3: ((j**3 + 9 * j**2 + 23 * j + 15) * r**3 + (6 * j**2 + 36 * j + 45) * r**2 + (15 * j + 45) * r + 15.0) / 15.0,
    }[smoothness]
    return np.where(r < 1.0, np.maximum(1.0 - r, 0.0) ** (j + smoothness) * polynomial, 0.0)


def arc_cosine(X: Array, Y: Array, order: int, weight: Any, bias: float) -> Array:
    A, B = (np.hstack([Z * np.sqrt(weight), np.full((len(Z), 1), np.sqrt(bias))]) for Z in (X, Y))
    norms = np.linalg.norm(A, axis=1)[:, None] * np.linalg.norm(B, axis=1)
    a, b = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (A, B))
    angle = 2.0 * np.arctan2(cdist(a, b), cdist(a, -b))  # Kahan's, which keeps its digits
    rest = np.pi - angle
    J = {
        0: rest,
        1: np.sin(angle) + rest * np.cos(angle),
        2: 3.0 * np.sin(angle) * np.cos(angle) + rest * (1.0 + 2.0 * np.cos(angle) ** 2),
    }[order]
    return norms**order * J / np.pi


def network(X: Array, Y: Array, depth: int, weight: float, bias: float) -> tuple[Array, Array]:
    """NTK and NNGP of ReLU networks: unit vectors in place of correlations, which lose the digits of small angles."""
    A, B = (np.hstack([weight * Z / np.sqrt(Z.shape[1]), np.full((len(Z), 1), bias)]) for Z in (X, Y))
    r, s = np.linalg.norm(A, axis=1)[:, None], np.linalg.norm(B, axis=1)[None]
    a, b = A / r, B / s.T
    apart = cdist(a, b)
    t = 2.0 * np.arctan2(apart, cdist(a, -b))
    T = S = r * s * (1.0 - apart**2 / 2.0)
    for _ in range(depth - 1):
        u = t * t  # powers take longer than all the rest
        series = u * (1 / 2 - u * (1 / 24 - u / 720)) - t * u * (1 / 3 - u * (1 / 30 - u / 840)) / np.pi
        lapse = np.where(t < 0.03, series, 2 * np.sin(t / 2) ** 2 - (np.sin(t) - t * np.cos(t)) / np.pi)
        P, Q = (np.hstack([weight * z / np.sqrt(2.0), bias + 0.0 * z]) for z in (r, s.T))
        R, U = np.linalg.norm(P, axis=1)[:, None], np.linalg.norm(Q, axis=1)[None]
        w = cdist(P / R, Q / U.T, "sqeuclidean") / 2 + weight**2 * r * s / (2.0 * R * U) * lapse
        S = R * U * (1.0 - w)
        T = weight**2 * T * (np.pi - t) / (2.0 * np.pi) + S
        r, s, t = R, U, 2.0 * np.arcsin(np.sqrt(w / 2.0))
    return T, S


def erf_network(X: Array, Y: Array, weight: float, bias: float) -> Array:
    A, B = (np.hstack([weight * Z / np.sqrt(Z.shape[1]), np.full((len(Z), 1), bias)]) for Z in (X, Y))
    p, q = 2.0 * (A**2).sum(1)[:, None], 2.0 * (B**2).sum(1)[None]
    apart = cdist(A / np.sqrt(p), B / np.sqrt(q).T, "sqeuclidean")
    rest = 1.0 + p + q + p * q * (2.0 * apart) * (1.0 - apart / 2.0)  # (1 + p) (1 + q) - (2 s)^2
    return weight**2 * 2.0 / np.pi * np.arctan2(2.0 * A @ B.T, np.sqrt(rest)) + bias**2


def gibbs(X: Array, Y: Array, lengthscale: Any, weights: Any) -> Array:
    g, h = np.exp((X * weights).sum(1))[:, None], np.exp((Y * weights).sum(1))
    total = g**2 + h**2
    return (2.0 * g * h / total) ** (X.shape[1] / 2.0) * np.exp(-(distance(X, Y, lengthscale) ** 2) / total)


def change(X: Array, Y: Array, before: Array, after: Array, location: float, steepness: float, column: int) -> Array:
    a, b = (1.0 / (1.0 + np.exp(-steepness * (Z[:, column] - location))) for Z in (X, Y))
    return np.outer(1.0 - a, 1.0 - b) * before + np.outer(a, b) * after


def column_kernels(X: Array, Y: Array, lengthscale: Any) -> Array:
    return np.exp(-0.5 * ((X[:, None] - Y[None]) / lengthscale) ** 2)


def anova(Z: Array, variances: Any) -> Array:
    """Every subset of the columns by itself."""
    d = Z.shape[-1]
    total = np.zeros(Z.shape[:-1])
    for q, variance in enumerate(variances, 1):
        for subset in itertools.combinations(range(d), q):
            total = total + variance * Z[..., list(subset)].prod(-1)
    return total


def over_union(common: Array, a: Array, b: Array) -> Array:
    return common / (a[:, None] + b - common)


def normalise(K: Array, a: Array, b: Array) -> Array:
    size = np.sqrt(np.outer(a, b))
    return np.divide(K, size, out=np.zeros_like(K), where=size > 0)


def spectrum(X: Array, Y: Array, length: int) -> Array:
    """Counts of substrings, one string after the other."""

    def count(row: Array) -> Counter[Any]:
        text = [int(c) for c in row if c > 0]
        return Counter(tuple(text[i : i + length]) for i in range(len(text) - length + 1))

    words = sorted({word for row in (*X, *Y) for word in count(row)})
    A, B = (np.array([[count(row)[word] for word in words] for row in Z]).reshape(len(Z), -1) for Z in (X, Y))
    A, B = A.astype(float), B.astype(float)
    return normalise(A @ B.T, (A**2).sum(1), (B**2).sum(1))


def subsequence(X: Array, Y: Array, length: int, decay: float) -> Array:
    """Every choice of places by itself: a feature for each subsequence."""

    def features(row: Array) -> Counter[Any]:
        text = [int(c) for c in row if c > 0]
        found: Counter[Any] = Counter()
        for places in itertools.combinations(range(len(text)), length):
            found[tuple(text[i] for i in places)] += decay ** (places[-1] - places[0] + 1)
        return found

    left, right = [features(row) for row in X], [features(row) for row in Y]
    words = sorted({word for f in left + right for word in f})
    A, B = (np.array([[f[word] for word in words] for f in side]).reshape(len(side), -1) for side in (left, right))
    return normalise(A @ B.T, (A**2).sum(1), (B**2).sum(1))


def mean_of_pairs(X: Array, Y: Array, lengthscale: float) -> Array:
    """Sets of numbers: how many, then they."""
    K = np.zeros((len(X), len(Y)))
    for p, q in itertools.product(range(1, X.shape[1]), repeat=2):
        both = (X[:, :1] >= p) & (Y[:, 0] >= q)
        K += both * np.exp(-0.5 * ((X[:, p, None] - Y[:, q]) / lengthscale) ** 2)
    return K / (X[:, :1] * Y[:, 0])


@dataclass(frozen=True)
class Case:
    """A kernel, its definition ``(X, Y) -> K`` (X is Y for k(X)), and what is true of it.

    ``data``: what points it takes, "real", "bounded" (real, but not of any scale), "positive", "categories", "strings"
    or "sets"; ``width``: least number of columns;
    ``centred``: whether a common shift of X and Y changes nothing; ``psd``: whether it is positive semidefinite;
    ``text``: whether it can be written as text; ``degree``: how the values grow with the scale of X; ``unit``: the
    power of the unit of X that the values have; ``units``: the hyperparameters that have the units of X.
    """

    name: str
    kernel: Callable[[int], Kernel]
    define: Callable[[Array, Array], Array]
    data: str = "real"
    width: int = 1
    centred: bool = True
    psd: bool = True
    text: bool = True
    degree: int = 0
    unit: int = 0
    units: tuple[str, ...] = ("lengthscale",)

    @property
    def discrete(self) -> bool:
        """Whether there are no gradients in X."""
        return self.data in ("categories", "strings")

    def points(self, n: int, d: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1000 * seed + 10 * n + d)
        if self.data == "categories":
            return torch.randint(0, 4, (n, d), generator=generator).to(dtype)
        if self.data == "strings":
            lengths = torch.randint(1, d + 1, (n, 1), generator=generator)
            codes = torch.randint(1, 4, (n, d), generator=generator)
            return torch.where(torch.arange(d) < lengths, codes, 0).to(dtype)
        X = torch.randn(n, d, generator=generator, dtype=torch.float64)
        if self.data == "sets":
            X[:, 0] = torch.randint(1, max(d, 2), (n,), generator=generator)
            X[:, 1:] *= torch.arange(d - 1) < X[:, :1]
        return (X.abs() + 0.1 if self.data == "positive" else X).to(dtype)

    def radius(self, X: Array, Y: Array) -> float:
        """The largest squared norm of a point in lengthscales, centred where the kernel is."""
        if self.discrete:
            return X.shape[1] / min(LENGTHSCALES)
        both = np.concatenate([X, Y]) / min(LENGTHSCALES)
        return float(((both - both.mean(0) if self.centred else both) ** 2).sum(1).max(initial=0.0))


CASES = [
    Case("rbf", lambda d: RBF(1.3), lambda X, Y: np.exp(-0.5 * distance(X, Y, 1.3) ** 2)),
    Case("rbf_ard", lambda d: RBF(ard(d)), lambda X, Y: np.exp(-0.5 * distance(X, Y, ard(X.shape[1])) ** 2)),
    Case("matern_1", lambda d: Matern(1.3, nu=0.5), lambda X, Y: closed_matern(distance(X, Y, 1.3), 0.5)),
    Case("matern_3", lambda d: Matern(1.3), lambda X, Y: closed_matern(distance(X, Y, 1.3), 1.5)),
    Case("matern_5", lambda d: Matern(1.3, nu=2.5), lambda X, Y: closed_matern(distance(X, Y, 1.3), 2.5)),
    Case(
        "matern_5_ard",
        lambda d: Matern(ard(d), nu=2.5),
        lambda X, Y: closed_matern(distance(X, Y, ard(X.shape[1])), 2.5),
    ),
    Case("matern_7", lambda d: Matern(1.3, nu=3.5), lambda X, Y: matern(distance(X, Y, 1.3), 3.5)),
    Case("matern_1.2", lambda d: Matern(1.3, nu=1.2), lambda X, Y: matern(distance(X, Y, 1.3), 1.2)),
    Case(
        "matern_0.3",
        lambda d: Matern(1.3, nu=0.3),
        lambda X, Y: matern(distance(X, Y, 1.3), 0.3),
    ),
    Case(
        "rational_quadratic",
        lambda d: RationalQuadratic(1.3, alpha=0.7),
        lambda X, Y: (1.0 + distance(X, Y, 1.3) ** 2 / 1.4) ** -0.7,
    ),
    Case(
        "rational_quadratic_ard",
        lambda d: RationalQuadratic(ard(d), alpha=30.0),
        lambda X, Y: np.exp(-30.0 * np.log1p(distance(X, Y, ard(X.shape[1])) ** 2 / 60.0)),
    ),
    Case("laplacian", lambda d: Laplacian(1.3), lambda X, Y: np.exp(-l1_distance(X, Y, 1.3))),
    Case(
        "laplacian_ard",
        lambda d: Laplacian(ard(d)),
        lambda X, Y: np.exp(-l1_distance(X, Y, ard(X.shape[1]))),
    ),
    Case(
        "power_exponential",
        lambda d: PowerExponential(1.3, 0.8),
        lambda X, Y: np.exp(-(distance(X, Y, 1.3) ** 0.8)),
    ),
    Case(
        "power_exponential_of_a_norm",
        lambda d: PowerExponential(ard(d), 0.9, 1.4),
        lambda X, Y: np.exp(-(((np.abs(X[:, None] - Y[None]) / ard(X.shape[1])) ** 1.4).sum(-1) ** (0.9 / 1.4))),
    ),
    Case("linear", lambda d: Linear(), lambda X, Y: X @ Y.T, centred=False, degree=2),
    Case(
        "linear_ard",
        lambda d: Linear(ard(d), bias=0.4),
        lambda X, Y: (X / ard(X.shape[1]) ** 2) @ Y.T + 0.4,
        centred=False,
        degree=2,
    ),
    Case(
        "polynomial",
        lambda d: Polynomial(3, 1.0, 2.0),
        lambda X, Y: (X @ Y.T / 4.0 + 1.0) ** 3,
        centred=False,
        degree=6,
    ),
    Case(
        "polynomial_ard",
        lambda d: Polynomial(2, 0.3, ard(d)),
        lambda X, Y: ((X / ard(X.shape[1]) ** 2) @ Y.T + 0.3) ** 2,
        centred=False,
        degree=4,
    ),
    Case(
        "hermite_polynomial",
        lambda d: HermitePolynomial(3, 1.3),
        lambda X, Y: hermite(X / 1.3, Y / 1.3, 3),
        centred=False,
        degree=6,
    ),
    Case(
        "hermite_polynomial_ard",
        lambda d: HermitePolynomial(2, ard(d)),
        lambda X, Y: hermite(X / ard(X.shape[1]), Y / ard(X.shape[1]), 2),
        centred=False,
        degree=4,
    ),
    Case("spectral", lambda d: SpectralMixture(2, **waves(d)), lambda X, Y: mixture(X, Y, np.exp)),
    Case(
        "spectral_student",
        lambda d: SpectralMixture(2, envelope="student_t", **waves(d)),
        lambda X, Y: mixture(X, Y, lambda s: closed_matern(np.sqrt(-2.0 * s), 2.5)),
    ),
    Case(
        "spectral_separable",
        lambda d: SpectralMixture(2, separable=True, **waves(d)),
        lambda X, Y: np.prod([mixture(X[:, [j]], Y[:, [j]], np.exp, j) for j in range(X.shape[1])], axis=0),
    ),
    Case(
        "derivative",
        lambda d: RBF(1.3).derivative([1] + [0] * (d - 1), [1] + [0] * (d - 1)),
        lambda X, Y: (
            (1.0 / 1.3**2 - (X[:, None, 0] - Y[None, :, 0]) ** 2 / 1.3**4) * np.exp(-0.5 * distance(X, Y, 1.3) ** 2)
        ),
        degree=2,
        unit=-2,
    ),
    Case("constant", lambda d: Constant(0.8), lambda X, Y: np.full((len(X), len(Y)), 0.8), width=0),
    Case("white", lambda d: White(0.3), lambda X, Y: 0.3 * same_point(X, Y), width=0),
    Case(
        "hamming",
        lambda d: Hamming(1.7),
        lambda X, Y: np.exp(-(X[:, None] != Y[None]).sum(-1) / 1.7),
        data="categories",
    ),
    Case(
        "hamming_ard",
        lambda d: Hamming(ard(d)),
        lambda X, Y: np.exp(-((X[:, None] != Y[None]) / ard(X.shape[1])).sum(-1)),
        data="categories",
    ),
    Case(
        "sum",
        lambda d: 2.0 * RBF(0.9) + 0.1 * Linear() + 0.7 + White(0.05),
        lambda X, Y: 2.0 * np.exp(-0.5 * distance(X, Y, 0.9) ** 2) + 0.1 * X @ Y.T + 0.7 + 0.05 * same_point(X, Y),
        centred=False,
        degree=2,
    ),
    Case(
        "product",
        lambda d: RBF(1.3) * Polynomial(2, 1.0) * 0.5,
        lambda X, Y: 0.5 * np.exp(-0.5 * distance(X, Y, 1.3) ** 2) * (X @ Y.T + 1.0) ** 2,
        centred=False,
        degree=4,
    ),
    Case(
        "power",
        lambda d: (Matern(1.3) + Linear(bias=0.2)) ** 2,
        lambda X, Y: (closed_matern(distance(X, Y, 1.3), 1.5) + X @ Y.T + 0.2) ** 2,
        centred=False,
        degree=4,
    ),
    Case(
        "on",
        lambda d: RBF(1.3).on([0, -1]) * Matern(1.1).on(1) + White(0.1).on([0]),
        lambda X, Y: (
            np.exp(-0.5 * distance(X[:, [0, -1]], Y[:, [0, -1]], 1.3) ** 2)
            * closed_matern(distance(X[:, [1]], Y[:, [1]], 1.1), 1.5)
            + 0.1 * same_point(X, Y)
        ),
        width=2,
    ),
    Case(
        "cosine",
        lambda d: Pairwise("cosine"),
        lambda X, Y: (X @ Y.T) / (np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Y, axis=1)),
        centred=False,
    ),
    Case(
        "sigmoid",
        lambda d: Pairwise("sigmoid", gamma=0.3, coef0=-0.2),
        lambda X, Y: np.tanh(0.3 * X @ Y.T - 0.2),
        centred=False,
        psd=False,
    ),
    Case(
        "chi2",
        lambda d: Pairwise("chi2", gamma=0.6),
        lambda X, Y: np.exp(-0.6 * ((X[:, None] - Y[None]) ** 2 / (X[:, None] + Y[None])).sum(-1)),
        data="positive",
        centred=False,
    ),
    Case("exponential", lambda d: Exponential(1.3), lambda X, Y: np.exp(-distance(X, Y, 1.3))),
    Case("exponential_ard", lambda d: Exponential(ard(d)), lambda X, Y: np.exp(-distance(X, Y, ard(X.shape[1])))),
    Case("periodic", lambda d: Periodic(1.3, 2.1), lambda X, Y: periodic(X, Y, 1.3, 2.1), units=("period",)),
    Case(
        "periodic_ard",
        lambda d: Periodic(ard(d), 3.0 * ard(d)),
        lambda X, Y: periodic(X, Y, ard(X.shape[1]), 3.0 * ard(X.shape[1])),
        units=("period",),
    ),
    Case(
        "cosine_wave",
        lambda d: Cosine(7.0 * ard(d)),
        lambda X, Y: np.cos(2.0 * np.pi * ((X[:, None] - Y[None]) / (7.0 * ard(X.shape[1]))).sum(-1)),
        units=("period",),
    ),
    *(
        Case(
            f"wendland_{q}",
            lambda d, q=q: Wendland(4.0, smoothness=q),
            lambda X, Y, q=q: wendland(distance(X, Y, 4.0), X.shape[1], q),
        )
        for q in range(4)
    ),
    Case(
        "wendland_ard",
        lambda d: Wendland(3.0 * ard(d), smoothness=1, dimension=20),
        lambda X, Y: wendland(distance(X, Y, 3.0 * ard(X.shape[1])), 20, 1),
    ),
    *(
        Case(
            f"arc_cosine_{n}",
            lambda d, n=n: ArcCosine(n, 0.8, 0.4),
            lambda X, Y, n=n: arc_cosine(X, Y, n, 0.8, 0.4),
            centred=False,
            degree=2 * n,
            units=(),
        )
        for n in range(3)
    ),
    Case(
        "arc_cosine_ard",
        lambda d: ArcCosine(1, ard(d), 0.0),
        lambda X, Y: arc_cosine(X, Y, 1, ard(X.shape[1]), 0.0),
        centred=False,
        degree=2,
        units=(),
    ),
    Case(
        "arc_cosine_step_ard",
        lambda d: ArcCosine(0, ard(d), 0.0),
        lambda X, Y: arc_cosine(X, Y, 0, ard(X.shape[1]), 0.0),
        centred=False,
        units=(),
    ),
    Case(
        "ntk",
        lambda d: NTK(3, "relu", 1.3, 0.3),
        lambda X, Y: network(X, Y, 3, 1.3, 0.3)[0],
        centred=False,
        degree=2,
        units=(),
    ),
    Case(
        "ntk_without_bias",
        lambda d: NTK(2, "relu", 1.3, 0.0),
        lambda X, Y: network(X, Y, 2, 1.3, 0.0)[0],
        centred=False,
        degree=2,
        units=(),
    ),
    Case(
        "nngp",
        lambda d: NNGP(4, "relu", 1.3, 0.3),
        lambda X, Y: network(X, Y, 4, 1.3, 0.3)[1],
        centred=False,
        degree=2,
        units=(),
    ),
    Case(
        "nngp_erf",
        lambda d: NNGP(2, "erf", 1.3, 0.3),
        lambda X, Y: erf_network(X, Y, 1.3, 0.3),
        centred=False,
        units=(),
    ),
    Case("softmax", lambda d: Softmax(2.3), lambda X, Y: np.exp(X @ Y.T / 2.3**2), data="bounded", centred=False),
    Case(
        "softmax_ard",
        lambda d: Softmax(2.0 * ard(d)),
        lambda X, Y: np.exp((X / (2.0 * ard(X.shape[1])) ** 2) @ Y.T),
        data="bounded",
        centred=False,
    ),
    Case(
        "gibbs",
        lambda d: Gibbs(1.3, 0.2),
        lambda X, Y: gibbs(X, Y, 1.3, 0.2),
        data="bounded",
        centred=False,
    ),
    Case(
        "gibbs_ard",
        lambda d: Gibbs(ard(d), -0.1 * ard(d)),
        lambda X, Y: gibbs(X, Y, ard(X.shape[1]), -0.1 * ard(X.shape[1])),
        data="bounded",
        centred=False,
    ),
    Case(
        "change_point",
        lambda d: ChangePoint(RBF(1.3), Linear() + White(0.1), location=0.3, steepness=2.0, column=-1),
        lambda X, Y: change(
            X, Y, np.exp(-0.5 * distance(X, Y, 1.3) ** 2), X @ Y.T + 0.1 * same_point(X, Y), 0.3, 2.0, -1
        ),
        data="bounded",
        centred=False,
    ),
    Case(
        "intersection",
        lambda d: Intersection(ard(d)),
        lambda X, Y: (np.minimum(X[:, None], Y[None]) / ard(X.shape[1])).sum(-1),
        data="positive",
        centred=False,
        degree=1,
    ),
    Case(
        "jaccard",
        lambda d: Jaccard(),
        lambda X, Y: np.minimum(X[:, None], Y[None]).sum(-1) / np.maximum(X[:, None], Y[None]).sum(-1),
        data="positive",
        centred=False,
    ),
    Case(
        "tanimoto",
        lambda d: Tanimoto(),
        lambda X, Y: over_union(X @ Y.T, (X**2).sum(1), (Y**2).sum(1)),
        centred=False,
    ),
    Case(
        "additive",
        lambda d: Additive(RBF(ard(d))),
        lambda X, Y: column_kernels(X, Y, ard(X.shape[1])).sum(-1),
    ),
    Case(
        "anova",
        lambda d: ANOVA(RBF(1.3), [0.5, 1.0, 0.3]),
        lambda X, Y: anova(column_kernels(X, Y, 1.3), [0.5, 1.0, 0.3]),
    ),
    Case(
        "anova_ard",
        lambda d: ANOVA(RBF(ard(d)), [0.5, 2.0]),
        lambda X, Y: anova(column_kernels(X, Y, ard(X.shape[1])), [0.5, 2.0]),
    ),
    Case(
        "set_kernel",
        lambda d: SetKernel(RBF(1.3)),
        lambda X, Y: mean_of_pairs(X, Y, 1.3),
        data="sets",
        width=2,
        centred=False,
        units=(),
    ),
    Case("spectrum", lambda d: Spectrum(2), lambda X, Y: spectrum(X, Y, 2), data="strings", centred=False),
    Case(
        "subsequence",
        lambda d: Subsequence(2, 0.4),
        lambda X, Y: subsequence(X, Y, 2, 0.4),
        data="strings",
        centred=False,
        units=(),
    ),
    Case(
        "function_of_blocks",
        lambda d: from_callable(min_function, blocks=True),
        lambda X, Y: np.minimum(X[:, None], Y[None]).sum(-1),
        data="positive",
        centred=False,
        text=False,
        degree=1,
    ),
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(claim): run only for the kernels of which ``claim(case)`` is true")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument ``case`` runs for every row, or for those that a mark ``cases`` chooses."""
    if "case" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("cases")
        chosen = [c for c in CASES if mark is None or mark.args[0](c)]
        metafunc.parametrize("case", chosen, ids=[c.name for c in chosen])
