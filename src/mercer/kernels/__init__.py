from mercer.kernels.rbf import RBF
__all__ = ["RBF"]
