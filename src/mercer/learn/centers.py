"""Kernel ridge with centres: predictions from m of the n points, memory linear in n.

The model is ridge regression on the features ``F = k(X, C) L^-T`` where ``L L' = k(C, C)``: the exact model with the
kernel's projection onto the centres (Nystrom) in its place. Few centres: the normal matrix ``F'F`` from one pass. Many:
conjugate gradients on products with k(X, C) that is never stored, preconditioned by the normal matrix of some rows.

Source: Rudi, Carratino & Rosasco, Falkon (2017), with the preconditioner from a sample of rows instead of the centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.config import require_memory
from mercer.errors import NotConverged
from mercer.learn.dual import Dual
from mercer.learn.inputs import take
from mercer.learn.primal import normal_equations
from mercer.learn.similarity import Similarity
from mercer.operators.machine import rates
from mercer.operators.solvers import block_cg, pivoted_cholesky

__all__ = ["CenterFeatures", "choose_centers", "solve_with_centers"]

# Of the mean of the diagonal of k(C, C): what float64 can resolve of it, with room for float32 products.
_JITTER = 1e-10
_SAMPLE = 2  # rows of the preconditioner, for each centre
_TYPICAL_ITERATIONS = 25
_MOST_ITERATIONS = 300
# Pivots are looked for among all rows as long as their factor has no more numbers than this, else among ten rows for
# each centre: rows that stand apart can only be found where they are looked at.
_POOL, _POOL_NUMBERS = 10, 1 << 25


def choose_centers(
    similarity: Similarity, points: Any, n_centers: int, *, weights: Tensor | None, sampling: str, random_state: Any
) -> Tensor:
    """Which rows are the centres, ``(m,)``, in increasing order.

    Args:
        similarity: the kernel.
        points: all rows.
        n_centers: at most so many.
        weights: of the rows; one of weight 0 is no centre.
        sampling: "uniform", or "pivoted": rows drawn one after the other in proportion to what the others leave
            unexplained of them (randomly pivoted Cholesky); all up to ``n n_centers = 3e7``, beyond that among a
            uniform sample of so many that it is, or of ten for each centre.
        random_state: of the draw.

    Raises:
        ValueError: another way of sampling.
    """
    draw = generator(random_state)
    shuffled = torch.randperm(points.shape[0], generator=draw)
    if weights is not None:
        shuffled = shuffled[weights.cpu()[shuffled] > 0]
    m = min(n_centers, len(shuffled))
    if sampling == "uniform":
        return shuffled[:m].sort().values
    if sampling != "pivoted":
        raise ValueError(f"center_sampling must be 'uniform' or 'pivoted', not {sampling!r}.")
    pool = shuffled[: max(_POOL * m, _POOL_NUMBERS // m)].sort().values
    found = pivoted_cholesky(similarity.matrix(take(points, pool)), m, random_state=draw)
    return pool[found.pivots.cpu()].sort().values


@dataclass(frozen=True)
class CenterFeatures:
    """The features of points as seen by the centres, given a block of rows at a time.

    Attributes:
        similarity: the kernel.
        points: ``(n, d)``, tensor or sparse matrix.
        centers: ``(m, d)``, of the same kind.
        lower: the Cholesky factor of k(C, C), float64 ``(m, m)``.
    """

    similarity: Similarity
    points: Any
    centers: Any
    lower: Tensor

    @classmethod
    def of(cls, similarity: Similarity, points: Any, centers: Any) -> CenterFeatures:
        """Factorise k(C, C), with a diagonal of 1e-10 of its mean against round-off.

        Raises:
            MemoryBudgetError: it does not fit.
            ValueError: it is not positive definite even so, or the kernel has noise of its own.
        """
        m = centers.shape[0]
        spec = getattr(similarity.matrix(centers[:1]), "spec", None)
        if spec is not None and spec.has_delta:
            raise ValueError(
                f"{similarity.kernel!r} has noise (White), which a combination of kernels of centres cannot carry. "
                f"Leave it out, and add its variance to alpha."
            )
        require_memory(24 * m * m, asked=f"{m} centres", instead="Give fewer centres (n_centers).")
        gram = similarity.dense(centers, centers)
        gram = 0.5 * (gram + gram.mT)
        gram.diagonal().add_(_JITTER * float(gram.diagonal().mean()))
        lower, failed = torch.linalg.cholesky_ex(gram)
        if int(failed):
            raise ValueError(
                f"The kernel matrix of the {m} centres is not positive definite (row {int(failed)}): "
                f"n_centers needs a positive semidefinite kernel. Leave n_centers out."
            )
        return cls(similarity, points, centers, lower)

    @property
    def n(self) -> int:
        """Number of points."""
        return int(self.points.shape[0])

    @property
    def width(self) -> int:
        """Number of centres."""
        return len(self.lower)

    def block(self, rows: slice | Tensor) -> Tensor:
        """The features of some rows. Entries are computed in float64 throughout: small features magnify round-off."""
        chosen = self.points[rows] if isinstance(rows, slice) else take(self.points, rows)
        K = self.similarity.dense(chosen, self.centers)
        features: Tensor = torch.linalg.solve_triangular(self.lower, K.mT, upper=False).mT
        return features

    def to_coefficients(self, weights: Tensor) -> Tensor:
        """Coefficients of k(., C) from weights of the features."""
        coefficients: Tensor = torch.linalg.solve_triangular(self.lower.mT, weights, upper=True)
        return coefficients


def solve_with_centers(
    features: CenterFeatures,
    Y: Tensor,
    *,
    alpha: float,
    weights: Tensor | None,
    rtol: float,
    random_state: Any,
) -> Dual:
    """Coefficients ``(m, t)`` of the centres, by the method that is predicted to be faster.

    Raises:
        NotConverged: conjugate gradients did not reach ``rtol``.
    """
    n, m = features.n, features.width
    direct = _pass_seconds(n, m)
    iterative = _pass_seconds(min(n, _SAMPLE * m), m) + features.similarity.product_seconds(
        features.points, features.centers, columns=Y.shape[1], products=2 * _TYPICAL_ITERATIONS
    )
    if direct <= iterative:
        normal = normal_equations(features, Y, weights, description=f"kernel ridge: {m} centres")
        solution, is_singular = normal.solve(alpha)
        reason = f"normal matrix of {m} centres" + (", singular: least squares" if is_singular else "")
        return Dual(features.to_coefficients(solution), normal.residual(solution, alpha), 0, reason)
    return _solve_by_cg(features, Y, alpha=alpha, weights=weights, rtol=rtol, random_state=random_state)


def _pass_seconds(n: int, m: int) -> float:
    """Predicted time to form features and their normal matrix: a triangular solve and a product."""
    return 3.0 * n * m * m / rates().cholesky_flops


def _solve_by_cg(
    features: CenterFeatures,
    Y: Tensor,
    *,
    alpha: float,
    weights: Tensor | None,
    rtol: float,
    random_state: Any,
) -> Dual:
    system = _NormalSystem(features, alpha, weights)
    root = torch.ones_like(Y[:, 0]) if weights is None else weights
    B = system.transposed_product(root[:, None] * Y, torch.float64)
    lower = _preconditioner(features, alpha, weights, random_state)
    state = block_cg(
        system,
        B,
        rtol=rtol,
        max_iter=_MOST_ITERATIONS,
        precondition=lambda V: torch.cholesky_solve(V, lower),
    )
    residual = float(state.residual.max())
    found = Dual(
        features.to_coefficients(state.X), residual, state.n_iter, f"conjugate gradients on {features.width} centres"
    )
    if not residual <= rtol:
        raise NotConverged(
            f"Kernel ridge with {features.width} centres: a relative residual of {rtol:.0e} was asked for, "
            f"{residual:.1e} was reached in {state.n_iter} iterations. Give a larger alpha or rtol.",
            found,
        )
    return found


def _preconditioner(features: CenterFeatures, alpha: float, weights: Tensor | None, random_state: Any) -> Tensor:
    """The Cholesky factor of the normal matrix of a sample of the rows, scaled to all of them, plus alpha."""
    n, m = features.n, features.width
    chosen = torch.randperm(n, generator=generator(random_state))[: _SAMPLE * m].to(features.lower.device)
    H = features.lower.new_zeros(m, m)
    step = max(1, 2**26 // (8 * m))
    for i in range(0, len(chosen), step):
        rows = chosen[i : i + step]
        F = features.block(rows)
        H.addmm_((F if weights is None else F * weights[rows, None]).mT, F)
    H *= n / len(chosen)
    # Directions that no sampled row has seen still need a scale, should alpha be 0.
    H.diagonal().add_(alpha + 1e-14 * float(H.diagonal().mean()))
    lower: Tensor = torch.linalg.cholesky(H)
    return lower


class _NormalSystem:
    """``F' S F + alpha`` as :func:`mercer.operators.solvers.cg.block_cg` wants it, F through products with k(X, C)."""

    has_single = True

    def __init__(self, features: CenterFeatures, alpha: float, weights: Tensor | None) -> None:
        self.features, self.alpha, self.weights = features, alpha, weights
        self.n = features.width
        operator = features.similarity.cross(features.points, features.centers)
        # The planner may store k(X, C) where it fits, but not twice: float64 is for a few true residuals.
        self.operators = {torch.float32: operator.float(), torch.float64: operator.double().with_plan("tiles")}

    def product(self, V: Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """The product with V ``(m, t)`` in float64, k(X, C) in ``dtype``."""
        values = (self.operators[dtype] @ self.features.to_coefficients(V).to(dtype)).to(torch.float64)
        if self.weights is not None:
            values *= self.weights[:, None]
        return self.transposed_product(values, dtype) + self.alpha * V

    def transposed_product(self, U: Tensor, dtype: torch.dtype) -> Tensor:
        """``F' U`` for U ``(n, t)``."""
        product = (self.operators[dtype].mT @ U.to(dtype)).to(torch.float64)
        solved: Tensor = torch.linalg.solve_triangular(self.features.lower, product, upper=False)
        return solved
