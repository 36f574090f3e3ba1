"""Least squares by gradient descent in function space, at every time at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Self

import torch
from torch import Tensor

from mercer.config import require_memory
from mercer.errors import ShapeError
from mercer.operators.solvers import Matrix, System

__all__ = ["GradientFlow"]

_NODES = 24  # of the contour; half of them, the others are their mirror images. The error falls as exp(-1.36 nodes)
_FEW = 16  # discrete steps that are done one by one; from 7 on the contour fits into the strip |Im s| < pi / h
_NUMBERS = 1 << 24  # held at once by leave-one-out


@dataclass(frozen=True, eq=False)
class GradientFlow:
    r"""What gradient descent on a sum of squares has learnt at time t, along the eigenvectors of a kernel matrix.

    A model that is linear in its parameters, with kernel K, trained on :math:`\frac{1}{2 N} \lVert f - y \rVert^2
    + \frac{\alpha}{2 N} \lVert \theta - \theta_0 \rVert^2` with the rate eta from f = 0, predicts k(x, X) c(t) with

    .. math:: c(t) = V\, \frac{1 - e^{-\eta (\lambda + \alpha) t / N}}{\lambda + \alpha}\, V^T y,
        \quad K = V \lambda V^T

    after t steps of a small rate. A network whose tangent kernel does not move is such a model.

    Attributes:
        values: eigenvalues, float64 ``(n,)``, the largest first; what round-off makes of 0 is 0.
        vectors: eigenvectors ``(n, n)`` in columns.
        n_points: N; less than n where points have several outputs.
        learning_rate: eta.
        alpha: the ridge.
        discrete: count whole steps instead: ``(1 - eta (lambda + alpha) / N)^t`` in place of the exponential.

    Source: Jacot et al., Neural Tangent Kernel (NeurIPS 2018), section 5; Lee et al., Wide neural networks (2019).

    >>> flow = GradientFlow.of(torch.diag(torch.tensor([3.0, 1.0])))
    >>> flow.coefficients(torch.tensor([3.0, 3.0]), 2.0)  # 1 - exp(-3) of 1, and 1 - exp(-1) of 3
    tensor([0.9502, 1.8964], dtype=torch.float64)
    """

    values: Tensor
    vectors: Tensor
    n_points: int
    learning_rate: float = 1.0
    alpha: float = 0.0
    discrete: bool = False

    def __post_init__(self) -> None:
        for name, value in (("learning_rate", self.learning_rate), ("alpha", self.alpha)):
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value) and value >= 0.0 and (value > 0.0 or name == "alpha")):
                least = ">= 0" if name == "alpha" else "> 0"
                raise ValueError(f"{name} must be finite and {least}, not {value!r}.")
        if self.discrete and not self.learning_rate < self.stable_rate:
            raise ValueError(
                f"learning_rate={self.learning_rate:g}: steps of gradient descent grow without bound unless the rate "
                f"is below 2 N / (largest eigenvalue + alpha) = {self.stable_rate:.4g}. Give a smaller one."
            )

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        K: Matrix,
        *,
        n_points: int | None = None,
        learning_rate: float = 1.0,
        alpha: float = 0.0,
        discrete: bool = False,
    ) -> Self:
        """From a symmetric positive semidefinite ``(n, n)``, tensor or operator.

        Raises:
            ValueError: eigenvalues well below 0; a rate or alpha out of range, or a rate that is not stable.
            MemoryBudgetError: four matrices of float64 do not fit; before anything is allocated.

        Cost: ``9 n^3`` multiply-adds.
        """
        system = System(K)
        n = system.n
        require_memory(
            32 * n * n,
            asked=f"All eigenvalues of {n} rows",
            instead="For the end of training with a ridge, use KernelRidge with the same kernel, which needs none.",
        )
        values, vectors = (part.flip(-1) for part in torch.linalg.eigh(system.block(slice(0, n), slice(0, n))))
        largest, smallest = float(values[0]), float(values[-1])
        if smallest < -1e-6 * abs(largest):
            raise ValueError(f"The matrix is not positive semidefinite: its smallest eigenvalue is {smallest:.3g}.")
        values = torch.where(values <= n * torch.finfo(values.dtype).eps * largest, 0.0, values)
        return cls(values, vectors, n if n_points is None else n_points, learning_rate, alpha, discrete)

    @property
    def stable_rate(self) -> float:
        """The bound on the rate of discrete steps, 2 N / (largest eigenvalue + alpha)."""
        largest = float(self.values[0]) + self.alpha
        return 2.0 * self.n_points / largest if largest > 0.0 else math.inf

    @property
    def learning_times(self) -> Tensor:
        """Times after which a share 1 / e of each component is left, ``(n,)``; infinite where nothing is learnt."""
        return self.n_points / (self.learning_rate * (self.values + self.alpha))

    @property
    def is_singular(self) -> bool:
        """Whether the end of training does not follow from K: some direction is never learnt."""
        return self.alpha == 0.0 and float(self.values[-1]) == 0.0

    def left(self, time: float | None) -> Tensor:
        """The share of each component that is still to be learnt, ``(n,)``; None is the end of training."""
        return 1.0 - (self.values + self.alpha) * self.filter(time)

    def filter(self, time: float | None) -> Tensor:
        """What stands between V and V' in c(t), ``(n,)``; None or infinity is the end of training.

        Raises:
            ValueError: a time below 0 or, with discrete steps, not whole; the end of training of a singular matrix.
        """
        rates = self.values + self.alpha
        if time is None or time == math.inf:
            if self.is_singular:
                rank = int((self.values > 0.0).sum())
                raise ValueError(
                    f"The kernel matrix of {len(rates)} rows is singular, its rank is {rank}: the end of training is "
                    f"not defined without a ridge. Give alpha > 0, or a finite time."
                )
            return 1.0 / rates
        self._require(time)
        pace = rates * (self.learning_rate / self.n_points)
        if self.discrete:
            small = pace < 0.5  # where 1 - (1 - pace)^t would lose digits
            learnt = torch.where(
                small, -torch.expm1(time * torch.log1p(-pace.clamp(max=0.5))), 1.0 - (1.0 - pace) ** int(time)
            )
        else:
            learnt = -torch.expm1(-pace * time)
        limit = self.learning_rate * time / self.n_points
        return torch.where(rates > 0.0, learnt / torch.where(rates > 0.0, rates, 1.0), limit)

    def coefficients(self, Y: Tensor, time: float | None) -> Tensor:
        """c(t) for targets ``(n,)`` or ``(n, t)``: the model predicts ``k(x, X) @ c``."""
        return self._apply(self.filter(time), self._targets(Y))

    def training_error(self, Y: Tensor, time: float | None) -> Tensor:
        """``y - f(t)`` at the training points."""
        return self._apply(1.0 - self.values * self.filter(time), self._targets(Y))

    def leave_one_out(self, Y: Tensor, times: Sequence[float | None]) -> Tensor:
        r"""For every row, y minus the prediction at each time of a model trained without it, ``(times, n[, t])``.

        Exact for the flow, without training anything again. The flow is the inverse Laplace transform, over ridges s
        on a contour in the complex plane, of ridge regression, whose leave-one-out errors are known in closed form:

        .. math:: e_i(t) = \mathcal{L}^{-1}\Bigl[ \frac{(G y)_i}{s\, G_{ii}} \Bigr](\eta t / N),
            \quad G = (K + \alpha + s)^{-1}

        The rate for each row stays eta / N, as in the full model. Of discrete steps the sum over s becomes one over
        ``(exp(h s) - 1) / h``, with h = eta / N, since ``(1 - h lambda)^k`` is ``exp(k log(1 - h lambda))``; few steps
        are done one by one.

        Raises:
            ValueError: a time below 0 or, with discrete steps, not whole; these at more than half of the stable rate,
                where errors change sign.

        Cost: ``24 n^2`` multiply-adds for each time and target, and as many again for all targets together.
        Source: Weideman & Trefethen, Parabolic and hyperbolic contours (2007), for the contour; Rasmussen & Williams
        (2006), eq. 5.12. The combination is ours; tested against trainings without each row.
        """
        if self.discrete and not self.learning_rate < 0.5 * self.stable_rate:
            raise ValueError(
                f"leave_one_out of discrete steps takes a learning_rate below half of the stable one, "
                f"{0.5 * self.stable_rate:.4g}, not {self.learning_rate:g}. Give a smaller one."
            )
        for time in times:
            self._require(time)
        Y = self._targets(Y)
        columns = Y.unsqueeze(-1) if Y.dim() == 1 else Y
        rotated, squares = self.vectors.mT @ columns, self.vectors.square()
        step = max(1, _NUMBERS // (_NODES * columns.numel()))
        parts = [self._left_out(columns, rotated, squares, times[i : i + step]) for i in range(0, len(times), step)]
        errors = torch.cat(parts)
        return errors.squeeze(-1) if Y.dim() == 1 else errors

    def _left_out(self, columns: Tensor, rotated: Tensor, squares: Tensor, times: Sequence[float | None]) -> Tensor:
        n, t = columns.shape
        z, weights = _contour(columns)  # (k,) complex
        found = columns.new_zeros(len(times), n, t)
        rates = self.values + self.alpha
        ends = [time is None or time == math.inf for time in times]
        taus = [
            0.0 if end else self.learning_rate * float(time or 0.0) / self.n_points
            for end, time in zip(ends, times, strict=True)
        ]
        few = [self.discrete and not end and (time or 0.0) < _FEW for end, time in zip(ends, times, strict=True)]
        inside = [i for i, tau in enumerate(taus) if tau > 0.0 and not few[i]]
        if inside:
            nodes = torch.stack([z / taus[i] for i in inside])  # (T, k)
            # 1 / s of the transform and the 1 / t of the contour leave 1 / z.
            shifts, factors = nodes, weights / z
            if self.discrete:
                pace = self.learning_rate / self.n_points
                shifts = ((nodes * pace).exp() - 1.0) / pace
                factors = (nodes * pace).exp() / shifts * weights * (nodes / z)
            inverse = 1.0 / (rates[:, None, None] + shifts)  # (n, T, k)
            below = _real_times(squares, inverse.flatten(1)).view(inverse.shape)
            above = _real_times(self.vectors, (inverse[..., None] * rotated[:, None, None]).flatten(1))
            ratio = above.view(n, *shifts.shape, t) / below[..., None]
            found[inside] = (ratio * factors[..., None]).sum(2).imag.movedim(1, 0)
        for i, end in enumerate(ends):
            if end:
                # At alpha = 0 the limit: something far below the eigenvalues that are not 0.
                least = n * torch.finfo(rates.dtype).eps * float(self.values[0])
                inverse = 1.0 / rates.clamp(min=max(least, 1e-300))
                found[i] = (self.vectors @ (inverse[:, None] * rotated)) / (squares @ inverse)[:, None]
            elif few[i] or taus[i] == 0.0:
                found[i] = self._stepped(columns, int(times[i] or 0)) if few[i] else columns
        return found

    def _stepped(self, columns: Tensor, steps: int) -> Tensor:
        """Errors of rows left out after some steps, by those steps: a model for each row."""
        K = (self.vectors * self.values) @ self.vectors.mT
        kept = 1.0 - torch.eye(len(K), dtype=K.dtype, device=K.device)  # row, model
        found = torch.empty_like(columns)
        for a, y in enumerate(columns.mT):
            c = torch.zeros_like(K)
            for _ in range(steps):
                c = c + (y[:, None] - K @ c - self.alpha * c) * kept * (self.learning_rate / self.n_points)
            found[:, a] = y - (K * c).sum(0)
        return found

    def _require(self, time: float | None) -> None:
        """Raise ValueError for what is no time."""
        if time is None or time == math.inf:
            return
        is_number = isinstance(time, Real) and not isinstance(time, bool)
        if not is_number or not time >= 0.0 or (self.discrete and time != int(time)):
            raise ValueError(
                f"time must be {'a whole number' * self.discrete or 'a number'} >= 0, or None, not {time!r}."
            )

    def _apply(self, diagonal: Tensor, Y: Tensor) -> Tensor:
        rotated = self.vectors.mT @ Y
        found: Tensor = self.vectors @ (rotated * (diagonal if Y.dim() == 1 else diagonal[:, None]))
        return found

    def _targets(self, Y: Tensor) -> Tensor:
        Y = Y.to(self.vectors.device, torch.float64)
        if Y.dim() not in (1, 2) or len(Y) != len(self.values):
            raise ShapeError(f"targets must be (n,) or (n, t) with n = {len(self.values)}, not {tuple(Y.shape)}.")
        return Y


def _contour(like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes z and weights w with ``f(t) = sum Im(w F(z / t)) / t`` for the inverse Laplace transform f of F."""
    theta = (torch.arange(_NODES // 2, dtype=torch.float64, device=like.device) + 0.5) * (2.0 * math.pi / _NODES)
    angle = 0.6407 * theta
    z = _NODES * torch.complex(0.5017 * theta / angle.tan() - 0.6122, 0.2645 * theta)
    slope = _NODES * torch.complex(
        0.5017 * (1.0 / angle.tan() - angle / angle.sin().square()), torch.full_like(theta, 0.2645)
    )
    return z, z.exp() * slope * (2.0 / _NODES)


def _real_times(A: Tensor, B: Tensor) -> Tensor:
    """A real matrix times a complex one."""
    parts = A @ torch.cat([B.real, B.imag], 1)
    return torch.complex(*parts.chunk(2, 1))
