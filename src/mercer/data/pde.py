"""Differential equations whose solutions are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mercer.arguments import is_whole

__all__ = ["PDE_BENCHMARKS", "PDEProblem", "pde_benchmark"]

Array = np.ndarray[Any, Any]
Points = Callable[[Array], Array]


@dataclass(frozen=True)
class PDEProblem:
    """An equation with its solution, as :func:`pde_benchmark` gives it.

    Attributes:
        name: of the problem.
        operator: left-hand side, as text that :class:`mercer.learn.pde.PDESolver` reads.
        source: right-hand side, a function of points ``(m, d)``; in closed form.
        boundary: the solution, a function of points.
        solution: the same.
        domain: by name of the axis.
        grid: nodes of each axis.
        max_frequency: F of the released configuration, in cycles per unit.
        boundary_weight: lambda_b of it.
    """

    name: str
    operator: str
    source: Points
    boundary: Points
    solution: Points
    domain: dict[str, tuple[float, float]]
    grid: tuple[int, ...]
    max_frequency: float
    boundary_weight: float = 200.0

    def test_points(self, n: int = 300) -> Array:
        """A uniform grid of n points an axis, ``(n^d, d)``, as the paper's errors are measured on."""
        axes = [np.linspace(low, high, n) for low, high in self.domain.values()]
        return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], 1)

    def error(self, values: Array, n: int = 300) -> float:
        """Relative L2 error of values at :meth:`test_points`."""
        truth = self.solution(self.test_points(n))
        return float(np.linalg.norm(np.asarray(values) - truth) / np.linalg.norm(truth))


@dataclass(frozen=True)
class Wave:
    """A function of one variable with its second derivative."""

    value: Callable[[Array], Array]
    second: Callable[[Array], Array]


def _sine(omega: float, amplitude: float = 1.0) -> Wave:
    return Wave(lambda x: amplitude * np.sin(omega * x), lambda x: -amplitude * omega**2 * np.sin(omega * x))


def _cosine(omega: float, amplitude: float = 1.0) -> Wave:
    return Wave(lambda x: amplitude * np.cos(omega * x), lambda x: -amplitude * omega**2 * np.cos(omega * x))


def _sum(*waves: Wave) -> Wave:
    return Wave(lambda x: sum(w.value(x) for w in waves), lambda x: sum(w.second(x) for w in waves))  # type: ignore[arg-type, return-value]


# sin a x cos b x = (sin (a + b) x + sin (a - b) x) / 2
_MIXED = _sum(_sine(106.0, 0.5), _sine(-94.0, 0.5))
_GROWING = Wave(lambda x: x * np.sin(200 * x), lambda x: 400.0 * np.cos(200.0 * x) - 40_000.0 * x * np.sin(200.0 * x))
_PARABOLA = Wave(lambda x: np.sin(500 * x) - 2.0 * (x - 0.5) ** 2, lambda x: -250_000.0 * np.sin(500.0 * x) - 4.0)
_SCALES = _sum(_sine(1.0), _sine(20.0, 0.1), _sine(100.0, 0.05))
_SCALES_COS = _sum(_sine(1.0), _sine(20.0, 0.1), _cosine(100.0, 0.05))
_SMALL_MIXED = _sum(_sine(26.0, 0.5), _sine(-14.0, 0.5))
_TRIPLE = _sum(_sine(1.0), _sine(20.0, 0.1), _cosine(100.0))
_ALLEN_CAHN = "Laplacian() + Power(3) - Identity()"
_CIRCLE, _UNIT = (0.0, 2.0 * math.pi), (0.0, 1.0)


def _line(w: Wave, domain: tuple[float, float], n: int, F: float, *, cubic: bool = False) -> dict[str, Any]:
    def source(X: Array) -> Array:
        u = w.value(X[:, 0])
        return w.second(X[:, 0]) + (u**3 - u if cubic else 0.0)

    return {
        "operator": _ALLEN_CAHN if cubic else "Laplacian()",
        "source": source,
        "solution": lambda X: w.value(X[:, 0]),
        "domain": {"x": domain},
        "grid": (n,),
        "max_frequency": F,
    }


