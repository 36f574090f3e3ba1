"""Whole networks, built by name: `create_model("soft_tiny", num_classes=10)`."""

from mercer.nn.models.long_convolutions import long_conv_classifier, long_conv_language_model
from mercer.nn.models.registry import create_model, list_models, register_model
from mercer.nn.models.sequence import SequenceBlock, SequenceModel

__all__ = [
    "SequenceBlock",
    "SequenceModel",
    "create_model",
    "list_models",
    "long_conv_classifier",
    "long_conv_language_model",
    "register_model",
]
