"""Solutions, log-determinants, samples and variances of a Fourier series in weight space: cost does not grow with n.

The points enter through ``sum_x exp(-i k x)`` alone, one non-uniform FFT; after it a step of an optimiser over
hyperparameters or noise works with M x M matrices, as long as the same modes serve.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer import config
from mercer.arrays import generator
from mercer.operators.fourier.features import FourierFeatures, evaluate_square
from mercer.operators.fourier.modes import MOST_WEIGHTS, FourierModes, difference_map, same_ratios, white_variance
from mercer.operators.fourier.weight_iteration import (
    IterativeWeightSpace,
    Probes,
    WeightIteration,
    iterative_inv_quad_logdet,
)
from mercer.operators.maps import safe_sqrt
from mercer.operators.solvers import WeightSpace, split_noise, weight_inv_quad_logdet

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["N_PROBES", "FourierSolution"]

MOST_DENSE = 4000  # weights factorised: that and its gradient take about five seconds on two cores; more by iterations
N_PROBES = 16
_EXPLICIT = 2e11  # multiplications up to which variances are computed from explicit features
_AGREE = 1e-4  # relative difference of variances by transforms and by explicit features that is accepted


class FourierSolution:
    """``M = K + diag(noise)`` in weight space; see :class:`mercer.operators.solvers.direct_solution.DirectSolution`.

    Args:
        K: a symmetric kernel matrix without batch.
        tolerance: of its entries, as a share of k(0).
        modes: where they are known.
        n_probes: for ``log det M`` of more than 4000 weights; its standard error falls with the square root.
        random_state: of the probes.

    Raises:
        NoFourierSeries: too many modes.
        TypeError: the kernel is no function of differences of up to three columns of X.

    Cost: two transforms of n points; up to 4000 weights M ``M^3 / 3`` operations and ``40 M^2`` bytes, beyond that
    iterations of two FFTs for each column and the factorisation of 4000 weights.
    Source: Greengard, Rachh & Barnett, Equispaced Fourier representations for efficient Gaussian process regression
    from a billion data points, arXiv 2210.10210 (2022).
    """

    name = "weights"

    def __init__(
        self,
        K: KernelOperator,
        *,
        tolerance: float,
        modes: FourierModes | None = None,
        n_probes: int = N_PROBES,
        random_state: Any = 0,
    ) -> None:
        self.K, self.tolerance = K, tolerance
        self.n_probes, self.random_state = n_probes, random_state
        self.modes = FourierModes(K, tolerance=tolerance) if modes is None else modes
        self.error = self.modes.error
        self._space: tuple[Tensor, WeightSpace | IterativeWeightSpace] | None = None

    @property
    def n_weights(self) -> int:
        """M."""
        return self.modes.basis.size

    def applies(self, noise: Tensor) -> str | None:
        """If the noise is positive, and the weights are at most a million and fit into the memory budget."""
        if not bool((noise > 0.0).all()):
            return "weight space needs a positive noise"
        if self.n_weights > MOST_WEIGHTS:
            return f"the kernel takes {self.n_weights} weights, more than {MOST_WEIGHTS}"
        needed = self._memory()
        if not config.fits_memory(needed):
            sizes = config.format_bytes(needed), config.format_bytes(config.memory_budget())
            return f"the {self.n_weights} weights of the kernel take {sizes[0]}, the memory budget is {sizes[1]}"
        return None

    @property
    def is_iterative(self) -> bool:
        """Whether there are more weights than are factorised."""
        return self.n_weights > MOST_DENSE

    @property
    def least_rows(self) -> int:
        """Iterations use a factor of 4000 weights: with 4600 weights and 20,000 rows they took four times cg's time."""
        return 25 * self.n_weights if self.is_iterative else 0

    def _memory(self) -> int:
        """Matrices of all weights, or of the preconditioner, with a dozen vectors a probe and two grids."""
        factorised = min(self.n_weights, MOST_DENSE)
        grids = 48 * math.prod(4 * m + 1 for m in self.modes.basis.grid.modes)
        vectors = 12 * 8 * self.n_weights * self.n_probes if self.is_iterative else 0
        return 40 * factorised**2 + grids + vectors

    def space(self, noise: Tensor | float) -> WeightSpace | IterativeWeightSpace:
        """The system in weights for a noise; the last one is kept."""
        variance = (torch.as_tensor(noise, dtype=torch.float64) + white_variance(self.K)).detach()
        if self._space is None or not torch.equal(self._space[0], variance):
            coefficients = self.modes.coefficients(self.K).detach()
            root = coefficients.sqrt()
            scale, ratios = split_noise(variance, len(self.modes.points))
            features = self.modes.features(coefficients)
            if self.is_iterative:
                iteration = WeightIteration(self.modes.toeplitz(ratios), root, scale)
                self._space = variance, IterativeWeightSpace(features, variance, iteration=iteration)
            else:
                gram = root[:, None] * self.modes.gram(ratios) * root
                self._space = variance, WeightSpace(features, variance, gram=gram)
        return self._space[1]

    def solve(self, B: Tensor, noise: Tensor | float) -> Tensor:
        """``M^-1 B`` for B ``(n, t)``, to a true residual of 1e-8 against the series."""
        return self.space(noise).solve(B.detach().to(torch.float64))

    def inv_quad_logdet(self, Y: Tensor, noise: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """``y' M^-1 y`` ``(t,)``, ``log det M``, and its standard error.

        The first two are differentiable in the hyperparameters of K and the noise; Y is taken as constant. Up to 4000
        weights ``log det M`` is exact and the error 0; beyond, it and its gradient are estimates.
        """
        Y = Y.detach().to(torch.float64)
        variance = torch.as_tensor(noise, dtype=torch.float64) + white_variance(self.K)
        ratios = split_noise(variance, len(Y))[1]
        divided = Y if ratios is None else Y / ratios[:, None]
        unit = FourierFeatures(self.modes.basis, self.modes.points, torch.ones(self.n_weights, dtype=torch.float64))
        s = variance if variance.numel() == 1 else variance.detach().mean()
        if self.is_iterative:
            self.space(noise)  # its preconditioner serves here and in `solve`
        projection, square = unit.transposed(divided), (Y * divided).sum(0)
        quad, logdet, probes = self._forms(projection, square, s.reshape(()), ratios)
        if variance.ndim and variance.requires_grad:
            slope = -(self.solve(Y, noise).square() * variance[:, None]).sum(0)
            quad = quad + slope - slope.detach()
            diagonal = self.inverse_diagonal(noise) if probes is None else self._estimated_diagonal(noise, probes)
            slope = (diagonal * variance).sum()
            logdet = logdet + slope - slope.detach()
        error = torch.zeros((), dtype=torch.float64) if probes is None else probes.standard_error
        return quad, logdet, error

    def forms(self, projection: Tensor, square: Tensor, scale: Tensor, ratios: Tensor | None) -> tuple[Tensor, Tensor]:
        """``y' M^-1 y`` and ``log det M`` for ``M = K + scale diag(ratios)`` from sums over the rows; differentiable.

        Args:
            projection: ``sum_x f_a(x) y / ratio``, ``(M, t)``.
            square: ``sum y^2 / ratio``, ``(t,)``.
            scale: ``()``.
            ratios: ``(n,)``, None for 1.
        """
        quad, logdet, _ = self._forms(projection, square, scale, ratios)
        return quad, logdet

    def _forms(
        self, projection: Tensor, square: Tensor, scale: Tensor, ratios: Tensor | None
    ) -> tuple[Tensor, Tensor, Probes | None]:
        """:meth:`forms`, and the probes behind an estimate."""
        root = safe_sqrt(self.modes.coefficients(self.K))
        n, log_ratios = len(self.modes.points), 0.0 if ratios is None else float(ratios.log().sum())
        if not self.is_iterative:
            gram = root[:, None] * self.modes.gram(ratios) * root
            quad, logdet, _ = weight_inv_quad_logdet(
                gram, root[:, None] * projection, square, scale, n=n, log_ratios=log_ratios
            )
            return quad, logdet, None
        return iterative_inv_quad_logdet(
            self._iteration(root.detach(), float(scale.detach()), ratios),
            root,
            scale,
            projection,
            square,
            n=n,
            log_ratios=log_ratios,
            n_probes=self.n_probes,
            draw=generator(self.random_state),
        )

    def _iteration(self, root: Tensor, scale: float, ratios: Tensor | None) -> WeightIteration:
        """A new one, or that of the last noise."""
        space = None if self._space is None else self._space[1]
        if isinstance(space, IterativeWeightSpace) and space.scale == scale and same_ratios(space.ratios, ratios):
            return space.iteration
        return WeightIteration(self.modes.toeplitz(ratios), root, scale)

    def inverse_diagonal(self, noise: Tensor | float) -> Tensor:
        """The diagonal of ``M^-1``, ``(n,)``."""
        space = self.space(noise)
        ratios = 1.0 if space.ratios is None else space.ratios
        explained = self._reduced(self.modes.points, space) / space.scale
        return (1.0 - explained / ratios) / (space.scale * ratios)

    def _estimated_diagonal(self, noise: Tensor | float, probes: Probes) -> Tensor:
        """The same from probes of the weights: right on average."""
        space = self.space(noise)
        ratios = 1.0 if space.ratios is None else space.ratios
        explained = (space.features.times(probes.solved) * space.features.times(probes.applied)).sum(1)
        return (1.0 - explained / ratios) / (space.scale * ratios)

    def sample(self, n_samples: int, draw: torch.Generator) -> Tensor:
        """``(n, n_samples)`` draws of N(0, K)."""
        normal = torch.randn(self.n_weights, n_samples, dtype=torch.float64, generator=draw)
        return self.modes.features(self.modes.coefficients(self.K).detach()).times(normal)

    def mean_of(self, cross: KernelOperator, Y: Tensor, noise: Tensor | float) -> Tensor:
        """``C M^-1 Y`` for a cross matrix ``C = k(Z, X)``, ``(z, t)``: the posterior mean, with the same series as M.

        A product of C with ``M^-1 Y`` would use another approximation of k; ``M^-1 Y`` enlarges what they differ by.
        """
        solution = self.covering(cross.X.detach())
        space = solution.space(noise)
        features, points = space.features, cross.X.detach()[:, solution.modes.columns]
        assert isinstance(features, FourierFeatures)
        w = space.weights(Y.detach().to(torch.float64))
        return FourierFeatures(features.basis, points, features.root.square()).times(w)

    def inv_quad_of(self, cross: KernelOperator, noise: Tensor | float) -> Tensor:
        """``c' M^-1 c`` for every row c of a cross matrix k(Z, X), ``(z,)``.

        ``k(z, z)`` minus this is ``s z' A^-1 z`` exactly: what the series misses of k(z, z) counts as known.
        """
        points = cross.X.detach()
        solution = self.covering(points)
        reduced = solution._reduced(points[:, solution.modes.columns].to(torch.float64), solution.space(noise))
        r = torch.zeros(1, len(solution.modes.columns), dtype=torch.float64)
        return difference_map(self.K)(r).detach() - reduced

    def covering(self, points: Tensor) -> FourierSolution:
        """This solution, or one whose series is right at these points ``(z, columns of X)`` too."""
        if self.modes.covers(points):
            return self
        wider = FourierModes(self.K, tolerance=self.tolerance, box=points)
        return FourierSolution(
            self.K, tolerance=self.tolerance, modes=wider, n_probes=self.n_probes, random_state=self.random_state
        )

    def _reduced(self, points: Tensor, space: WeightSpace | IterativeWeightSpace) -> Tensor:
        """``s z' A^-1 z`` at points ``(z, d)``: by explicit features where they are few, else by one transform.

        The transform sums numbers larger than the answer; a few explicit values say whether it has digits left.
        """
        features = space.features
        assert isinstance(features, FourierFeatures)

        def explicit(chosen: Tensor) -> Tensor:
            return space.variance(lambda rows: features.explicit(chosen[rows]), len(chosen))

        if isinstance(space, IterativeWeightSpace) or len(points) * self.n_weights**2 <= _EXPLICIT:
            return explicit(points)
        root = features.root
        inverse = space.scale * root[:, None] * space.factor.inverse() * root
        values = evaluate_square(self.modes.basis, inverse, points)
        index = torch.linspace(0, len(points) - 1, 64).round().to(torch.int64)
        known = explicit(points[index])
        if bool(((values[index] - known).abs() <= _AGREE * known).all()):
            return values
        return explicit(points)
