r"""Layers whose Gram matrices are learnt: what makes a kernel machine deep."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mercer.arguments import check_whole
from mercer.errors import ShapeError
from mercer.kernels.gram import check_gram
from mercer.nn.gram_state import GramState, check_state, gram_factor

__all__ = ["GramLayer", "GramResidual", "LowerFactor", "gram_divergence"]


def gram_divergence(G: Tensor, K: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of N(0, G) from N(0, K), by its definition.

    .. math:: \tfrac12 (\operatorname{tr} K^{-1} G - \log \lvert K^{-1} G \rvert - P)

    Args:
        G, K: ``(P, P)``, positive definite; differentiable.

    Raises:
        ShapeError: shapes that differ or are not square.
        IndefiniteGram: one of them is not positive definite.

    >>> gram_divergence(2.0 * torch.eye(3), torch.eye(3))
    tensor(0.4603)
    """
    if G.shape != K.shape:
        raise ShapeError(f"gram_divergence: G is {tuple(G.shape)} and K is {tuple(K.shape)}; they must be alike.")
    for name, matrix in (("G", G), ("K", K)):
        check_gram(matrix, name)
    C, R = gram_factor(K, "gram_divergence"), gram_factor(G, "gram_divergence")
    U = torch.linalg.solve_triangular(C, R, upper=False)
    logarithm = R.diagonal().log().sum() - C.diagonal().log().sum()
    result: Tensor = 0.5 * (U.square().sum() - 2.0 * logarithm - len(G))
    return result


