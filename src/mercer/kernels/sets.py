"""Kernels of sets of points: the mean of a kernel over all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.errors import ShapeError
from mercer.kernels.algebra import Composite
from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.operators.maps import Expression
from mercer.operators.operands import Operands
from mercer.operators.spec import Spec
from mercer.operators.statistics import Columns, TileStatistic
from mercer.operators.tiles import reference_rows


def pack(points: Any, *, groups: Any = None, room: int | None = None) -> Tensor:
    """Sets of points as the rows that :class:`SetKernel` reads: how many points, then all of them, then zeros.

    Args:
        points: a sequence of sets, each ``(n_i, w)`` or, of single numbers, ``(n_i,)``; with ``groups``, one table of
            points ``(N, w)``.
        groups: ``(N,)``, the set of each point: equal labels belong together. The sets are in the labels' order.
        room: the most points of a set, so that X and Y of different sets have as many columns; None takes the largest.

    Returns:
        ``(n sets, 1 + room * w)``.

    Raises:
        ShapeError: points of different widths, groups of another length, a set larger than ``room``.

    >>> pack([[1, 2], [5]])
    tensor([[2., 1., 2.],
            [1., 5., 0.]])
    >>> pack(torch.tensor([[1.0], [5.0], [2.0]]), groups=["a", "b", "a"])
    tensor([[2., 1., 2.],
            [1., 5., 0.]])
    """
    sets = _by_group(as_tensor(points), groups) if groups is not None else [as_tensor(s) for s in points]
    sets = [s.unsqueeze(-1) if s.dim() == 1 else s for s in sets]
    widths = sorted({s.shape[-1] for s in sets})
    if len(widths) > 1 or any(s.dim() != 2 for s in sets):
        raise ShapeError(f"pack: sets must be tables of points with equally many columns, not of {widths} columns.")
    largest = max((len(s) for s in sets), default=0)
    room = largest if room is None else room
    if largest > room:
        raise ShapeError(f"pack(room={room}): a set has {largest} points. Give room={largest} or more.")
    width = widths[0] if widths else 1
    rows = sets[0].new_zeros(len(sets), 1 + room * width) if sets else torch.zeros(0, 1 + room * width)
    for row, points_of_set in zip(rows, sets, strict=True):
        row[0] = len(points_of_set)
        row[1 : 1 + points_of_set.numel()] = points_of_set.reshape(-1)
    return rows


def _by_group(points: Tensor, groups: Any) -> list[Tensor]:
    labels = list(groups.tolist() if hasattr(groups, "tolist") else groups)
    if len(labels) != len(points):
        raise ShapeError(f"pack: there are {len(points)} points, but {len(labels)} groups; give each point one.")
    places: dict[Any, list[int]] = {}
    for i, label in enumerate(labels):
        places.setdefault(label, []).append(i)
    return [points[places[label]] for label in sorted(places)]


@dataclass(frozen=True)
class MeanOfPairs:
    """A tile function: the mean of the kernel ``spec`` over all pairs of two sets of at most ``room`` points."""

    spec: Spec
    room: int
    width: int

    @property
    def flops_per_pair(self) -> float:
        """Of plain torch, not fused: some twenty elementwise passes a pair of points."""
        return 500.0 * self.room**2

    @property
    def bytes_per_pair(self) -> float:
        """A few temporaries a pair of points."""
        return 8.0 * (self.width + 6.0) * self.room**2

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, 1 + room * width), (q, 1 + room * width) -> (p, q)``."""
        (P, a), (Q, b) = self._unpack(X), self._unpack(Y)
        K = self._all_pairs(P.reshape(-1, self.width), Q.reshape(-1, self.width), theta)
        return torch.einsum("pi,piqj,qj->pq", a, K.reshape(len(X), self.room, len(Y), self.room), b)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, 1 + room * width) -> (p,)``, a set at a time."""
        return torch.cat([self(X[i : i + 1], X[i : i + 1], *theta)[0] for i in range(len(X))] or [X.new_empty(0)])

    def _unpack(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """The points ``(p, room, width)`` and their weights ``(p, room)``: 1 / size of the set, 0 for padding."""
        count = X[:, :1].detach().round()
        weights = (torch.arange(self.room, device=X.device) < count).to(X.dtype) / count.clamp(min=1.0)
        return X[:, 1:].reshape(len(X), self.room, self.width), weights

    def _all_pairs(self, P: Tensor, Q: Tensor, theta: tuple[Tensor, ...]) -> Tensor:
        spec = self.spec
        center = torch.cat([P, Q]).detach().mean(0, keepdim=True) if len(P) + len(Q) else None
        operands = Operands(
            spec,
            tuple(s.points(P, theta, center) for s in spec.statistics),
            tuple(s.points(Q, theta, center) for s in spec.statistics),
            tuple(value(P, theta) for value in spec.row_values),
            tuple(value(Q, theta) for value in spec.row_values),
            tuple(s.parameters(theta) for s in spec.statistics),
            tuple(theta[i] for i in spec.scalars),
        )
        return reference_rows(operands, None, 0, len(P))


class SetKernel(Composite):
    r"""Set kernel: the mean of a kernel over all pairs of points of two sets, bags or samples.

    .. math:: k(A, B) = \frac{1}{|A| |B|} \sum_{a \in A} \sum_{b \in B} \kappa(a, b)

    The rows of X are sets, written by :func:`pack`: how many points, then the points one after another, then padding.
    An empty set is like nothing: k = 0. To compare distributions, use it inside a Gaussian of
    ``k(A, A) + k(B, B) - 2 k(A, B)``, the squared distance of their mean embeddings.

    Args:
        kernel: of points.
        width: columns of a point.

    Raises:
        TypeError: no kernel.
        ValueError: a width below 1, a kernel with white noise inside; at binding, a row that is no packed set.
        ShapeError: at binding, rows that do not divide into points.

    Cost: the inner kernel, in plain torch, for every pair of places of two rows, padding included.
    Source: Gärtner et al., Multi-instance kernels (ICML 2002), section 3.1, normalised by averaging.

    >>> A = pack([[0, 1], [0]])
    >>> SetKernel(RBF(), width=1)(A).to_dense()
    tensor([[0.8033, 0.8033],
            [0.8033, 1.0000]])
    """

    in_grammar = True
    inner: ClassVar[tuple[str, ...]] = ("kernel",)

    def __init__(self, kernel: Kernel, width: int = 1) -> None:
        self.kernel, self.width = kernel, width
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for an argument outside its domain."""
        super().check()
        if isinstance(self.width, bool) or not isinstance(self.width, int) or self.width < 1:
            raise ValueError(f"SetKernel(width={self.width!r}): points have 1 column or more.")

    def resolve(self, names: Sequence[str]) -> Kernel:
        """The inner kernel sees points, which have no names."""
        return self

    def trace(self, binder: Binder) -> list[Expression]:
        """The tile function's values."""
        room, rest = divmod(binder.width - 1, self.width)
        if rest or room < 1:
            raise ShapeError(
                f"SetKernel(width={self.width}): a row has {binder.width} columns, which is not 1 and a multiple of "
                f"{self.width}. Write the sets with mercer.kernels.pack."
            )
        columns = list(binder.all_columns)
        for Z in (binder.X, binder.Y):
            _require_packed(Z[..., columns], room)
        points = [Z[..., columns[1:]].reshape(*Z.shape[:-2], -1, self.width) for Z in (binder.X, binder.Y)]
        inside = Binder(points[0], points[1])
        spec = inside.spec(self.kernel.trace(inside), repr(self.kernel))
        if spec.has_delta:
            raise ValueError(
                f"{self!r}: white noise inside a set has no meaning. Add it outside: SetKernel(...) + White."
            )
        slots = tuple(binder.slot(t, e) for t, e in zip(inside.theta, inside.event_dims, strict=True))
        function = MeanOfPairs(spec, room, self.width)
        return [binder.statistic(TileStatistic(Columns(binder.columns), function=function, slots=slots))]


def _require_packed(X: Tensor, room: int) -> None:
    if torch._C._functorch.maybe_current_level() is not None:
        return
    counts = X.detach()[..., 0]
    # finite differences of a whole row move the count a little
    bad = counts.isfinite() & (((counts - counts.round()).abs() > 1e-3) | (counts < -0.5) | (counts > room + 0.5))
    if bool(bad.any()):
        raise ValueError(
            f"SetKernel: a row begins with the number of its points, 0 to {room}, but one begins with "
            f"{float(counts[bad][0]):g}. Write the sets with mercer.kernels.pack."
        )
