"""Softmax-free attention against torch's scaled_dot_product_attention, which stores no n x n matrix either (card 20).

Two heads of width 32 and 49 landmarks, float32, one thread. Errors are those of SOFT against itself in float64 with a
Cholesky factor, and of torch against itself in float64: the two do not compute the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mercer.nn.functional import nystrom_attention
from mercer.timing import compare

SIZES = (784, 3136, 12_544)
ROUNDS = 5


def softmax(q: Tensor, landmarks: Tensor, v: Tensor) -> Tensor:
    """torch's attention, with the queries as keys."""
    return F.scaled_dot_product_attention(q, q, v)


def forward(attention: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Without a graph."""
    with torch.no_grad():
        return attention(*tensors)


def backward(attention: Callable[..., Tensor], q: Tensor, landmarks: Tensor, v: Tensor) -> Tensor:
    """The gradient in queries and values."""
    return torch.autograd.grad(attention(q, landmarks, v).sum(), (q, v))[0]


def error(exact: Tensor, found: Tensor) -> float:
    """Relative, in the largest entry."""
    return float((found.double() - exact).abs().max() / exact.abs().max())


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for n in sizes:
        q, v = torch.randn(1, 2, n, 32) / 32**0.25, torch.randn(1, 2, n, 32)
        given = (q.requires_grad_(), q.detach()[..., :: n // 49, :][..., :49, :], v.requires_grad_())
        sides: dict[str, Callable[..., Tensor]] = {
            "newton": nystrom_attention,
            "cholesky": partial(nystrom_attention, inverse="cholesky"),
            "torch": softmax,
        }
        wide = tuple(t.double() for t in given)
        exact = {
            name: forward(how, *wide) if n <= 4000 else None
            for name, how in (("soft", sides["cholesky"]), ("torch", softmax))
        }
        for name, way in (("forward", forward), ("forward and backward", backward)):
            comparison = compare({side: partial(way, how, *given) for side, how in sides.items()}, rounds=ROUNDS)
            errors = {
                side: error(truth, forward(how, *given))
                for side, how in sides.items()
                if (truth := exact["torch" if side == "torch" else "soft"]) is not None
            }
            print(f"n = {n}, {name}\n{comparison}\n  errors {errors}", flush=True)
            row = {"case": "attention", "n": n, "plan": name, **comparison.as_dict()}
            for side, found in errors.items():
                row["timings"][side]["error"] = found
            rows.append(row)
    return rows
