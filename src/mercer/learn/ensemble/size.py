"""How many networks to average so that the rounded average is right, for any kernel and finite set of inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from mercer.arrays import as_tensor, check_finite
from mercer.errors import ShapeError
from mercer.learn.ensemble.counting import check_delta, check_method, fewest, log_failure
from mercer.learn.ensemble.law import EnsembleLaw

__all__ = ["EnsembleSize", "ensemble_size"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EnsembleSize:
    """How many networks it takes, and what it depends on.

    Attributes:
        n_models: networks to average.
        gap: distance of the mean from the threshold where the decision is hardest.
        std: standard deviation of one network there.
        worst_input: the row of ``X_test`` where that is.
    """

    n_models: int
    gap: float
    std: float
    worst_input: int


def ensemble_size(
    kernel: Any,
    X_train: Any,
    Y_train: Any,
    X_test: Any,
    *,
    delta: float = 0.05,
    threshold: Any = "zero",
    method: str = "exact",
    simultaneous: bool = True,
) -> EnsembleSize:
    r"""How many independently trained wide networks to average until every decision is that of infinitely many.

    A decision compares one output at one test point with a threshold. An average of N networks has the Gaussian law of
    :class:`EnsembleLaw` with 1/N of its variance, so its distance from the threshold decides.

    Args:
        kernel: ``NTK(...)``, an infinite network, a pair of kernels or any kernel; see :class:`EnsembleLaw`.
        X_train: ``(n, d)``.
        Y_train: ``(n,)`` or ``(n, t)``.
        X_test: ``(m, d)``, all inputs that count.
        delta: the probability of a mistake that is allowed.
        threshold: "zero"; "midpoint", half-way across the widest gap between the sorted mean outputs of each input; or
            numbers that broadcast to ``(m, t)``. Where all outputs of an input are alike, the midpoint is half-way down
            to where an output would be whose training input had nothing to do with this one: that takes a 0/1
            ``Y_train`` with one 1 a column, and is :meth:`PermutationLaw.threshold` for permutations.
        method: "exact" multiplies the probabilities of the outputs, which are independent; "bound" is the formula
            :math:`2 \sigma^2 / \gamma^2 \cdot \log(2 t / \delta)` with the gap :math:`\gamma`, which needs no search.
        simultaneous: whether all test points must be right at once (a union bound over them), or each by itself.

    Training points count as decided, as networks trained to the end agree there.

    Raises:
        ShapeError: nothing to train or to decide on, or thresholds of another shape.
        ValueError: an unknown method, a ``delta`` outside (0, 1), NaN, a mean that lies on its threshold, or with
            "midpoint" an input whose outputs are all alike and other targets than those above.

    Source: Giapitzakis, Back de Luca & Fountoulakis 2025, arXiv 2502.16763, for permutations; the general form is ours.

    >>> from mercer.kernels import NTK
    >>> X, y = np.array([[-1.0], [1.0]]), np.array([-1.0, 1.0])
    >>> size = ensemble_size(NTK(depth=3), X, y, np.linspace(0.01, 2.0, 40)[:, None], delta=1e-3)
    >>> size.n_models, round(size.gap, 4), round(size.std, 4), size.worst_input
    (2144, 0.0076, 0.1143, 0)
    """
    check_delta(delta)
    check_method(method)
    law, points = EnsembleLaw(kernel, X_train, Y_train), as_tensor(X_test, dtype=torch.float64)
    if points.dim() != 2 or len(points) == 0:
        raise ShapeError(f"ensemble_size: X_test is (m, d) with m >= 1, but has the shape {tuple(points.shape)}.")
    check_finite(points, "X_test")
    means, std = law.mean(points).cpu().numpy(), law.std(points).cpu().numpy()
    gaps = np.abs(means - _thresholds(threshold, means, law, points))
    # Without a deviation, training has left none (a training point), or there was none: a mean on its threshold stays.
    is_certain = (gaps > 0.0) | (law.prior(points).diagonal().cpu().numpy() > 0.0)[:, None]
    z = np.where(std[:, None] > 0.0, gaps / np.where(std > 0.0, std, 1.0)[:, None], np.where(is_certain, np.inf, 0.0))
    worst, output = (int(i) for i in np.unravel_index(np.argmin(z), z.shape))
    if not z[worst, output] > 1e-12:
        raise ValueError(
            f"ensemble_size: at row {worst} of X_test the mean of output {output} lies on its threshold, so no number "
            f"of networks decides it. Leave the row out or give another threshold."
        )
    if method == "bound":
        inputs = len(z) if simultaneous else 1
        needed = max(1, math.ceil(2.0 * math.log(2.0 * z.shape[1] * inputs / delta) / z[worst, output] ** 2))
    else:

        def failure(n: int) -> float:
            each = log_failure(z * math.sqrt(n))
            return float(logsumexp(each) if simultaneous else each.max())

        needed = fewest(failure, delta)
    return EnsembleSize(needed, float(gaps[worst, output]), float(std[worst]), worst)


def _thresholds(threshold: Any, means: Array, law: EnsembleLaw, points: Tensor) -> Array:
    if threshold is None:
        raise ValueError("threshold=None: choose 'zero', 'midpoint' or give numbers.")
    if not isinstance(threshold, str):
        given = as_tensor(threshold, dtype=torch.float64).detach().cpu()
        check_finite(given, "threshold")
        try:
            return np.broadcast_to(given.numpy(), means.shape)
        except ValueError:
            raise ShapeError(
                f"threshold has the shape {tuple(given.shape)}, which does not broadcast to {means.shape}, one number "
                f"for each row of X_test and output."
            ) from None
    if threshold == "zero":
        return np.zeros_like(means)
    if threshold != "midpoint":
        raise ValueError(f"threshold={threshold!r}: choose 'zero', 'midpoint' or give numbers.")
    ordered = np.sort(means, axis=1)
    steps = np.diff(ordered, axis=1)
    widest = steps.max(axis=1, initial=0.0)
    is_alike = widest <= 1e-6 * np.abs(means).max()
    levels = np.empty_like(means)
    at = steps[~is_alike].argmax(axis=1)[:, None] if not is_alike.all() else np.empty((0, 1), dtype=np.int64)
    apart = ordered[~is_alike]
    levels[~is_alike] = 0.5 * (np.take_along_axis(apart, at, 1) + np.take_along_axis(apart, at + 1, 1))
    if is_alike.any():
        levels[is_alike] = means[is_alike] - 0.5 * _rises(law, points[is_alike], int(is_alike.argmax()))
    return levels


def _rises(law: EnsembleLaw, points: Tensor, row: int) -> Array:
    """How far the training input of each output lifts its mean above that of an input it has nothing to do with.

    With that input e_j, b the mean of T(e_j, X) over the other training points: (T(x, e_j) - b) / (T(e_j, e_j) - b).
    """
    owners, n = law.Y.argmax(0), len(law.X)
    if n < 2 or not torch.equal(law.Y, torch.eye(n, dtype=law.Y.dtype, device=law.Y.device)[:, owners]):
        raise ValueError(
            f"threshold='midpoint': at row {row} of X_test all outputs are alike, so nothing lies between them. "
            f"Give the thresholds as numbers."
        )
    across, gram = law.tangent(points, law.X).to_dense(), law.tangent(law.X).to_dense()
    own = gram.diagonal()
    others = (gram.sum(1) - own) / (n - 1)
    rises: Array = ((across - others) / (own - others))[:, owners].cpu().numpy()
    return rises
