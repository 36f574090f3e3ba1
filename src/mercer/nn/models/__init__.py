"""Whole networks, built by name: `create_model("soft_tiny", num_classes=10)`."""

from mercer.nn.models.registry import create_model, list_models, register_model
from mercer.nn.models.soft_transformer import SoftSize, SoftTransformer
from mercer.nn.models.weights import load_checkpoint

__all__ = ["SoftSize", "SoftTransformer", "create_model", "list_models", "load_checkpoint", "register_model"]
