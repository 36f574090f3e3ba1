"""Causal linear attention on CUDA: two Triton kernels, for the forward pass and for every gradient."""

from mercer.nn.attention.gpu.walk import fused_walk, why_not_fused

__all__ = ["fused_walk", "why_not_fused"]