def _square(
    w: Wave, domain: tuple[float, float], n: int, F: float, *, is_sum: bool = False, cubic: bool = False
) -> dict[str, Any]:
    def solution(X: Array) -> Array:
        a, b = w.value(X[:, 0]), w.value(X[:, 1])
        return a + b if is_sum else a * b

    def source(X: Array) -> Array:
        a, b, aa, bb = w.value(X[:, 0]), w.value(X[:, 1]), w.second(X[:, 0]), w.second(X[:, 1])
        f = aa + bb if is_sum else aa * b + a * bb
        return f + (solution(X) ** 3 - solution(X) if cubic else 0.0)

    return {
        "operator": _ALLEN_CAHN if cubic else "Laplacian()",
        "source": source,
        "solution": solution,
        "domain": {"x": domain, "y": domain},
        "grid": (n, n),
        "max_frequency": F,
    }


def _advection() -> dict[str, Any]:
    return {
        "operator": "D('t') + 200 * D('x')",
        "source": lambda X: np.zeros(len(X)),
        "solution": lambda X: np.sin(X[:, 0] - 200.0 * X[:, 1]),
        "domain": {"x": _UNIT, "t": _UNIT},
        "grid": (200, 200),
        "max_frequency": 40.0,
        "boundary_weight": 500.0,
    }


_MAKERS: dict[str, Callable[[], dict[str, Any]]] = {
    "poisson-sin": lambda: _line(_sine(100.0), _CIRCLE, 400, 20.0),
    "poisson-mixed": lambda: _line(_MIXED, _CIRCLE, 400, 20.0),
    "poisson-growing": lambda: _line(_GROWING, _CIRCLE, 900, 50.0),
    "poisson-scales": lambda: _line(_SCALES, _UNIT, 900, 30.0),
    "poisson-scales-cos": lambda: _line(_SCALES_COS, _UNIT, 900, 30.0),
    "poisson-parabola": lambda: _line(_PARABOLA, _UNIT, 400, 100.0),
    "allen-cahn-sin": lambda: _line(_sine(100.0), _CIRCLE, 400, 20.0, cubic=True),
    "allen-cahn-mixed": lambda: _line(_MIXED, _CIRCLE, 400, 20.0, cubic=True),
    "poisson-2d-sin": lambda: _square(_sine(100.0), _CIRCLE, 400, 20.0),
    "poisson-2d-mixed": lambda: _square(_SMALL_MIXED, _CIRCLE, 200, 20.0, is_sum=True),
    "allen-cahn-2d": lambda: _square(_TRIPLE, _UNIT, 400, 30.0, cubic=True),
    "advection": _advection,
}
PDE_BENCHMARKS = tuple(_MAKERS)


def pde_benchmark(name: str, n: int | None = None) -> PDEProblem:
    """An equation of Fang et al. (ICLR 2024) with its solution; sources are in closed form.

    Args:
        name: one of ``PDE_BENCHMARKS``: the paper's eleven, and the multi-scale one twice, since the released code has
            sin 100x and its comment cos 100x.
        n: nodes of each axis; None: as in the released configurations.

    Raises:
        ValueError: another name, fewer than 4 nodes.

    >>> problem = pde_benchmark("poisson-2d-sin", n=50)
    >>> problem.grid, problem.max_frequency
    ((50, 50), 20.0)
    """
    if name not in _MAKERS:
        raise ValueError(f"pde_benchmark({name!r}): choose from {', '.join(PDE_BENCHMARKS)}.")
    made = _MAKERS[name]()
    if n is not None and not is_whole(n, 4):
        raise ValueError(f"pde_benchmark(n={n!r}): the nodes of an axis are a whole number >= 4.")
    if n is not None:
        made["grid"] = (int(n),) * len(made["grid"])
    return PDEProblem(name=name, boundary=made["solution"], **made)
