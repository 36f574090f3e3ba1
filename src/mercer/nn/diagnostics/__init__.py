"""What is seen of a network while it is trained, and after."""

from mercer.nn.diagnostics.memory import peak_bytes
from mercer.nn.diagnostics.ntk_drift import NTKDrift

__all__ = ["NTKDrift", "peak_bytes"]
