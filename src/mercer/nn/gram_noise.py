"""Noise on the Gram matrices of a deep kernel machine in training: stochastic kernel regularisation."""

from __future__ import annotations

import math

import torch
from torch import nn

from mercer.errors import ShapeError
from mercer.kernels.parameters import is_count
from mercer.nn.gram_state import GramState

__all__ = ["GramNoise"]


class GramNoise(nn.Module):
    r"""In training, the Gram matrix of finitely many features in place of its mean; it stands behind a GramLayer.

    The features of the inducing points are drawn anew in each pass, and rows follow by conditioning on them:

    .. math:: G' = \tfrac1N C E E^\top C^\top + \epsilon s\, 1, \quad C C^\top = G, \qquad
        G'_{ti} = B G', \quad g'_t = g_t - B G_{it} + B G' B^\top, \quad B = G_{ti} G^{-1}

    with N standard normal columns E, from torch's global generator, and the mean s of the diagonal of G. In evaluation
    ``E E' / N`` is replaced by its mean, the identity. The jitter stays then, as in the official code: layers above
    have been trained with it.

    Args:
        n_inducing: P.
        n_features: N; fewer are more noise. None is P. Entries have a relative spread of about ``N ** -0.5``.
        jitter: epsilon, >= 0. With fewer features than inducing points, G' is singular without it.

    Raises:
        ValueError: no feature, or a jitter that is negative or not finite.

    Cost: ``2 n P^2 + n P N`` multiply-adds.
    Source: Milsom, Anson & Aitchison, Stochastic kernel regularisation improves generalisation in deep kernel machines
    (NeurIPS 2024), arXiv 2410.06171; there N is P / 4 and epsilon is 0.1, not in units of s.

    >>> noise = GramNoise(2, n_features=1000, jitter=0.0)
    >>> G = GramState(torch.eye(2), torch.zeros(3, 2), torch.ones(3))
    >>> torch.equal(noise(G).ii, noise(G).ii), torch.equal(noise.eval()(G).ii, torch.eye(2))
    (False, True)
    """

    def __init__(self, n_inducing: int, n_features: int | None = None, jitter: float = 0.1) -> None:
        super().__init__()
        for name, value in (("n_inducing", n_inducing), ("n_features", 1 if n_features is None else n_features)):
            if not is_count(value):
                raise ValueError(f"GramNoise: {name} must be a whole number >= 1, not {value!r}.")
        if not 0.0 <= jitter < math.inf:
            raise ValueError(f"GramNoise: jitter must be >= 0 and finite, not {jitter!r}.")
        self.n_inducing = n_inducing
        self.n_features = n_inducing if n_features is None else n_features
        self.jitter = float(jitter)

    def forward(self, below: GramState) -> GramState:
        """Of a state, with places or without.

        Raises:
            ShapeError: another number of inducing points.
            IndefiniteGram: the Gram matrix of the inducing points is not positive definite.
        """
        if below.n_inducing != self.n_inducing:
            raise ShapeError(
                f"GramNoise has {self.n_inducing} inducing points, but what it is given has {below.n_inducing}."
            )
        C, W, left = below.whitened("GramNoise")
        eye = torch.eye(len(C), dtype=C.dtype, device=C.device)
        B = W @ torch.linalg.solve_triangular(C, eye, upper=False)
        if self.training:
            E = torch.randn(len(C), self.n_features, dtype=C.dtype, device=C.device) * self.n_features**-0.5
            W, C = W @ E, C @ E
        small = self.jitter * below.ii.diagonal().mean()
        # Sums of squares, so that rounding cannot make t negative.
        t = left + W.square().sum(-1) + small * B.square().sum(-1)
        return GramState(C @ C.mT + small * eye, W @ C.mT + small * B, t)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.n_inducing}, n_features={self.n_features}, jitter={self.jitter:g}"
