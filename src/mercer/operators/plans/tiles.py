"""The plan that stores nothing: each tile is made, used and overwritten in cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.operators.gpu import Fused, runs_fused, why_not_fused
from mercer.operators.machine import rates
from mercer.operators.maps import postorder
from mercer.operators.operands import Identity, Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import EntryAlgorithm
from mercer.operators.tiles import Tiles

CALLS_PER_TILE = 10.0  # beside one for each operation of the map
REACHED = 0.8  # of the rate that the parts of a tile have each by itself: 0.65 to 0.96 in benchmarks/product.py
BYTES_PER_TILE = 2.0**21


class TilesPlan(EntryAlgorithm):
    """Recompute every entry. Time O(n m d), memory O(n (d + t)) plus 64 MB at most."""

    name = "tiles"

    def applies(self, request: Request) -> str | None:
        """Always."""
        return None

    def predict(self, request: Request) -> Plan:
        """From the rates of GEMM, exponentials and elementwise passes."""
        machine = rates()
        double = 1.0 if request.itemsize <= 4 else machine.double_cost
        once = 1.0 / machine.matvec + 2.0 * (request.columns - 1) / machine.gemm_flops
        use = (2.0 if request.symmetric else 1.0) * once * double
        per_product = request.pairs * (request.entry_seconds(machine) + use) / REACHED
        calls = CALLS_PER_TILE + len(postorder([request.spec.total]))
        n_tiles = max(1.0, request.pairs * request.itemsize / BYTES_PER_TILE / machine.threads)
        per_product += calls * machine.call * n_tiles
        if request.gradient:
            per_product *= 4.0
        memory = (1 << 24) + sum(request.shape) * (sum(request.widths) + request.columns) * request.itemsize
        return Plan(
            self.name,
            _reason(request),
            per_product * request.products,
            memory,
            request.round_off(),
        )

    def takes_batches(self, operands: Operands) -> bool:
        """A fused kernel does a batch in one launch."""
        return runs_fused(operands)

    def product(self, operands: Operands, identity: Identity | None, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """One pass over the tiles; what was prepared for it is kept for the next product."""
        tiles: Fused | Tiles | None = memory.get("tiles")
        if tiles is None:
            tiles = Fused(operands, identity) if runs_fused(operands) else Tiles(operands, identity=identity)
            memory["tiles"] = tiles
        return tiles.product(v)


def _reason(request: Request) -> str:
    """Where the entries are recomputed; on CUDA, whether by the fused kernel, and if not why."""
    device = torch.device(request.device)
    if device.type != "cuda":
        return "entries are recomputed in cache, nothing is stored"
    why_not = why_not_fused(request.spec, request.dtype, device)
    if why_not is None:
        return "entries are recomputed in one fused kernel, nothing is stored"
    return f"entries are recomputed tile by tile, nothing is stored; {why_not}"
