"""The plan for product kernels on grids: K = A_1 x ... x A_d, multiplied factor by factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer.operators.factors import number_value
from mercer.operators.kronecker import multiply_modes
from mercer.operators.machine import rates
from mercer.operators.operands import Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.remember import remembered
from mercer.operators.structure import Grid, KroneckerSolution, axis_spec, find_grid, gather, spread, used_columns

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator


@dataclass(frozen=True)
class GridPair:
    """The columns that matter, and the grids of rows and columns in them."""

    columns: tuple[int, ...]
    rows: Grid
    others: Grid


class KroneckerPlan(Algorithm):
    """One small matrix an axis. Products O(n (n_1 + ... + n_d)); solves and log-determinants by eigenvalues."""

    name = "kronecker"

    def applies(self, request: Request) -> str | None:
        """If the kernel is a product over columns and the points are a grid, with gaps for at most half of it."""
        K = request.operator
        if K is None or request.batch != 1 or len(K.batch_shape):
            return "it works for one matrix with its points, not for a batch. Use plan='tiles'."
        columns = used_columns(K.spec, K.X.shape[-1])
        if not columns or len(columns) < 2 or len(K.spec.terms) != 1:
            return "it needs a kernel of one term, a product over two columns or more. Use plan='mixed' for a sum."
        if any(axis_spec(K.spec, c, K.X.shape[-1]) is None for c in columns):
            return "the kernel is no product of kernels of single columns, such as RBF is. Use plan='toeplitz'."
        if K.X.requires_grad or K.Y.requires_grad:
            return "gradients in the points are wanted. Use plan='tiles'."
        if _grids(K) is None:
            return (
                "the points are no grid: all combinations of some values of each column, up to half of them left out."
            )
        return None

    def predict(self, request: Request) -> Plan:
        """The factors' products, memory-bound or not."""
        machine, K = rates(), request.operator
        assert K is not None
        grids = _grids(K)
        assert grids is not None
        n, m = grids.rows.size, grids.others.size
        double = 1.0 if request.itemsize <= 4 else machine.double_cost
        sizes = [(len(a), len(b)) for a, b in zip(grids.rows.axes, grids.others.axes, strict=True)]
        flops = sum(2.0 * max(n, m) * min(pair) for pair in sizes) * request.columns
        moves = 6.0 * (n + m) * request.columns * request.itemsize * len(sizes) / machine.memory
        entries = sum(p * q for p, q in sizes) * request.entry_seconds(machine)
        seconds = request.products * (flops / machine.gemm_flops * double + moves + 30 * machine.call)
        if request.gradient:
            seconds, entries = 3.0 * seconds, 3.0 * entries
        memory = (3 * (n + m) * request.columns + sum(p * q for p, q in sizes)) * request.itemsize
        shape = " x ".join(str(len(axis)) for axis in grids.rows.axes)
        reason = f"a product kernel on a grid of {shape}"
        return Plan(self.name, reason, seconds + entries, memory, request.round_off(), entries)

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """Scatter to the grid, one product an axis, gather."""
        grids, factors = prepare(K.to(v.dtype), memory)
        product = multiply_modes(factors, spread(v, grids.others.places, grids.others.size))
        return gather(product, grids.rows.places) * number_value(operands)

    def direct(self, K: KernelOperator, memory: dict[Any, Any]) -> KroneckerSolution | None:
        """By the factors' eigenvalues, where the grid is full."""
        double = K.double()
        grids, factors = prepare(double, memory.setdefault("double", {}))
        if not K.symmetric or not grids.rows.is_full:
            return None
        return KroneckerSolution(factors, number_value(double.operands()), grids.rows.places)


def prepare(K: KernelOperator, memory: dict[Any, Any]) -> tuple[GridPair, tuple[Tensor, ...]]:
    """The grids, and each column's matrix ``(n_a, m_a)`` with its graph."""
    if "kronecker" not in memory:
        grids = _grids(K)
        assert grids is not None
        factors = []
        for column, left, right in zip(grids.columns, grids.rows.axes, grids.others.axes, strict=True):
            spec = axis_spec(K.spec, column, K.X.shape[-1])
            assert spec is not None
            sides = [torch.zeros(len(a), K.X.shape[-1], dtype=K.dtype, device=K.device) for a in (left, right)]
            for side, axis in zip(sides, (left, right), strict=True):
                side[:, column] = axis
            factors.append(K.of_points(*sides, spec=spec).to_dense())
        memory["kronecker"] = grids, tuple(factors)
    found: tuple[GridPair, tuple[Tensor, ...]] = memory["kronecker"]
    return found


def _grids(K: KernelOperator) -> GridPair | None:
    columns = used_columns(K.spec, K.X.shape[-1])
    assert columns is not None

    def look() -> GridPair | None:
        rows = find_grid(K.X.detach()[:, list(columns)])
        if rows is None:
            return None
        others = rows if K.symmetric else find_grid(K.Y.detach()[:, list(columns)])
        return None if others is None else GridPair(columns, rows, others)

    return remembered(("grid", columns), K.X, K.Y, look)
