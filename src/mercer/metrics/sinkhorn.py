"""The Sinkhorn divergence: optimal transport with a blur, by log-sum-exp over tiles."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mercer.errors import NotConverged
from mercer.kernels import RBF, Kernel, Matern
from mercer.metrics.samples import Samples, check_order

__all__ = ["sinkhorn_divergence"]

_SHRINK = 0.7  # from one blur to the next on the way down from the width of the data


def sinkhorn_divergence(
    X: Any,
    Y: Any,
    *,
    blur: float | None = None,
    p: float = 2,
    X_weights: Any = None,
    Y_weights: Any = None,
    rtol: float = 1e-4,
    max_iter: int = 2000,
) -> Any:
    r"""The debiased Sinkhorn divergence: between optimal transport (small blur) and a squared MMD (large).

    .. math:: S = OT_\varepsilon(a, b) - \tfrac12 OT_\varepsilon(a, a) - \tfrac12 OT_\varepsilon(b, b), \quad
        OT_\varepsilon(a, b) = \min_P \sum_{ij} P_{ij} c_{ij} + \varepsilon \, \mathrm{KL}(P \,|\, a b^T)

    with ``c = |x - y|^2 / 2`` and epsilon = blur^2 for p = 2, so that S tends to ``W_2^2 / 2``; with ``c = |x - y|``
    and epsilon = blur for p = 1, so that S tends to ``W_1``. It is never negative, and 0 only for equal samples.

    Potentials are logarithms of kernel sums, so nothing underflows however small the blur, and no cost is stored.
    Differentiable in the points of tensors, the potentials held at their optimum, which is exact there.

    Args:
        X, Y: ``(n, d)`` and ``(m, d)``; ``(n,)`` is one column. numpy, pandas or torch.
        blur: a length in the units of X: finer detail is not compared. None: 0.05 of the samples' root mean square
            distance from their common mean.
        p: 1 or 2.
        X_weights, Y_weights: ``(n,)`` and ``(m,)``, >= 0; they are scaled to add up to 1.
        rtol: iterations end when no potential changes by more than this share of epsilon. The error of S is of its
            order times epsilon.
        max_iter: at the final blur.

    Returns:
        A float; a tensor ``()`` if X or Y is one.

    Raises:
        NotConverged: ``max_iter`` was not enough; it carries the value reached.
        ValueError: a blur that is not positive, another p.

    Cost: two passes over n m pairs an iteration, about ``3 log(width / blur)`` iterations and as many more as the last
    blur needs, up to ``(width / blur)^p``.
    Source: Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences (AISTATS 2019).

    >>> round(sinkhorn_divergence([0.0, 1.0], [3.0, 4.0], blur=0.01), 4)  # both move by 3, at 3^2 / 2
    4.5
    """
    p = check_order(p, (1, 2))
    samples = Samples.of(X, Y)
    both = torch.cat([samples.X, samples.Y]).detach()
    width = float((both.amax(0) - both.amin(0)).norm())
    if blur is None:
        blur = 0.05 * float((both - both.mean(0)).square().sum(-1).mean().sqrt()) or 1.0
    if not 0.0 < blur < torch.inf:
        raise ValueError(f"blur={blur!r}: it must be a length > 0.")
    a, b = samples.weights(X_weights, Y_weights)
    x, y = samples.X, samples.Y
    fixed_x, fixed_y = x.detach(), y.detach()
    scales = [blur]
    while scales[-1] < width:
        scales.append(scales[-1] / _SHRINK)
    with torch.no_grad():
        f, g, left_over = _solve(fixed_x, fixed_y, a, b, p, scales[::-1], rtol, max_iter)
        own_x, more = _solve_own(fixed_x, a, p, scales[::-1], rtol, max_iter)
        own_y, most = _solve_own(fixed_y, b, p, scales[::-1], rtol, max_iter)
    # One more half step from the optimum, in which the points on the left move and the others stand still: the gradient
    # of the optimum is that of the costs under the plan.
    value = (a * (_softmin(x, fixed_y, b, g, p, blur) - _softmin(x, fixed_x, a, own_x, p, blur))).sum()
    value = value + (b * (_softmin(y, fixed_x, a, f, p, blur) - _softmin(y, fixed_y, b, own_y, p, blur))).sum()
    answer, reached = samples.answer(value), max(left_over, more, most)
    if reached > rtol:
        raise NotConverged(
            f"sinkhorn_divergence: after max_iter={max_iter} iterations potentials still change by {reached:.1e} of "
            f"epsilon, and rtol is {rtol:.1e}. Raise max_iter or blur={blur:.3g} (the data are {width:.3g} wide).",
            answer,
        )
    return answer


def _kernel(p: float, blur: float) -> Kernel:
    """exp(-cost / epsilon)."""
    return RBF(lengthscale=blur) if p == 2.0 else Matern(lengthscale=blur, nu=0.5)


def _softmin(x: Tensor, y: Tensor, weights: Tensor, potential: Tensor, p: float, blur: float) -> Tensor:
    """``-epsilon log sum_j w_j exp((potential_j - cost_ij) / epsilon)``, ``(n,)``."""
    epsilon = blur**p
    result: Tensor = -epsilon * _kernel(p, blur)(x, y).logsumexp(weights.log() + potential / epsilon)
    return result


def _solve(
    x: Tensor, y: Tensor, a: Tensor, b: Tensor, p: float, scales: list[float], rtol: float, max_iter: int
) -> tuple[Tensor, Tensor, float]:
    """Potentials of both sides, and the last change as a share of epsilon."""
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    for scale in scales[:-1]:
        f = _softmin(x, y, b, g, p, scale)
        g = _softmin(y, x, a, f, p, scale)
    blur, change = scales[-1], torch.inf
    for _ in range(max_iter):
        old = f
        f = _softmin(x, y, b, g, p, blur)
        g = _softmin(y, x, a, f, p, blur)
        change = _largest(f - old, a) / blur**p
        if change <= rtol:
            break
    return f, g, change


def _solve_own(x: Tensor, a: Tensor, p: float, scales: list[float], rtol: float, max_iter: int) -> tuple[Tensor, float]:
    """The potential of a sample against itself: the mean of the old one and the next converges fast."""
    f = torch.zeros_like(a)
    for scale in scales[:-1]:
        f = 0.5 * (f + _softmin(x, x, a, f, p, scale))
    blur, change = scales[-1], torch.inf
    for _ in range(max_iter):
        new = 0.5 * (f + _softmin(x, x, a, f, p, blur))
        change, f = _largest(new - f, a) / blur**p, new
        if change <= rtol:
            break
    return f, change


def _largest(change: Tensor, weights: Tensor) -> float:
    """The largest change at a point that counts."""
    return float(change[weights > 0.0].abs().max())
