"""A kernel under test: its points, its definition, and the error that its products may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import MissingExtra, ShapeError
from mercer.kernels import Kernel, to_text
from mercer.kernels.binder import Ones
from mercer.operators import KernelOperator
from mercer.operators.plans import PLANS
from mercer.testing.case import SIZES, Case
from mercer.testing.properties import Property

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Any]
TRIED_DIMS = (1, 2, 3, 5, 17)  # odd on purpose: no size fills a vector register
SHOWN = 12  # numbers up to which a reproducer prints the points
TOLERANCE = 1e-3
ENOUGH = 1000  # entries
PAIRS = 2000  # entries that are computed one by one where there is no definition
ROUND_OFF = 1e-12  # of float64 GEMMs on a few points, in units of the largest entry
NEGLIGIBLE = 1e-30  # exponents end at -80, so what should be smaller may be as large as this


class KernelSubject:
    """What a property of kernels is given.

    Args:
        kernel: a kernel, or a function of the number of columns that gives one.
        definition: ``(X, Y) -> K`` with NumPy in float64; Y is X for k(X). None: the kernel's own entries, pair by
            pair in float64.
        points: None draws standard normal points; an array ``(n, d)`` gives rows; a function ``(rng, n, d)`` gives n.
        d: the numbers of columns to try; None tries those of 1, 2, 3, 5, 17 that the kernel takes.
        radius: ``(X, Y) ->`` the largest squared norm of a point in lengthscales, for the bound on round-off; None
            takes it from the points as the kernel embeds them.

    Raises:
        TypeError: ``kernel`` is neither.
        ShapeError: no number of columns fits the kernel.
    """

    def __init__(
        self,
        kernel: Kernel | Callable[[int], Kernel],
        *,
        definition: Callable[[Array, Array], Any] | None = None,
        points: Any = None,
        d: int | Sequence[int] | None = None,
        radius: Callable[[Array, Array], float] | None = None,
    ) -> None:
        if not callable(kernel):
            raise TypeError(f"check_kernel needs a kernel, or a function d -> kernel, not {kernel!r}.")
        self.given, self.definition, self.radius_of = kernel, definition, radius
        self._kernels: dict[int, Kernel] = {}
        self.data = None if points is None or callable(points) else as_tensor(points).detach().double().cpu().numpy()
        self.draw: Draw | None = points if callable(points) else None
        if self.data is not None and self.data.ndim != 2:
            raise ShapeError(f"check_kernel: the points have shape {self.data.shape}, but need to be (n, d).")
        self._asked = (d,) if isinstance(d, int) else d

    @property
    def drawn_from_normal(self) -> bool:
        """Whether the points are ours to shift and scale."""
        return self.data is None and self.draw is None

    @cached_property
    def name(self) -> str:
        """How messages call the kernel."""
        return repr(self.kernel(self.dims[-1]))

    @cached_property
    def dims(self) -> tuple[int, ...]:
        """The numbers of columns that are tried, ascending."""
        if self.data is not None:
            return (self.data.shape[1],)
        if self._asked is not None:
            return tuple(sorted(self._asked))
        problem: Exception | None = None
        fitting = []
        for d in TRIED_DIMS:
            try:
                self.matrix(self.points(Case(n=2, d=d)))
                fitting.append(d)
            except ShapeError as error:
                problem = error
        if not fitting:
            raise ShapeError(f"check_kernel: no number of columns of {TRIED_DIMS} fits. Give d=...") from problem
        return tuple(fitting)

    def kernel(self, d: int) -> Kernel:
        """The kernel for points of ``d`` columns."""
        if isinstance(self.given, Kernel):
            return self.given
        if d not in self._kernels:
            self._kernels[d] = self.given(d)
        return self._kernels[d]

    def admit(self, case: Case, prop: Property) -> Case:
        """The case with a number of columns that the kernel takes."""
        d = next((k for k in self.dims if k >= case.d), self.dims[-1])
        # sizes that do not matter are the same in all cases, so that none runs twice
        idle = {name: getattr(Case(), name) for name in SIZES if name not in prop.fields and name != "d"}
        return replace(case, d=d, **idle)

    # points

    def points(self, case: Case, which: int = 0, *, n: int | None = None) -> Tensor:
        """The points X (``which=0``), Y (1) or others of a case, ``(n, d)``; fewer points are the first of more."""
        if n is None:
            n = case.m if which == 1 else case.n
        rng = np.random.default_rng([case.seed, which])
        if self.data is not None:
            # X and Y share no row while there are enough
            order = np.random.default_rng(case.seed).permutation(len(self.data))
            raw = self.data[np.roll(order, -which * (len(order) // 2))[np.arange(n) % len(order)]]
        elif self.draw is not None:
            raw = np.asarray(self.draw(rng, n, case.d), dtype=np.float64)
        else:
            raw = rng.standard_normal((n, case.d))
        return torch.from_numpy(raw * case.scale + case.shift).to(case.dtype)

    def rhs(self, case: Case, rows: int, *, t: int | None = None, which: int = 0) -> Tensor:
        """Right-hand sides ``(rows, t)``."""
        rng = np.random.default_rng([case.seed, 100 + which])
        return torch.from_numpy(rng.standard_normal((rows, case.t if t is None else t))).to(case.dtype)

    # matrices

    def matrix(self, X: Tensor, Y: Tensor | None = None, *, plan: str | None = None) -> KernelOperator:
        """k(X) or k(X, Y)."""
        return self.kernel(X.shape[-1])(X, Y, plan=plan)

    def by_plans(self, K: KernelOperator) -> Iterator[tuple[str, KernelOperator, float]]:
        """K by every plan that applies: its name, the matrix, and the error that was asked for (0: round-off).

        Plans that approximate are asked for :data:`TOLERANCE`, where there are entries enough to tell it from luck.
        """
        for name, algorithm in PLANS.items():
            if algorithm.approximates and K.shape.numel() < ENOUGH:
                continue
            tolerance = TOLERANCE if algorithm.approximates else None
            try:
                chosen = K.with_plan(name, tolerance=tolerance)
            except (ValueError, MissingExtra):
                continue
            yield name, chosen, tolerance or 0.0

    def exact(self, X: Tensor, Y: Tensor | None = None, rows: Tensor | None = None) -> Array:
        """Some rows (None: all) of k(X) or k(X, Y) by the definition, in float64."""
        if self.definition is None:
            return self._by_pairs(X, Y, torch.arange(len(X)) if rows is None else rows)
        A = X.detach().double().numpy()
        B = A if Y is None else Y.detach().double().numpy()
        K: Array = np.asarray(self.definition(A, B), dtype=np.float64)
        if K.shape != (len(A), len(B)):
            raise ShapeError(f"definition(X, Y) has shape {K.shape}, but must have {(len(A), len(B))}.")
        return K if rows is None else K[rows.numpy()]

    def some_rows(self, n: int, m: int) -> Tensor:
        """Which rows of an ``(n, m)`` matrix to compare: all where a definition makes them cheap."""
        most = n if self.definition is not None else max(1, PAIRS // max(1, m))
        return torch.linspace(0, n - 1, most).long() if n > most else torch.arange(n)

    def _by_pairs(self, X: Tensor, Y: Tensor | None, rows: Tensor) -> Array:
        """Rows of k(X) or k(X, Y), pair by pair: no GEMM, no tiles."""
        K = self.matrix(X.detach().double(), None if Y is None else Y.detach().double())
        n, m = len(rows), K.shape[1]
        if not n * m:
            return np.zeros((n, m))
        values: Array = K[rows.repeat_interleave(m), torch.arange(m).repeat(n)].detach().reshape(n, m).numpy()
        return values

    # errors

    @cached_property
    def _smallest_lengthscale(self) -> float:
        """Of lengthscales that stay in the map; those of single columns are in the embedding."""
        found = [h.value for h in self.kernel(self.dims[-1]).hyperparameters() if h.path.endswith("lengthscale")]
        return min([float(value) for value in found if value.dim() == 0], default=1.0)

    def bound(self, X: Tensor, Y: Tensor | None = None) -> float:
        """Target N1: ``4 eps (2 + max |x / l|^2)``, points centred where a shift of all of them changes nothing."""
        eps = torch.finfo(X.dtype).eps
        if self.radius_of is not None:
            A = X.double().numpy()
            return 4.0 * eps * (2.0 + self.radius_of(A, A if Y is None else Y.double().numpy()))
        embedded = self.matrix(X, Y, plan="tiles").plan.error / (4.0 * eps) - 2.0
        return 4.0 * eps * (2.0 + embedded / self._smallest_lengthscale**2)

    def largest(self, X: Tensor, Y: Tensor | None = None) -> float:
        """The largest k(x, x), which no entry of a kernel matrix passes; at least 1."""
        both = [X] if Y is None else [X, Y]
        values = [self.matrix(Z.detach().double()).diagonal().abs().max() for Z in both if len(Z)]
        return max([1.0, *map(float, values)])

    def is_shift_invariant(self, case: Case) -> bool:
        """Whether the kernel sees differences of points only."""
        spec = self.matrix(self.points(case)).spec
        row_values = all(isinstance(value, Ones) for value in spec.row_values)
        return row_values and all(s.centred for s in spec.statistics)

    def is_differentiable(self, case: Case) -> bool:
        """Whether the kernel has gradients in its points: whole numbers and functions of single points have none."""
        X = self.points(case)
        if not len(X) or (not self.drawn_from_normal and torch.equal(X, X.round())):
            return False
        try:
            self.matrix(X.requires_grad_()) @ self.rhs(case, len(X))
        except TypeError as error:
            if "no gradients" in str(error):
                return False
            raise
        return True

    # words

    def reproduce(self, prop: Property, case: Case) -> str:
        """Code that repeats the check, with the points where they are few."""
        kernel = self.kernel(case.d)
        lines = ["import torch", "from mercer.testing import Case, check_kernel"]
        try:
            text = to_text(kernel)
            lines += ["from mercer.kernels import parse", "", f"kernel = parse({text!r})"]
        except ValueError:
            lines += ["", f"# kernel = {kernel!r}"]
        extra = "" if self.definition is None else ", definition=definition"
        extra += "" if self.drawn_from_normal else ", X=X"
        lines.append(f"check_kernel(kernel{extra}, properties=[{prop.name!r}], case={case!r})")
        for name, which, size in (("X", 0, "n"), ("Y", 1, "m")):
            Z = self.points(case, which)
            if size in prop.fields and Z.numel() in range(1, SHOWN + 1):
                lines.append(f"# {name} = {Z.tolist()}")
        return "\n".join(lines)
