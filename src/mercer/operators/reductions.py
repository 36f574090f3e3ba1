"""Reductions of a kernel matrix beside the sum: log-sum-exp, the largest entries; by tiles, nothing stored.

Both look at the logarithm of the kernel where it has one (:func:`log_of`), so far points, whose kernel values are all
0 in floating point, are still weighed and still ordered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mercer.arrays import broadcast_shapes
from mercer.errors import ShapeError
from mercer.operators.logarithm import log_spec
from mercer.operators.machine import exp2_is_faster, parallel
from mercer.operators.maps import derivatives
from mercer.operators.operands import Identity, Operands, Structure, with_spec
from mercer.operators.tiles import Block, Gradients, Tiles, meetings

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator

__all__ = ["logsumexp"]

_LOWEST = -80.0  # e^-80 is as good as 0, and below -87 exp gives denormals, which are slow
_LOG2_E = math.log2(math.e)


def logsumexp(K: KernelOperator, v: Tensor | None = None, *, exclude_self: bool = False) -> Tensor:
    """``log sum_j exp(v_j) K_ij``: the logarithm of a kernel sum with weights given as logarithms.

    Where the kernel has a logarithm (:func:`log_of`: RBF, Matern, Laplacian, rational quadratic, Hamming; their
    products, positive multiples and sums) nothing underflows: the result is finite however far the points are. For
    other kernels it is the logarithm of ``K @ exp(v)``: -inf where all values have underflowed, NaN where the sum is
    negative. Differentiable once, in points, hyperparameters and v, by recomputing tiles.

    Args:
        K: ``(*batch, n, m)``.
        v: log weights, ``(m,)`` or ``(*batch, m, t)``; zeros by default. -inf leaves a column out.
        exclude_self: leave out the entry of a point with itself, where rows and columns are the same points: sums over
            the others, as leave-one-out densities are.

    Returns:
        ``(*batch, n)`` or ``(*batch, n, t)``. Its absolute error is the round-off of the logarithms, eps times the
        largest ``abs(log K_ij)`` that matters: float32 gives 1e-3 where the nearest point is 140 lengthscales away.

    Raises:
        ShapeError: v does not fit K.
        ValueError: ``exclude_self`` of two different sets of points, or of a kernel without a logarithm.

    Cost: that of a product, and t exponentials a pair (2 t for symmetric K). Source: the running maximum of Milakov &
    Gimelshein, Online normalizer calculation for softmax (2018).

    >>> from mercer.kernels import RBF
    >>> logsumexp(RBF()(torch.zeros(1, 1), torch.tensor([[100.0], [200.0]])))
    tensor([-5000.])
    """
    n, m = K.shape[-2:]
    if v is not None and v.shape[0 if v.dim() == 1 else -2] != m:
        raise ShapeError(f"K.logsumexp(v): K is {n} x {m}, so v needs {m} rows, but has shape {tuple(v.shape)}.")
    if exclude_self and not K.same:
        raise ValueError(
            "K.logsumexp: exclude_self needs rows and columns of one set of points: kernel(X) or a part of it."
        )
    columns = torch.zeros(m, 1, dtype=K.dtype, device=K.device) if v is None else v
    columns = columns.unsqueeze(-1) if columns.dim() == 1 else columns
    batch = broadcast_shapes(K.batch_shape, columns.shape[:-2])
    spec = log_spec(K.spec)
    if spec is None and exclude_self:
        raise ValueError(f"K.logsumexp: exclude_self needs a kernel with a logarithm, which {K.spec.name} has not.")
    if spec is None:
        shift = columns.detach().amax(-2, keepdim=True).nan_to_num(neginf=0.0)
        result = torch.log(K @ (columns - shift).exp()) + shift
    else:
        operator = K if K.batch_shape == batch else K._expand_batch(batch)
        operands = operator._operands()[0]
        logs = with_spec(operands, spec)
        structure, weights = logs.structure, columns.expand(*batch, *columns.shape[-2:]).to(logs.like.dtype)
        flat = [t.reshape(batch.numel(), *t.shape[len(batch) :]) for t in (weights, *logs.flat())]
        parts = [
            _LogSumExp.apply(structure, K.identity, exclude_self, *(t[b] for t in flat))  # type: ignore[no-untyped-call]
            for b in range(batch.numel())
        ]
        result = (
            torch.stack(parts).reshape(*batch, n, columns.shape[-1])
            if parts
            else weights.new_zeros(*batch, n, columns.shape[-1])
        )
        if K.spec.has_delta and K.same and not exclude_self:
            result = _with_delta(operator, operands, weights, result)
    result = result.to(K.dtype)
    return result.squeeze(-1) if v is None or v.dim() == 1 else result


def _with_delta(K: KernelOperator, operands: Operands, v: Tensor, result: Tensor) -> Tensor:
    """What coincident points add when the kernel treats a point and itself in another way."""
    extra = K._self_values(operands, 1.0) - K._self_values(operands, 0.0)  # (*batch, n)
    if K.identity is None:
        return torch.logaddexp(result, v + extra.log().unsqueeze(-1))
    rows, columns = K.identity.pairs()
    more = v[..., columns, :] + extra[..., rows].log().unsqueeze(-1)  # (*batch, p, t)
    # Pairs are ordered by row; beside the sum so far every row gets as many places as the most it has.
    counts = torch.bincount(rows, minlength=result.shape[-2])
    slot = 1 + torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    width = 1 + (int(counts.max()) if len(counts) else 0)
    terms = result.new_full((*result.shape[:-1], width, result.shape[-1]), -torch.inf)
    terms[..., 0, :] = result
    terms[..., rows, slot, :] = more
    return terms.logsumexp(-2)


class _LogSumExp(torch.autograd.Function):
    """(structure of log k, identity, exclude_self, v, *operands.flat()) -> ``(n, t)``, unbatched, without ``delta``."""

    @staticmethod
    def forward(
        ctx: Any, structure: Structure, identity: Identity | None, exclude_self: bool, v: Tensor, *tensors: Tensor
    ) -> Tensor:
        result = _reduce(Tiles(structure.build(tensors), identity=identity), v, _Own(identity, exclude_self))
        ctx.structure, ctx.identity, ctx.exclude_self = structure, identity, exclude_self
        ctx.save_for_backward(v, result, *tensors)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        v, result, *tensors = ctx.saved_tensors
        wanted = tuple(ctx.needs_input_grad[4:])
        own = _Own(ctx.identity, ctx.exclude_self)
        dv, *gradients = _pull(ctx.structure.build(tensors), ctx.identity, v, u, result, wanted, own)
        return None, None, None, dv if ctx.needs_input_grad[3] else None, *gradients


class _Own:
    """Leaves out, where asked, the logarithms of points with themselves: they become -inf."""

    def __init__(self, identity: Identity | None, exclude: bool) -> None:
        self.exclude, self.pairs = exclude, identity.pairs() if exclude and identity is not None else None

    def leave_out(self, block: Block, logs: Tensor) -> None:
        """In place."""
        if self.exclude:
            logs[meetings(block, self.pairs, logs.device)] = -torch.inf


def _reduce(tiles: Tiles, v: Tensor, own: _Own) -> Tensor:
    """``log sum_j exp(L_ij + v_jt)``, ``(n, t)``, from tiles of logarithms L."""
    workers, symmetric = tiles.workers, tiles.operands.symmetric
    V = v.mT.contiguous()

    def work(worker: int, check: Callable[[], None]) -> Tensor:
        top, total = v.new_full((v.shape[1], tiles.n), -torch.inf), v.new_zeros(v.shape[1], tiles.n)
        space = v.new_empty(min(tiles.rows, tiles.n) * min(tiles.columns, tiles.m))
        for block, (logs,) in tiles.walk(worker, workers, check):
            own.leave_out(block, logs)
            rows, columns, below = _slices(block)
            for t in range(len(V)):
                scratch = space[: logs.numel()].view_as(logs)
                torch.add(logs, V[t, None, columns], out=scratch)
                _absorb(scratch, 1, top[t, rows], total[t, rows])
                if symmetric and below.start < below.stop:
                    scratch = space[: logs[:, block.square :].numel()].view(len(logs), -1)
                    torch.add(logs[:, block.square :], V[t, rows, None], out=scratch)
                    _absorb(scratch, 0, top[t, below], total[t, below])
        return top + total.log()  # -inf - inf where nothing has been added

    first, *others = parallel.run(work, workers)
    for other in others:
        first = torch.logaddexp(first, other)
    return first.mT.contiguous()


def _absorb(tile: Tensor, dim: int, top: Tensor, total: Tensor) -> None:
    """Add a tile of logarithms, which is used up, to running sums ``total * exp(top)``."""
    new = torch.maximum(top, tile.amax(dim))
    shift = torch.where(new > -torch.inf, new, 0.0)  # where there is nothing yet but zeros
    part = _exponentials(tile.sub_(shift.unsqueeze(dim))).sum(dim)
    total.mul_((top - shift).exp_()).add_(part.mul_(new > -torch.inf))
    top.copy_(new)


def _exponentials(tile: Tensor) -> Tensor:
    """exp of every value, in place."""
    tile.clamp_(min=_LOWEST)
    return tile.mul_(_LOG2_E).exp2_() if exp2_is_faster(tile) else tile.exp_()


def _slices(block: Block) -> tuple[slice, slice, slice]:
    """Rows, columns, and the columns whose mirror images are rows not seen yet (symmetric matrices)."""
    columns = slice(block.j0, block.j1)
    return slice(block.i0, block.i1), columns, slice(block.j0 + block.square, block.j1)


class _Softmax:
    """The derivative of sum(u * logsumexp) by the logarithms: u_it times the share of entry j in the sum of row i."""

    def __init__(self, u: Tensor, v: Tensor, result: Tensor) -> None:
        # Rows of which nothing is left (-inf) have no shares.
        self.shift = torch.where(result > -torch.inf, result, torch.inf)
        self.u, self.v, self.dv = u, v, torch.zeros_like(v)
        self.values = v  # the tile of the current block, set by look

    def look(self, block: Block, logs: Tensor, *, symmetric: bool) -> None:
        """Make the derivatives on a block, and add what it gives to ``dv``."""
        rows, columns, below = _slices(block)
        self.values = torch.zeros_like(logs)
        for t in range(self.v.shape[1]):
            self._share(self.values, logs, rows, columns, t, mirrored=False)
            if symmetric and below.start < below.stop:
                self._share(self.values[:, block.square :], logs[:, block.square :], rows, below, t, mirrored=True)

    def _share(self, into: Tensor, logs: Tensor, rows: slice, columns: slice, t: int, *, mirrored: bool) -> None:
        sums, weights = (columns, rows) if mirrored else (rows, columns)
        axis = 0 if mirrored else 1
        share = logs - self.shift[sums, t].unsqueeze(axis)
        share.add_(self.v[weights, t].unsqueeze(1 - axis))
        _exponentials(share).mul_(self.u[sums, t].unsqueeze(axis))
        self.dv[weights, t] += share.sum(1 - axis)
        into.add_(share)

    def tile(self, block: Block, *, symmetric: bool) -> Tensor:
        """See :class:`mercer.operators.tiles.pull.Cotangent`."""
        return self.values

    def contract(self, block: Block, values: Tensor, *, symmetric: bool) -> Tensor:
        """See :class:`mercer.operators.tiles.pull.Cotangent`."""
        return (self.values * values).sum(dtype=torch.float64)


def _pull(
    operands: Operands,
    identity: Identity | None,
    v: Tensor,
    u: Tensor,
    result: Tensor,
    wanted: tuple[bool, ...],
    own: _Own,
) -> tuple[Tensor | None, ...]:
    """Gradients in v and in each of ``operands.flat()``, None where unwanted."""
    total = operands.spec.total
    targets = Gradients(operands, wanted).targets
    tiles = Tiles(operands, roots=(total, *derivatives(total, targets)), identity=identity)
    workers, symmetric = tiles.workers, operands.symmetric

    def work(worker: int, check: Callable[[], None]) -> tuple[Tensor | None, ...]:
        into, softmax = Gradients(operands, wanted), _Softmax(u, v, result)
        for block, (logs, *slopes) in tiles.walk(worker, workers, check):
            own.leave_out(block, logs)
            softmax.look(block, logs, symmetric=symmetric)
            into.add(block, slopes, softmax)
        return (softmax.dv, *into.flat)

    first, *others = parallel.run(work, workers)
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            if mine is not None and theirs is not None:
                mine += theirs
    return first
