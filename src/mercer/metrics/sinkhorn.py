"""The Sinkhorn divergence: optimal transport with a blur, by log-sum-exp over tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mercer.errors import NotConverged
from mercer.kernels import RBF, Kernel, Matern
from mercer.metrics.samples import Samples, check_order

__all__ = ["sinkhorn_divergence"]

_SHRINK = 0.7  # from one blur to the next on the way down from the width of the data
_MEMORY = 10  # steps that the next one is extrapolated from
_RIDGE = 1e-10  # of their products, whose matrix becomes singular
_WORSE = 2.0  # times the smallest change so far: the step is taken back


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
    fixed_x, fixed_y, n = x.detach(), y.detach(), len(x)
    scales = [blur]
    while scales[0] < width:
        scales.insert(0, scales[0] / _SHRINK)

    def of_both(z: Tensor, scale: float) -> Tensor:
        f, g = z[:n], z[n:]
        return torch.cat([_softmin(fixed_x, fixed_y, b, g, p, scale), _softmin(fixed_y, fixed_x, a, f, p, scale)])

    def of_one(points: Tensor, weights: Tensor) -> Callable[[Tensor, float], Tensor]:
        return lambda z, scale: _softmin(points, points, weights, z, p, scale)

    with torch.no_grad():
        potentials, left_over = _potentials(of_both, torch.cat([a, b]), p, scales, rtol, max_iter)
        own_x, more = _potentials(of_one(fixed_x, a), a, p, scales, rtol, max_iter)
        own_y, most = _potentials(of_one(fixed_y, b), b, p, scales, rtol, max_iter)
        f, g = potentials[:n], potentials[n:]
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


def _potentials(
    update: Callable[[Tensor, float], Tensor],
    weights: Tensor,
    p: float,
    scales: list[float],
    rtol: float,
    max_iter: int,
) -> tuple[Tensor, float]:
    """The fixed point of ``update(potentials, blur)`` at the last scale, and the last change as a share of epsilon.

    Each step goes half of the way. For a sample against itself that alone is fast: the part of the error that a whole
    step turns over, again and again, is gone at once. Where it is slow, between samples that differ, what the last
    steps have in common is extrapolated; a step that makes the change larger is taken back.

    Source: Feydy et al. (2019), section 3.1 (averaged steps); Walker & Ni, Anderson acceleration for fixed-point
    iterations (2011), algorithm AA.
    """
    z = torch.zeros_like(weights)
    for scale in scales[:-1]:
        z = 0.5 * (z + update(z, scale))
    blur, counted, best, smallest = scales[-1], weights > 0.0, z, torch.inf
    images: list[Tensor] = []
    changes: list[Tensor] = []
    for _ in range(max_iter):
        image = 0.5 * (z + update(z, blur))
        change = (image - z)[counted] / blur**p
        reached = 2.0 * float(change.abs().max())
        if reached > _WORSE * smallest:
            z, images, changes = best, [], []
            continue
        if reached < smallest:
            best, smallest = image, reached
        if reached <= rtol:
            break
        images, changes = [*images[1 - _MEMORY :], image], [*changes[1 - _MEMORY :], change]
        z = _extrapolated(images, changes)
    return best, smallest


def _extrapolated(images: list[Tensor], changes: list[Tensor]) -> Tensor:
    """The combination of images, of weights that add up to 1, whose combined change is smallest."""
    R = torch.stack(changes)
    products = R @ R.mT
    products.diagonal().add_(_RIDGE * float(products.diagonal().max()))
    weights = torch.cholesky_solve(torch.ones_like(products[:, :1]), torch.linalg.cholesky(products))
    mixed: Tensor = (weights / weights.sum() * torch.stack(images)).sum(0)
    return mixed
