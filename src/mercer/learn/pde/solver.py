"""The estimator that solves differential equations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mercer.arrays import as_tensor, check_finite, generator, like
from mercer.errors import NotConverged, ShapeError
from mercer.kernels import Kernel, SpectralMixture, parse
from mercer.learn.pde.collocation import solve_by_collocation
from mercer.learn.pde.domain import Domain, observed
from mercer.learn.pde.equation import Equation, Product
from mercer.learn.pde.functionals import Functionals, decoded, encoded, functionals_of, some_rows
from mercer.learn.pde.grid_basis import AxisBasis, GridFunction
from mercer.learn.pde.joint import JITTER, fit_jointly
from mercer.learn.pde.marginal import FunctionalPosterior, learn_kernels
from mercer.learn.pde.operators import Unknown
from mercer.learn.pde.plot import plot_solution
from mercer.learn.pde.text import parse_operator
from mercer.learn.pde.waves import mixtures_from_data
from mercer.learn.saving import Saved

__all__ = ["PDESolver"]

log = logging.getLogger(__name__)
METHODS = ("auto", "collocation", "marginal", "joint", "extra")
MOST_CONDITIONED = 10_000  # points of an equation that a Gaussian process is conditioned on, in two axes or more
MOST_LEARNT = 500  # of them, on which hyperparameters are learnt in two axes or more
DEFAULTS = {
    "collocation": (0.0, 30, 1e-6),
    "marginal": (0.05, 240, 1e-6),
    "joint": (0.01, 10_000, 1e-4),
    "extra": (0.01, 10_000, 1e-4),
}
N_COMPONENTS = 30
Array = np.ndarray[Any, Any]


class PDESolver(Saved, BaseEstimator):
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
            times the axis. A kernel of one column or its text, for all axes; or a list, one each. A
            ``SpectralMixture`` is where methods that learn begin; any other stationary kernel is kept as it is.
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
            diagonal. More of it prunes more waves and costs accuracy.
        random_state: which points hyperparameters are learnt on where there are too many.

    Attributes:
        values_: the solution on the grid, or at the scattered points.
        nodes_: coordinates of the grid along each axis; None for scattered points.
        kernels_: one an axis.
        spectrum_: for each axis ``{"frequencies", "weights", "lengthscales"}``, the heaviest first.
        coefficients_: learnt coefficients of the equation, by name.
        method_: what was done.
        residual_: relative root mean square residual of the equation at the points.
        loss_curve_: minus the log likelihood or density at each step; empty for collocation.
        n_iter_: steps taken.

    Source: Fang et al., Solving high frequency and multi-scale PDEs with Gaussian processes (ICLR 2024), for
    ``"joint"`` and ``"extra"``; Cockayne et al., Probabilistic numerical methods for partial differential equations
    (2016), for ``"marginal"``. Collocation is ours.

    >>> from mercer.learn.pde import Laplacian, PDESolver
    >>> solver = PDESolver(Laplacian(), domain=(0.0, 1.0), grid=100)
    >>> solver.fit(lambda X: -400 * np.sin(20 * X[:, 0]), boundary=lambda X: np.sin(20 * X[:, 0]))
    PDESolver(domain=(0.0, 1.0), grid=100, operator=Laplacian())
    >>> solver.predict([[0.5]]).round(3)
    array([-0.544])
    """

    _not_saved = ("_solution", "_posterior")
    _solution: GridFunction | None
    _posterior: FunctionalPosterior | None

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
        jitter: float = 1e-10,
        random_state: Any = None,
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
            source: right-hand side: a number, a function of points ``(m, d)`` that gives ``(m,)``, or an array of the
                grid's shape.
            boundary: a function of points, the solution on every face that the equation needs; or for each axis its
                ``(low, high)`` faces, each a number, an array, a function, ``Neumann(...)`` or None:
                ``{"x": (0.0, Neumann(1.0)), "t": (initial, None)}``; or ``{"x": "periodic"}``. For scattered points
                ``(points (m, d), values (m,))``.
            observations: ``(points (m, d), values (m,))`` of the solution inside, for ``"marginal"``.
            noise: variance of the observed values.
            callback: joint and extra call it after each step with its number, the values on the grid and the kernels.

        Raises:
            ValueError: no boundary data, or too little; a solution that is not unique; unknown names.
            ShapeError: sizes that do not fit.
            TypeError: float32 data.
            NotConverged: collocation, where the residual stays above ``tol``.
            MemoryBudgetError: marginal, with more points than fit.
        """
        operator = parse_operator(self.operator)
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r}: choose from {', '.join(METHODS)}.")
        domain = Domain.of(self.domain, self.grid)
        method = self._choose(operator, domain, observations)
        equation = Equation.of(operator, domain, source, boundary, square=method == "collocation")
        self._check(equation, method, observations)
        kernels = self._kernels(equation)
        self.method_, self.n_features_in_ = method, domain.d
        self.nodes_ = None if domain.points is not None else tuple(x.numpy() for x in domain.nodes)
        self.names_ = domain.names
        self.coefficients_: dict[str, float] = {}
        self.loss_curve_: list[float] = []
        self._extra: dict[str, Any] | None = None
        self._solution = self._posterior = None
        lr, max_iter, tol = (
            default if given is None else given
            for given, default in zip((self.lr, self.max_iter, self.tol), DEFAULTS[method], strict=True)
        )
        self._note_frequencies(domain, kernels)
        if method == "collocation":
            self._fit_collocation(equation, kernels, int(max_iter), float(tol))
        elif method == "marginal":
            seen = observed(observations, noise, domain)
            self._fit_marginal(equation, kernels, seen, float(lr), int(max_iter), float(tol))
        else:
            self._fit_joint(equation, kernels, float(lr), int(max_iter), float(tol), callback)
        if method != "collocation" and self.residual_ > max(float(tol), 1e-3):
            log.info(
                "The equation is left with a relative residual of %.1e after %d steps.", self.residual_, self.n_iter_
            )
        return self

    def predict(self, X: Any, *, return_std: bool = False, derivatives: Sequence[int] = ()) -> Any:
        """The solution, or a derivative of it, anywhere in the domain.

        Args:
            X: points ``(m, d)``.
            return_std: also its standard deviation: in one axis, or up to 10 000 points of the grid. It is that of the
                process conditioned on the equation; where the method is another one, the root of its square plus the
                squared distance of the two solutions. In nonlinear equations, of the equation linearised there.
            derivatives: how often along each axis, such as ``(1, 0)``; empty for the solution itself.

        Returns:
            ``(m,)``, or a pair of them.

        Raises:
            ValueError: error bars that would need too many points; orders that are too high.
            ShapeError: another number of columns.
        """
        check_is_fitted(self)
        points = self._points(X)
        orders = tuple(derivatives) or (0,) * self.n_features_in_
        if len(orders) != self.n_features_in_ or not all(isinstance(o, int) and 0 <= o <= 2 for o in orders):
            raise ValueError(
                f"derivatives={derivatives!r}: one order from 0 to 2 for each of {self.n_features_in_} axes."
            )
        if self.method_ == "marginal":
            mean = self._conditioned().mean(points, orders)
        else:
            mean = self._function()(points, orders)
            if self._extra is not None:
                second = GridFunction(self._bases(self._extra["kernels"]), torch.as_tensor(self._extra["values"]))
                mean = mean + second(points, orders)
        if not return_std:
            return like(mean, X)
        if self._functionals is None:
            raise ValueError(
                f"Error bars need the equation's own covariance at all {self._size} points of the grid, and "
                f"{MOST_CONDITIONED} is the most in {self.n_features_in_} axes. Take a coarser grid for them, or leave "
                f"return_std out."
            )
        posterior = self._conditioned()
        std = posterior.std(points, orders)
        if self.method_ != "marginal":
            std = (std.square() + (mean - posterior.mean(points, orders)).square()).sqrt()
        return like(mean, X), like(std, X)

    @property
    def spectrum_(self) -> list[dict[str, Array]]:
        """Frequencies (cycles per unit), weights and lengthscales of the kernel of each axis, the heaviest first."""
        check_is_fitted(self)
        found = []
        for kernel in self.kernels_:
            if not isinstance(kernel, SpectralMixture):
                raise AttributeError(f"{kernel!r} has no list of frequencies: only a SpectralMixture has a spectrum_.")
            w, mu, scale = (
                kernel.hyperparameter(n).numpy().reshape(-1) for n in ("weights", "frequencies", "lengthscale")
            )
            order = np.argsort(-w)
            found.append(
                {"frequencies": mu[order], "weights": w[order], "lengthscales": np.broadcast_to(scale, w.shape)[order]}
            )
        return found

    def plot(self, axes: Any = None, *, n: int = 400) -> Any:
        """Draw the solution: a curve with its error bars in one axis, a map of colours in two.

        Args:
            axes: of matplotlib; None makes a figure.
            n: points along each axis.

        Raises:
            ValueError: three axes, or scattered points in two.
            MissingExtra: matplotlib is not installed.
        """
        check_is_fitted(self)
        return plot_solution(self, axes, n)

    # fitting

    def _choose(self, operator: Any, domain: Domain, observations: Any) -> str:
        if self.method != "auto":
            return self.method
        has_unknowns = any(isinstance(s, Unknown) for t in operator.terms for s in t.symbols)
        return "marginal" if domain.points is not None or observations is not None or has_unknowns else "collocation"

    def _check(self, equation: Equation, method: str, observations: Any) -> None:
        if method != "marginal":
            if equation.domain.points is not None:
                raise ValueError(f"method={method!r} needs a grid: scattered points are for method='marginal'.")
            if observations is not None or equation.unknowns:
                raise ValueError(f"method={method!r} takes no observations or unknown coefficients: use 'marginal'.")
        elif equation.domain.d > 1 and equation.domain.size > MOST_CONDITIONED:
            raise ValueError(
                f"method='marginal' conditions on all points at once, at most {MOST_CONDITIONED}, and the grid has "
                f"{equation.domain.size}: take fewer nodes, or method='collocation'."
            )
        if equation.unknowns and observations is None:
            raise ValueError(
                f"The coefficient {next(iter(equation.unknowns))!r} is unknown, so values of the solution inside are "
                f"needed: fit(source, boundary, observations=(points, values))."
            )

    def _kernels(self, equation: Equation) -> list[Kernel]:
        d = equation.domain.d
        if self.kernel is None:
            return list(mixtures_from_data(equation, N_COMPONENTS, "student_t"))
        kernel = parse(self.kernel) if isinstance(self.kernel, str) else self.kernel
        given = list(kernel) if isinstance(kernel, Sequence) else [kernel] * d
        if len(given) != d:
            raise ShapeError(f"kernel is a list of {len(given)}, but the domain has {d} axes: give one for each.")
        for kernel in given:
            if not isinstance(kernel, Kernel):
                raise TypeError(f"kernel={kernel!r} is no kernel of mercer: use SpectralMixture(30, max_frequency=20).")
        return given

    def _note_frequencies(self, domain: Domain, kernels: Sequence[Kernel]) -> None:
        for name, nodes, kernel in zip(domain.names, domain.nodes, kernels, strict=False):
            if isinstance(kernel, SpectralMixture):
                fastest, limit = float(kernel.hyperparameter("frequencies").max()), 0.5 / float(nodes.diff().max())
                if fastest > limit:
                    log.info(
                        "Axis %r: the kernel has frequencies up to %.3g, its grid tells them apart up to %.3g.",
                        name,
                        fastest,
                        limit,
                    )

    def _fit_collocation(self, equation: Equation, kernels: list[Kernel], max_iter: int, tol: float) -> None:
        self.kernels_ = kernels
        made: dict[tuple[int, bytes], AxisBasis] = {}
        bases = []
        for kernel, nodes in zip(kernels, equation.domain.nodes, strict=True):
            key = (id(kernel), nodes.numpy().tobytes())
            if key not in made:
                made[key] = AxisBasis(nodes, kernel)
            bases.append(made[key])
        try:
            found, _ = solve_by_collocation(equation, bases, tol=tol, max_iter=max_iter)
        except NotConverged as error:
            self._keep_grid(equation, error.solution.values, error.solution.residual, error.solution.n_iter, bases)
            raise
        self._keep_grid(equation, found.values, found.residual, found.n_iter, bases)

    def _keep_grid(
        self, equation: Equation, values: Tensor, residual: float, n_iter: int, bases: list[AxisBasis] | None
    ) -> None:
        self.values_, self.residual_, self.n_iter_ = values.numpy(), residual, n_iter
        self._solution = None if bases is None else GridFunction(bases, values)
        self._size = equation.domain.size
        self._functionals = None
        if equation.domain.d == 1 or self._size <= MOST_CONDITIONED:
            products, source = self._at_solution(equation)
            self._functionals = encoded(functionals_of(equation, products, source, None))

    def _at_solution(self, equation: Equation) -> tuple[Sequence[Product], Tensor]:
        """The linear equation whose solution is that of the equation near the solution found."""
        if equation.is_linear:
            return equation.products, equation.source
        function, points = self._function(), equation.domain.all_points()
        arguments = []
        for _, _, inner in equation.functions:
            values = [
                [p.coefficient * function(points, p.orders).reshape(equation.domain.shape) for p in own]
                for own in inner
            ]
            arguments.append([torch.stack(own).sum(0) for own in values])
        return equation.linearised(arguments)

    def _fit_marginal(
        self,
        equation: Equation,
        kernels: list[Kernel],
        seen: tuple[Tensor, Tensor, float] | None,
        lr: float,
        max_iter: int,
        tol: float,
    ) -> None:
        mixtures = [k for k in kernels if isinstance(k, SpectralMixture)]
        is_learnt = max_iter > 0 and len(mixtures) == len(kernels)
        points, domain = equation.domain.all_points(), equation.domain
        arguments = [
            [torch.zeros(domain.shape, dtype=torch.float64) for _ in inner] for _, _, inner in equation.functions
        ]
        before, n_newton = None, 1 if equation.is_linear else 12
        for _ in range(n_newton):
            products, source = (
                (equation.products, equation.source) if equation.is_linear else equation.linearised(arguments)
            )
            data = functionals_of(equation, products, source, seen)
            if is_learnt and before is None:
                learnt = learn_kernels(
                    self._subset(data, domain),
                    mixtures,
                    equation.unknowns,
                    lr=lr,
                    max_iter=max_iter,
                    tol=tol,
                    jitter=self.jitter,
                )
                kernels, self.coefficients_ = list(learnt.kernels), learnt.coefficients
                self.loss_curve_ = [-value for value in learnt.curve]
            self._posterior = posterior = FunctionalPosterior(data, kernels, dict(self.coefficients_), self.jitter)
            zero = (0,) * domain.d
            u = posterior.mean(points, zero)
            if before is not None and float((u - before).norm()) <= 1e-10 * float(u.norm()):
                break
            before = u
            for (_, _, inner), own in zip(equation.functions, arguments, strict=True):
                for j, each in enumerate(inner):
                    values = [p.coefficient * posterior.mean(points, p.orders).reshape(domain.shape) for p in each]
                    own[j] = torch.stack(values).sum(0)
        self.kernels_, self.n_iter_ = kernels, len(self.loss_curve_)
        self.values_ = u.reshape(domain.shape).numpy()
        self._size, self._functionals = domain.size, encoded(posterior.functionals)
        numbers = {n: torch.tensor(v, dtype=torch.float64) for n, v in self.coefficients_.items()}
        value = torch.zeros(domain.shape, dtype=torch.float64)
        for p in products:
            value += p.value(numbers) * posterior.mean(points, p.orders).reshape(domain.shape)
        self.residual_ = float((value - source).norm()) / (float(source.norm()) or 1.0)

    def _subset(self, data: list[Functionals], domain: Domain) -> list[Functionals]:
        """In two axes or more MOST_LEARNT observations."""
        if domain.d == 1 or sum(map(len, data)) <= MOST_LEARNT:
            return data
        return some_rows(data, MOST_LEARNT, generator(self.random_state if self.random_state is not None else 0))

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
        )
        self.kernels_, self.loss_curve_ = list(found.kernels[0]), found.curve
        if len(found.parts) > 1:
            self._extra = {"kernels": list(found.kernels[1]), "values": found.parts[1].numpy()}
        size = float(equation.source.square().mean()) or 1.0
        self._keep_grid(equation, found.values, float(np.sqrt(found.misfit[-1] / size)), len(found.curve), None)

    # predicting

    def _bases(self, kernels: Sequence[Kernel]) -> list[AxisBasis]:
        jitter = JITTER if self.method_ in ("joint", "extra") else None  # as in the objective
        return [
            AxisBasis(torch.as_tensor(x), kernel, jitter) for x, kernel in zip(self.nodes_ or (), kernels, strict=True)
        ]

    def _function(self) -> GridFunction:
        if self._solution is None:
            own = self.values_ if self._extra is None else self.values_ - self._extra["values"]
            self._solution = GridFunction(self._bases(self.kernels_), torch.as_tensor(own))
        return self._solution

    def _conditioned(self) -> FunctionalPosterior:
        if self._posterior is None:
            self._posterior = FunctionalPosterior(
                decoded(self._functionals or []), list(self.kernels_), {}, self.jitter
            )
        return self._posterior

    def _points(self, X: Any) -> Tensor:
        points = as_tensor(X, dtype=torch.float64).detach().cpu()
        if points.dim() != 2 or points.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"predict(X): X has shape {tuple(points.shape)}, but the axes are {', '.join(self.names_)}: give (m, "
                f"{self.n_features_in_})."
            )
        check_finite(points, "X")
        return points

    def _restore(self) -> None:
        self._solution = self._posterior = None
