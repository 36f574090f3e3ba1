"""Attention layers: linear ones, those within blocks or through landmarks, and softmax to compare with.

Functions of tensors are in `mercer.nn.functional`.
"""

from mercer.nn.attention.diag_attention import DiagAttention, SoftmaxAttention
from mercer.nn.attention.gated_mlp import GatedMLP
from mercer.nn.attention.norm_attention import LinearAttention, NormAttention
from mercer.nn.attention.positions import RotaryPositions
from mercer.nn.attention.soft_block import SoftBlock
from mercer.nn.attention.softmax_free import SoftmaxFreeAttention
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
    "SoftBlock",
    "SoftmaxAttention",
    "SoftmaxFreeAttention",
]
