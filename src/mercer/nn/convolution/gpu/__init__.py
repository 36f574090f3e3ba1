"""Long convolutions on CUDA: one fused Triton kernel forward and one backward, or three passes over long sequences."""

from mercer.nn.convolution.gpu.function import fused_long_conv
from mercer.nn.convolution.gpu.plans import TilePlan, device_plan, tile_plan
from mercer.nn.convolution.gpu.support import why_not_fused

__all__ = ["TilePlan", "device_plan", "fused_long_conv", "tile_plan", "why_not_fused"]
