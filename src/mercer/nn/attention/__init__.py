"""Attention layers: linear ones with a normed output, those within blocks, and softmax to compare with."""

"""Attention in linear time; the functions are in `mercer.nn.functional`."""

from mercer.nn.attention.diag_attention import DiagAttention, SoftmaxAttention
from mercer.nn.attention.gated_mlp import GatedMLP
from mercer.nn.attention.norm_attention import LinearAttention, NormAttention
from mercer.nn.attention.nystrom import gaussian_attention, nystrom_attention
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
    "gaussian_attention",
    "linear_attention",
    "nystrom_attention",
]
