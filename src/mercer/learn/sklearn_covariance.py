"""Kernels that only scikit-learn can evaluate, in a Gaussian process: dense, with scikit-learn's own gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.learn.covariance import Array

__all__ = ["SklearnCovariance"]

_BLOCK = 64  # points: the diagonal without noise is that of small blocks of k(X, copy of X)


@dataclass(frozen=True)
class SklearnCovariance:
    """A kernel object of ``sklearn.gaussian_process`` without a twin here; its points may be any objects it knows."""

    kernel: Any

    @property
    def names(self) -> list[str]:
        """The hyperparameter of each entry of theta."""
        return [h.name for h in self.kernel.hyperparameters if not h.fixed for _ in range(h.n_elements)]

    @property
    def signed(self) -> list[bool]:
        """None of scikit-learn's may be negative."""
        return [False] * len(self.kernel.theta)

    @property
    def theta(self) -> Array:
        """Logarithms."""
        theta: Array = self.kernel.theta
        return theta

    @property
    def bounds(self) -> Array:
        """Of theta."""
        bounds: Array = self.kernel.bounds
        return bounds

    def at(self, theta: Array) -> SklearnCovariance:
        """The same with other values."""
        return SklearnCovariance(self.kernel.clone_with_theta(theta))

    def matrix(self, points: Any) -> tuple[Any, Tensor]:
        """k(X, X) with its own noise: scikit-learn does not tell which part is noise."""
        return _tensor(self.kernel(_plain(points))), torch.zeros((), dtype=torch.float64)

    def matrix_and_slopes(self, points: Any) -> tuple[Tensor, Tensor]:
        """k(X, X), and its derivatives by theta ``(n, n, p)``."""
        K, slopes = self.kernel(_plain(points), eval_gradient=True)
        return _tensor(K), _tensor(slopes)

    def cross(self, points: Any, others: Any) -> Any:
        """k(X, Y)."""
        return _tensor(self.kernel(_plain(points), _plain(others)))

    def diagonal(self, points: Any, *, with_noise: bool) -> Tensor:
        """k(x, x)."""
        values = _plain(points)
        if with_noise:
            return _tensor(np.array(self.kernel.diag(values)))
        blocks = [values[i : i + _BLOCK] for i in range(0, len(values), _BLOCK)]
        return torch.cat([_tensor(self.kernel(block, block)).diagonal() for block in blocks])


def _plain(points: Any) -> Any:
    return points.detach().cpu().numpy() if isinstance(points, Tensor) else points


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))
