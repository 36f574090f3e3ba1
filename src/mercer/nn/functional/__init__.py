"""Functions that layers are made of, without parameters: convolutions and attentions of tensors."""

__all__: list[str] = []
