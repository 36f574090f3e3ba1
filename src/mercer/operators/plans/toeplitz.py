"""The plan for stationary kernels on grids of even steps: K depends on differences of places, multiplied by FFT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer.operators.machine import rates
from mercer.operators.matrices import ToeplitzOperator
from mercer.operators.operands import Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.remember import remembered
from mercer.operators.structure import Lattice, find_lattice, gather, spread, used_columns

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator


class ToeplitzPlan(Algorithm):
    """One FFT of the points' lattice and back: O(n log n), exact to round-off; the lattice may have gaps."""

    name = "toeplitz"

    def applies(self, request: Request) -> str | None:
        """If the kernel depends on differences and all points lie on one lattice."""
        K = request.operator
        if K is None or request.batch != 1 or len(K.batch_shape):
            return "it works for one matrix with its points, not for a batch. Use plan='tiles'."
        if not K.spec.is_stationary or not used_columns(K.spec, K.X.shape[-1]):
            return "the kernel does not depend on differences of points alone, as RBF does. Use plan='tiles'."
        if K.X.requires_grad or K.Y.requires_grad:
            return "gradients in the points are wanted. Use plan='tiles'."
        if _lattice(K) is None:
            return (
                "the points lie on no grid of even steps to round-off (of their distance from the middle). Values far "
                "from 0 lose it: subtract the origin in the precision that you have them in. Or use plan='fourier'."
            )
        return None

    def predict(self, request: Request) -> Plan:
        """Three transforms of twice the lattice along each axis."""
        machine, K = rates(), request.operator
        assert K is not None
        lattice = _lattice(K)
        assert lattice is not None
        double = 1.0 if request.itemsize <= 4 else 2.0
        places = math.prod(2 * size for size in lattice.shape)
        per_level = 3.5 if len(lattice.shape) == 1 else 2.5  # of a real transform; a long one leaves the cache
        transform = per_level * places * math.log2(max(2, places)) / machine.fft_flops * double
        moves = request.columns * (sum(request.shape) + 4.0 * places) * request.itemsize / machine.memory
        per_product = 2.0 * request.columns * transform + moves + 30 * machine.call
        first = transform + places * (request.entry_seconds(machine) + 10.0 * 8.0 / machine.memory)
        seconds = request.products * per_product * (3.0 if request.gradient else 1.0)
        memory = (4 + 2 * request.columns) * places * request.itemsize
        shape = " x ".join(map(str, lattice.shape))
        reason = f"a stationary kernel on a grid of {shape}"
        return Plan(self.name, reason, seconds + first, memory, request.round_off(), first)

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """Scatter to the lattice, multiply there, gather."""
        lattice = _lattice(K)
        assert lattice is not None
        if "toeplitz" not in memory:
            table = kernel_table(K, lattice).to(v.dtype)
            memory["toeplitz"] = ToeplitzOperator(table, rows=lattice.shape, columns=lattice.shape)
        product: Tensor = memory["toeplitz"] @ spread(v, lattice.columns, lattice.size)
        return gather(product, lattice.rows)


def kernel_table(K: KernelOperator, lattice: Lattice) -> Tensor:
    """k of every difference of places, ``(2 L_1 - 1, ..., 2 L_d - 1)`` in float64; differentiable in theta."""
    d = K.X.shape[-1]
    axes = [
        step * torch.arange(1 - size, size, dtype=torch.float64, device=K.device)
        for step, size in zip(lattice.steps, lattice.shape, strict=True)
    ]
    differences = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    points = torch.zeros(len(differences), d, dtype=torch.float64, device=K.device)
    columns = used_columns(K.spec, d)
    assert columns is not None
    points[:, list(columns)] = differences
    origin = torch.zeros(1, d, dtype=torch.float64, device=K.device)
    rows = torch.arange(len(points), device=K.device)
    values = K.of_points(points, origin).entries(rows, torch.zeros_like(rows))
    return values.reshape([len(axis) for axis in axes])


def _lattice(K: KernelOperator) -> Lattice | None:
    columns = used_columns(K.spec, K.X.shape[-1])
    assert columns is not None
    chosen = list(columns)
    return remembered(
        ("lattice", columns), K.X, K.Y, lambda: find_lattice(K.X.detach()[:, chosen], K.Y.detach()[:, chosen])
    )
