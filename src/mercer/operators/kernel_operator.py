"""The kernel matrix k(X, Y) as a lazy operator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from linear_operator.operators import LinearOperator
from torch import Tensor

from mercer import config
from mercer.arrays import broadcast_shapes
from mercer.errors import ShapeError
from mercer.operators.extremes import Extremes, topk
from mercer.operators.matrices import Operator, is_whole
from mercer.operators.operands import Identity, Operands, coincident, entries_at
from mercer.operators.planning import Plan, Request, radius
from mercer.operators.plans import Algorithm, choose
from mercer.operators.reductions import logsumexp
from mercer.operators.solvers import DirectSolution
from mercer.operators.spec import Spec, self_values
from mercer.operators.tiles import Call, dense_copy, few_entries, is_small

Index = slice | Tensor


class KernelOperator(Operator):
    """k(X, Y), nothing computed until it is used; ``K @ v`` picks its algorithm (see :attr:`plan`).

    Users get one by calling a kernel. Its tensors are X ``(*batch, n, d)``, Y ``(*batch, m, d)`` unless the rows and
    the columns are the same points, and the hyperparameters, each with the same batch shape; everything else is static.

    Args:
        tensors: ``X, *theta`` when ``symmetric``, else ``X, Y, *theta``.
        spec: what is computed from them.
        symmetric: whether the columns are the rows' points in the same order.
        identity: for a block of a symmetric matrix, which of its rows and columns are the same point.
        forced: the name of a plan to use whatever the planner thinks.
        tolerance: the normwise error that a plan may make, relative to ``|K| |v|``; None allows only round-off.
    """

    def __init__(
        self,
        *tensors: Tensor,
        spec: Spec,
        symmetric: bool,
        identity: Identity | None = None,
        forced: str | None = None,
        tolerance: float | None = None,
    ) -> None:
        static = {"spec": spec, "symmetric": symmetric, "identity": identity, "forced": forced, "tolerance": tolerance}
        super().__init__(*tensors, **static)
        self.spec, self.symmetric, self.identity = spec, symmetric, identity
        self.forced, self.tolerance = forced, tolerance
        self._prepared: tuple[tuple[int, ...], Operands, dict[Any, Any]] | None = None

    def _shown(self) -> str:
        return f"{self.spec.name}, "

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": None}

    @property
    def X(self) -> Tensor:
        """The row points ``(*batch, n, d)``."""
        X: Tensor = self._args[0]
        return X

    @property
    def Y(self) -> Tensor:
        """The column points ``(*batch, m, d)``."""
        Y: Tensor = self._args[0 if self.symmetric else 1]
        return Y

    @property
    def theta(self) -> tuple[Tensor, ...]:
        """The hyperparameters, each ``(*batch,)`` or ``(*batch, k)``."""
        return tuple(self._args[1 if self.symmetric else 2 :])

    @property
    def same(self) -> bool:
        """Whether rows and columns are drawn from the same set of points."""
        return self.symmetric or self.identity is not None

    # what linear_operator asks of every operator

    def _size(self) -> torch.Size:
        return torch.Size((*self.X.shape[:-1], self.Y.shape[-2]))

    def _transpose_nonbatch(self) -> Operator:
        if self.symmetric:
            return self
        identity = None if self.identity is None else self.identity.mT
        theta = tuple(-t if slot == self.spec.side else t for slot, t in enumerate(self.theta))
        return self._like(self.Y, self.X, *theta, symmetric=False, identity=identity)

    def _matmul(self, rhs: Tensor) -> Tensor:
        if rhs.dtype != self.dtype:
            raise TypeError(f"K @ v: K is {self.dtype}, v is {rhs.dtype}. Use K.to(v.dtype) or v.to(K.dtype).")
        v = rhs.unsqueeze(-1) if rhs.dim() == 1 else rhs
        if v.shape[-2] != self.shape[-1]:
            n, m = self.shape[-2:]
            hint = " Did you mean K.T @ v?" if v.shape[-2] == n else ""
            raise ShapeError(f"K @ v: K is {n} x {m}, so v needs {m} rows, but has shape {tuple(rhs.shape)}.{hint}")
        if v.dim() > 2 and self.batch_shape.numel() == 1 and v.shape[:-2].numel() > 1:
            # a batch of right-hand sides of one matrix is more columns: one pass instead of many
            columns = v.movedim(-2, 0).reshape(v.shape[-2], -1)
            out = self._product(columns.expand(*self.batch_shape, *columns.shape))
            out = out.reshape(-1, *v.shape[:-2], v.shape[-1]).movedim(0, -2)
            out = out.expand(broadcast_shapes(self.batch_shape, v.shape[:-2]) + out.shape[-2:])
        else:
            batch = self.batch_shape if v.dim() == 2 else broadcast_shapes(self.batch_shape, v.shape[:-2])
            operator = self if self.batch_shape == batch else self._expand_batch(batch)
            out = operator._product(v.expand(*batch, *v.shape[-2:]))
        return out.squeeze(-1) if rhs.dim() == 1 else out

    def _product(self, v: Tensor) -> Tensor:
        operands, memory = self._operands()
        algorithm = self._algorithm(operands, memory, columns=v.shape[-1], counted=True)
        out = algorithm.multiply(self, operands, v.to(operands.like.dtype), memory)
        if self.spec.has_delta and self.same:
            out = out + self._delta_product(operands, v)
        return out.to(v.dtype)

    def expect(self, products: int) -> None:
        """Tell the planner that this matrix, as it is now, will be multiplied so often: storing it may pay at once."""
        memory = self._operands()[1]
        memory["products"] = max(products, memory.get("products", 0))

    def _algorithm(
        self, operands: Operands, memory: dict[Any, Any], *, columns: int, counted: bool = False
    ) -> Algorithm:
        """The plan's algorithm; where it is tiles, chosen anew whenever the number of products has doubled.

        Nobody knows how often a matrix will be multiplied: as often again as it has been is the guess that costs at
        most twice what knowing would, so that K is stored once storing it would have paid.
        """
        done = memory["products"] = memory.get("products", 0) + counted
        key = ("algorithm", columns)
        is_doubled = counted and done & (done - 1) == 0
        if key not in memory or (is_doubled and memory[key].name == "tiles"):
            request = self.request(operands, columns=columns, products=max(done, 1))
            memory[key] = choose(request, self.forced)[0]
        algorithm: Algorithm = memory[key]
        return algorithm

    def _delta_product(self, operands: Operands, v: Tensor) -> Tensor:
        """What coincident points add when the kernel treats a point and itself in another way."""
        extra = self._self_values(operands, 1.0) - self._self_values(operands, 0.0)  # (*batch, n)
        if self.identity is None:
            return extra.unsqueeze(-1) * v
        rows, columns = self.identity.pairs()
        contribution = extra[..., rows, None] * v[..., columns, :]
        return torch.zeros_like(extra).unsqueeze(-1).expand(*extra.shape, v.shape[-1]).index_add(-2, rows, contribution)

    def _self_values(self, operands: Operands, delta: float) -> Tensor:
        spec = operands.spec
        own = [s.itself(E, p) for s, E, p in zip(spec.statistics, operands.left, operands.parameters, strict=True)]
        theta = dict(zip(spec.scalars, operands.theta, strict=True))
        return self_values(spec, own, list(operands.row), theta, delta=delta)

    def operands(self) -> Operands:
        """Embedded points, row values and scalar hyperparameters, as tiles take them; with their graph."""
        return self._operands()[0]

    def _operands(self) -> tuple[Operands, dict[Any, Any]]:
        """Embedded points and the memory of plans; kept between products while nothing has changed."""
        recording = torch.is_grad_enabled() and self.requires_grad
        if recording or torch._C._functorch.maybe_current_level() is not None:
            return self._embed(), {}
        versions = tuple(t._version for t in self._args)
        if self._prepared is None or self._prepared[0] != versions:
            self._prepared = (versions, self._embed(), {})
        return self._prepared[1], self._prepared[2]

    def _embed(self) -> Operands:
        spec, theta = self.spec, self.theta
        half = self.X.dtype in (torch.float16, torch.bfloat16)  # tiles work in float32: half types lose the statistic
        X = self.X.float() if half else self.X
        Y = None if self.symmetric else (self.Y.float() if half else self.Y)
        both = X if Y is None else torch.cat([X, Y], -2)
        center = both.detach().mean(-2, keepdim=True) if both.shape[-2] else None
        left = tuple(s.points(X, theta, center) for s in spec.statistics)
        right = None if Y is None else tuple(s.points(Y, theta, center) for s in spec.statistics)
        row = tuple(value(X, theta) for value in spec.row_values)
        column = None if Y is None else tuple(value(Y, theta) for value in spec.row_values)
        parameters = tuple(s.parameters(theta) for s in spec.statistics)
        return Operands(spec, left, right, row, column, parameters, tuple(theta[i] for i in spec.scalars))

    def request(self, operands: Operands, *, columns: int = 1, products: int = 1, gradient: bool = False) -> Request:
        """What a planner is asked for ``products`` products with ``columns`` right-hand sides each."""
        return Request(
            self.spec,
            tuple(E.shape[-1] for E in operands.left),
            operands.shape,
            operands.like.dtype,
            self.symmetric,
            batch=self.batch_shape.numel(),
            columns=columns,
            products=products,
            gradient=gradient,
            device=operands.like.device.type,
            tolerance=self.tolerance,
            operator=self,
        )

    @property
    def plan(self) -> Plan:
        """What ``K @ v`` will do for one vector; :func:`mercer.operators.plan` answers for more."""
        return self.plan_for()

    def plan_for(self, *, columns: int = 1, products: int = 1, gradient: bool = False) -> Plan:
        """The plan for ``products`` products with ``columns`` right-hand sides each."""
        with torch.no_grad():
            operands, _ = self._operands()
            request = self.request(operands, columns=columns, products=products, gradient=gradient)
            return choose(replace(request, radius=radius(operands)), self.forced)[1]

    @property
    def is_structured(self) -> bool:
        """Whether the plan uses more than entries, so that a product costs less than ``n * m`` of them."""
        return self._algorithm(*self._operands(), columns=1).structured

    def direct(self) -> DirectSolution | None:
        """What the plan knows of ``(K + noise I)^-1`` without iterations over the points, if anything."""
        if not self.symmetric or len(self.batch_shape) or self.spec.has_delta:
            return None
        operands, memory = self._operands()
        return self._algorithm(operands, memory, columns=1).direct(self, memory)

    def with_plan(self, name: str | None, *, tolerance: float | None = None) -> KernelOperator:
        """The same matrix, multiplied by the plan ``name`` (None: the planner's choice again).

        Args:
            tolerance: the normwise error allowed, relative to ``|K| |v|``; None allows only round-off of the dtype.

        Raises:
            ValueError: an unknown plan, or one that does not apply, with the reason; a tolerance outside (0, 1).
        """
        if tolerance is not None and not 0.0 < tolerance < 1.0:
            raise ValueError(f"tolerance={tolerance!r}: give a relative error between 0 and 1, such as 1e-6, or None.")
        operator = self._like(*self._args, forced=name, tolerance=tolerance)
        if name is not None:
            with torch.no_grad():
                self._operands()
            if self._prepared is not None:  # the same points: what is found out about them serves all plans
                operator._prepared = (*self._prepared[:2], {})
            _ = operator.plan
        return operator

    def to_dense(self) -> Tensor:
        """K as a tensor ``(*batch, n, m)``; differentiable; not kept.

        Raises:
            MemoryBudgetError: it does not fit the memory budget.
        """
        n, m = self.shape[-2:]
        config.require_memory(
            self.shape.numel() * self.dtype.itemsize,
            asked=f"K.to_dense() of {n} x {m}",
            instead="Use K @ v, which stores nothing (plan 'tiles').",
        )
        operands, memory = self._operands()
        if is_small(operands):
            K = few_entries(operands, self.identity)
        else:
            K = dense_copy(Call(operands.structure, self.identity, memory=memory), operands)
        if self.spec.has_delta and self.same:
            extra = self._self_values(operands, 1.0) - self._self_values(operands, 0.0)
            if self.identity is None:
                K = K + torch.diag_embed(extra)
            else:
                rows, columns = self.identity.pairs()
                K = _add_at(K, rows, columns, extra[..., rows])
        return K.to(self.dtype)

    def _diagonal(self) -> Tensor:
        if self.symmetric:
            return self._self_values(self._operands()[0], 1.0).to(self.dtype)
        positions = torch.arange(self.shape[-1], device=self.device)
        return self.entries(positions, positions)

    def entries(self, rows: Tensor, columns: Tensor, *, delta: bool = True) -> Tensor:
        """k at pairs of positions, ``(p,), (p,) -> (*batch, p)``, by the definition; ``delta`` counts white noise."""
        operands, _ = self._operands()
        same = coincident(operands, self.identity, rows, columns) & delta
        k = entries_at(operands, rows, columns, same.to(operands.like.dtype))
        return k.expand(*self.batch_shape, len(rows)).to(self.dtype)

    # reductions beside the sum

    def logsumexp(self, v: Tensor | None = None, *, exclude_self: bool = False) -> Tensor:
        """``log sum_j exp(v_j) K_ij`` without underflow; see :func:`mercer.operators.logsumexp`."""
        return logsumexp(self, v, exclude_self=exclude_self)

    def topk(self, k: int, dim: int = -1, *, largest: bool = True, exclude_self: bool = False) -> Extremes:
        """The ``k`` largest entries along ``dim`` and where they are; see :func:`mercer.operators.topk`."""
        return topk(self, k, dim, largest=largest, exclude_self=exclude_self)

    def max(self, dim: int = -1) -> Extremes:
        """The largest entry of every row (``dim=-1``) or column (``-2``) and where it is."""
        return Extremes(*(t.squeeze(dim) for t in topk(self, 1, dim)))

    def min(self, dim: int = -1) -> Extremes:
        """The smallest entry of every row (``dim=-1``) or column (``-2``) and where it is."""
        return Extremes(*(t.squeeze(dim) for t in topk(self, 1, dim, largest=False)))

    # slicing and batches

    def _like(self, *tensors: Tensor, **changes: Any) -> KernelOperator:
        return KernelOperator(*tensors, **{**self._kwargs, **changes})

    def of_points(self, X: Tensor, Y: Tensor, *, spec: Spec | None = None) -> KernelOperator:
        """The same kernel (or another of the same hyperparameters) between other points, none of them coincident."""
        spec = self.spec if spec is None else spec
        return self._like(X, Y, *self.theta, spec=spec, symmetric=False, identity=None, forced=None, tolerance=None)

    def of_terms(self, terms: tuple[int, ...]) -> KernelOperator:
        """The matrix of some of the kernel's terms only, by position."""
        return self._like(*self._args, spec=self.spec.of_terms(terms), forced=None)

    def _getitem(self, row_index: Index, col_index: Index, *batch_indices: Any) -> LinearOperator:
        operator = self
        if batch_indices:
            operator = self._like(*(t[batch_indices] for t in self._args))
        if is_whole(row_index) and is_whole(col_index):
            return operator
        n, m = self.shape[-2:]
        X, Y = operator.X[..., row_index, :], operator.Y[..., col_index, :]
        identity = None
        if self.same:
            base = self.identity or Identity(torch.arange(n, device=self.device), torch.arange(m, device=self.device))
            identity = Identity(base.rows[row_index], base.columns[col_index])
            if self.symmetric and identity.is_symmetric:
                return operator._like(X, *operator.theta, symmetric=True, identity=None)
        return operator._like(X, Y, *operator.theta, symmetric=False, identity=identity)

    def _get_indices(self, row_index: Tensor, col_index: Tensor, *batch_indices: Tensor) -> Tensor:
        shape = broadcast_shapes(row_index.shape, col_index.shape, *(b.shape for b in batch_indices))
        rows, columns = row_index.expand(shape).reshape(-1), col_index.expand(shape).reshape(-1)
        if not batch_indices:
            return self.entries(rows, columns).reshape(shape)
        batch = tuple(b.expand(shape).reshape(-1) for b in batch_indices)
        entries = self.entries(rows, columns)  # (*batch, p)
        return entries[(*batch, torch.arange(len(rows), device=rows.device))].reshape(shape)

    def _expand_batch(self, batch_shape: torch.Size | list[int]) -> KernelOperator:
        old = len(self.batch_shape)
        return self._like(*(t.expand((*batch_shape, *t.shape[old:])) for t in self._args))

    def repeat(self, *sizes: int) -> KernelOperator:
        """A batch of copies, as torch's repeat; the last two sizes must be 1."""
        if tuple(sizes[-2:]) != (1, 1):
            raise ShapeError(f"K.repeat{sizes}: only batch dimensions can be repeated, so the last two must be 1.")
        old = len(self.batch_shape)
        return self._like(*(t.repeat(*sizes[:-2], *(1 for _ in t.shape[old:])) for t in self._args))

    def _mul_constant(self, other: float | Tensor) -> Operator:
        factor = torch.as_tensor(other, device=self.device)
        spec = self.spec.scaled(len(self.theta))
        return self._like(*self._args, factor.to(torch.float64).expand(self.batch_shape), spec=spec)

    def to(self, *args: Any, **kwargs: Any) -> KernelOperator:
        """K with X and Y in another dtype or on another device; hyperparameters keep their accuracy (float64)."""
        probe = torch.empty(0, dtype=self.dtype, device=self.device).to(*args, **kwargs)
        points = 1 if self.symmetric else 2
        moved = [t.to(dtype=probe.dtype, device=probe.device) for t in self._args[:points]]
        return self._like(*moved, *(t.to(device=probe.device) for t in self._args[points:]))

    def type(self, dtype: torch.dtype) -> KernelOperator:
        """K with X and Y of another dtype."""
        return self.to(dtype)

    def double(self, device_id: str | None = None) -> KernelOperator:
        """K in float64."""
        return self.to(torch.float64)

    def float(self, device_id: str | None = None) -> KernelOperator:
        """K in float32."""
        return self.to(torch.float32)

    def half(self, device_id: str | None = None) -> KernelOperator:
        """K in float16; tiles still work in float32."""
        return self.to(torch.float16)


def _add_at(K: Tensor, rows: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """K with ``values`` added at positions ``(rows, columns)`` of its last two dimensions."""
    flat = K.reshape(*K.shape[:-2], -1)
    return flat.index_add(-1, rows * K.shape[-1] + columns, values).reshape(K.shape)


def plan(K: KernelOperator, *, columns: int = 1, products: int = 1, gradient: bool = False) -> Plan:
    """What ``products`` products of K with ``columns`` right-hand sides each (and their gradients) will cost, and how.

    >>> from mercer.kernels import RBF
    >>> plan(RBF()(torch.rand(100_000, 8)), products=50).name
    'tiles'
    """
    return K.plan_for(columns=columns, products=products, gradient=gradient)