class LowerFactor(nn.Module):
    """A lower triangular matrix V with positive diagonal; it starts at the identity.

    Args:
        size: of its rows.
        learn: whether it can move.
        dtype: None is torch's default.
    """

    def __init__(self, size: int, *, learn: bool = True, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.below = nn.Parameter(torch.zeros(size, size, dtype=dtype), requires_grad=learn)
        self.log_diagonal = nn.Parameter(torch.zeros(size, dtype=dtype), requires_grad=learn)

    def forward(self) -> Tensor:
        """V, ``(size, size)``."""
        return self.below.tril(-1) + torch.diag(self.log_diagonal.exp())

    @property
    def dtype(self) -> torch.dtype:
        """Of V."""
        return self.below.dtype

    @torch.no_grad()
    def set(self, V: Tensor) -> None:
        """Take the values of a lower triangular matrix with positive diagonal."""
        self.below.copy_(V.tril(-1))
        self.log_diagonal.copy_(V.diagonal().log())

    def kl(self) -> Tensor:
        """Divergence of N(0, V V') from the standard normal distribution."""
        size = len(self.log_diagonal)
        square = self.below.tril(-1).square().sum() + (2.0 * self.log_diagonal).exp().sum()
        return 0.5 * (square - 2.0 * self.log_diagonal.sum() - size)


class FreeFactor(nn.Module):
    r"""A square matrix V of which :math:`V V^\top / P` is a Gram matrix; the official parametrisation.

    Its parameter is there from the beginning, so that an optimiser made before the first pass has it; its values are
    :math:`\sqrt P` times the Cholesky factor of the first kernel matrix that it is given.

    Args:
        size: P.
        dtype: None is torch's default.
    """

    is_started: Tensor

    def __init__(self, size: int, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.V = nn.Parameter(torch.eye(size, dtype=dtype) * math.sqrt(size))
        self.register_buffer("is_started", torch.zeros((), dtype=torch.bool))

    def forward(self, C: Tensor) -> Tensor:
        """A root of the Gram matrix, ``(P, P)``; C is the Cholesky factor of the kernel matrix below."""
        if not bool(self.is_started):
            self.set(C)
        root: Tensor = self.V * len(self.V) ** -0.5
        return root

    @property
    def dtype(self) -> torch.dtype:
        """Of V."""
        return self.V.dtype

    @torch.no_grad()
    def set(self, root: Tensor) -> None:
        """Take the Gram matrix ``root root'``."""
        self.V.copy_(root * math.sqrt(len(self.V)))
        self.is_started.fill_(True)


class GramLayer(nn.Module):
    r"""A layer of a deep kernel machine: it replaces the kernel matrix K below by a Gram matrix G of its own.

    .. math:: G = C V V^\top C^\top, \quad C C^\top = K, \qquad
        \mathrm{KL} = \tfrac12 (\operatorname{tr} V V^\top - \log \lvert V V^\top \rvert - P)

    V starts at the identity, where G = K is the kernel of an infinitely wide network; the divergence needs neither K
    nor an inverse. Rows that are no inducing points follow by conditioning: with ``B = K_ti K_ii^-1``,
    ``G_ti = B G_ii`` and ``g_t = k_t - B K_it + B G_ii B'``.

    With ``parametrization="free"`` it is :math:`G = V V^\top / P` for a square V, which starts where G = K, as in the
    official code. The objective is the same at the same G, but G stays where it is when K moves, and the divergence is
    that of the last forward pass.

    Args:
        n_inducing: P.
        nu: how strongly G is held at K, > 0; ``math.inf`` fixes it there. It counts features: a network of width N
            has ``nu N`` of them in this layer.
        parametrization: "whitened" or "free".
        dtype: of the parameters; None is torch's default.

    Raises:
        ValueError: no inducing point, ``nu`` that is not positive, or another parametrisation.

    Cost: ``3 n P^2 + P^3`` multiply-adds.
    Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023),
    in a whitened form; the free one is that of github.com/edwardmilsom/convdkmpaper.

    >>> layer = GramLayer(2, dtype=torch.float64)
    >>> K = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    >>> layer(GramState(K, K[:1], K.diagonal()[:1])).ii
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]], dtype=torch.float64, grad_fn=<MmBackward0>)
    """

    def __init__(
        self,
        n_inducing: int,
        nu: float = 10.0,
        *,
        parametrization: str = "whitened",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_whole("GramLayer: n_inducing", n_inducing)
        if isinstance(nu, bool | str) or not nu > 0.0:
            raise ValueError(f"GramLayer: nu must be positive, or math.inf for the kernel below, not {nu!r}.")
        if parametrization not in ("whitened", "free"):
            raise ValueError(f"GramLayer: parametrization must be 'whitened' or 'free', not {parametrization!r}.")
        n_inducing = int(n_inducing)
        self.n_inducing, self.nu, self.name = n_inducing, float(nu), "GramLayer"
        is_free = parametrization == "free" and math.isfinite(nu)  # the kernel below has no parameters
        self.factor: LowerFactor | FreeFactor = (
            FreeFactor(n_inducing, dtype=dtype)
            if is_free
            else LowerFactor(n_inducing, learn=math.isfinite(nu), dtype=dtype)
        )
        self._last: Tensor | None = None

    def forward(self, below: GramState) -> GramState:
        """Gram matrices from the kernel matrices below.

        Raises:
            ShapeError: no state, or another number of inducing points.
            TypeError: another type, or half precision.
            IndefiniteGram: the kernel matrix below is not positive definite.
        """
        check_state(below, self.n_inducing, self.name, self.factor.dtype)
        C, W, left = below.whitened(self.name)
        if isinstance(self.factor, FreeFactor):
            R = self.factor(C)
            V: Tensor = torch.linalg.solve_triangular(C, R, upper=False)
            self._last = V
        else:
            V = self.factor()
            R = C @ V
        moved = W @ V
        return GramState(R @ R.mT, moved @ R.mT, left + moved.square().sum(-1))

    def kl(self) -> Tensor:
        """Divergence of N(0, G) from N(0, K); of the free parametrisation with the K of the last forward pass.

        Raises:
            RuntimeError: a free layer that has not seen any kernel matrix.
        """
        if isinstance(self.factor, LowerFactor):
            return self.factor.kl()
        if self._last is None:
            raise RuntimeError(
                f"{self.name}(parametrization='free'): its divergence is from the kernel matrix below; run the model "
                f"on some rows first."
            )
        logarithm = torch.linalg.slogdet(self._last).logabsdet
        result: Tensor = 0.5 * (self._last.square().sum() - 2.0 * logarithm - self.n_inducing)
        return result

    def penalty(self) -> Tensor:
        """What the layer takes from the objective, ``nu * kl``; 0 where nu is infinite."""
        return self.nu * self.kl() if math.isfinite(self.nu) else next(self.parameters()).new_zeros(())

    def __getstate__(self) -> dict[str, Any]:
        """Without what is left of the last pass, which belongs to its graph: layers can be copied after training."""
        return {**self.__dict__, "_last": None}

    def extra_repr(self) -> str:
        """Its size, nu, and the parametrisation where it is not the whitened one."""
        free = ", parametrization='free'" if isinstance(self.factor, FreeFactor) else ""
        return f"n_inducing={self.n_inducing}, nu={self.nu:g}{free}"


class GramResidual(nn.Module):
    """A weighted sum of branches, each of which maps a state to a state: skip connections.

    ``nn.Identity()`` among the branches passes on what comes in. The weights are positive and sum to 1 (a softmax), so
    that neither branch can blow up.

    Args:
        branches: modules from state to state, of the same inducing points.
        learn: whether the weights are learnt; they start equal.
        dtype: None is torch's default.

    Raises:
        ValueError: no branch.
    """

    def __init__(self, branches: Iterable[nn.Module], *, learn: bool = True, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        if not len(self.branches):
            raise ValueError("GramResidual needs at least one branch.")
        self.logits = nn.Parameter(torch.zeros(len(self.branches), dtype=dtype), requires_grad=learn)

    @property
    def weights(self) -> Tensor:
        """Of the branches, ``(branches,)``."""
        return torch.softmax(self.logits, 0)

    def forward(self, below: GramState) -> GramState:
        """The sum."""
        found = [branch(below) for branch in self.branches]
        parts = [torch.stack([getattr(state, name) for state in found], -1) for name in ("ii", "ti", "t")]
        ii, ti, t = (part @ self.weights for part in parts)
        return GramState(ii, ti, t)
