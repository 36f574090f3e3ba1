"""A statistic given by any function of two blocks of points: kernels that are no map of distances or dot products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from mercer.operators.statistics.statistic import Panels, Pulled, Statistic

_TOGETHER = 16  # pairs of one point that are computed in one call: enough to pay for it, too few to be a tile


class TileFunction(Protocol):
    """What a kernel gives when nothing faster fits: hashable, picklable, differentiable if gradients are wanted."""

    @property
    def bytes_per_pair(self) -> float:
        """Memory that a pair needs while its tile is made, beyond the value."""

    @property
    def flops_per_pair(self) -> float:
        """Work of a pair, in floating-point operations of a GEMM."""

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d), ... -> (p, q)``: the kernel of two blocks of points."""

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), ... -> (p,)``: the kernel of each point with itself."""


@dataclass(frozen=True)
class TileStatistic(Statistic):
    """The values of a :class:`TileFunction`; the planner sizes tiles and decides to store K from its costs."""

    function: TileFunction = None  # type: ignore[assignment]
    slots: tuple[int, ...] = ()  # which theta the function takes
    foldable: ClassVar[bool] = False

    def parameters(self, theta: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(theta[i] for i in self.slots)

    def pairs(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        E, F = torch.broadcast_tensors(E, F)
        left, right = E.reshape(-1, E.shape[-1]), F.reshape(-1, F.shape[-1])
        if not len(left):
            return E.new_zeros(E.shape[:-1])
        runs = [1] * len(left)
        if not (torch.is_grad_enabled() and E.requires_grad):  # points that are equal have gradients of their own
            runs = torch.unique_consecutive(left, dim=0, return_counts=True)[1].tolist()
            runs = [size for run in runs for size in (*[_TOGETHER] * (run // _TOGETHER), run % _TOGETHER) if size]
        blocks = zip(left.split(runs), right.split(runs), strict=True)
        values = [self.function(e[:1], f, *parameters).reshape(-1) for e, f in blocks]
        return torch.cat(values).reshape(E.shape[:-1])

    def table(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        return self.function(E, F, *parameters)

    def itself(self, E: Tensor, parameters: tuple[Tensor, ...] = ()) -> Tensor:
        if E.dim() == 2:
            return self.function.diagonal(E, *parameters)
        return torch.stack([self.itself(e, tuple(p[i] for p in parameters)) for i, e in enumerate(E)])

    def panels(self, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...], scale: float, exact: bool) -> Panels:
        return _FunctionPanels(self.function, E, F, parameters)

    def pull(
        self, W: Tensor, E: Tensor, F: Tensor, dE: Tensor | None, dF: Tensor | None, parameters: Pulled = ()
    ) -> None:
        wanted = [(E, dE), (F, dF), *parameters]
        with torch.enable_grad():
            inputs = [tensor.detach().requires_grad_(into is not None) for tensor, into in wanted]
            values = self.function(*inputs)
            chosen = [t for t in inputs if t.requires_grad]
            grads = iter(torch.autograd.grad(values, chosen, W, allow_unused=True))
        for _, into in wanted:
            if into is not None and (grad := next(grads)) is not None:
                into.add_(grad)

    def flops(self, width: int) -> float:
        return self.function.flops_per_pair

    @property
    def bytes_per_pair(self) -> float:
        return self.function.bytes_per_pair

    @property
    def traffic_per_pair(self) -> float:
        return getattr(self.function, "traffic_per_pair", 0.0)  # most functions count flops alone


class _FunctionPanels:
    def __init__(self, function: TileFunction, E: Tensor, F: Tensor, parameters: tuple[Tensor, ...]) -> None:
        self.function, self.E, self.F, self.parameters = function, E, F, parameters

    def fill(self, i0: int, i1: int, j0: int, j1: int, out: Tensor, scratch: Tensor) -> None:
        out.copy_(self.function(self.E[i0:i1], self.F[j0:j1], *self.parameters))
