"""Whether the fused long convolution runs on given tensors, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mercer.nn.convolution.gpu.plans import DTYPES, device_plan
from mercer.operators.gpu.device import why_no_triton
from mercer.operators.watchers import why_no_kernel

__all__ = ["why_not_fused"]


def why_not_fused(u: Tensor, k: Tensor, others: Sequence[Tensor | None] = (), *, length: int) -> str | None:
    """None if :func:`fused_long_conv` runs on these tensors where they are, else the reason.

    Args:
        u, k: as in :func:`mercer.nn.functional.long_conv`.
        others: gates and skip.
        length: of u in time.
    """
    device = why_no_triton(u.device)
    if device is not None:
        return device
    found = why_not_these(u, k, others)
    if found is not None:
        return found
    if device_plan(length, u.dtype, u.device) is None:
        longest = max((2**i for i in range(8, 24) if device_plan(2**i, u.dtype, u.device) is not None), default=0)
        return f"length {length} is beyond what three passes hold of {u.dtype} on {u.device}, {longest}"
    return None


def why_not_these(u: Tensor, k: Tensor, others: Sequence[Tensor | None]) -> str | None:
    """The reason that lies in the types, or in who watches; None if there is none."""
    if u.dtype not in DTYPES or k.dtype not in DTYPES:
        return f"the fused convolution is for float32, bfloat16 and float16, not {u.dtype} with {k.dtype}"
    if any(x is not None and (x.dtype not in DTYPES or x.device != u.device) for x in (k, *others)):
        return "a gate, a skip or a kernel has another type or device"
    if u.numel() == 0:
        return "there is nothing to convolve"
    return why_no_kernel()
