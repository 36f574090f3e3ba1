"""Functions that layers are made of, without parameters: convolutions and attentions of tensors."""

from mercer.nn.attention.linear_attention import linear_attention

__all__ = ["linear_attention"]
