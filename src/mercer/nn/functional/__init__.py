"""Functions that layers are made of, without parameters: convolutions and attentions of tensors."""

from mercer.nn.attention.nystrom import gaussian_attention, nystrom_attention

__all__ = ["gaussian_attention", "nystrom_attention"]
