"""The plan for kernels of compact support: only pairs within the support are ever looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer import config
from mercer.operators.machine import rates
from mercer.operators.operands import Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.remember import remembered
from mercer.operators.sparse import Neighbours, find_support, sparse_matrix

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

BYTES = 60  # a pair, while the matrix is made
PAIR_SECONDS = 1e-7  # to find a pair of neighbours and compute its entry, one core


class SparsePlan(Algorithm):
    """Store the entries of neighbours. Memory and time O(pairs of neighbours)."""

    name = "sparse"

    def applies(self, request: Request) -> str | None:
        """If every term has a factor of compact support and the pairs within it fit into memory."""
        K = request.operator
        if K is None or request.batch != 1 or len(K.batch_shape):
            return "it works for one matrix with its points, not for a batch. Use plan='tiles'."
        if not K.X.shape[-1] or find_support(K.spec, K.operands().numbers()) is None:
            return "the kernel is nowhere exactly 0: every term needs a factor Wendland(...), all of the same columns."
        count = _count(K)
        if not config.fits_memory(count * BYTES):
            needed, budget = config.format_bytes(count * BYTES), config.format_bytes(config.memory_budget())
            return f"its {count:,} entries take {needed} while it is made, the memory budget is {budget}."
        return None

    def predict(self, request: Request) -> Plan:
        """A load of value and position for each pair, after they are found."""
        machine, K = rates(), request.operator
        assert K is not None
        count = _count(K)
        per_product = count * (request.itemsize + 8) * (2.0 + request.columns) / machine.memory + 4.0 * machine.call
        seconds, setup = request.products * per_product * (8.0 if request.gradient else 1.0), PAIR_SECONDS * count
        reason = f"{count / max(1, request.entries):.2%} of the entries are not 0, {count:,} in all"
        return Plan(self.name, reason, seconds + setup, count * BYTES, request.round_off(), setup)

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """A sparse product; where gradients are recorded, a sum over pairs by plain torch."""
        if torch.is_grad_enabled() and (K.requires_grad or v.requires_grad):
            rows, columns = _neighbours(K).pairs()
            at = rows.to(v.device), columns.to(v.device)
            entries = K.to(v.dtype).entries(*at, delta=False)
            return v.new_zeros(operands.shape[0], v.shape[1]).index_add(0, at[0], entries.unsqueeze(1) * v[at[1]])
        if "sparse" not in memory:
            support = find_support(K.spec, operands.numbers())
            assert support is not None
            memory["sparse"] = sparse_matrix(operands, K.identity, support)
        result: Tensor = memory["sparse"] @ v
        return result


def _neighbours(K: KernelOperator) -> Neighbours:
    with torch.no_grad():
        operands = K.operands()
        support = find_support(K.spec, operands.numbers())
        assert support is not None
        scales = tuple(tuple(t.detach().reshape(-1).tolist()) for t in K.theta)
        return remembered(("neighbours", K.spec, scales), K.X, K.Y, lambda: Neighbours.of(operands, support))


def _count(K: KernelOperator) -> int:
    scales = tuple(tuple(t.detach().reshape(-1).tolist()) for t in K.theta)
    return remembered(("pairs", K.spec, scales), K.X, K.Y, lambda: _neighbours(K).count())
