"""Points made of unit vectors, and random functions of them: what theories of wide convolutional networks are about."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch

from mercer.arrays import as_tensor, check_finite, generator
from mercer.errors import ShapeError
from mercer.kernels import Kernel, parse
from mercer.kernels.parameters import is_count

__all__ = ["gaussian_field", "multisphere"]

JITTER = 1e-10  # of the mean diagonal; errors of noise-free regression on such fields stay above 1e-8


def multisphere(n: int, p: int, s: int, random_state: Any = 0) -> np.ndarray[Any, Any]:
    """Points of ``p`` patches, each uniform on the unit sphere in ``s`` dimensions: ``(n, p * s)``, float64.

    Args:
        n, p, s: whole numbers >= 1.
        random_state: int, generator or None.

    Raises:
        ValueError: a number that is none, or below 1.

    >>> X = multisphere(5, 4, 2)
    >>> X.shape, bool(np.allclose((X**2).sum(1), 4.0))
    ((5, 8), True)
    """
    if not all(map(is_count, (n, p, s))):
        raise ValueError(f"multisphere(n={n}, p={p}, s={s}): each is a whole number >= 1.")
    drawn = _draws(random_state).normal(size=(n, p, s))
    X: np.ndarray[Any, Any] = (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).reshape(n, p * s)
    return X


def gaussian_field(
    kernel: Kernel | str | torch.Tensor, X: Any, n_functions: int = 1, random_state: Any = 0
) -> np.ndarray[Any, Any]:
    """Values at X of random functions drawn from a Gaussian process without noise: ``(n, n_functions)``, float64.

    Args:
        kernel: the covariance, or its text; or its matrix at X ``(n, n)``, where that is known already.
        X: ``(n, d)`` array, table or tensor; training and test points together, so that both see the same functions.
        n_functions: how many independent ones.
        random_state: int, generator or None.

    Raises:
        ValueError: the kernel is not positive definite on X, or not finite; ``n_functions`` below 1.
        ShapeError: a matrix of another size.

    Cost: one Cholesky factorisation of n x n, with 1e-10 of the mean diagonal added.

    >>> from mercer.kernels import RBF
    >>> gaussian_field(RBF(), np.zeros((2, 1)) + [[0.0], [9.0]], n_functions=3).shape
    (2, 3)
    """
    if not is_count(n_functions):
        raise ValueError(f"gaussian_field(n_functions={n_functions!r}): it is a whole number >= 1.")
    if isinstance(kernel, torch.Tensor):
        K = kernel.detach().to(torch.float64, copy=True)
        if K.shape != (len(X), len(X)):
            raise ShapeError(f"gaussian_field: {len(X)} points have a matrix of {len(X)} rows, not {tuple(K.shape)}.")
    else:
        made = parse(kernel) if isinstance(kernel, str) else kernel
        K = made(as_tensor(X, dtype=torch.float64)).to_dense()
    check_finite(K, "gaussian_field: the kernel matrix")
    K.diagonal().add_(JITTER * K.diagonal().mean())
    factor, info = torch.linalg.cholesky_ex(K)
    if int(info):
        name = "the matrix" if isinstance(kernel, torch.Tensor) else repr(kernel)
        raise ValueError(f"gaussian_field: {name} is not positive definite on these {len(K)} points.")
    normal = _draws(random_state).normal(size=(len(K), n_functions))
    values: np.ndarray[Any, Any] = (factor @ torch.from_numpy(normal)).numpy()
    return values


def _draws(random_state: Any) -> np.random.Generator:
    """NumPy's generator of a random state of any kind."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    own = generator(random_state)
    seed = random_state if isinstance(random_state, Integral) else torch.randint(2**63 - 1, (), generator=own)
    return np.random.default_rng(int(seed))
