"""Where kernels in Triton run."""

from __future__ import annotations

import importlib.util

import torch

__all__ = ["why_no_triton"]


def why_no_triton(device: torch.device) -> str | None:
    """None if mercer's Triton kernels run on ``device``, else the reason: they need CUDA and capability 8.0."""
    if device.type != "cuda":
        return f"fused kernels run on CUDA, not on {device.type}"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed: pip install 'mercer[gpu]'"
    if torch.version.hip is not None:
        return "fused kernels have not been tried on ROCm"
    major, minor = torch.cuda.get_device_capability(device)
    if major >= 8:
        return None
    return f"fused kernels need compute capability 8.0, and {device} has {major}.{minor}"
