"""Pre-images: points whose images under a kernel lie near given ones, here projections onto principal components."""

from __future__ import annotations

import torch
from torch import Tensor

from mercer.errors import NotConverged
from mercer.kernels import RBF, Kernel
from mercer.kernels.algebra import Scaled

__all__ = ["fixed_point_pre_images", "gaussian_of"]

_BLOCK = 1 << 22  # entries of a kernel held at once
_SMALLEST_STEP = 1e-6


def gaussian_of(kernel: Kernel) -> RBF:
    """The Gaussian kernel that this one is a multiple of.

    Raises:
        ValueError: it is none.
    """
    inner = kernel
    while isinstance(inner, Scaled):
        inner = inner.kernel
    if not isinstance(inner, RBF):
        raise ValueError(
            f"pre_image='fixed-point' is for Gaussian kernels, RBF(...) or a multiple of one, not {kernel!r}. Use "
            f"pre_image='ridge'."
        )
    return inner


@torch.no_grad()
def fixed_point_pre_images(
    kernel: Kernel, X: Tensor, combination: Tensor, coordinates: Tensor, start: Tensor, *, rtol: float, max_iter: int
) -> Tensor:
    r"""Points z whose images come closest to :math:`\sum_i \gamma_i \phi(x_i)`, for a Gaussian kernel.

    .. math:: z \leftarrow \frac{\sum_i \gamma_i k(z, x_i) x_i}{\sum_i \gamma_i k(z, x_i)}, \quad
        \gamma = A \beta + 1 / n

    Each step goes up the sum in the denominator; it is halved until it does. Local: the answer depends on the start.

    Args:
        kernel: a Gaussian kernel.
        X: ``(n, d)`` float64.
        combination: A, ``(n, c)``: how the components are made of the (centred) images of X.
        coordinates: beta, ``(m, c)``: projections on the components.
        start: ``(m, d)``.
        rtol: the length of the last step, in lengthscales.
        max_iter: steps of each point.

    Raises:
        NotConverged: ``.solution`` has the points reached.

    Cost: ``m n`` kernel entries and ``m n (c + d)`` multiply-adds a step.
    Source: Mika, Schoelkopf, Smola, Mueller, Scholz & Raetsch, Kernel PCA and de-noising in feature spaces (NIPS 1998),
    eq. 10; the mean of the images by Kwok & Tsang, The pre-image problem in kernel methods (2004), section 2.
    """
    kernel = gaussian_of(kernel)
    lengthscale = kernel.hyperparameter("lengthscale").to(X)
    n, result, missing = len(X), start.clone(), 0

    def climb(z: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
        """The sum at z, and where the fixed-point step leads."""
        W = torch.as_tensor(kernel(z, X).to_dense()) * gamma
        height = W.sum(1)
        target = (W @ X) / height.unsqueeze(1)
        return height, torch.where(torch.isfinite(target) & (height > 0.0).unsqueeze(1), target, z)

    for rows in torch.arange(len(start), device=X.device).split(max(1, _BLOCK // n)):
        z = start[rows]
        gamma = coordinates[rows] @ combination.mT + 1.0 / n  # (b, n)
        height, target = climb(z, gamma)
        step = torch.ones_like(height)
        active = torch.arange(len(rows), device=X.device)
        for _ in range(max_iter):
            length = ((target - z)[active] / lengthscale).abs().amax(1)
            active = active[(length > rtol) & (step[active] > _SMALLEST_STEP)]
            if not len(active):
                break
            candidate = z[active] + step[active, None] * (target - z)[active]
            higher, next_target = climb(candidate, gamma[active])
            better = higher >= height[active]
            up, down = active[better], active[~better]
            z[up], height[up], target[up], step[up] = candidate[better], higher[better], next_target[better], 1.0
            step[down] *= 0.5
        missing += len(active)
        result[rows] = z
    if missing:
        raise NotConverged(
            f"Fixed-point pre-images: {missing} of {len(start)} points still moved by more than {rtol:.0e} "
            f"lengthscales after {max_iter} steps. Give fewer components, a larger lengthscale, or pre_image='ridge'.",
            result,
        )
    return result
