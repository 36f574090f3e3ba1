"""Causal linear attention, 8 heads of 64, float32, against torch's softmax attention of the same shapes (target P9).

They are not the same function, which is the point of the paper: what is compared is a layer's cost at a length. The
error of ours is that of the definition in float64; torch's is that of its own. torch takes two turns, so that its ratio
to itself tells what the machine's noise makes of 1.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mercer.nn.functional import linear_attention
from mercer.timing import compare

SIZES = (512, 1024, 2048, 4096, 8192)
HEADS, HEAD_SIZE = 8, 64
ROUNDS = 15

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def torch_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention by torch's fused kernel."""
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def linear_definition(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """All scores at once."""
    return (q @ k.mT).tril() @ v


def softmax_definition(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """All scores at once."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    return scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf).softmax(-1) @ v


def error_of(attention: Attention, definition: Attention, q: Tensor, k: Tensor, v: Tensor) -> float:
    """Relative error of one head, float64 being right."""
    q, k, v = q[:, :1], k[:, :1], v[:, :1]
    expected = definition(q.double(), k.double(), v.double())
    return float((attention(q, k, v).double() - expected).norm() / expected.norm())


def both_ways(attention: Attention, q: Tensor, k: Tensor, v: Tensor, grad: Tensor) -> None:
    """Forward and backward."""
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    attention(q, k, v).backward(grad)


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes."""
    rows: list[dict[str, Any]] = []
    for n in sizes:
        q, k, v, grad = (torch.randn(1, HEADS, n, HEAD_SIZE) for _ in range(4))
        with torch.no_grad():
            errors = (
                [
                    error_of(linear_attention, linear_definition, q, k, v),
                    error_of(torch_attention, softmax_definition, q, k, v),
                ]
                if n <= 4096
                else [None, None]
            )
        for case, call in (
            ("forward", lambda f, x=(q, k, v): f(*x)),
            ("forward and backward", lambda f, x=(q, k, v, grad): both_ways(f, *x)),
        ):
            with torch.set_grad_enabled(case != "forward"):
                comparison = compare(
                    {
                        "mercer": lambda call=call: call(linear_attention),
                        "torch": lambda call=call: call(torch_attention),
                        "torch again": lambda call=call: call(torch_attention),
                    },
                    rounds=ROUNDS if n <= 4096 else 5,
                    work=float(HEADS * n),
                )
            control = comparison.ratio("torch", "torch again")[1]
            print(f"\n{case}, n = {n}, errors {errors}\n{comparison}\ntorch by itself {control:.3f}")
            row = {
                "case": "attention",
                "pass": case,
                "length": n,
                "heads": HEADS,
                "head_size": HEAD_SIZE,
                "control": control,
            }
            rows.append({**row, "error": errors[0], "error_torch": errors[1], **comparison.as_dict()})
    return rows
