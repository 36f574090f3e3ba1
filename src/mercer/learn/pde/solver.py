"""The estimator that solves differential equations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from torch import Tensor

from mercer.errors import NotConverged
from mercer.kernels import Kernel, SpectralMixture
from mercer.learn.pde.between import equation_between, relative_residual
from mercer.learn.pde.boundary import Needed
from mercer.learn.pde.domain import Domain, observed
from mercer.learn.pde.equation import Equation
from mercer.learn.pde.functionals import encoded, functionals_of
from mercer.learn.pde.grid_basis import AxisBasis, GridFunction
from mercer.learn.pde.joint import fit_jointly
from mercer.learn.pde.marginal_fit import fit_marginal
from mercer.learn.pde.method import (
    DEFAULTS,
    MOST_CONDITIONED,
    check_settings,
    choose_method,
    note_frequencies,
    note_residual,
    require_method,
    starting_kernels,
)
from mercer.learn.pde.prediction import Prediction
from mercer.learn.pde.refinement import collocate
from mercer.learn.pde.text import parse_operator
from mercer.learn.pde.waves import rival_kernels

__all__ = ["PDESolver"]

log = logging.getLogger(__name__)


class PDESolver(Prediction):
    r"""A differential equation solved by a Gaussian process whose kernel has the frequencies of the solution.

    The solution is a Gaussian process, with one spectral mixture kernel an axis, conditioned on the equation at the
    points of a grid and on the boundary data. Made for solutions of high or of several frequencies.

    Args:
        operator: left-hand side: ``-Laplacian() + 4 * Identity()``, ``Laplacian() + Power(3) - Identity()``; text of
            that form too.
        domain: ``{"x": (0, 1), "t": (0, 2)}``, a list of pairs (axes x, y, z), or one pair. Up to three axes.
        grid: number of nodes of each axis, or of all, ends included; or the nodes themselves; or, for
            ``method="marginal"``, points ``(m, d)`` anywhere in the domain.
        kernel: None: the waves of the source and of the boundary data, a Student-t envelope, lengthscales of three
            times the axis; in collocation, where the residual between the nodes asks for it, the best of that, of the
            same with a lengthscale of the axis, and of four kernels without waves. A kernel of one column or its text,
            for all axes; or a list, one each. A ``SpectralMixture`` is where methods that learn begin; any other
            stationary kernel is kept as it is.
        method: ``"collocation"``: the kernel fixed, the equation holds at every node, solved directly; grids only;
            about ``10 (n_1^3 + n_2^3)`` operations and memory in proportion to the nodes. ``"marginal"``: the
            process is conditioned on all data at once and its kernel learnt by marginal likelihood; one axis, or up
            to 10 000 points; scattered points, unknown coefficients, too much or noisy data. ``"joint"``: the
            paper's own objective, by Adam, for comparison. ``"extra"``: the same with a second process from
            ``change_point`` on. ``"auto"``: marginal for scattered points, observations and unknown coefficients,
            else collocation.
        boundary_weight: lambda_b of the paper, for ``"joint"`` and ``"extra"``.
        lr: rate of Adam; None: 0.05 for marginal, 0.01 for joint and extra.
        max_iter: Newton steps of collocation (None: 30), Adam steps of marginal (240), of joint and extra (10 000).
        tol: collocation: relative residual of the equation at the nodes (None: 1e-6). marginal: relative growth of
            the likelihood in 40 steps (1e-6; 0 takes all steps). joint: misfit of equation and boundary relative to
            their size (1e-4).
        early_stopping: whether joint and extra stop at ``tol``.
        change_point: share of the steps before the second process of ``"extra"``.
        jitter: of marginal and of error bars: a share of the variance of each kind of observation, added to its
            diagonal. None: what round-off can do to the matrix, number of observations times epsilon times the phase
            of the fastest wave, 7e-11 for 400 nodes and 125 waves.
        random_state: which points hyperparameters are learnt on where there are too many.
        device: where joint and extra are done, such as "cuda"; None is the CPU, where the others always are.

    Attributes:
        values_: the solution on the grid, or at the scattered points.
        nodes_: coordinates of the grid along each axis; None for scattered points.
        kernels_: one an axis.
        spectrum_: for each axis ``{"frequencies", "weights", "lengthscales"}``, the heaviest first.
        coefficients_: learnt coefficients of the equation, by name.
        method_: what was done.
        residual_: root mean square residual of the equation between the nodes, as a share of its largest term; at the
            points themselves if they are scattered, or if the source or a coefficient is an array. In collocation
            the solution's misfit at the nodes, if that is larger.
        loss_curve_: minus the log likelihood or density at each step; empty for collocation.
        n_iter_: steps taken.

    Source: Fang et al., Solving high frequency and multi-scale PDEs with Gaussian processes (ICLR 2024), for
    ``"joint"`` and ``"extra"``; Cockayne et al., Probabilistic numerical methods for partial differential equations
    (2016), for ``"marginal"``. Collocation is ours.

    >>> from mercer.learn.pde import Laplacian, PDESolver
    >>> solver = PDESolver(Laplacian(), domain=(0.0, 1.0), grid=100)
    >>> solver.fit(lambda X: -400 * np.sin(20 * X[:, 0]), boundary=lambda X: np.sin(20 * X[:, 0]))
    PDESolver(operator=Laplacian(), domain=(0.0, 1.0), grid=100)
    >>> solver.predict([[0.5]]).round(3)
    array([-0.544])
    """

    def __init__(
        self,
        operator: Any,
        *,
        domain: Any,
        grid: Any,
        kernel: Kernel | str | Sequence[Kernel] | None = None,
        method: str = "auto",
        boundary_weight: float = 200.0,
        lr: float | None = None,
        max_iter: int | None = None,
        tol: float | None = None,
        early_stopping: bool = True,
        change_point: float = 0.5,
        jitter: float | None = None,
        random_state: Any = None,
        device: str | None = None,
    ) -> None:
        self.operator = operator
        self.domain = domain
        self.grid = grid
        self.kernel = kernel
        self.method = method
        self.boundary_weight = boundary_weight
        self.lr = lr
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.change_point = change_point
        self.jitter = jitter
        self.random_state = random_state
        self.device = device

    def fit(
        self,
        source: Any,
        boundary: Any = None,
        *,
        observations: tuple[Any, Any] | None = None,
        noise: float = 0.0,
        callback: Callable[[int, Any, Any], None] | None = None,
    ) -> Self:
        """Solve ``operator(u) = source`` with boundary data.

        Args:
            source: right-hand side: a number, a function of points ``(m, d)`` that gives ``(m,)``, called with some of
                the points at a time, or an array of the grid's shape.
            boundary: a function of points, the solution on every face that the equation needs; or for each axis its
                ``(low, high)`` faces, each a number, an array, a function, ``Neumann(...)`` or None:
                ``{"x": (0.0, Neumann(1.0)), "t": (initial, None)}``; or ``{"x": "periodic"}``. For scattered points
                ``(points (m, d), values (m,))``.
            observations: ``(points (m, d), values (m,))`` of the solution inside, for ``"marginal"``.
            noise: variance of the observed values; without any it has to be 0.
            callback: joint and extra call it after each step with its number, the values on the grid and the kernels.

        Raises:
            ValueError: no boundary data, or too little; a solution that is not unique; unknown names; settings that
                are no such numbers; NaN; observations or boundary points outside of the domain.
            ShapeError: sizes that do not fit.
            TypeError: float32 data.
            NotConverged: collocation, where the residual stays above ``tol``.
            MemoryBudgetError: marginal, with more points than fit.
        """
        operator = parse_operator(self.operator)
        domain = Domain.of(self.domain, self.grid)
        method = choose_method(self.method, operator, domain, observations)
        check_settings(self, method)
        faces: Needed = "any" if observations is not None else "as many" if method == "collocation" else "enough"
        equation = Equation.of(operator, domain, source, boundary, faces=faces)
        require_method(method, equation, observations, noise, callback)
        kernels = starting_kernels(self.kernel, equation)
        self.method_, self.n_features_in_ = method, domain.d
        self.nodes_ = None if domain.points is not None else tuple(x.numpy() for x in domain.nodes)
        self.names_, self._bounds = domain.names, domain.bounds
        self.coefficients_: dict[str, float] = {}
        self.loss_curve_: list[float] = []
        self._extra: dict[str, Any] | None = None
        self._solution = self._posterior = None
        lr, max_iter, tol = (
            default if given is None else given
            for given, default in zip((self.lr, self.max_iter, self.tol), DEFAULTS[method], strict=True)
        )
        note_frequencies(domain, kernels)
        between = equation_between(operator, domain, source)
        if method == "collocation":
            self._fit_collocation(equation, between, kernels, int(max_iter), float(tol))
        elif method == "marginal":
            seen = observed(observations, noise, domain)
            self._fit_marginal(equation, kernels, seen, float(lr), int(max_iter), float(tol))
        else:
            self._fit_joint(equation, kernels, float(lr), int(max_iter), float(tol), callback)
        if method != "collocation" and between is not None:
            self.residual_ = relative_residual(between, self._derivatives, self.coefficients_)
        note_residual(self.residual_, max(float(tol), 1e-3), self.n_iter_, method)
        return self

    def _fit_collocation(
        self, equation: Equation, between: Equation | None, kernels: list[Kernel], max_iter: int, tol: float
    ) -> None:
        mixtures = [k for k in kernels if isinstance(k, SpectralMixture)]
        rivals = rival_kernels(equation.domain, mixtures) if self.kernel is None else []
        try:
            found = collocate(equation, between, kernels, rivals, tol=tol, max_iter=max_iter)
        except NotConverged as error:
            self.kernels_ = kernels
            self._keep_grid(equation, error.solution.values, error.solution.residual, error.solution.n_iter, None)
            raise
        self.kernels_, result = found.kernels, found.result
        self._keep_grid(equation, result.values, result.residual, result.n_iter, found.system.bases)

    def _keep_grid(
        self, equation: Equation, values: Tensor, residual: float, n_iter: int, bases: list[AxisBasis] | None
    ) -> None:
        self.values_, self.residual_, self.n_iter_ = values.numpy(), residual, n_iter
        self._solution = None if bases is None else GridFunction(bases, values)
        self._size = equation.domain.size
        self._functionals = None
        if equation.domain.d == 1 or self._size <= MOST_CONDITIONED:
            products, source = equation.linearised(equation.arguments(self._function()))
            self._functionals = encoded(functionals_of(equation, products, source, None))

    def _fit_marginal(
        self,
        equation: Equation,
        kernels: list[Kernel],
        seen: tuple[Tensor, Tensor, float] | None,
        lr: float,
        max_iter: int,
        tol: float,
    ) -> None:
        found = fit_marginal(
            equation,
            kernels,
            seen,
            lr=lr,
            max_iter=max_iter,
            tol=tol,
            jitter=self.jitter,
            random_state=self.random_state,
        )
        self.kernels_, self.coefficients_ = found.kernels, found.coefficients
        self.loss_curve_ = [-value for value in found.curve]
        self.n_iter_, self.residual_ = len(found.curve), found.residual
        self.values_, self._size = found.values.numpy(), equation.domain.size
        self._posterior, self._functionals = found.posterior, encoded(found.posterior.functionals)

    def _fit_joint(
        self,
        equation: Equation,
        kernels: list[Kernel],
        lr: float,
        max_iter: int,
        tol: float,
        callback: Callable[[int, Any, Any], None] | None,
    ) -> None:
        mixtures = [k for k in kernels if isinstance(k, SpectralMixture)]
        if len(mixtures) < len(kernels):
            raise TypeError(f"method={self.method_!r} learns a SpectralMixture an axis, not {kernels[0]!r}.")
        found = fit_jointly(
            equation,
            mixtures,
            boundary_weight=self.boundary_weight,
            lr=lr,
            max_iter=max_iter,
            tol=tol,
            early_stopping=self.early_stopping,
            change_point=self.change_point if self.method_ == "extra" else None,
            callback=callback,
            device=self.device or "cpu",
        )
        self.kernels_, self.loss_curve_ = list(found.kernels[0]), found.curve
        if len(found.parts) > 1:
            self._extra = {"kernels": list(found.kernels[1]), "values": found.parts[1].numpy()}
        size = float(equation.source.square().mean()) or 1.0
        self._keep_grid(equation, found.values, float(np.sqrt(found.misfit[-1] / size)), len(found.curve), None)
