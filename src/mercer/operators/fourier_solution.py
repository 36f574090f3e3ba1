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
from mercer.errors import ShapeError
from mercer.operators.expression import constant, evaluate, leaf, leaves, substitute
from mercer.operators.fourier_features import FourierBasis, FourierFeatures, evaluate_square, mode_sums
from mercer.operators.fourier_map import PointDifferences, difference_terms, why_not_differences
from mercer.operators.fourier_series import NoFourierSeries, fourier_series
from mercer.operators.toeplitz_gram import ToeplitzGram
from mercer.operators.weight_iteration import (
    IterativeWeightSpace,
    Probes,
    WeightIteration,
    iterative_inv_quad_logdet,
)
from mercer.operators.weight_space import WeightSpace, split_noise, weight_inv_quad_logdet

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["FourierLikelihood", "FourierSolution"]

MOST_DENSE = 4000  # weights factorised: that and its gradient take about five seconds on two cores; more by iterations
MOST_WEIGHTS = 1_000_000  # an iteration for 16 probes takes about ten seconds then
N_PROBES = 16
TOLERANCE = 1e-8  # at a noise of 1e-2 k(0) a likelihood then jumps by less than 1e-6 a row where modes change
_SLACK = 1.5  # how many times the weights that are needed may be carried along before the modes are chosen anew
_MARGIN = 8.0  # how much better the modes are at first, so that they serve for lengthscales some percent off too
_EXPLICIT = 2e11  # multiplications up to which variances are computed from explicit features
_HOPELESS = 25  # modes for each weight allowed above which dropping small ones cannot help
_AGREE = 1e-4  # relative difference of variances by transforms and by explicit features that is accepted


class FourierModes:
    """Points, and the functions in which kernels on them are written.

    Args:
        K: the kernel matrix for whose hyperparameters the modes are chosen.
        tolerance: of entries, as a share of k(0).
        box: further points ``(z, columns of X)`` for whose differences the series has to be right.

    Raises:
        NoFourierSeries: too many modes.
        TypeError: the kernel is no function of differences of up to three columns.
    """

    def __init__(self, K: KernelOperator, *, tolerance: float, box: Tensor | None = None) -> None:
        of_map = difference_map(K)
        self.columns, self.tolerance = of_map.columns, tolerance
        self.points = K.X.detach()[:, self.columns].to(torch.float64)
        both = self.points if box is None else torch.cat([self.points, box[:, self.columns].to(torch.float64)])
        self.low, self.high = both.amin(0), both.amax(0)
        extent = ((self.high - self.low) * (1.0 + 1e-9)).tolist()
        with torch.no_grad():
            series = fourier_series(of_map, extent, tolerance=tolerance / _MARGIN, definite=True)
            if series.grid.n_modes > _HOPELESS * MOST_WEIGHTS:  # before tables of them are made
                raise NoFourierSeries(
                    f"the kernel takes up to {series.grid.n_modes} weights, more than {MOST_WEIGHTS}",
                    series.grid.n_modes,
                )
            center = (self.low + self.high) / 2.0
            self.basis = FourierBasis(series.grid, series.coefficients, neglect=tolerance / _MARGIN, center=center)
        self.error = series.error + tolerance / _MARGIN
        self._toeplitz: tuple[Tensor | None, ToeplitzGram] | None = None
        self._gram: tuple[ToeplitzGram, Tensor] | None = None

    def covers(self, points: Tensor) -> bool:
        """Whether the series is right for differences from these points, ``(z, columns of X)``."""
        chosen = points[:, self.columns].to(torch.float64)
        return not len(chosen) or bool((chosen >= self.low).all() and (chosen <= self.high).all())

    def serves(self, K: KernelOperator) -> bool:
        """Whether the modes are right for other hyperparameters too, and not many more than they need."""
        of_map = difference_map(K)
        grid = self.basis.grid
        with torch.no_grad():
            sizes = grid.coefficients(of_map) * grid.multiplicity()
            left_out = float(sizes.abs().sum()) - float(self.coefficients(K).clamp(min=0.0).sum())
            total = float(sizes.sum())
            negative = -float(sizes.clamp(max=0.0).sum())
            if left_out + negative > self.tolerance * total or grid.predicted_error(of_map) > self.tolerance:
                return False
            ordered = self.coefficients(K).sort(descending=True).values
            needed = int((ordered.flip(0).cumsum(0).flip(0) > 0.5 * self.tolerance * total).sum())
        return self.basis.size <= max(200.0, _SLACK**2 * needed)

    def coefficients(self, K: KernelOperator) -> Tensor:
        """``c_a`` for the hyperparameters of K, ``(M,)``; differentiable; 0 where negative by round-off."""
        return self.basis.coefficients(self.basis.grid.coefficients(difference_map(K))).clamp(min=0.0)

    def features(self, coefficients: Tensor) -> FourierFeatures:
        """The features whose products are K."""
        return FourierFeatures(self.basis, self.points, coefficients)

    def toeplitz(self, ratios: Tensor | None) -> ToeplitzGram:
        """``sum_x f_a(x) f_b(x) / ratio(x)`` as an operator; the last one is kept."""
        if self._toeplitz is None or not _same(self._toeplitz[0], ratios):
            sums = mode_sums(self.basis, self.points, None if ratios is None else 1.0 / ratios)
            self._toeplitz = ratios, ToeplitzGram(self.basis, sums)
        return self._toeplitz[1]

    def gram(self, ratios: Tensor | None) -> Tensor:
        """The same as a matrix, ``(M, M)``."""
        toeplitz = self.toeplitz(ratios)
        if self._gram is None or self._gram[0] is not toeplitz:
            self._gram = toeplitz, self.basis.gram(toeplitz.sums)
        return self._gram[1]


