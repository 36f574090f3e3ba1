"""Whole networks, built by name: `create_model("soft_tiny", num_classes=10)`."""

from mercer.nn.models.gram_resnet import GramResNet
from mercer.nn.models.language_model import LanguageModel
from mercer.nn.models.long_convolutions import long_conv_classifier
from mercer.nn.models.mixer_block import CausalMixer, MixerBlock
from mercer.nn.models.mixer_stack import MixerStack
from mercer.nn.models.mixers import MIXERS
from mercer.nn.models.registry import create_model, list_models, register_model
from mercer.nn.models.sequence import SequenceModel
from mercer.nn.models.sequence_network import SequenceNetwork
from mercer.nn.models.snnk_transformer import SNNKTransformer, SNNKTransformerBlock
from mercer.nn.models.soft_transformer import SoftSize, SoftTransformer
from mercer.nn.models.states import SequenceState
from mercer.nn.models.transnormer import TransNormer
from mercer.nn.models.weights import load_checkpoint

__all__ = [
    "MIXERS",
    "CausalMixer",
    "GramResNet",
    "LanguageModel",
    "MixerBlock",
    "MixerStack",
    "SNNKTransformer",
    "SNNKTransformerBlock",
    "SequenceModel",
    "SequenceNetwork",
    "SequenceState",
    "SoftSize",
    "SoftTransformer",
    "TransNormer",
    "create_model",
    "list_models",
    "load_checkpoint",
    "long_conv_classifier",
    "register_model",
]
