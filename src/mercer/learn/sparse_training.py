"""The training loop of models with inducing points: natural gradients for q, Adam for the rest, in minibatches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.kernels import Kernel
from mercer.learn.covariance import MercerCovariance, with_log_prior
from mercer.learn.variational import Expected, Variational, whiten
from mercer.progress import Progress, track

__all__ = ["InducingState", "SparseState", "train"]


class InducingState:
    """Base of what :func:`train` trains: q over whitened inducing values, and what Adam moves.

    Attributes:
        log_parameters: of the likelihood.
        q: over inducing values.
        expected: makes the expected log density of given rows from the likelihood's logarithms.
        adam: None where only q is learnt.
    """

    log_parameters: Tensor
    q: Variational
    expected: Callable[[Tensor, Tensor], Expected]
    adam: torch.optim.Adam | None

    def whitened(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """``(M, b)`` and ``(b,)`` as :func:`whiten` gives them, at the current values, with their graph."""
        raise NotImplementedError

    def penalty(self) -> Tensor | float:
        """What is taken from the bound beside the divergence of q."""
        return 0.0

    def with_prior(self, value: Tensor) -> Tensor:
        """The bound plus the log prior of hyperparameters, which steers Adam and is not reported."""
        return value

    def stay_within_bounds(self) -> None:
        """Called after each step of Adam."""

    def bound(self, X: Tensor, y: Tensor, n: int) -> Tensor:
        """The lower bound of the evidence for n rows, estimated from these; differentiable."""
        return self._value(*self.whitened(X), self.expected(y, self.log_parameters), n)

    def improve(self, A: Tensor, left: Tensor, y: Tensor, n: int, rate: float) -> None:
        """A natural-gradient step of q."""
        expected = self.expected(y, self.log_parameters.detach())
        with torch.no_grad():
            self.q = self.q.step(A, left, expected, weight=n / len(y), rate=rate)

    def step(self, X: Tensor, y: Tensor, n: int, rate: float) -> float:
        """One minibatch; the estimate of the bound."""
        A, left = self.whitened(X)
        self.improve(A, left, y, n, rate)
        value = self._value(A, left, self.expected(y, self.log_parameters), n)
        if self.adam is not None:
            loss = -self.with_prior(value) / n
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
            self.stay_within_bounds()
        return float(value.detach())

    def _value(self, A: Tensor, left: Tensor, expected: Expected, n: int) -> Tensor:
        density = expected(*self.q.moments(A, left))
        return n / len(density) * density.sum() - self.q.divergence() - self.penalty()


@dataclass
class SparseState(InducingState):
    """All that a sparse Gaussian process has learnt, and where its optimiser stands.

    Attributes:
        covariance: the kernel's structure; its values are those of ``log_values``.
        log_values: of the kernel, ``(p,)``.
        log_parameters: of the likelihood.
        Z: inducing points, ``(M, d)``.
        q: over inducing values.
        expected: makes the expected log density of given rows from the likelihood's logarithms.
        adam: None where only q is learnt.
        bounds: of ``log_values``, low and high, ``(p,)`` each.
    """

    covariance: MercerCovariance
    log_values: Tensor
    log_parameters: Tensor
    Z: Tensor
    q: Variational
    expected: Callable[[Tensor, Tensor], Expected]
    adam: torch.optim.Adam | None = None
    bounds: tuple[Tensor, Tensor] = field(default_factory=lambda: (torch.empty(0), torch.empty(0)))

    def kernel(self) -> Kernel:
        """At the current values, with their graph."""
        return self.covariance.with_tensor(self.log_values) if len(self.log_values) else self.covariance.own

    def whitened(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """By the kernel at the current values."""
        return whiten(self.kernel(), self.Z, X)

    def with_prior(self, value: Tensor) -> Tensor:
        """Of the kernel's hyperparameters."""
        return with_log_prior(value, self.kernel())

    def stay_within_bounds(self) -> None:
        """Of the kernel's hyperparameters."""
        low, high = self.bounds
        with torch.no_grad():
            self.log_values.clamp_(low, high)


def train(
    state: InducingState,
    X: Tensor,
    y: Tensor,
    *,
    n: int,
    batch_size: int,
    max_epochs: int,
    rate: float,
    tol: float,
    patience: int,
    rng: np.random.RandomState,
    description: str = "sparse GP",
) -> list[float]:
    """Passes over the rows in random order, until the bound of an epoch has not grown for ``patience`` of them.

    Args:
        state: changed in place.
        n: rows that the data stand for.
        tol: the growth that counts, per row.
        description: of the progress line.

    Returns:
        The mean estimate of the bound of each epoch.
    """
    bounds: list[float] = []
    best, waited = -np.inf, 0
    steps = max_epochs * -(-len(y) // batch_size)
    progress: Progress[int] = track(steps, description=description)
    with progress:
        for _ in range(max_epochs):
            values = []
            for rows in _batches(len(y), batch_size, rng):
                index = torch.from_numpy(rows).to(X.device)
                values.append(state.step(X[index].to(torch.float64), y[index], n, rate))
                progress.advance(note=f"bound {values[-1]:.4g}")
            bounds.append(float(np.mean(values)))
            waited = 0 if bounds[-1] > best + tol * n else waited + 1
            best = max(best, bounds[-1])
            if waited >= patience:
                break
    return bounds


def _batches(n: int, size: int, rng: np.random.RandomState) -> Iterator[Any]:
    order = rng.permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]