class FourierSolution:
    """``M = K + diag(noise)`` in weight space; see :class:`mercer.operators.direct_solution.DirectSolution`.

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
        needed, allowed = self._memory(), config.memory_budget()
        if needed > allowed:
            sizes = config.format_bytes(needed), config.format_bytes(allowed)
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

    def inv_quad_logdet(self, Y: Tensor, noise: Tensor | float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``y' M^-1 y`` ``(t,)``, ``log det M``, its standard error, ``M^-1 Y``.

        The first two are differentiable in the hyperparameters of K and the noise; Y is taken as constant. Up to 4000
        weights ``log det M`` is exact and the error 0; beyond, it and its gradient are estimates.
        """
        Y = Y.detach().to(torch.float64)
        x = self.solve(Y, noise)
        variance = torch.as_tensor(noise, dtype=torch.float64) + white_variance(self.K)
        ratios = split_noise(variance, len(Y))[1]
        divided = Y if ratios is None else Y / ratios[:, None]
        unit = FourierFeatures(self.modes.basis, self.modes.points, torch.ones(self.n_weights, dtype=torch.float64))
        s = variance if variance.numel() == 1 else variance.detach().mean()
        projection, square = unit.transposed(divided), (Y * divided).sum(0)
        quad, logdet, probes = self._forms(projection, square, s.reshape(()), ratios)
        if variance.ndim and variance.requires_grad:
            slope = -(x.square() * variance[:, None]).sum(0)
            quad = quad + slope - slope.detach()
            diagonal = self.inverse_diagonal(noise) if probes is None else self._estimated_diagonal(noise, probes)
            slope = (diagonal * variance).sum()
            logdet = logdet + slope - slope.detach()
        error = torch.zeros((), dtype=torch.float64) if probes is None else probes.standard_error
        return quad, logdet, error, x

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
        root = _root(self.modes.coefficients(self.K))
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
        if isinstance(space, IterativeWeightSpace) and space.scale == scale and _same(space.ratios, ratios):
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
        solution = self._covering(cross.X.detach())
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
        solution = self._covering(points)
        reduced = solution._reduced(points[:, solution.modes.columns].to(torch.float64), solution.space(noise))
        r = torch.zeros(1, len(solution.modes.columns), dtype=torch.float64)
        return difference_map(self.K)(r).detach() - reduced

    def _covering(self, points: Tensor) -> FourierSolution:
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


