"""What is seen of a network while it is trained, and after."""

from mercer.nn.diagnostics.ntk_drift import NTKDrift

__all__ = ["NTKDrift"]
