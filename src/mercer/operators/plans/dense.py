"""The plan that computes K once and keeps it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer import config
from mercer.operators.machine import rates
from mercer.operators.operands import Identity, Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import EntryAlgorithm
from mercer.operators.tiles import Tiles

GEMV = 0.75  # of the rate of a copy, that a product with a vector reads K at
SEVERAL = 2.5  # times slower with a few right-hand sides than one pass over K takes
SHARE_OF_BUDGET = 0.5  # the rest is for what the caller does with the result


class DensePlan(EntryAlgorithm):
    """Store K. Best when K is small, or when an entry costs more to compute than to load."""

    name = "dense"

    def applies(self, request: Request) -> str | None:
        """If K fits half of the memory budget."""
        needed = self._bytes(request)
        if config.fits_memory(needed / SHARE_OF_BUDGET):
            return None
        allowed = SHARE_OF_BUDGET * config.memory_budget()
        return (
            f"K takes {config.format_bytes(needed)}, half of the memory budget is {config.format_bytes(allowed)}. "
            f"Use plan='tiles', or raise MERCER_MEMORY_BUDGET."
        )

    def predict(self, request: Request) -> Plan:
        """Each entry once, then loads from memory (or from cache when K is small)."""
        machine = rates()
        n, m = request.shape
        bytes_of_K = self._bytes(request)
        in_cache = self._in_cache(bytes_of_K)
        load = bytes_of_K / (machine.memory * (4.0 if in_cache else GEMV))
        double = 1.0 if request.itemsize <= 4 else machine.double_cost
        multiply = 2.0 * request.batch * n * m * request.columns / machine.gemm_flops * double
        first = request.pairs * request.entry_seconds(machine) + self.store_seconds(request)
        narrow = 1.0 if request.columns == 1 else SEVERAL
        per_product = narrow * max(load, multiply) + 2.0 * machine.call
        if request.gradient:
            per_product += 4.0 * request.pairs * request.entry_seconds(machine)
        reason = f"K is stored once, {config.format_bytes(bytes_of_K)}"
        seconds = first + per_product * request.products
        return Plan(self.name, reason, seconds, bytes_of_K, request.round_off(), first)

    def store_seconds(self, request: Request) -> float:
        """What keeping K adds to the first product."""
        stored = self._bytes(request)
        return stored / (rates().memory if self._in_cache(stored) else rates().new_memory)

    @staticmethod
    def _in_cache(stored: int) -> bool:
        return stored <= 16 * config.cache_bytes()

    def product(self, operands: Operands, identity: Identity | None, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """A GEMM with the stored K."""
        K = memory.get("dense")
        if K is None:
            K = memory["dense"] = Tiles(operands, identity=identity).dense()
        if K.dtype == torch.float64 and v.shape[1] > 4:
            # in rows: 3 times faster with 16 columns, 2 times with 64, where K does not fit a cache
            return (v.mT.contiguous() @ K.mT).mT.contiguous()
        result: Tensor = K @ v
        return result

    @staticmethod
    def _bytes(request: Request) -> int:
        n, m = request.shape
        return request.batch * n * m * request.itemsize