class FourierLikelihood:
    """``y' M^-1 y`` and ``log det M`` for ``M = K(theta) + diag(noise)`` as functions of theta and the noise.

    Points and y stay; the sums over them are made once for each choice of modes, which changes only where other
    hyperparameters need others. All other work is with the M weights: exact up to 4000; beyond that by iterations,
    where log det M and its gradient are estimated, with the same probes at every call.

    What the series leaves out of K moves the result. With e = tolerance k(0) / noise, half of their sum a row jumps by
    up to e where the modes change, and its gradient by the logarithm of a lengthscale is off by up to 10 e. Both fall
    linearly with the tolerance. (Measured for RBF and Matern 9/2 on 20,000 points in 2-D, noise 1e-2 and 1e-3.)

    Args:
        y: ``(n,)`` or ``(n, t)``.
        tolerance: of the entries of K, as a share of k(0). For a rough kernel a larger one, such as 1e-6, may keep the
            weights below 4000 and the log-determinant exact.
        ratios: of the noise of each row to the number given, ``(n,)``, for known heteroscedastic noise.
        box: further points ``(z, columns of X)`` that the modes are to serve.
        n_probes: for more than 4000 weights; ``standard_error`` is then that of the last ``log det M``, else 0.
        random_state: of the probes.

    >>> from mercer.kernels import RBF
    >>> X = torch.linspace(0.0, 1.0, 50, dtype=torch.float64)[:, None]
    >>> likelihood = FourierLikelihood(torch.sin(6.0 * X[:, 0]), tolerance=1e-8)
    >>> quad, logdet = likelihood(RBF(0.3)(X), torch.tensor(0.01, dtype=torch.float64))
    >>> likelihood.n_passes
    1
    """

    def __init__(
        self,
        y: Tensor,
        *,
        tolerance: float = TOLERANCE,
        ratios: Tensor | None = None,
        box: Tensor | None = None,
        n_probes: int = N_PROBES,
        random_state: int = 0,
    ) -> None:
        self.y = (y.unsqueeze(-1) if y.ndim == 1 else y).detach().to(torch.float64)
        self.tolerance, self.ratios, self.box = tolerance, ratios, box
        self.n_probes, self.random_state = n_probes, random_state
        self.n_passes = 0
        self.standard_error = 0.0
        self._modes: FourierModes | None = None
        self._projection = self._square = torch.empty(0)

    def __call__(self, K: KernelOperator, noise: Tensor) -> tuple[Tensor, Tensor]:
        """``y' M^-1 y`` ``(t,)`` and ``log det M`` ``()``; differentiable in K's hyperparameters and the noise.

        Args:
            K: on the same points at every call.
            noise: ``()``, times ``ratios``.

        Raises:
            ShapeError: K has another size than y.
            NoFourierSeries: too many modes or weights, or a noise that is not positive.
            NotPositiveDefinite: as in :class:`FourierSolution`.
        """
        if K.shape != (len(self.y), len(self.y)):
            raise ShapeError(f"K is {tuple(K.shape)}, y has {len(self.y)} rows.")
        if self._modes is None or not self._modes.serves(K):
            self._modes = FourierModes(K, tolerance=self.tolerance, box=self.box)
            self.n_passes += 1
            divided = self.y if self.ratios is None else self.y / self.ratios[:, None]
            size = self._modes.basis.size
            unit = self._modes.features(torch.ones(size, dtype=torch.float64))
            self._projection, self._square = unit.transposed(divided), (self.y * divided).sum(0)
        solution = FourierSolution(
            K, tolerance=self.tolerance, modes=self._modes, n_probes=self.n_probes, random_state=self.random_state
        )
        noise = torch.as_tensor(noise, dtype=torch.float64)
        why_not = solution.applies(noise)
        if why_not is not None:
            raise NoFourierSeries(why_not)
        if self.ratios is not None and K.spec.has_delta:
            raise ValueError("a kernel with white noise of its own cannot be had with noise of known ratios.")
        scale = noise + white_variance(K)
        quad, logdet, probes = solution._forms(self._projection, self._square, scale, self.ratios)
        self.standard_error = 0.0 if probes is None else float(probes.standard_error)
        return quad, logdet

    @property
    def modes(self) -> FourierModes | None:
        """What the last call used, for a :class:`FourierSolution` with the same sums."""
        return self._modes


def difference_map(K: KernelOperator) -> PointDifferences:
    """The kernel of K between different points, as a map of differences of columns of X.

    Raises:
        TypeError: it is none.
    """
    spec, root = K.spec, difference_terms(K.spec)
    why_not = why_not_differences(spec, root, [_width(K, g) for g in range(len(spec.statistics))])
    if why_not is not None:
        raise TypeError(f"no Fourier series: {why_not}.")
    if K.batch_shape:
        raise TypeError(f"no Fourier series for a batch {tuple(K.batch_shape)} of kernels. Take them one by one.")
    return PointDifferences(spec, root, K.theta, K.X.shape[-1])


def _width(K: KernelOperator, g: int) -> int:
    point = torch.zeros(1, K.X.shape[-1], dtype=torch.float64)
    return int(K.spec.statistics[g].points(point, K.theta, None).shape[-1])


def white_variance(K: KernelOperator) -> Tensor:
    """What coincident points add to the diagonal, ``()``; differentiable."""
    spec = K.spec
    if not spec.has_delta:
        return torch.zeros((), dtype=torch.float64)
    with_delta, without = (substitute((spec.total,), {leaf("delta"): constant(x)})[0] for x in (1.0, 0.0))
    extra = with_delta - without
    if leaves([extra], "row") or leaves([extra], "column"):
        raise TypeError(f"no Fourier series: the white noise of {spec.name} differs from point to point.")
    values = {leaf("statistic", g): torch.zeros((), dtype=torch.float64) for g in range(len(spec.statistics))}
    values |= {leaf("theta", i): K.theta[i].to(torch.float64) for i in spec.scalars}
    return evaluate([extra], values)[0]


def _root(c: Tensor) -> Tensor:
    """The square root, with slope 0 where c is 0."""
    positive = c > 0.0
    return torch.where(positive, torch.where(positive, c, 1.0).sqrt(), 0.0)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
