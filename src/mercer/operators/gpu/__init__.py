"""Kernel products on CUDA: one fused Triton kernel generated from any Spec, forward and backward, batched."""

from mercer.operators.gpu.fused import Fused, runs_fused, why_not_fused

__all__ = ["Fused", "runs_fused", "why_not_fused"]
