"""Attention layers: linear ones with a normed output, those within blocks, and softmax to compare with."""

from mercer.nn.attention.diag_attention import DiagAttention, SoftmaxAttention
from mercer.nn.attention.gated_mlp import GatedMLP
from mercer.nn.attention.norm_attention import LinearAttention, NormAttention
from mercer.nn.attention.positions import RotaryPositions
from mercer.nn.attention.srms_norm import SRMSNorm
from mercer.nn.attention.states import AttentionState, BlockState, LinearState

__all__ = [
    "AttentionState",
    "BlockState",
    "DiagAttention",
    "GatedMLP",
    "LinearAttention",
    "LinearState",
    "NormAttention",
    "RotaryPositions",
    "SRMSNorm",
    "SoftmaxAttention",
]
