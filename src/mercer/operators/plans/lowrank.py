"""The plan for kernels that are dot products of few features: K = A B', multiplied as A (B' v)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer.operators.machine import rates
from mercer.operators.operands import Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.structure import LowRankSolution, low_rank_features, low_rank_root, low_rank_terms, low_rank_width

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

CALLS = 10.0
SEVERAL = 2.5  # times slower where there are several right-hand sides: their products are narrow


class LowRankPlan(Algorithm):
    """Multiply by the features of each side. Time and memory O((n + m) r), exact to round-off."""

    name = "lowrank"

    def applies(self, request: Request) -> str | None:
        """If every term is a dot product of features, times numbers and values of one side."""
        found = low_rank_terms(request.spec)
        if found is None:
            return "some term is no dot product of features. Use plan='mixed', which does each term in its own way."
        if not found:
            return "the kernel is 0 between different points. Use plan='tiles'."
        r, (n, m) = low_rank_width(found, request.spec, request.widths), request.shape
        if r * (n + m) > n * m:
            return f"its rank {r} is not below that of a {n} x {m} matrix. Use plan='dense' or 'tiles'."
        return None

    def predict(self, request: Request) -> Plan:
        """Two passes over the features."""
        machine = rates()
        found = low_rank_terms(request.spec)
        assert found is not None
        r, (n, m) = low_rank_width(found, request.spec, request.widths), request.shape
        size = request.batch * (n + m) * r
        double = 1.0 if request.itemsize <= 4 else machine.double_cost
        loads = 2.0 * size * request.itemsize / machine.memory * (1.0 if request.columns == 1 else SEVERAL)
        seconds = max(loads, 2.0 * size * request.columns / machine.gemm_flops * double) + CALLS * machine.call
        if request.gradient:
            seconds *= 3.0
        memory = size * request.itemsize
        reason = f"K = A B' with {r} features a side"
        return Plan(self.name, reason, seconds * request.products, memory, request.round_off())

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """A (B' v), by plain differentiable torch."""
        features = memory.get("features")
        if features is None:
            features = memory["features"] = low_rank_features(operands)
        A, B = features
        # in rows: B' v with 2 to 15 columns is 6 times slower (float32, n = 1e6, 16 features, 4 columns)
        return torch.matmul(A, (v.mT @ B).mT)

    def direct(self, K: KernelOperator, memory: dict[Any, Any]) -> LowRankSolution | None:
        """In the space of the features' weights, where K = Z Z'."""
        if "direct" not in memory:
            Z = low_rank_root(K.double().operands(), "row")
            memory["direct"] = None if Z is None else LowRankSolution(Z)
        solution: LowRankSolution | None = memory["direct"]
        return solution
