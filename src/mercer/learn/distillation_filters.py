"""Self-distillation of kernel ridge regression as what it is: spectral filters, and weights with a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mercer.arguments import check_not_negative
from mercer.arrays import as_tensor, check_finite, like
from mercer.errors import ShapeError
from mercer.learn.eigenvalues import inverse_or_zero

__all__ = ["distill_filter", "distill_limit", "joint_weights", "optimal_weight"]


def distill_filter(d: Any, lam: float, alphas: Sequence[float], *, teacher: str = "previous") -> Any:
    r"""What each round of self-distillation leaves of each eigenvector of the kernel matrix.

    With :math:`K = V \operatorname{diag}(d) V^T` and :math:`A_j = d_j / (d_j + \lambda)` the predictions of round t
    at the training points are :math:`V \operatorname{diag}(B^{(t)}) V^T y`, where :math:`B^{(0)} = 1` and

    .. math:: B^{(t)}_j = A_j [ (1 - \alpha_t) B^{(t-1)}_j + \alpha_t ]

    Args:
        d: eigenvalues, ``(n,)``, of any order.
        lam: the penalty of the ridge regression, >= 0; not divided by n.
        alphas: the weight of the true targets in each round. The first has no effect: round 1 sees nothing else.
        teacher: "previous" round, or the "first", whose filter then stands in the place of :math:`B^{(t-1)}`.

    Returns:
        ``(len(alphas), n)``: an array in float64, or a tensor like d.

    Raises:
        ValueError: a negative lam, or a d that is not one row of finite numbers.

    Source: Borup & Andersen, Even your Teacher Needs Guidance (2021).

    >>> distill_filter(np.array([9.0, 1.0]), 1.0, [1.0, 0.5, 0.5])
    array([[0.9   , 0.5   ],
           [0.855 , 0.375 ],
           [0.8347..., 0.34375]])
    """
    values = _eigenvalues(d, lam)
    shrink = values * inverse_or_zero(values + lam, values)
    filters = [shrink]
    for alpha in list(alphas)[1:]:
        before = filters[-1 if _is_previous(teacher) else 0]
        filters.append(shrink * ((1.0 - alpha) * before + alpha))
    found = torch.stack(filters[: len(alphas)]) if len(alphas) else values.new_empty(0, len(values))
    return like(found, d if isinstance(d, Tensor) else None)


def distill_limit(d: Any, lam: float, alpha: float, *, teacher: str = "previous") -> Any:
    r"""The filter of infinitely many rounds with one weight: ridge regression with the penalty ``lam / alpha``.

    .. math:: B^{(\infty)}_j = \frac{d_j}{d_j + \lambda / \alpha}

    It is reached at the rate :math:`(1 - \alpha) \max_j A_j` a round, and is zero for ``alpha = 0``. With the first
    round as the teacher of all others nothing changes after round 2, whose filter this then is.

    Args:
        d, lam, teacher: as in :func:`distill_filter`.
        alpha: the weight of the true targets, such that the rounds converge: ``|1 - alpha| A < 1``.

    Returns:
        ``(n,)``: an array in float64, or a tensor like d.

    Raises:
        ValueError: the rounds do not converge.

    >>> distill_limit(np.array([9.0, 1.0]), 1.0, 0.5)
    array([0.8181..., 0.3333...])
    """
    values = _eigenvalues(d, lam)
    shrink = values * inverse_or_zero(values + lam, values)
    if not _is_previous(teacher):
        limit = shrink * ((1.0 - alpha) * shrink + alpha)
    else:
        rate = abs(1.0 - alpha) * float(shrink.abs().max())
        if rate >= 1.0:
            raise ValueError(
                f"alpha = {alpha:g} does not converge: each round multiplies its difference from the limit by "
                f"{rate:.3g}. Give a positive lam and an alpha between 0 and 1."
            )
        limit = alpha * shrink / (1.0 - (1.0 - alpha) * shrink)
    return like(limit, d if isinstance(d, Tensor) else None)


def optimal_weight(target: Any, first: Any, student: Any) -> float:
    r"""The weight of the true targets that makes a round's predictions best, in closed form.

    .. math:: \alpha^* = \frac{\langle v - g, u - g \rangle}{\lVert u - g \rVert^2}

    minimises the squared error of ``alpha * first + (1 - alpha) * student`` to ``target``. Below 0 the model still is
    regularised too little, above 1 it already is too much and distilling hurts.

    Args:
        target: v, the truth at validation points, ``(m,)`` or ``(m, c)``. Noise in it does no harm on average as long
            as the models have not seen these points.
        first: u, predictions there of the model fitted to the true targets (round 1).
        student: g, predictions there of a model fitted to the teacher's predictions alone.

    Returns:
        The weight, of any size and sign; 1 where the two predictions are equal to round-off.

    Raises:
        ShapeError: the three have not the same shape.
        ValueError: NaN or infinity.

    Source: Borup & Andersen (2021).

    >>> optimal_weight([1.0, 2.0], [2.0, 3.0], [0.0, 1.0])
    0.5
    """
    v, u, g = (as_tensor(a, dtype=torch.float64).cpu() for a in (target, first, student))
    if not v.shape == u.shape == g.shape:
        raise ShapeError(
            f"optimal_weight: target, first and student must have the same shape, not {tuple(v.shape)}, "
            f"{tuple(u.shape)} and {tuple(g.shape)}."
        )
    for name, values in (("target", v), ("first", u), ("student", g)):
        check_finite(values, name)
    difference = u - g
    length = float(difference.square().sum())
    # Where the two agree to round-off, the quotient would be noise.
    if length <= (8 * torch.finfo(torch.float64).eps) ** 2 * float(u.square().sum()):
        return 1.0
    return float(((v - g) * difference).sum()) / length


def joint_weights(target: Any, rounds: Any, *, n_folds: int = 5, random_state: int = 0) -> Any:
    """Weights of all rounds at once: the sum of rounds that predicts best, by cross-validated least squares.

    The predictions of T rounds without truth (``alpha=0``) span those of every path of T rounds, whatever its
    weights, so this is the best of all paths on the validation data. Rounds are nearly multiples of each other; only
    the leading directions in which they differ are used, as many as cross-validation finds useful, and none leaves
    round 1 alone.

    Args:
        target: the truth at validation points, ``(m,)`` or ``(m, c)``.
        rounds: predictions there, ``(T, m)`` or ``(T, m, c)``.
        n_folds: of the cross-validation over the validation points.
        random_state: of the folds.

    Returns:
        ``(T,)``, with the sum 1: an array in float64, or a tensor like ``rounds``.

    Raises:
        ShapeError: a round has another shape than the target.
        ValueError: fewer validation points than folds.

    Source: Pareek, Du & Oh, Understanding the gains from repeated self-distillation (2024), for free weights.

    >>> joint_weights([1.0, 2.0, 3.0, 4.0], [[2.0, 4.0, 6.0, 8.0], [0.0, 0.0, 0.0, 0.0]], n_folds=2)
    array([0.5, 0.5])
    """
    P, v = as_tensor(rounds, dtype=torch.float64).cpu(), as_tensor(target, dtype=torch.float64).cpu()
    if P.shape[1:] != v.shape:
        raise ShapeError(f"joint_weights: rounds must be (T, {', '.join(map(str, v.shape))}), not {tuple(P.shape)}.")
    m = len(v)
    if not 2 <= n_folds <= m:
        raise ValueError(f"n_folds must lie between 2 and the {m} validation points, not {n_folds}.")
    fold = torch.from_numpy(np.random.RandomState(random_state).permutation(m) % n_folds)
    differences, error = P[1:] - P[0], v - P[0]
    losses = torch.zeros(len(P), dtype=torch.float64)
    for k in range(n_folds):
        seen, left = fold != k, fold == k
        for rank, theta in enumerate(_solutions(differences[:, seen], error[seen])):
            losses[rank] += (error[left] - torch.tensordot(theta, differences[:, left], 1)).square().sum()
    theta = _solutions(differences, error)[int(losses.argmin())]
    weights = torch.cat([1.0 - theta.sum()[None], theta])
    return like(weights, rounds if isinstance(rounds, Tensor) else None)


def _solutions(differences: Tensor, error: Tensor) -> list[Tensor]:
    """Coefficients of the differences by least squares in their 0, 1, ... leading directions."""
    U, s, Vh = torch.linalg.svd(differences.flatten(1).mT, full_matrices=False)
    parts = (U.mT @ error.flatten()) * inverse_or_zero(s, s)
    return [Vh[:rank].mT @ parts[:rank] for rank in range(len(differences) + 1)]


def _eigenvalues(d: Any, lam: float) -> Tensor:
    values = as_tensor(d, dtype=torch.float64)
    if values.dim() != 1:
        raise ShapeError(f"d must hold the eigenvalues in one row (n,), not {tuple(values.shape)}.")
    check_finite(values, "d")
    check_not_negative("lam", lam)
    return values


def _is_previous(teacher: str) -> bool:
    if teacher not in ("previous", "first"):
        raise ValueError(f"teacher must be 'previous' or 'first', not {teacher!r}.")
    return teacher == "previous"
