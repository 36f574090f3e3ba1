"""Deep Gaussian processes of finite width by Hamiltonian Monte Carlo: what deep kernel machines are the limit of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.arguments import check_not_negative, check_whole
from mercer.arrays import as_tensor, check_finite, generator, like
from mercer.errors import ShapeError
from mercer.kernels.gram import KernelOfGram, kernel_of_gram, square
from mercer.learn.deep_network import check_depth, each_nu
from mercer.learn.gram_density import add_noise, log_density
from mercer.nn.gram_state import gram_factor
from mercer.progress import Progress, track

__all__ = ["WideDGP", "sample_wide_dgp"]

_LEAPFROGS = 8
_STEP = 0.1  # the first
_THINNING = 10  # of the features that are kept
_ACCEPTED = 0.8  # what the step is adapted to
_JITTER = 1e-8


@dataclass(frozen=True)
class WideDGP:
    """Draws from the posterior of a deep Gaussian process of finite width.

    Attributes:
        gram_matrices: ``(draws, depth, n, n)``, of every draw after the warm-up, all chains together.
        features: of every tenth draw, one array ``(kept, n, N_l)`` a layer.
        accepted: share of proposals that were accepted after the warm-up.
        step_size: of the leapfrogs, as adapted.
    """

    gram_matrices: Any
    features: list[Any]
    accepted: float
    step_size: float


def sample_wide_dgp(
    X: Any,
    y: Any,
    *,
    width: int,
    depth: int = 2,
    kernel: str = "rbf",
    nu: Any = 1.0,
    noise: float = 0.1,
    n_samples: int = 500,
    n_chains: int = 1,
    n_warmup: int | None = None,
    random_state: Any = None,
) -> WideDGP:
    r"""Sample features of a deep Gaussian process whose outputs are copied ``width`` times.

    Layer l has :math:`N_l = \nu_l N` features :math:`F_l \sim N(0, K(G_{l-1}))` and :math:`G_l = F_l F_l^\top / N_l`;
    the likelihood of y is raised to the power N. As N grows, the Gram matrices settle at those of
    :class:`DeepGramMachine` with the same arguments, and the features are Gaussian.

    Args:
        X: ``(n, d)``, some ten rows, as they are.
        y: ``(n,)`` or ``(n, t)``, as it is.
        width: N.
        depth, kernel, nu: as in :class:`DeepGramMachine`; ``nu`` is finite.
        noise: > 0, variance of y.
        n_samples: steps of each chain, 8 leapfrogs each.
        n_chains: run side by side, with one step size.
        n_warmup: of them, the first ones, which adapt the step and are left out; None is 40 %.
        random_state: of everything.

    Raises:
        ValueError: arguments out of range, NaN or infinity.
        ShapeError: another number of targets than rows.

    Cost: ``8 n_samples`` gradients of ``depth`` Cholesky factors each.
    Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023),
    the limit; whitened features and adaptation are ours.

    >>> X = np.linspace(-1.0, 1.0, 4)[:, None]
    >>> found = sample_wide_dgp(X, X[:, 0], width=8, depth=1, n_samples=20, random_state=0)
    >>> found.gram_matrices.shape, found.features[0].shape
    ((12, 1, 4, 4), (2, 4, 8))
    """
    check_depth(depth, kernel)
    for name, value in (("width", width), ("n_samples", n_samples), ("n_chains", n_chains)):
        check_whole(name, value)
    nus = each_nu(nu, int(depth))
    n_warmup = int(0.4 * n_samples) if n_warmup is None else n_warmup
    check_whole("n_warmup", n_warmup, least=0)
    check_not_negative("noise", noise)
    if not noise > 0.0 or math.inf in nus or n_warmup >= n_samples:
        raise ValueError(
            f"sample_wide_dgp needs 0 < noise < inf, a finite nu and n_warmup < n_samples, not noise={noise!r}, "
            f"nu={nu!r}, n_warmup={n_warmup!r} and n_samples={n_samples!r}."
        )
    points, targets = as_tensor(X, dtype=torch.float64), as_tensor(y, dtype=torch.float64)
    if points.dim() != 2 or targets.dim() not in (1, 2) or len(points) != len(targets) or not points.numel():
        raise ShapeError(
            f"X must be (n, d), with n >= 1, and y (n,) or (n, t), not {tuple(points.shape)} and "
            f"{tuple(targets.shape)}."
        )
    check_finite(points, "X")
    check_finite(targets, "y")
    Y = targets[:, None] if targets.dim() == 1 else targets
    widths = [max(1, round(value * width)) for value in nus]
    function = kernel_of_gram(kernel)
    K = square(function, points @ points.mT / points.shape[1])
    lower = gram_factor(add_noise(K, _JITTER), "sample_wide_dgp: the kernel of X")
    posterior = _Posterior(lower, Y, function, widths, int(width), float(noise))
    return _sample(posterior, int(n_chains), int(n_samples), int(n_warmup), generator(random_state), X)


@dataclass(frozen=True)
class _Posterior:
    """Of whitened features ``(chains, n, all widths)``.

    Attributes:
        lower: the factor of K(G_0), ``(n, n)``.
        Y: ``(n, t)``.
        kernel: of every later layer.
        widths: N_l.
        copies: of the outputs.
        noise: of y.
    """

    lower: Tensor
    Y: Tensor
    kernel: KernelOfGram
    widths: list[int]
    copies: int
    noise: float

    def forward(self, whitened: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Features and Gram matrices of each layer, and the covariance of the outputs."""
        lower = self.lower
        features: list[Tensor] = []
        grams: list[Tensor] = []
        for xi, width in zip(whitened.split(self.widths, -1), self.widths, strict=True):
            if grams:
                lower = gram_factor(add_noise(square(self.kernel, grams[-1]), _JITTER), "sample_wide_dgp")
            features.append(lower @ xi)
            grams.append(features[-1] @ features[-1].mT / width)
        return features, grams, add_noise(square(self.kernel, grams[-1]), self.noise)

    def slope(self, whitened: Tensor) -> tuple[Tensor, Tensor]:
        """The energy of each chain, minus its log posterior, and the gradient."""
        xi = whitened.detach().requires_grad_(True)
        energy = 0.5 * xi.square().sum((-2, -1)) - self.copies * log_density(self.forward(xi)[2], self.Y)
        (gradient,) = torch.autograd.grad(energy.sum(), xi)
        return energy.detach(), gradient


