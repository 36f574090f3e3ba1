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

Softmin = Callable[[Tensor, float], Tensor]  # of potentials, at a blur
# From a start (None: zero), a blur, rtol and max_iter to the answer and its last change.
Solver = Callable[[Tensor | None, float, float, int], tuple[Tensor, float]]
_SHRINK = 0.5  # from one blur to the next on the way down from the width of the data
_STORED = 1 << 20  # costs: 8 MB, which a pass over them reads faster than it makes them anew
_ROUGH, _FEW = 0.01, 50  # the change at which a scale is left, as a share of epsilon, and the most steps there
_FIRST = 10  # averaged steps before alternating ones
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

    Potentials are logarithms of kernel sums, so nothing underflows however small the blur. Beyond a million pairs no
    cost is stored. Differentiable in the points of tensors, the potentials held at their optimum, which is exact there.

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

    Cost: two passes over n m pairs an iteration; 20 to 150 iterations for a blur down to 0.01 of the width of the data.
    Source: Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences (AISTATS 2019),
    with their averaged steps and shrinking scales.

    >>> round(sinkhorn_divergence([0.0, 1.0], [3.0, 4.0], blur=0.01), 4)  # both move by 3, at 3^2 / 2
    4.5
    """
    p = check_order(p, (1, 2))
    samples = Samples.of(X, Y)
    points = torch.cat([samples.X, samples.Y]).detach()
    width = float((points.amax(0) - points.amin(0)).norm())
    if blur is None:
        blur = 0.05 * float((points - points.mean(0)).square().sum(-1).mean().sqrt()) or 1.0
    if not 0.0 < blur < torch.inf:
        raise ValueError(f"blur={blur!r}: it must be a length > 0.")
    a, b = samples.weights(X_weights, Y_weights)
    x, y = samples.X, samples.Y
    fixed_x, fixed_y = x.detach(), y.detach()
    scales = [blur]
    while scales[0] < width:
        scales.insert(0, scales[0] / _SHRINK)
    with torch.no_grad():
        between, left_over = _potentials(_between(fixed_x, fixed_y, a, b, p), scales, rtol, max_iter)
        own_x, more = _potentials(_within(fixed_x, a, p), scales, rtol, max_iter)
        own_y, most = _potentials(_within(fixed_y, b, p), scales, rtol, max_iter)
        f, g = between[: len(x)], between[len(x) :]
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


def _softmins(x: Tensor, y: Tensor, weights: Tensor, p: float) -> Softmin:
    """:func:`_softmin` of potentials and blur, from stored costs where they are few."""
    if len(x) * len(y) > _STORED:
        return lambda potential, blur: _softmin(x, y, weights, potential, p, blur)
    costs = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist") ** p / p
    logs = weights.log()
    return lambda potential, blur: -(blur**p) * torch.logsumexp(logs + (potential - costs) / blur**p, 1)


def _within(points: Tensor, weights: Tensor, p: float) -> Solver:
    """The potential of a sample against itself: averaged steps are fast there."""
    softmin = _softmins(points, points, weights, p)

    def solver(z: Tensor | None, blur: float, rtol: float, max_iter: int) -> tuple[Tensor, float]:
        start = torch.zeros_like(weights) if z is None else z
        return _fixed_point(lambda z: 0.5 * (z + softmin(z, blur)), start, weights, blur**p, rtol, max_iter)

    return solver


def _between(x: Tensor, y: Tensor, a: Tensor, b: Tensor, p: float) -> Solver:
    """The potentials of two samples, one after the other.

    Averaged steps are fast between samples that are alike, where alternating ones turn over an error again and again;
    between samples that differ it is the other way round.
    """
    to_x, to_y, n, weights = _softmins(x, y, b, p), _softmins(y, x, a, p), len(x), torch.cat([a, b])

    def solver(z: Tensor | None, blur: float, rtol: float, max_iter: int) -> tuple[Tensor, float]:
        def averaged(z: Tensor) -> Tensor:
            return 0.5 * (z + torch.cat([to_x(z[n:], blur), to_y(z[:n], blur)]))

        def alternating(g: Tensor) -> Tensor:
            return to_y(to_x(g, blur), blur)

        start = torch.zeros_like(weights) if z is None else z
        z, change = _fixed_point(averaged, start, weights, blur**p, rtol, min(_FIRST, max_iter))
        if change <= rtol or max_iter <= _FIRST:
            return z, change
        g, change = _fixed_point(alternating, z[n:], b, blur**p, rtol, max_iter - _FIRST)
        return torch.cat([to_x(g, blur), g]), change

    return solver


def _potentials(solver: Solver, scales: list[float], rtol: float, max_iter: int) -> tuple[Tensor, float]:
    """The potentials at the last scale, and their last change as a share of epsilon.

    A step moves potentials by little more than epsilon, however far they have to go, so each scale begins near the
    answer of the one before.
    """
    z: Tensor | None = None
    for scale in scales[:-1]:
        z, _ = solver(z, scale, _ROUGH, _FEW)
    return solver(z, scales[-1], rtol, max_iter)


def _fixed_point(
    step: Callable[[Tensor], Tensor], z: Tensor, weights: Tensor, epsilon: float, rtol: float, max_iter: int
) -> tuple[Tensor, float]:
    """Where ``step(z) = z``, and the last change: what the last changes have in common is extrapolated.

    A step that makes the change larger is taken back.

    Source: Walker & Ni, Anderson acceleration for fixed-point iterations (2011), algorithm AA.
    """
    counted, best, smallest = weights > 0.0, z, torch.inf
    images: list[Tensor] = []
    changes: list[Tensor] = []
    for _ in range(max_iter):
        image = step(z)
        change = (image - z)[counted] / epsilon
        reached = float(change.abs().max())
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
