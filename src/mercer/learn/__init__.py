"""Kernel models with scikit-learn's interface."""

from mercer.learn.kernel_ridge import KernelRidge
from mercer.learn.ridge import RidgePath, ridge_path

__all__ = ["KernelRidge", "RidgePath", "ridge_path"]
