"""Whole networks, built by name: `create_model("soft_tiny", num_classes=10)`."""

from mercer.nn.models.registry import create_model, list_models, register_model
from mercer.nn.models.snnk_transformer import SNNKTransformer, SNNKTransformerBlock

__all__ = ["SNNKTransformer", "SNNKTransformerBlock", "create_model", "list_models", "register_model"]
