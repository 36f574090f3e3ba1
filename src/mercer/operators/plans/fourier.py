"""The plan for stationary kernels in up to three coordinates: K = F diag(c) F*, multiplied by non-uniform FFT."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mercer import config
from mercer.errors import MissingExtra
from mercer.operators.fourier import (
    EmbeddedDifferences,
    Found,
    FourierModes,
    FourierProduct,
    FourierSolution,
    NoFourierSeries,
    difference_terms,
    find,
    why_not_differences,
)
from mercer.operators.machine import rates
from mercer.operators.maps import Expression
from mercer.operators.operands import Identity, Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.plans.algorithm import Algorithm
from mercer.operators.remember import remembered
from mercer.operators.tiles import Call, OuterCotangent, multiply, pull

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

LEAST_TOLERANCE = {4: 8e-7, 8: 1e-13}  # bytes an entry to what the transforms reach
SPREAD = {4: 3.0e-10, 8: 4.5e-10}  # seconds for a point and a grid point near it, one complex column, two cores
POINT = 2.8e-8  # seconds for a point beside that; both measured in benchmarks/planning.py
PLANNING = 0.1  # seconds to find a series
_MARGIN = 4.0


class FourierPlan(Algorithm):
    """Multiply by a Fourier series of the kernel: O(n + modes log modes) for any stationary kernel in few coordinates.

    Every entry is right to the tolerance as a share of k(0); where most entries are much smaller, as far as needed for
    products with vectors that do not conspire with the error to be right to the tolerance of ``|K| |v|``.

    Source: Barnett, Greengard & Rachh, Uniform approximation of common Gaussian process kernels using equispaced
    Fourier grids, arXiv 2305.07487 (2023); Potts & Steidl, SIAM J. Sci. Comput. 24 (2003).
    """

    name = "fourier"
    approximates = True
    least_entries = 1 << 28  # tiles take 0.1 s, as long as the look for a series

    def require(self) -> None:
        """Raise MissingExtra without finufft."""
        if find_spec("finufft") is None:
            raise MissingExtra("finufft is needed for plan='fourier': pip install 'mercer[fourier]'")

    def applies(self, request: Request) -> str | None:
        """If the kernel depends on differences in up to three coordinates and few enough modes do."""
        if find_spec("finufft") is None:
            return "finufft is not installed: pip install 'mercer[fourier]'"
        root = difference_terms(request.spec)
        why_not = why_not_differences(request.spec, root, request.widths)
        if why_not is not None:
            return f"{why_not}. Use plan='tiles'."
        if request.device != "cpu" or request.operator is None or request.batch != 1 or not all(request.shape):
            return "it multiplies one matrix that is not empty, on the CPU. Use plan='tiles'."
        if torch._C._functorch.maybe_current_level() is not None:
            return "it cannot run inside torch.func transforms. Use plan='tiles' there."
        least = LEAST_TOLERANCE[max(4, request.itemsize)]
        if request.allowed_error < least:
            return (
                f"an error of {request.allowed_error:.0e} is below {least:.0e}, which its transforms reach. Give a "
                f"tolerance: K.with_plan('fourier', tolerance=1e-6)."
            )
        try:
            found = self._found(request)
        except NoFourierSeries as error:
            return f"{error}. Use plan='tiles' or a larger tolerance."
        needed = self._memory(request, found)
        if not config.fits_memory(needed):
            allowed = config.format_bytes(config.memory_budget())
            return f"its transforms take {config.format_bytes(needed)}, the memory budget is {allowed}."
        return None

    def predict(self, request: Request) -> Plan:
        """Spreading to and from a grid, a few points a coordinate and digit, and two FFTs of it."""
        found = self._found(request)
        grid, itemsize, machine = found.series.grid, max(4, request.itemsize), rates()
        transform = transform_tolerance(request.allowed_error, itemsize)
        width = math.ceil(-math.log10(transform)) + 1
        columns = math.ceil(request.columns / 2)
        points = sum(request.shape)
        cores = machine.threads / 2.0
        fine = 2.0**grid.d * grid.n_modes
        fourier = 2.0 * 5.0 * fine * math.log2(fine) / machine.fft_flops
        per_product = columns * (points * (POINT + SPREAD[itemsize] * width**grid.d) / cores + fourier)
        seconds = per_product * (1.0 + (2.0 + 2.0 * grid.d) * request.gradient) * request.products
        setup = PLANNING + points * POINT * grid.d
        modes = " x ".join(map(str, grid.shape))
        # Transforms are right relative to their result, which for such vectors is as much smaller than |K| |v|. Four
        # times that also holds for v = 1 up to some hundred columns; beyond, v = 1 is within the tolerance only.
        size = min(1.0, _MARGIN * found.spread / math.sqrt(request.shape[1]))
        error = found.rms / found.share + transform * size
        reason = f"a Fourier series of {modes} modes, entries right to {found.series.error:.0e} of k(0)"
        return Plan(self.name, reason, seconds + setup, self._memory(request, found), error, setup)

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """The product as an autograd function; its gradient is made of the same transforms."""
        request = K.request(operands)
        if "series" not in memory:
            memory["series"] = self._found(request).series
        forward = FourierForward(request.allowed_error)
        return multiply(Call(operands.structure, K.identity, forward, memory), v, operands)

    def direct(self, K: KernelOperator, memory: dict[Any, Any]) -> FourierSolution | None:
        """In weight space, where a series with positive coefficients has few enough modes.

        The modes are kept with the points, for other hyperparameters too.
        """
        if K.X.requires_grad:
            return None
        tolerance = K.request(K.operands()).allowed_error
        key = ("fourier modes", difference_terms(K.spec), tolerance)
        kept: dict[str, FourierModes] = remembered(key, K.X, K.X, dict)
        try:
            if "modes" not in kept or not kept["modes"].serves(K):
                kept["modes"] = FourierModes(K, tolerance=tolerance)
        except (NoFourierSeries, TypeError):
            return None
        if "direct" not in memory:
            memory["direct"] = FourierSolution(K, tolerance=tolerance, modes=kept["modes"])
        solution: FourierSolution = memory["direct"]
        return solution if solution.n_weights <= K.shape[-1] else None

    @staticmethod
    def _found(request: Request) -> Found:
        assert request.operator is not None
        with torch.no_grad():  # else points are embedded anew, and looked at again
            operands = request.operator.operands()
        return find(operands, difference_terms(request.spec), request.allowed_error)

    @staticmethod
    def _memory(request: Request, found: Found) -> int:
        """The upsampled grid of each direction, modes, and sorted points."""
        grid, itemsize = found.series.grid, max(4, request.itemsize)
        columns = min(4, math.ceil(request.columns / 2))
        modes = 2 * itemsize * grid.n_modes * columns * (2**grid.d + 2)
        # Points and columns are in float64 too, for sums over points.
        return int(2 * modes + sum(request.shape) * ((itemsize + 8) * (grid.d + 2 * columns) + 8))


class FourierForward:
    """The products and gradients of one matrix to a tolerance; what it prepares lives in ``memory``."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance

    def takes_batches(self, operands: Operands) -> bool:
        """One matrix at a time."""
        return False

    def product(self, operands: Operands, identity: Identity | None, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """K @ v for unbatched, detached operands and v ``(m, t)``."""
        return self._prepare(operands, memory)[1].product(v)

    def pull(
        self,
        operands: Operands,
        identity: Identity | None,
        cotangent: OuterCotangent,
        wanted: tuple[bool, ...],
        memory: dict[Any, Any],
    ) -> tuple[Tensor | None, ...]:
        """The gradient of ``sum(u * (K v))``: through the coefficients for hyperparameters, by odd series for points.

        A kernel with a kink at coincident points has a derivative whose series does not converge there; its points'
        gradients are recomputed by tiles.
        """
        count = len(operands.left) * (1 if operands.symmetric else 2)
        n_theta = len(operands.theta)
        points, rest = wanted[:count], wanted[count : len(wanted) - n_theta]
        if any(rest) or (any(points) and operands.spec.singular):
            return pull(operands, cotangent, wanted, identity)
        of_map, product = self._prepare(operands, memory)
        out: list[Tensor | None] = [
            torch.zeros_like(t) if w else None for t, w in zip(operands.flat(), wanted, strict=True)
        ]
        u, v = cotangent.u, cotangent.v
        for g, view in of_map.views.items():
            left = out[g]
            right = out[g] if operands.symmetric else out[len(operands.left) + g]
            if left is None and right is None:
                continue
            for k, (axis, _) in view.items():
                slope = partial(of_map.slope, g=g, k=k)
                by_row, by_column = product.by_points(
                    u, v, slope, axis, rows=left is not None, columns=right is not None
                )
                if left is not None and by_row is not None:
                    left[:, k] += by_row
                if right is not None and by_column is not None:
                    right[:, k] += by_column
        if any(wanted[len(wanted) - n_theta :]):
            self._pull_theta(operands, of_map.root, product, cotangent, out)
        return tuple(out)

    @staticmethod
    def _pull_theta(
        operands: Operands,
        root: Expression,
        product: FourierProduct,
        cotangent: OuterCotangent,
        out: list[Tensor | None],
    ) -> None:
        by_coefficients = product.by_coefficients(cotangent.u, cotangent.v)
        with torch.enable_grad():
            theta = tuple(t.detach().to(torch.float64).requires_grad_() for t in operands.theta)
            coefficients = product.series.grid.coefficients(EmbeddedDifferences(replace(operands, theta=theta), root))
            value = (coefficients * by_coefficients).sum()
            gradients = torch.autograd.grad(value, theta, allow_unused=True)
        for i, gradient in enumerate(gradients, start=len(out) - len(theta)):
            into = out[i]
            if into is not None and gradient is not None:
                into += gradient.to(into.dtype)

    def _prepare(self, operands: Operands, memory: dict[Any, Any]) -> tuple[EmbeddedDifferences, FourierProduct]:
        """The map, and the transforms with their points sorted; kept for the next product."""
        if "fourier" not in memory:
            root = difference_terms(operands.spec)
            of_map = EmbeddedDifferences(operands, root)
            # a transposed matrix, which has other memory, may need a better one
            series = memory["series"] if "series" in memory else find(operands, root, self.tolerance).series
            left = of_map.points(operands.left)
            right = None if operands.symmetric else of_map.points(operands.rights)
            tolerance = transform_tolerance(self.tolerance, left.element_size())
            memory["fourier"] = of_map, FourierProduct(series, left, right, tolerance=tolerance)
        prepared: tuple[EmbeddedDifferences, FourierProduct] = memory["fourier"]
        return prepared


def transform_tolerance(tolerance: float, itemsize: int) -> float:
    """What is asked of a transform: less than the series leaves, as far as the precision goes."""
    return max(0.1 * tolerance, 1e-6 if itemsize <= 4 else 1e-14)
