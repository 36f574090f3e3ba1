"""The plan for kernels that are dot products of few features: K = A diag(c) B', multiplied as A (c B' v)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mercer.config import fits_memory
from mercer.operators.machine import rates
from mercer.operators.operands import Operands
from mercer.operators.planning import LITTLE, Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.structure import (
    LowRankSolution,
    has_equal_sides,
    low_rank_features,
    low_rank_numbers,
    low_rank_root,
    low_rank_terms,
    low_rank_width,
)

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

CALLS = 10.0
CHUNK = 1 << 18  # features made at a time
MAKE = 60.0  # elementwise operations that making a monomial takes as long as, with what is allocated for it
FRESH = 7.0  # stores into new pages that keeping one takes, with what is made on the way
SEVERAL = 2.5  # times slower where there are several right-hand sides: their products are narrow


class LowRankPlan(Algorithm):
    """Multiply by the features of each side: the points, or their monomials. Time O((n + m) r), exact to round-off."""

    name = "lowrank"

    def applies(self, request: Request) -> str | None:
        """If every term is a polynomial of a dot product, times numbers and values of one side."""
        found = low_rank_terms(request.spec)
        if found is None:
            return "some term is no polynomial of a dot product. Use plan='mixed': each term goes its own way."
        if not found:
            return "the kernel is 0 between different points. Use plan='tiles'."
        r, (n, m) = low_rank_width(found, request.widths), request.shape
        if r * (n + m) > n * m:
            return f"its rank {r} is not below that of a {n} x {m} matrix. Use plan='dense' or 'tiles'."
        return None

    def predict(self, request: Request) -> Plan:
        """Two passes over the features, which are kept where they are small, and else made anew in each."""
        machine = rates()
        found = low_rank_terms(request.spec)
        assert found is not None
        r, (n, m) = low_rank_width(found, request.widths), request.shape
        size = request.batch * (n + m) * r
        plain = r <= sum(request.widths) + len(found)  # no monomials: the points themselves
        double = 1.0 if request.itemsize <= 4 else machine.double_cost
        make = size * (0.0 if plain else MAKE * double / machine.elementwise)
        loads = 2.0 * size * request.itemsize / machine.memory * (1.0 if request.columns == 1 else SEVERAL)
        multiply = 2.0 * size * request.columns / machine.gemm_flops * double + CALLS * machine.call
        if _is_kept(size, request.itemsize, r, request.widths):
            memory = size * request.itemsize
            setup = make + (0.0 if plain else FRESH * memory / machine.new_memory)
            seconds = max(loads, multiply)
        else:
            setup, seconds, memory = 0.0, make + multiply, CHUNK * request.itemsize
        if request.gradient:
            setup, seconds = 3.0 * setup, 3.0 * seconds
        reason = f"K = A B' with {r} features a side"
        seconds = setup + seconds * request.products
        return Plan(self.name, reason, seconds, memory, request.round_off(), setup)

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """A (c B' v), by plain differentiable torch."""
        if "numbers" not in memory:
            memory["numbers"] = low_rank_numbers(operands)
        numbers: Tensor = memory["numbers"].unsqueeze(-2)
        widths, (n, m) = [points.shape[-1] for points in operands.left], operands.shape
        r = numbers.shape[-1]
        if not _is_kept((n + m) * r * numbers[..., 0].numel(), v.element_size(), r, widths):
            return _in_chunks(operands, numbers, v)
        if "features" not in memory:
            A = low_rank_features(operands, "row")
            memory["features"] = A, A if has_equal_sides(operands) else low_rank_features(operands, "column")
        A, B = memory["features"]
        # in rows: B' v with 2 to 15 columns is 6 times slower (float32, n = 1e6, 16 features, 4 columns)
        return torch.matmul(A, ((v.mT @ B) * numbers).mT)

    def direct(self, K: KernelOperator, memory: dict[Any, Any]) -> LowRankSolution | None:
        """In the space of the features' weights, where K = Z Z'."""
        if "direct" not in memory:
            operands = K.double().operands()
            r = low_rank_numbers(operands).shape[-1]
            fits = fits_memory(3 * 8 * r * (K.shape[-1] + r))  # Z, its products, and Z' Z
            Z = low_rank_root(operands, "row") if fits else None
            memory["direct"] = None if Z is None else LowRankSolution(Z)
        solution: LowRankSolution | None = memory["direct"]
        return solution


def _is_kept(size: int, itemsize: int, r: int, widths: Sequence[int]) -> bool:
    """Whether features stay between products: where they are little memory, or hardly more than the points."""
    return size * itemsize <= LITTLE or r <= 2 * sum(widths)


def _in_chunks(operands: Operands, numbers: Tensor, v: Tensor) -> Tensor:
    """A (c B' v) with a few rows of A and B at a time, which are made in cache; gradients make them again."""
    (n, m), rows = operands.shape, max(1, CHUNK // numbers.shape[-1])
    recorded = torch.is_grad_enabled() and any(t.requires_grad for t in (*operands.flat(), v))

    def apply(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        if not recorded:
            return function(*arguments)
        found: Tensor = checkpoint(function, *arguments, use_reentrant=False)
        return found

    def gather(chunk: slice, part: Tensor) -> Tensor:
        return part.mT @ low_rank_features(operands, "column", chunk)

    def scatter(chunk: slice, weights: Tensor) -> Tensor:
        return torch.matmul(low_rank_features(operands, "row", chunk), weights.mT)

    chunks = [slice(i, min(i + rows, m)) for i in range(0, m, rows)]
    weights = sum(apply(gather, chunk, v[..., chunk, :]) for chunk in chunks) * numbers
    chunks = [slice(i, min(i + rows, n)) for i in range(0, n, rows)]
    return torch.cat([apply(scatter, chunk, weights) for chunk in chunks], -2)
