"""Solutions, log-determinants, samples and variances of a kernel matrix of few features, in the space of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mercer.operators.solvers import DenseFeatures, WeightSpace, weight_inv_quad_logdet
from mercer.operators.structure.low_rank import low_rank_root

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["LowRankSolution"]

_ROUND_OFF = 1e-12  # of the largest diagonal entry of Z' Z, below which a noise is lost in it


class LowRankSolution:
    """``M = Z Z' + diag(noise)``; see :class:`mercer.operators.solvers.direct_solution.DirectSolution`.

    Args:
        Z: the features of the points, ``(n, r)`` float64, with their graph.

    Cost: ``n r^2`` once for each noise; ``8 n r`` bytes.
    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), section 2.1.2 and eq. A.9.
    """

    name = "weights"
    least_rows = 0
    error = 0.0

    def __init__(self, Z: Tensor) -> None:
        self.Z = Z
        self._space: tuple[Tensor, WeightSpace] | None = None
        self._largest = float(Z.detach().square().sum(0).max()) if Z.numel() else 0.0

    def applies(self, noise: Tensor) -> str | None:
        """If the noise is positive, and not lost in the round-off of ``Z' Z``."""
        least = float(noise.detach().min())
        if least <= 0.0:
            return "weight space needs a positive noise"
        if least < _ROUND_OFF * self._largest:
            return f"a noise of {least:.1e} is below the round-off of the features' products, {self._largest:.1e}"
        return None

    def space(self, noise: Tensor | float) -> WeightSpace:
        """The factorised system for a noise; the last one is kept."""
        variance = torch.as_tensor(noise, dtype=torch.float64).detach()
        if self._space is None or not torch.equal(self._space[0], variance):
            self._space = variance, WeightSpace(DenseFeatures(self.Z.detach()), variance)
        return self._space[1]

    def solve(self, B: Tensor, noise: Tensor | float) -> Tensor:
        """``M^-1 B``, from one factorisation; round-off is left to whoever can multiply by M."""
        space, B = self.space(noise), B.detach().to(torch.float64)
        ratios = 1.0 if space.ratios is None else space.ratios[:, None]
        return (B - space.features.times(space.weights(B))) / (space.scale * ratios)

    def inv_quad_logdet(self, Y: Tensor, noise: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """Exact, and differentiable in the features and the noise; Y is taken as constant."""
        Y, Z = Y.detach().to(torch.float64), self.Z
        variance = torch.as_tensor(noise, dtype=torch.float64)
        scale = variance if variance.numel() == 1 else variance.mean()
        ratios = torch.ones((), dtype=torch.float64) if variance.numel() == 1 else variance / scale
        divided = Z / (ratios[:, None] if ratios.ndim else ratios)
        log_ratios = ratios.log().sum()
        quad, logdet, _ = weight_inv_quad_logdet(
            Z.mT @ divided,
            divided.mT @ Y,
            (Y.square().mT / ratios).sum(-1),
            scale.reshape(()),
            n=len(Z),
            log_ratios=log_ratios,
        )
        return quad, logdet, torch.zeros((), dtype=torch.float64)

    def sample(self, n_samples: int, draw: torch.Generator) -> Tensor:
        """``(n, n_samples)`` draws of N(0, K)."""
        Z = self.Z.detach()
        return Z @ torch.randn(Z.shape[1], n_samples, dtype=torch.float64, generator=draw).to(Z.device)

    def inv_quad_of(self, cross: KernelOperator, noise: Tensor | float) -> Tensor:
        """``c' M^-1 c`` for every row c of a cross matrix: ``|z|^2 - s z' A^-1 z`` with the features z of its point."""
        with torch.no_grad():
            z = low_rank_root(cross.double().operands(), "row")
        assert z is not None  # it is another side of the same kernel
        space = self.space(noise)
        return z.square().sum(1) - space.variance(lambda rows: z[rows], len(z))