def _sample(
    posterior: _Posterior, n_chains: int, n_samples: int, n_warmup: int, draw: torch.Generator, example: Any
) -> WideDGP:
    shape = (n_chains, len(posterior.Y), sum(posterior.widths))

    def normal() -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(posterior.Y)

    def uniform(*size: int) -> Tensor:
        return torch.rand(size, generator=draw, dtype=torch.float64).to(posterior.Y)

    xi = normal()
    energy, gradient = posterior.slope(xi)
    log_step, log_mean, badness, accepted = math.log(_STEP), math.log(_STEP), 0.0, 0.0
    grams: list[Tensor] = []
    features: list[list[Tensor]] = []
    progress: Progress[int] = track(n_samples, description=f"width {posterior.copies}")
    with progress:
        for number in range(1, n_samples + 1):
            # Steps of one length could come back to where they began.
            step = float(0.9 + 0.2 * uniform()) * math.exp(log_step if number <= n_warmup else log_mean)
            momentum = normal()
            start = energy + 0.5 * momentum.square().sum((-2, -1))
            new, slope = xi, gradient
            for _ in range(_LEAPFROGS):
                momentum = momentum - 0.5 * step * slope
                new = new + step * momentum
                end, slope = posterior.slope(new)
                momentum = momentum - 0.5 * step * slope
            gain = start - end - 0.5 * momentum.square().sum((-2, -1))
            chance = gain.nan_to_num(nan=-math.inf).clamp(max=0.0).exp()
            taken = uniform(n_chains) < chance
            xi, gradient = (torch.where(taken[:, None, None], a, b) for a, b in ((new, xi), (slope, gradient)))
            energy = torch.where(taken, end, energy)
            if number <= n_warmup:  # dual averaging, Hoffman & Gelman (2014), with their constants
                rate = 1.0 / (number + 10.0)
                badness = (1.0 - rate) * badness + rate * (_ACCEPTED - float(chance.mean()))
                log_step = math.log(10.0 * _STEP) - math.sqrt(number) / 0.05 * badness
                share = number**-0.75
                log_mean = share * log_step + (1.0 - share) * log_mean
            else:
                accepted += float(taken.double().mean())
                found, matrices, _ = posterior.forward(xi)
                grams.append(torch.stack(matrices, 1))
                if (number - n_warmup) % _THINNING == 1:
                    features.append(found)
            progress.advance()
    return WideDGP(
        gram_matrices=like(torch.cat(grams), example),
        features=[like(torch.cat(layer), example) for layer in zip(*features, strict=True)],
        accepted=accepted / (n_samples - n_warmup),
        step_size=math.exp(log_mean),
    )
