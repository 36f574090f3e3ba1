"""The table of kernels that drives every common property: a new kernel adds a row and gets them all.

A row holds the kernel and its definition, written here a second time with NumPy and SciPy in float64, and with none
of our code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import gamma as gamma_function
from scipy.special import kv

from mercer.kernels import (
    RBF,
    Constant,
    Hamming,
    Kernel,
    Laplacian,
    Linear,
    Matern,
    Pairwise,
    Polynomial,
    PowerExponential,
    RationalQuadratic,
    White,
    from_callable,
)

Array = np.ndarray[Any, Any]
LENGTHSCALES = (0.7, 1.9, 1.1)  # repeated to as many columns as there are


def ard(d: int) -> Array:
    return np.resize(np.array(LENGTHSCALES), d)


def distance(X: Array, Y: Array, lengthscale: Any = 1.0) -> Array:
    return np.sqrt((((X[:, None] - Y[None]) / lengthscale) ** 2).sum(-1))


def l1_distance(X: Array, Y: Array, lengthscale: Any = 1.0) -> Array:
    return (np.abs(X[:, None] - Y[None]) / lengthscale).sum(-1)


def matern(r: Array, nu: float) -> Array:
    """The Bessel form for every nu; the closed forms are the code's business."""
    z = np.sqrt(2.0 * nu) * r
    safe = np.where(z > 0.0, z, 1.0)
    return np.where(z > 0.0, 2.0 ** (1.0 - nu) / gamma_function(nu) * safe**nu * kv(nu, safe), 1.0)


def closed_matern(r: Array, nu: float) -> Array:
    """The closed forms of the textbook, more accurate than the Bessel function."""
    z = np.sqrt(2.0 * nu) * r
    return {0.5: 1.0, 1.5: 1.0 + z, 2.5: 1.0 + z + z**2 / 3.0}[nu] * np.exp(-z)


def same_point(X: Array, Y: Array) -> Array:
    return np.eye(len(X)) if X is Y else np.zeros((len(X), len(Y)))


def min_function(X: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """A kernel that is no map of distances: sum_j min(x_j, y_j) of points with positive coordinates."""
    return torch.minimum(X[:, None], Y[None]).sum(-1)


@dataclass(frozen=True)
class Case:
    """A kernel, its definition ``(X, Y) -> K`` (X is Y for k(X)), and what is true of it.

    ``data``: what points it takes, "real", "categories" or "positive"; ``width``: least number of columns;
    ``centred``: whether a common shift of X and Y changes nothing; ``psd``: whether it is positive semidefinite;
    ``text``: whether it can be written as text; ``degree``: how the values grow with the scale of X.
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

    def points(self, n: int, d: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1000 * seed + 10 * n + d)
        if self.data == "categories":
            return torch.randint(0, 4, (n, d), generator=generator).to(dtype)
        X = torch.randn(n, d, generator=generator, dtype=torch.float64)
        return (X.abs() + 0.1 if self.data == "positive" else X).to(dtype)

    def radius(self, X: Array, Y: Array) -> float:
        """The largest squared norm of a point in lengthscales, centred where the kernel is."""
        if self.data == "categories":
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
