"""Plans: which algorithm multiplies by a kernel matrix, why, and what it will cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mercer.config import format_bytes
from mercer.operators.machine import Rates
from mercer.operators.maps import count_calls, leaves
from mercer.operators.operands import Operands
from mercer.operators.remember import remembered
from mercer.operators.spec import Spec

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

LITTLE = 64 * 10**6  # bytes that a product may take without being asked
TRANSCENDENTAL = {
    "exp": 1.0,
    "log": 1.5,
    "log1p": 2.5,
    "sqrt": 1.0,
    "expm1": 1.5,
    "sin": 3.0,
    "cos": 3.0,
    "erf": 3.0,
    "acos": 3.0,
    "asin": 3.0,
    "atan2": 5.0,
    "circle_angle": 3.0,
}


@dataclass(frozen=True)
class Plan:
    """What ``K @ v`` will do.

    Attributes:
        name: the algorithm.
        reason: why this one, in a sentence.
        seconds: predicted time of all the products asked about, on this machine.
        memory: predicted bytes beyond the data, v and the result.
        error: expected normwise error of a product, relative to ``|K| |v|``.
        setup: the part of ``seconds`` that the first product spends on what is kept for the next ones.
    """

    name: str
    reason: str
    seconds: float
    memory: int
    error: float
    setup: float = 0.0

    def rank(self, products: int) -> float:
        """What plans are compared by: an operator is usually multiplied more than once, so setup is shared by ten."""
        return self.seconds - self.setup * (1.0 - products / max(products, 10))

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.reason}; about {format_seconds(self.seconds)}, {format_bytes(self.memory)} of memory, "
            f"error {self.error:.0e} of |K| |v|"
        )


def format_seconds(seconds: float) -> str:
    """A duration for people: 3.2 ms, 12 s, 4.5 min, 2.1 h, 48 days."""
    units = (("us", 1e-6, 1e-3), ("ms", 1e-3, 1.0), ("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 172_800.0))
    for unit, size, limit in units:
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86_400.0:,.0f} days"


@dataclass(frozen=True)
class Request:
    """What is asked of a planner.

    Attributes:
        spec: the kernel.
        widths: embedding columns of each statistic.
        shape: ``(n, m)`` of one matrix; ``batch`` of them.
        columns: right-hand sides of a product; ``products`` of them in all.
        gradient: whether each product is followed by its gradient.
        radius: the largest squared norm of an embedded point, 0 when not known; it sets the error bound.
        tolerance: the normwise error allowed, relative to ``|K| |v|``; None is the round-off of the dtype's GEMM.
        operator: the matrix itself, for plans that look for structure in its points.
    """

    spec: Spec
    widths: tuple[int, ...]
    shape: tuple[int, int]
    dtype: torch.dtype
    symmetric: bool
    batch: int = 1
    columns: int = 1
    products: int = 1
    gradient: bool = False
    radius: float = 0.0
    device: str = "cpu"
    tolerance: float | None = None
    operator: KernelOperator | None = None

    @property
    def entries(self) -> int:
        """Entries of all matrices."""
        n, m = self.shape
        return self.batch * n * m

    @property
    def allowed_error(self) -> float:
        """What a plan may leave out: the tolerance asked for, else the round-off of points near the origin.

        Products do not know the radius, and go the way that :attr:`KernelOperator.plan` says.
        """
        return replace(self, radius=0.0).round_off() if self.tolerance is None else self.tolerance

    def of_terms(self, terms: tuple[int, ...]) -> Request:
        """The same for some of the kernel's terms only."""
        operator = None if self.operator is None else self.operator.of_terms(terms)
        return replace(self, spec=self.spec.of_terms(terms), operator=operator)

    @property
    def pairs(self) -> float:
        """Kernel entries to evaluate for one product."""
        n, m = self.shape
        return self.batch * n * m * (0.5 if self.symmetric else 1.0)

    @property
    def itemsize(self) -> int:
        """Bytes an entry."""
        return torch.empty((), dtype=self.dtype).element_size()

    def entry_seconds(self, rates: Rates) -> float:
        """Predicted time to evaluate one kernel entry in a tile."""
        used = {int(s.number) for s in leaves([self.spec.total], "statistic")}
        flops = sum(self.spec.statistics[g].flops(self.widths[g]) for g in used)
        traffic = sum(self.spec.statistics[g].traffic_per_pair for g in used)
        seconds = flops / rates.gemm_flops + traffic / rates.memory + len(used) / rates.tile_stores
        for op, times in count_calls(self.spec.total, polynomials=self.itemsize <= 4).items():
            if op == "matern":  # of a smoothness that is no half-integer
                seconds += times / rates.special
            elif op in TRANSCENDENTAL:
                seconds += times * TRANSCENDENTAL[op] / rates.exponentials
            else:
                seconds += times / rates.elementwise
        return seconds * (1.0 if self.itemsize <= 4 else rates.double_cost)

    def round_off(self) -> float:
        """The error of the dtype's GEMM on this data: 4 eps (2 + |x|^2)."""
        dtype = self.dtype if self.itemsize >= 4 else torch.float32
        return 4.0 * torch.finfo(dtype).eps * (2.0 + self.radius)


def radius(operands: Operands) -> float:
    """The largest squared norm of an embedded point; points are looked at once."""
    points: list[Tensor] = [*operands.left, *(operands.right or ())]
    return max((remembered("radius", E, E, partial(_largest, E)) for E in points if E.numel()), default=0.0)


def _largest(E: Tensor) -> float:
    return float(E.detach().square().sum(-1).max())
