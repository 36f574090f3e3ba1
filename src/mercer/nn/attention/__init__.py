"""Attention in linear time."""

from mercer.nn.attention.nystrom import gaussian_attention, nystrom_attention
from mercer.nn.attention.soft_block import SoftBlock
from mercer.nn.attention.softmax_free import SoftmaxFreeAttention

__all__ = ["SoftBlock", "SoftmaxFreeAttention", "gaussian_attention", "nystrom_attention"]
