"""The ``kernel`` argument of an estimator, in all the forms it may take, as one thing that gives matrices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mercer.config import require_memory
from mercer.kernels import Kernel, Linear, Polynomial, from_callable, parse
from mercer.kernels.named import NAMES, from_name
from mercer.kernels.sklearn_translation import from_sklearn
from mercer.learn.inputs import densify, is_sparse

__all__ = ["Similarity", "naming", "resolve"]


@dataclass(frozen=True)
class Similarity:
    """A kernel whose columns are known, for points that are tensors or sparse matrices."""

    kernel: Kernel

    def matrix(self, points: Any) -> Any:
        """k(X, X): a lazy operator; for a sparse X and a linear or polynomial kernel a tensor."""
        if self._works_on_sparse(points):
            return self.dense(points, points)
        return self.kernel(densify(points, why=repr(self.kernel)))

    def cross(self, points: Any, others: Any) -> Any:
        """k(X, Y), as :meth:`matrix`."""
        if self._works_on_sparse(points):
            return self.dense(points, others)
        why = repr(self.kernel)
        return self.kernel(densify(points, why=why), densify(others, why=why))

    def dense(self, points: Any, others: Any) -> Tensor:
        """k(X, Y) as a float64 tensor."""
        if not self._works_on_sparse(points):
            return torch.as_tensor(self.cross(_double(points), _double(others)).to_dense())
        n, m = points.shape[0], others.shape[0]
        require_memory(8 * n * m, asked=f"A kernel matrix of {n} x {m}", instead="Give n_centers.")
        kernel = self.kernel
        assert isinstance(kernel, Linear | Polynomial)
        scale = kernel.hyperparameter("lengthscale").numpy() ** -2.0
        left = points.astype("float64") * scale if scale.ndim == 0 else points.astype("float64").multiply(scale).tocsr()
        products = torch.from_numpy((left @ others.astype("float64").T).toarray())
        if isinstance(kernel, Linear):
            return products + float(kernel.hyperparameter("bias"))
        return (products + float(kernel.hyperparameter("offset"))) ** kernel.degree

    def times(self, points: Any, others: Any, coefficients: Tensor) -> Tensor:
        """``k(X, Y) @ coefficients`` in float64, whatever the type of the points.

        Coefficients of a kernel model are large and cancel: products in float32 would lose up to 3e-4 of it.
        """
        return torch.as_tensor(self.cross(_double(points), _double(others)) @ coefficients)

    def product_seconds(self, points: Any, others: Any, *, columns: int, products: int) -> float:
        """Predicted time of so many products with k(X, Y); infinite where that would have to be stored."""
        if is_sparse(points):
            return math.inf
        return float(self.cross(points, others).plan_for(columns=columns, products=products).seconds)

    def _works_on_sparse(self, points: Any) -> bool:
        return is_sparse(points) and isinstance(self.kernel, Linear | Polynomial)


def _double(points: Any) -> Any:
    return points.astype("float64") if is_sparse(points) else points.to(torch.float64)


@contextmanager
def naming(argument: str, names: tuple[str, ...]) -> Iterator[None]:
    """What a kernel is refused for, after the argument's name and the names that it could have had."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{argument} must be one of {', '.join(map(repr, names))}, or a kernel or its text: {error}"
        ) from error


def resolve(
    kernel: Any,
    *,
    width: int,
    names: Sequence[str] | None = None,
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
    kernel_params: Mapping[str, Any] | None = None,
) -> Similarity:
    """The kernel that an estimator was given.

    Args:
        kernel: a kernel of mercer, its text, one of scikit-learn's names, a kernel object of
            ``sklearn.gaussian_process``, or a function ``(x, y, **kernel_params)`` of two points.
        width: the number of columns; scikit-learn's default of ``gamma`` is 1 / width.
        names: of the columns, for kernels that look at some by name.
        gamma, degree, coef0: of scikit-learn's named kernels; others ignore them.
        kernel_params: keyword arguments of a function.

    Raises:
        ValueError: a text that is neither a name nor a kernel.
        TypeError: something else.
    """
    if isinstance(kernel, str):
        if kernel in NAMES:
            found = from_name(kernel, n_features=width, gamma=gamma, degree=degree, coef0=coef0)
        else:
            found = parse(kernel)
    elif isinstance(kernel, Kernel):
        found = kernel
    elif hasattr(kernel, "clone_with_theta"):
        found = from_sklearn(kernel, n_features=width)
    elif callable(kernel):
        found = from_callable(partial(kernel, **kernel_params) if kernel_params else kernel)
    else:
        raise TypeError(
            f"kernel must be a kernel of mercer, text, a function of two points or a kernel of scikit-learn, "
            f"not {type(kernel).__name__}."
        )
    return Similarity(found if names is None else found.resolve(names))
