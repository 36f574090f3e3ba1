"""The tensors of one product, in the order in which autograd sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mercer.operators.maps import Expression, evaluate, leaf
from mercer.operators.spec import Spec


@dataclass(frozen=True)
class Identity:
    """Which rows and columns of a block are the same point: their positions in the common set of points.

    ``rows`` and ``columns`` are int64, ``(n,)`` and ``(m,)``.
    """

    rows: Tensor
    columns: Tensor

    @property
    def is_symmetric(self) -> bool:
        """Whether rows and columns are the same points in the same order, each once."""
        equal = self.rows.shape == self.columns.shape and torch.equal(self.rows, self.columns)
        return equal and len(self.rows.unique()) == len(self.rows)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Row and column positions ``(p,)`` of all coincident pairs, ordered by row. Points may occur several times."""
        order = torch.argsort(self.columns, stable=True)
        sorted_columns = self.columns[order]
        wanted = self.rows.contiguous()  # every second row is not, and searchsorted warns about it
        first = torch.searchsorted(sorted_columns, wanted, right=False)
        counts = torch.searchsorted(sorted_columns, wanted, right=True) - first
        rows = torch.repeat_interleave(torch.arange(len(wanted), device=wanted.device), counts)
        starts = torch.repeat_interleave(first - (counts.cumsum(0) - counts), counts)
        return rows, order[starts + torch.arange(len(rows), device=rows.device)]

    @property
    def mT(self) -> Identity:
        """The identity of the transposed block."""
        return Identity(self.columns, self.rows)


@dataclass(frozen=True)
class Structure:
    """How a flat list of tensors is laid out. ``n_parameters`` counts the parameters of each statistic."""

    spec: Spec
    symmetric: bool
    n_parameters: tuple[int, ...]

    def build(self, tensors: Sequence[Tensor]) -> Operands:
        """Operands from tensors in the order of :meth:`Operands.flat`."""
        source = iter(tensors)

        def take(count: int) -> tuple[Tensor, ...]:
            return tuple(next(source) for _ in range(count))

        g, r = len(self.spec.statistics), len(self.spec.row_values)
        left = take(g)
        right = None if self.symmetric else take(g)
        row = take(r)
        column = None if self.symmetric else take(r)
        parameters = tuple(take(count) for count in self.n_parameters)
        return Operands(self.spec, left, right, row, column, parameters, take(len(self.spec.scalars)))


@dataclass(frozen=True)
class Operands:
    """Embedded points, row values, parameters of statistics and scalar hyperparameters.

    ``left[g]`` is ``(*batch, n, r)``, ``right[g]`` ``(*batch, m, r)`` or None when both sides are the same tensor
    (``symmetric``); ``row[g]``, ``column[g]`` are ``(*batch, n)``, ``(*batch, m)``; ``theta[k]`` belongs to
    ``spec.scalars[k]``.
    """

    spec: Spec
    left: tuple[Tensor, ...]
    right: tuple[Tensor, ...] | None
    row: tuple[Tensor, ...]
    column: tuple[Tensor, ...] | None
    parameters: tuple[tuple[Tensor, ...], ...]
    theta: tuple[Tensor, ...]

    @property
    def symmetric(self) -> bool:
        """Whether rows and columns are the same points, in the same order."""
        return self.right is None

    @property
    def rights(self) -> tuple[Tensor, ...]:
        """The column points, whichever tensor holds them."""
        return self.left if self.right is None else self.right

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """The column values, whichever tensor holds them."""
        return self.row if self.column is None else self.column

    def flat(self) -> tuple[Tensor, ...]:
        """All tensors in a fixed order."""
        parameters = tuple(p for group in self.parameters for p in group)
        return (*self.left, *(self.right or ()), *self.row, *(self.column or ()), *parameters, *self.theta)

    @property
    def structure(self) -> Structure:
        """What turns :meth:`flat` back into operands."""
        return Structure(self.spec, self.symmetric, tuple(map(len, self.parameters)))

    def unflatten(self, tensors: Sequence[Tensor]) -> Operands:
        """The same operands with other tensors, given in the order of :meth:`flat`."""
        return self.structure.build(tensors)

    def transposed(self) -> Operands:
        """Rows and columns exchanged."""
        if self.right is None:
            return self
        slots = zip(self.spec.scalars, self.theta, strict=True)
        theta = tuple(-t if slot == self.spec.side else t for slot, t in slots)
        return Operands(self.spec, self.rights, self.left, self.columns, self.row, self.parameters, theta)

    def select(self, index: int) -> Operands:
        """One matrix of a batch that has been flattened to one leading dimension."""
        return self.unflatten(tuple(t[index] for t in self.flat()))

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, m)``."""
        like = (self.left + tuple(a.unsqueeze(-1) for a in self.row))[0]
        other = (self.rights + tuple(b.unsqueeze(-1) for b in self.columns))[0]
        return like.shape[-2], other.shape[-2]

    @property
    def like(self) -> Tensor:
        """A tensor with the data's dtype and device."""
        return (self.left + self.row)[0]

    def numbers(self) -> dict[int, float]:
        """The scalar hyperparameters as numbers, by theta slot."""
        return {slot: float(t.detach()) for slot, t in zip(self.spec.scalars, self.theta, strict=True)}


def with_spec(operands: Operands, spec: Spec) -> Operands:
    """The same tensors for a map of the same leaves, or of some of them."""
    theta = dict(zip(operands.spec.scalars, operands.theta, strict=True))
    return replace(operands, spec=spec, theta=tuple(theta[slot] for slot in spec.scalars))


def entries_at(
    operands: Operands, rows: Tensor, columns: Tensor, delta: Tensor, root: Expression | None = None
) -> Tensor:
    """k at pairs of positions ``(p,)``, ``(*batch, p)``, by the definition.

    Args:
        delta: ``(p,)``, what counts as 1 where a point meets itself.
        root: an expression in place of the kernel's own.
    """
    spec, values = operands.spec, {leaf("delta"): delta}
    for g, statistic in enumerate(spec.statistics):
        E, F = operands.left[g][..., rows, :], operands.rights[g][..., columns, :]
        values[leaf("statistic", g)] = statistic.pairs(E, F, operands.parameters[g])
    for g in range(len(spec.row_values)):
        values[leaf("row", g)] = operands.row[g][..., rows]
        values[leaf("column", g)] = operands.columns[g][..., columns]
    for slot, theta in zip(spec.scalars, operands.theta, strict=True):
        values[leaf("theta", slot)] = theta.to(operands.like.dtype).unsqueeze(-1)
    return evaluate([spec.total if root is None else root], values)[0]


def coincident(operands: Operands, identity: Identity | None, rows: Tensor, columns: Tensor) -> Tensor:
    """Whether pairs of positions are one point, ``(p,)`` bool."""
    if identity is None:
        return (rows == columns) & operands.symmetric
    return identity.rows[rows] == identity.columns[columns]
