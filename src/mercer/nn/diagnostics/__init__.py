"""What is seen of a network while it is trained, and after."""

from mercer.nn.diagnostics.attention_locality import attention_locality, attention_weights
from mercer.nn.diagnostics.gradient_spread import GradientHistory, gradient_spread
from mercer.nn.diagnostics.memory import peak_bytes
from mercer.nn.diagnostics.ntk_drift import NTKDrift

__all__ = [
    "GradientHistory",
    "NTKDrift",
    "attention_locality",
    "attention_weights",
    "gradient_spread",
    "peak_bytes",
]
