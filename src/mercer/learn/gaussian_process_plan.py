"""How a Gaussian process is computed, and with what error: what a fitted model says of itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GaussianProcessPlan"]


@dataclass(frozen=True)
class GaussianProcessPlan:
    """What ``model.plan_`` tells.

    Attributes:
        name: "cholesky"; "fourier" (a series of the kernel, in weight space); "weights" (a kernel of few features, in
            weight space); "kronecker" (points on a grid); "iterative" (conjugate gradients and probes).
        reason: why, in a sentence.
        error: of the entries of the kernel matrix, as a share of the largest; 0 where only round-off is left.
    """

    name: str
    reason: str
    error: float

    def __str__(self) -> str:
        exactness = f"entries right to {self.error:.0e} of k(0)" if self.error else "exact to round-off"
        return f"{self.name}: {self.reason}; {exactness}"
