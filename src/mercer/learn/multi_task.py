"""Several tasks with one kernel: the marginal likelihood and the posterior, complete or with gaps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mercer.config import require_memory
from mercer.operators import inv_quad_logdet
from mercer.operators.structure import KroneckerSolution

__all__ = ["CompleteTasks", "GappyTasks", "TaskParameters"]


@dataclass(frozen=True)
class TaskParameters:
    """``B = factor factor' + diag(variance)``, and a noise of each task.

    Attributes:
        factor: ``(t, r)``.
        log_variance, log_noise: ``(t,)``.
    """

    factor: Tensor
    log_variance: Tensor
    log_noise: Tensor

    @property
    def covariance(self) -> Tensor:
        """B, ``(t, t)``."""
        return self.factor @ self.factor.mT + self.log_variance.exp().diag()

    @property
    def noise(self) -> Tensor:
        """``(t,)``."""
        return self.log_noise.exp()

    @classmethod
    def from_vector(cls, values: Tensor, n_tasks: int, rank: int) -> TaskParameters:
        """From the end of theta."""
        size = n_tasks * rank
        return cls(values[:size].reshape(n_tasks, rank), values[size : size + n_tasks], values[size + n_tasks :])

    def vector(self) -> Tensor:
        """The end of theta."""
        return torch.cat([self.factor.reshape(-1), self.log_variance, self.log_noise])


@dataclass
class CompleteTasks:
    """Every task is known in every row: ``B x K + diag(noise) x I`` by the eigenvalues of both, after the noise is
    divided out.

    Attributes:
        K: ``(n, n)``, float64, with its graph where gradients are wanted.
        Y: ``(n, t)``.
        tasks: the parameters.

    Cost: ``n^3 + t^3``.
    Source: Bonilla, Chai & Williams, Multi-task Gaussian process prediction (2008); Stegle et al., Efficient inference
    in matrix-variate Gaussian models (2011).
    """

    K: Tensor
    Y: Tensor
    tasks: TaskParameters

    @cached_property
    def _scale(self) -> Tensor:
        return (-0.5 * self.tasks.log_noise).exp()

    @cached_property
    def _solution(self) -> KroneckerSolution:
        n, t = self.Y.shape
        scaled = self._scale[:, None] * self.tasks.covariance * self._scale
        places = torch.arange(n * t, device=self.Y.device)
        return KroneckerSolution((scaled, self.K), torch.ones((), dtype=torch.float64, device=self.Y.device), places)

    def log_likelihood(self) -> Tensor:
        """Differentiable by K and by the parameters."""
        n, t = self.Y.shape
        flat = (self._scale[:, None] * self.Y.mT).reshape(-1, 1)  # task by task
        one = torch.ones((), dtype=torch.float64, device=flat.device)
        quadratic, logdet, _ = self._solution.inv_quad_logdet(flat.detach(), one)
        x = self._solution.solve(flat.detach(), one)
        # Its gradient takes the right-hand side as constant, but here the noise has scaled it.
        quadratic = quadratic.sum() + 2.0 * (x * (flat - flat.detach())).sum()
        logdet = logdet + n * self.tasks.log_noise.sum()
        return -0.5 * (quadratic + logdet + n * t * math.log(2.0 * math.pi))

    def weights(self) -> Tensor:
        """``(n, t)``: the mean at x is ``k(x, X) @ weights @ B``."""
        flat = (self._scale[:, None] * self.Y.mT).reshape(-1, 1)
        solved = self._solution.solve(flat, torch.ones((), dtype=torch.float64, device=flat.device))
        return solved.reshape(self.Y.mT.shape).mT * self._scale

    def explained(self, cross: Tensor) -> Tensor:
        """What the data take off the variance of each task: ``k(X, X*)`` ``(n, m)`` to ``(m, t)``."""
        scaled = self._scale[:, None] * self.tasks.covariance * self._scale
        by_task, by_row = torch.linalg.eigh(scaled), torch.linalg.eigh(self.K)
        seen = (by_task.eigenvectors.mT @ scaled).square()  # (a, t)
        shrunk = 1.0 / (by_row.eigenvalues[:, None] * by_task.eigenvalues + 1.0)  # (n, a)
        result: Tensor = (by_row.eigenvectors.mT @ cross).square().mT @ (shrunk @ seen) * self.tasks.noise
        return result


@dataclass
class GappyTasks:
    """Some tasks are unknown in some rows: the matrix of the known ones, factorised.

    Attributes:
        K, Y, tasks: as in :class:`CompleteTasks`; unknown values of Y are NaN.

    Cost: ``N^3 / 3`` for N known values.
    """

    K: Tensor
    Y: Tensor
    tasks: TaskParameters

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        rows, tasks = (~self.Y.isnan()).nonzero(as_tuple=True)
        return rows, tasks

    def _matrix(self) -> tuple[Tensor, Tensor]:
        rows, tasks = self._places
        require_memory(
            24 * len(rows) ** 2,
            asked=f"The matrix of {len(rows)} known values of several tasks",
            instead="Give rows in which every task is known: those need no such matrix.",
        )
        return self.tasks.covariance[tasks][:, tasks] * self.K[rows][:, rows], self.tasks.noise[tasks]

    def log_likelihood(self) -> Tensor:
        """Of the known values; differentiable by K and by the parameters."""
        matrix, noise = self._matrix()
        known = self.Y[self._places]
        found = inv_quad_logdet(matrix, known[:, None], noise=noise, method="cholesky")
        return -0.5 * (found.inv_quad.sum() + found.logdet + len(known) * math.log(2.0 * math.pi))

    @cached_property
    def _lower(self) -> Tensor:
        matrix, noise = self._matrix()
        result: Tensor = torch.linalg.cholesky(matrix + noise.diag())
        return result

    def weights(self) -> Tensor:
        """As in :class:`CompleteTasks`; 0 where Y is unknown."""
        result = torch.zeros_like(self.Y)
        known = self.Y[self._places]
        result[self._places] = torch.cholesky_solve(known[:, None], self._lower).squeeze(1)
        return result

    def explained(self, cross: Tensor) -> Tensor:
        """As in :class:`CompleteTasks`."""
        rows, tasks = self._places
        found: list[Any] = []
        for column in self.tasks.covariance.mT:
            half = torch.linalg.solve_triangular(self._lower, column[tasks][:, None] * cross[rows], upper=False)
            found.append(half.square().sum(0))
        return torch.stack(found, 1)
