"""A Fourier series and a few features, as in 2 RBF + 0.1 Linear, solved together in the space of their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer.operators.fourier.features import FourierFeatures
from mercer.operators.fourier.modes import difference_map
from mercer.operators.fourier.solution import FourierSolution
from mercer.operators.maps import safe_sqrt
from mercer.operators.solvers import (
    DenseFeatures,
    JoinedFeatures,
    WeightSpace,
    joined_gram,
    split_noise,
    weight_inv_quad_logdet,
)
from mercer.operators.structure import LowRankSolution, low_rank_root

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["MixedSolution"]


class MixedSolution:
    """``M = K + Z Z' + diag(noise)``; see :class:`mercer.operators.solvers.direct_solution.DirectSolution`.

    Args:
        series: of the stationary terms, with few enough weights to be factorised.
        few: the features of the other terms.
        terms: the numbers of the terms of each.

    Cost: a transform of n points for each feature, then ``M^3 / 3`` operations for M weights and features.
    """

    name = "weights"
    least_rows = 0

    def __init__(
        self, series: FourierSolution, few: LowRankSolution, terms: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> None:
        self.series, self.few, self.terms = series, few, terms
        self.error = series.error
        self._unit: FourierFeatures | None = None
        self._space: tuple[Tensor, WeightSpace] | None = None

    def applies(self, noise: Tensor) -> str | None:
        """If both parts can take the noise, and it is not learnt point by point."""
        if noise.numel() > 1 and noise.requires_grad:
            return "a noise that differs from point to point is not learnt in the weight space of a mixed kernel"
        return self.series.applies(noise) or self.few.applies(noise)

    @property
    def unit(self) -> FourierFeatures:
        """The functions of the series at the points, without coefficients."""
        if self._unit is None:
            self._unit = self.series.modes.features(torch.ones(self.series.n_weights, dtype=torch.float64))
        return self._unit

    def space(self, noise: Tensor | float) -> WeightSpace:
        """The system in weights for a noise; the last one is kept."""
        variance = torch.as_tensor(noise, dtype=torch.float64).detach()
        if self._space is None or not torch.equal(self._space[0], variance):
            root, Z = self._root().detach(), self.few.Z.detach()
            features = JoinedFeatures(self.series.modes.features(root.square()), DenseFeatures(Z))
            gram = self._gram(root, Z, split_noise(variance, len(Z))[1])
            self._space = variance, WeightSpace(features, variance, gram=gram)
        return self._space[1]

    def solve(self, B: Tensor, noise: Tensor | float) -> Tensor:
        """``M^-1 B`` for B ``(n, t)``, to a true residual of 1e-8 against the series and the features."""
        return self.space(noise).solve(B.detach().to(torch.float64))

    def inv_quad_logdet(self, Y: Tensor, noise: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """Exact, and differentiable in the hyperparameters and a single noise; Y is taken as constant."""
        Y, Z, root = Y.detach().to(torch.float64), self.few.Z, self._root()
        variance = torch.as_tensor(noise, dtype=torch.float64)
        ratios = split_noise(variance, len(Y))[1]
        divided = Y if ratios is None else Y / ratios[:, None]
        quad, logdet, _ = weight_inv_quad_logdet(
            self._gram(root, Z, ratios),
            torch.cat([root[:, None] * self.unit.transposed(divided), Z.mT @ divided]),
            (Y * divided).sum(0),
            variance if variance.numel() == 1 else variance.mean(),
            n=len(Y),
            log_ratios=0.0 if ratios is None else ratios.log().sum(),
        )
        return quad, logdet, torch.zeros((), dtype=torch.float64)

    def sample(self, n_samples: int, draw: torch.Generator) -> Tensor:
        """``(n, n_samples)`` draws of N(0, K + Z Z')."""
        return self.series.sample(n_samples, draw) + self.few.sample(n_samples, draw)

    def inv_quad_of(self, cross: KernelOperator, noise: Tensor | float) -> Tensor:
        """``c' M^-1 c`` for every row c of a cross matrix; the prior variance minus this is ``s z' A^-1 z`` exactly."""
        with torch.no_grad():
            z = low_rank_root(cross.of_terms(self.terms[1]).double().operands(), "row")
        assert z is not None  # it is another side of the same kernel
        series = self.series.covering(cross.X.detach())
        solution = self if series is self.series else MixedSolution(series, self.few, self.terms)
        space = solution.space(noise)
        points = cross.X.detach()[:, series.modes.columns].to(torch.float64)
        functions = series.modes.features(solution._root().detach().square())

        def rows(chosen: slice) -> Tensor:
            return torch.cat([functions.explicit(points[chosen]), z[chosen]], 1)

        prior = difference_map(series.K)(points.new_zeros(1, points.shape[1])).detach() + z.square().sum(1)
        return prior - space.variance(rows, len(z))

    def _root(self) -> Tensor:
        """Square roots of the coefficients of the series; differentiable."""
        return safe_sqrt(self.series.modes.coefficients(self.series.K))

    def _gram(self, root: Tensor, Z: Tensor, ratios: Tensor | None) -> Tensor:
        """``[F Z]' diag(1 / ratios) [F Z]`` for the features F of the series; differentiable in the root and Z."""
        divided = Z if ratios is None else Z / ratios[:, None]
        series = root[:, None] * self.series.modes.gram(ratios) * root
        mixed = root[:, None] * _Project.apply(divided, self.unit)  # type: ignore[no-untyped-call]
        return joined_gram(series, mixed, Z.mT @ divided)


class _Project(torch.autograd.Function):
    """``F' v`` with a gradient for v."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, features: FourierFeatures) -> Tensor:
        ctx.features = features
        return features.transposed(v)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.features.times(gradient), None
