"""The empirical NTK as a lazy matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from linear_operator.operators import DenseLinearOperator, LinearOperator
from linear_operator.utils.generic import _to_helper
from torch import Tensor

from mercer.kernels.tangent.contract import block, is_flat, pairs
from mercer.kernels.tangent.gradients import factors, jacobian, pull, push
from mercer.kernels.tangent.network import Network
from mercer.kernels.tangent.norms import written_out
from mercer.operators.functions import tracks_gradient
from mercer.operators.matrices import Operator, is_whole, require_dense_memory

__all__ = ["TangentOperator"]

_NUMBERS = 1 << 26  # of gradients, factors and activations that are held at once

Side = tuple[Tensor, Tensor]  # points, and for each row its point; with outputs="full" point * n_outputs + output


class TangentOperator(Operator):
    """Inner products of a network's gradients at points; made by :class:`mercer.kernels.EmpiricalNTK`.

    Args:
        tensors: points and rows, where they differ points and columns too, then the network's state.
        network: the module and the way its gradients are found.
        method: "auto", "structured", "jacobian" or "product".
        symmetric: whether rows and columns are the same.
    """

    def __init__(self, *tensors: Tensor, network: Network, method: str, symmetric: bool) -> None:
        super().__init__(*tensors, network=network, method=method, symmetric=symmetric)
        self.network, self.method, self.symmetric = network, method, symmetric
        self.left: Side = (tensors[0], tensors[1])
        self.right: Side = self.left if symmetric else (tensors[2], tensors[3])
        self.tensors = tensors[2 if symmetric else 4 :]
        self.state = network.state(self.tensors)

    # shape and type: those of the parameters, since points may be whole numbers

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return self.tensors[0].dtype

    @property
    def device(self) -> torch.device:
        """Of the parameters."""
        return self.tensors[0].device

    def to(self, *args: Any, **kwargs: Any) -> TangentOperator:
        """The operator in another type (points of whole numbers stay) or on another device."""
        device, dtype = _to_helper(*args, **kwargs)
        moved = [t.to(device=device, dtype=dtype if t.is_floating_point() else None) for t in self._args]
        return TangentOperator(*moved, **self._kwargs)

    def type(self, dtype: torch.dtype) -> TangentOperator:
        """The operator in another type."""
        return self.to(dtype)

    def _size(self) -> torch.Size:
        return torch.Size((len(self.left[1]), len(self.right[1])))

    def _transpose_nonbatch(self) -> TangentOperator:
        return self if self.symmetric else self._like(self.right, self.left)

    def _like(self, left: Side, right: Side | None = None) -> TangentOperator:
        sides = left if right is None else (*left, *right)
        return TangentOperator(*sides, *self.tensors, network=self.network, method=self.method, symmetric=right is None)

    # A batch of copies is stored: a network has one set of parameters, so its kernel has no batch of its own.

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> LinearOperator:
        return DenseLinearOperator(self.to_dense().expand(*batch_shape, *self.shape))

    def _unsqueeze_batch(self, dim: int) -> LinearOperator:
        return self._expand_batch([1])

    def repeat(self, *sizes: int) -> LinearOperator:
        """A batch of copies, as torch's repeat, stored; the last two sizes must be 1."""
        return DenseLinearOperator(self.to_dense().repeat(*sizes))

    # parts

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> LinearOperator:
        whole = is_whole(row_index) and is_whole(col_index)
        if whole:
            return self
        if self.symmetric and isinstance(row_index, slice) and row_index == col_index:
            return self._like(self._some(self.left, row_index))
        return self._like(self._some(self.left, row_index), self._some(self.right, col_index))

    def _some(self, side: Side, index: Any) -> Side:
        """Some rows, with no more points than they need."""
        points, rows = side
        kept = rows[index]
        width = self.network.n_outputs if self.network.outputs == "full" else 1
        which, place = torch.unique(kept // width, return_inverse=True)
        return points[which], place * width + kept % width

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        row_index, col_index = torch.broadcast_tensors(row_index, col_index)
        i, j = (index.reshape(-1) for index in (row_index, col_index))
        found = [self._pairs(i[part], j[part]) for part in self._parts(len(i))]
        return torch.cat(found).reshape(row_index.shape) if found else self.tensors[0].new_zeros(row_index.shape)

    def _diagonal(self) -> Tensor:
        index = torch.arange(min(self.shape), device=self.device)
        return self._get_indices(index, index)

    def _pairs(self, i: Tensor, j: Tensor) -> Tensor:
        with written_out(tracks_gradient(*self._args)):
            return self._entries(i, j)

    def _entries(self, i: Tensor, j: Tensor) -> Tensor:
        left, right = self._rows(self.left, i), self._rows(self.right, j)
        is_same = self.symmetric and bool((i == j).all())
        total = self.tensors[0].new_zeros(len(i))
        if self.network.layers:
            a = factors(self.network, self.state, *left)
            b = a if is_same else factors(self.network, self.state, *right)
            total = total + sum(pairs(x, y) for x, y in zip(a, b, strict=True))
        for names in self.network.groups:
            J = jacobian(self.network, self.state, names, *left)
            H = J if is_same else jacobian(self.network, self.state, names, *right)
            total = total + (J * H).sum((0, 2))
        return total

    def _rows(self, side: Side, index: Any) -> tuple[Tensor, Tensor]:
        """Points of some rows, and what is pulled back there, ``(o, n, n_outputs)``."""
        points, rows = side
        rows, width, like = rows[index], self.network.n_outputs, self.tensors[0]
        if self.network.outputs == "full":
            one = torch.nn.functional.one_hot(rows % width, width).to(like.dtype)
            return points[rows // width], one[None]
        if self.network.outputs == "sum":
            return points[rows], like.new_ones(1, len(rows), width)
        eye = torch.eye(width, dtype=like.dtype, device=like.device)
        return points[rows], eye[:, None].expand(width, len(rows), width)

    # the whole

    def to_dense(self) -> Tensor:
        """The matrix as a tensor; not kept."""
        require_dense_memory(self, "to_dense() of an empirical NTK")
        n, m = self.shape
        if self.method == "product":
            return torch.as_tensor(self._matmul(torch.eye(m, dtype=self.dtype, device=self.device)))
        if not n or not m:
            return self.tensors[0].new_zeros(n, m)
        if not self.symmetric:
            return torch.cat([self._block_row(part) for part in self._parts(n)])
        parts = self._parts(n)
        rows: list[list[Tensor]] = []
        for a, left in enumerate(parts):
            above = [rows[b][a].mT for b in range(a)]
            rows.append([*above, *(self._block(left, right) for right in parts[a:])])
        return torch.cat([torch.cat(row, 1) for row in rows])

    def _block_row(self, part: slice) -> Tensor:
        return torch.cat([self._block(part, other) for other in self._parts(self.shape[1])], 1)

    def _block(self, i: slice, j: slice) -> Tensor:
        with written_out(tracks_gradient(*self._args)):
            return self._products(i, j)

    def _products(self, i: slice, j: slice) -> Tensor:
        left, right = self._rows(self.left, i), self._rows(self.right, j)
        is_same = self.symmetric and i == j
        total: Tensor | None = None
        if self.network.layers:
            a = factors(self.network, self.state, *left)
            b = a if is_same else factors(self.network, self.state, *right)
            for x, y in zip(a, b, strict=True):
                part = block(x, y)
                total = part if total is None else total + part
        for names in self.network.groups:
            J = jacobian(self.network, self.state, names, *left).movedim(0, 1).flatten(1)
            H = J if is_same else jacobian(self.network, self.state, names, *right).movedim(0, 1).flatten(1)
            total = J @ H.mT if total is None else total + J @ H.mT
        assert total is not None
        return total

    def _parts(self, n: int) -> list[slice]:
        """Rows that are handled together."""
        net, o = self.network, self.network.n_cotangents
        numbers = net.n_activations * (1 + o)
        for call in net.calls:
            numbers += call.n_positions * (call.n_in + o * call.n_out)
            if is_flat(call.n_in, call.n_out, call.n_positions, o):
                numbers += o * call.n_in * call.n_out
        numbers += o * max((sum(net.sizes[name] for name in group) for group in net.groups), default=0)
        step = max(1, _NUMBERS // numbers)
        return [slice(i, min(i + step, n)) for i in range(0, n, step)]

    # products

    def _matmul(self, rhs: Tensor) -> Tensor:
        v = rhs.unsqueeze(-1) if rhs.dim() == 1 else rhs
        batch, (m, t) = v.shape[:-2], v.shape[-2:]
        v = v.movedim(-2, 0).reshape(m, -1)
        if not self.shape[0] or not m or not v.shape[1]:
            out = v.new_zeros(self.shape[0], v.shape[1])
        elif self._takes_blocks(v.shape[1]):
            out = torch.cat([self._block_row(part) @ v for part in self._parts(self.shape[0])])
        else:
            with written_out(tracks_gradient(v, *self._args)):
                out = self._product(v)
        out = out.reshape(-1, *batch, t).movedim(0, -2)
        return out.squeeze(-1) if rhs.dim() == 1 else out

    def _takes_blocks(self, columns: int) -> bool:
        """Whether entries are computed and multiplied, row of blocks by row of blocks: always, or if that is less."""
        if self.method != "auto" or not self.network.has_products:
            return self.method != "product"
        net, o = self.network, self.network.n_cotangents
        n, m = self.shape
        a_pass = sum(2 * c.n_positions * c.n_in * c.n_out for c in net.calls)
        a_pass += 2 * sum(net.sizes[name] for group in net.groups for name in group)
        a_pair = sum(2 * o * net.sizes[name] for group in net.groups for name in group)
        for c in net.calls:
            of_pairs = 2 * c.n_positions**2 * (c.n_in + o * c.n_out)
            a_pair += 2 * o * c.n_in * c.n_out if is_flat(c.n_in, c.n_out, c.n_positions, o) else of_pairs
        again = 1 if self.symmetric else 2
        by_blocks = n * m * a_pair + again * n * (1 + 2 * o) * a_pass * len(self._parts(n))
        by_passes = columns * o * 3 * (n + m) * a_pass
        return bool(by_blocks < by_passes)

    def _product(self, v: Tensor) -> Tensor:
        """``(n, t)`` for v ``(m, t)``: one backward and one forward pass for each column (and output of a trace)."""
        net, (Y, columns), (X, rows) = self.network, self.right, self.left
        width, t = net.n_outputs, v.shape[1]
        spread = v.new_zeros(len(Y) * (width if net.outputs == "full" else 1), t).index_add(0, columns, v)
        if net.outputs == "full":
            cotangents = spread.view(len(Y), width, t).movedim(2, 0)
        elif net.outputs == "sum":
            cotangents = spread.mT[:, :, None].expand(t, len(Y), width)
        else:  # output a of column e at place e * width + a
            eye = torch.eye(width, dtype=v.dtype, device=v.device)
            cotangents = (spread.mT[:, None, :, None] * eye[:, None]).flatten(0, 1)
        found = torch.cat([self._passes(X, Y, cotangents[part]) for part in self._columns(len(cotangents))])
        if net.outputs == "full":
            return found.flatten(1).mT[rows]
        if net.outputs == "sum":
            return found.sum(2).mT[rows]
        return found.view(t, width, len(X), width).diagonal(dim1=1, dim2=3).sum(2).mT[rows]

    def _passes(self, X: Tensor, Y: Tensor, cotangents: Tensor) -> Tensor:
        net, state = self.network, self.state
        step = max(1, _NUMBERS // (net.n_activations * 2 * len(cotangents)))
        total: dict[str, Tensor] = {}
        for i in range(0, len(Y), step):
            part = pull(net, state, Y[i : i + step], cotangents[:, i : i + step])
            total = {name: w if not total else total[name] + w for name, w in part.items()}
        return torch.cat([push(net, state, X[i : i + step], total) for i in range(0, len(X), step)], 1)

    def _columns(self, count: int) -> Iterator[slice]:
        step = max(1, _NUMBERS // self.network.n_parameters)
        return (slice(i, i + step) for i in range(0, count, step))
