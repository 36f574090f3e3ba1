"""Who watches a computation: autograd, a transform of functions, a compiler.

What none of them watches may take a shorter way; what one of them does not see through must take another.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["is_recorded", "is_transformed", "why_no_kernel"]


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` or forward-mode differentiation is at work."""
    return torch._C._functorch.maybe_current_level() is not None or forward_ad._current_level >= 0


def is_recorded(*tensors: Tensor) -> bool:
    """Whether autograd keeps what is done with one of these, or a transform watches.

    Where neither does, an autograd function is called directly: torch takes 0.1 to 0.3 ms to bind its arguments.

    >>> is_recorded(torch.ones(3)), is_recorded(torch.ones(3), torch.ones(3, requires_grad=True))
    (False, True)
    """
    return (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)) or is_transformed()


def why_no_kernel() -> str | None:
    """None if a kernel of our own may run, else who would not see through it."""
    if torch.compiler.is_compiling():
        return "torch.compile has its own way"
    if is_transformed():
        return "transforms of functions do not see through a Triton kernel"
    return None
