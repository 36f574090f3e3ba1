"""Attention in linear time; the functions are in `mercer.nn.functional`."""

from mercer.nn.attention.soft_block import SoftBlock
from mercer.nn.attention.softmax_free import SoftmaxFreeAttention

__all__ = ["SoftBlock", "SoftmaxFreeAttention"]
