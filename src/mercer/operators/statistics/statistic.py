"""Statistics of pairs of embedded points: what a kernel's map is applied to.

A statistic knows its definition (``pairs``), how to fill a tile quickly (``panels``) and how a tile of derivatives goes
back to the points (``pull``). A new one is a class here or in a file of its own; nothing else knows them by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from mercer.operators.maps import Expression, clamp
from mercer.operators.statistics.embed import Columns, Embed

Pulled = Sequence[tuple[Tensor, Tensor | None]]


class Panels(Protocol):
    """The two sides of one matrix, laid out for tiles."""

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        """Write the raw statistic of rows ``i0:i1`` and columns ``j0:j1`` into ``out``; ``scratch`` has its shape."""


@dataclass(frozen=True)
class Statistic:
    """Base of all statistics; ``embed`` gives the points."""

    embed: Embed = field(default_factory=Columns)
    centred: ClassVar[bool] = False  # whether a common shift of embedded points changes nothing
    vanishes: ClassVar[bool] = False  # whether it is 0 between a point and itself, whatever round-off says
    foldable: ClassVar[bool] = False  # whether panels can multiply the raw value by a number for free
    nonnegative: ClassVar[bool] = False  # whether it is never below 0

    def points(self, X: Tensor, theta: tuple[Tensor, ...], center: Tensor | None) -> Tensor:
        """The embedded points ``(*batch, n, r)``."""
        return self.embed(X, theta, center if self.centred else None)

    def parameters(self, theta: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Tensors beside the points that the statistic itself is differentiable in."""
        return ()

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        """The definition, row by row: ``(..., r), (..., r) -> (...)``. Differentiable."""
        raise TypeError(f"{type(self).__name__} has no definition by pairs.")

    def table(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        """All pairs, ``(n, r), (m, r) -> (n, m)``, by plain differentiable torch."""
        return self.pairs(E.unsqueeze(-2), F.unsqueeze(-3), parameters)

    def exact_table(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        """All pairs without cancellation, where memory for ``n m r`` numbers does not matter."""
        return self.pairs(E.unsqueeze(-2), F.unsqueeze(-3), parameters)

    def itself(self, E: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        """The statistic of each point with itself, ``(*batch, n)``, free of cancellation."""
        return self.pairs(E, E, parameters)

    def lower(self, raw: Expression) -> Expression:
        """The statistic in terms of what the panels write."""
        return raw

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        """Panels for tiles. ``scale`` multiplies the raw value; ``exact`` asks for full relative accuracy near 0."""
        raise NotImplementedError

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        """Add what the weights W of a tile pull on its points: sum_j W_ij dS_ij/dE_i to ``dE``, and so for ``dF``.

        ``parameters`` are pairs of a tensor and the gradient to add to, None where unwanted.
        """
        raise NotImplementedError

    def slopes(self, W: Tensor, V: Tensor, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        """sum_j W_ij V_jt dS_ij/dE_i of a tile for every column of V: ``(p, t, r)``."""
        out = E.new_zeros(V.shape[1], *E.shape)
        for v, into in zip(V.mT, out, strict=True):
            self.pull(W * v, E, F, into, None, [(p, None) for p in parameters])
        return out.movedim(0, 1)

    def flops(self, width: int) -> float:
        """Floating-point operations a pair, for an embedding of ``width`` columns."""
        return 2.0 * width

    @property
    def bytes_per_pair(self) -> float:
        """Memory a pair of a tile takes beside its buffers."""
        return 0.0

    @property
    def traffic_per_pair(self) -> float:
        """Bytes that a pair moves through memory in float32, beside the tile's buffers."""
        return 0.0


def _product(W: Tensor, F: Tensor) -> Tensor:
    """W @ F for F of few columns, as rows: a GEMM with 2 to 15 columns is 3 to 6 times slower than its transpose."""
    return torch.mm(F.mT.contiguous(), W.mT).mT


@dataclass(frozen=True)
class SquaredDistance(Statistic):
    """|e - f|^2, on centred points.

    A tile is one GEMM of [e, -|e|^2/2, 1] with [f, 1, -|f|^2/2], which gives raw = -|e - f|^2 / 2.
    """

    centred: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True
    foldable: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return (E - F).square().sum(-1)

    def table(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        if E.shape[-1] <= 8:
            return super().table(E, F)
        squares = E.square().sum(-1).unsqueeze(-1) + F.square().sum(-1).unsqueeze(-2)
        return (squares - 2.0 * (E @ F.mT)).clamp(min=0.0)

    def itself(self, E: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return torch.zeros_like(E.sum(-1))  # also without columns

    def lower(self, raw: Expression) -> Expression:
        return clamp(raw * -2.0, min=0.0)

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        if E.shape[1] == 1 and len(E) and len(F):
            # On a line, points of any spread have neighbours, whose distance the GEMM loses once eps R^2 nears 1.
            radius = float(torch.maximum(E.abs().max(), F.abs().max())) ** 2
            if torch.finfo(E.dtype).eps * radius > 1e-3:
                return _LinePanels(E, F, scale)
        return _DistancePanels(E, F, scale, exact)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        if dE is not None:
            dE.add_(_product(W, F), alpha=-2.0).addcmul_(W.sum(1, keepdim=True), E, value=2.0)
        if dF is not None:
            dF.add_(_product(W.mT, E), alpha=-2.0).addcmul_(W.sum(0).unsqueeze(1), F, value=2.0)

    def slopes(self, W: Tensor, V: Tensor, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        """One GEMM for all columns of V."""
        right = torch.cat([V, (V.unsqueeze(2) * F.unsqueeze(1)).flatten(1)], 1)  # (q, t + t r)
        sums = _product(W, right)
        t = V.shape[1]
        return 2.0 * (sums[:, :t, None] * E.unsqueeze(1) - sums[:, t:].reshape(len(E), t, -1))

    def flops(self, width: int) -> float:
        return 2.0 * (width + 2)


class _DistancePanels:
    def __init__(self, E: Tensor, F: Tensor, scale: float, exact: bool) -> None:
        self.E, self.F, self.scale = E, F, scale
        half_e, half_f = E.square().sum(1, keepdim=True) / 2.0, F.square().sum(1, keepdim=True) / 2.0
        self.left = torch.cat([E, -half_e, torch.ones_like(half_e)], 1).mul_(scale)
        self.right = torch.cat([F, torch.ones_like(half_f), -half_f], 1)
        self.near = 0.0
        if exact and len(E) and len(F):
            # The GEMM leaves an error of eps R^2 in s, so eps R^2 / (2 r) in r: pairs where that passes 4 eps (2 + R^2)
            # are computed again from differences.
            radius = float(2.0 * max(half_e.max(), half_f.max()))
            self.near = (radius / (8.0 * (2.0 + radius))) ** 2 / 2.0

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        torch.mm(self.left[i0:i1], self.right[j0:j1].mT, out=out)
        if self.near > 0.0:
            # scale < 0 turns the sign of the raw value around; the extreme alone says that most tiles have none
            edge = -self.near * self.scale
            if float(out.max() if self.scale > 0 else -out.min()) >= (edge if self.scale > 0 else -edge):
                i, j = (out.ge(edge) if self.scale > 0 else out.le(edge)).nonzero(as_tuple=True)
                difference = self.E[i0 + i] - self.F[j0 + j]
                out[i, j] = difference.square_().sum(1).mul_(-0.5 * self.scale)


class _LinePanels:
    """Squared differences of one column: three elementwise passes and no cancellation."""

    def __init__(self, E: Tensor, F: Tensor, scale: float) -> None:
        self.E, self.F, self.scale = E, F.mT.contiguous(), scale

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        torch.sub(self.E[i0:i1], self.F[:, j0:j1], out=out)
        out.square_().mul_(-0.5 * self.scale)


@dataclass(frozen=True)
class DotProduct(Statistic):
    """<e, f>, not centred; a tile is one GEMM."""

    foldable: ClassVar[bool] = True

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return (E * F).sum(-1)

    def table(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return E @ F.mT

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        return _DotPanels(E * scale, F)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        if dE is not None:
            dE.add_(_product(W, F))
        if dF is not None:
            dF.add_(_product(W.mT, E))


class _DotPanels:
    def __init__(self, E: Tensor, F: Tensor) -> None:
        self.E, self.F = E, F

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        torch.mm(self.E[i0:i1], self.F[j0:j1].mT, out=out)


@dataclass(frozen=True)
class L1Distance(Statistic):
    """sum_k |e_k - f_k|, on centred points; three elementwise passes a column, no cancellation."""

    centred: ClassVar[bool] = True
    vanishes: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return (E - F).abs().sum(-1)

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        return _L1Panels(E, F)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        for k in range(E.shape[1]):
            signed = (E[:, k, None] - F[None, :, k]).sign_().mul_(W)
            if dE is not None:
                dE[:, k] += signed.sum(1)
            if dF is not None:
                dF[:, k] -= signed.sum(0)

    def slopes(self, W: Tensor, V: Tensor, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        columns = [(E[:, k, None] - F[None, :, k]).sign_().mul_(W) @ V for k in range(E.shape[1])]
        return torch.stack(columns, -1)

    def flops(self, width: int) -> float:
        return 24.0 * width  # elementwise passes run at about a twelfth of a GEMM's rate


class _L1Panels:
    def __init__(self, E: Tensor, F: Tensor) -> None:
        self.E, self.F = E.mT.contiguous(), F.mT.contiguous()

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        out.zero_()
        for e, f in zip(self.E[:, i0:i1], self.F[:, j0:j1], strict=True):
            torch.sub(e.unsqueeze(1), f, out=scratch)
            out.add_(scratch.abs_())


@dataclass(frozen=True)
class Mismatch(Statistic):
    """Weighted number of columns that differ; the embedding is codes, then square roots of weights (``Codes``)."""

    nonnegative: ClassVar[bool] = True

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        c = E.shape[-1] // 2
        return ((E[..., :c] != F[..., :c]).to(E.dtype) * E[..., c:] * F[..., c:]).sum(-1)

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        return _MismatchPanels(E, F)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        c = E.shape[1] // 2
        for k in range(c):
            differs = (E[:, k, None] != F[None, :, k]).to(W.dtype).mul_(W)
            if dE is not None:
                dE[:, c + k] += differs @ F[:, c + k]
            if dF is not None:
                dF[:, c + k] += differs.mT @ E[:, c + k]

    def flops(self, width: int) -> float:
        return 12.0 * width


class _MismatchPanels:
    def __init__(self, E: Tensor, F: Tensor) -> None:
        c = E.shape[1] // 2
        self.E, self.F = E[:, :c].mT.contiguous(), F[:, :c].mT.contiguous()
        self.weights = (E[:1, c:] * F[:1, c:]).flatten().tolist()  # the same for every row

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        out.zero_()
        for weight, e, f in zip(self.weights, self.E[:, i0:i1], self.F[:, j0:j1], strict=False):
            out.add_(e.unsqueeze(1) != f, alpha=weight)
