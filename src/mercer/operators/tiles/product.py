"""``K @ v`` and a dense copy of K as autograd functions that recompute instead of remembering.

Forward goes through the chosen plan. Backward recomputes tiles: G = (u v') * dmap/dS, then GEMMs (about a third of the
forward's speed; autograd through every tile is 4x slower still). The gradient is a function of its own, differentiable
again by plain torch over blocks of rows, so Hessians, ``torch.func.grad`` and ``vmap`` work. Batches are one leading
dimension a level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from mercer.operators.operands import Identity, Operands, Structure
from mercer.operators.tiles.definition import reference_rows
from mercer.operators.tiles.passes import Tiles
from mercer.operators.tiles.pull import DenseCotangent, OuterCotangent, pull
from mercer.operators.watchers import is_recorded

BLOCK_ELEMENTS = 1 << 20  # pairs held at once by the twice differentiable path, in each of its few temporaries


class Forward(Protocol):
    """How a plan multiplies; see ``mercer.operators.plans``."""

    def takes_batches(self, operands: Operands) -> bool:
        """Whether ``product`` and ``pull`` take a batch, in one leading dimension of all tensors."""

    def product(self, operands: Operands, identity: Identity | None, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """K @ v for unbatched operands and v ``(m, t)``; ``memory`` lives as long as the operator."""

    def pull(
        self,
        operands: Operands,
        identity: Identity | None,
        cotangent: OuterCotangent,
        wanted: tuple[bool, ...],
        memory: dict[Any, Any],
    ) -> tuple[Tensor | None, ...]:
        """The gradient of ``sum(u * (K v))`` in each of ``operands.flat()``; None where unwanted."""


@dataclass(frozen=True, eq=False)
class Call:
    """What is static about a product: the layout of its tensors, coincident pairs, the plan and its memory."""

    structure: Structure
    identity: Identity | None
    forward: Forward | None = None
    memory: dict[Any, Any] = field(default_factory=dict)

    def transposed(self) -> Call:
        """The call for K.mT."""
        identity = None if self.identity is None else self.identity.mT
        return self if self.structure.symmetric else replace(self, identity=identity, memory={})


def _flatten_batch(tensors: Sequence[Tensor], event_dims: Sequence[int]) -> tuple[list[Tensor], torch.Size]:
    """Tensors with their batch shape (which is common to all) as one leading dimension."""
    batch = tensors[0].shape[: tensors[0].dim() - event_dims[0]]
    flat = [t.reshape(batch.numel(), *t.shape[len(batch) :]) for t in tensors]
    return flat, batch


def _vmap(
    apply: Callable[..., Any], info: Any, in_dims: Sequence[int | None], args: Sequence[Any], n_static: int
) -> Any:
    """Run a function with one more leading batch dimension; tensors without one are expanded."""
    moved = [
        t.movedim(d, 0) if d is not None else t.expand(info.batch_size, *t.shape)
        for t, d in zip(args[n_static:], in_dims[n_static:], strict=True)
    ]
    out = apply(*args[:n_static], *moved)
    return out, (tuple(0 for _ in out) if isinstance(out, tuple) else 0)


def multiply(call: Call, v: Tensor, operands: Operands) -> Tensor:
    """K @ v without ``delta`` for v ``(*batch, m, t)``; differentiable where somebody asks."""
    if call.forward is not None and v.dim() == 2 and not is_recorded(v, *operands.flat()):
        return call.forward.product(operands, call.identity, v, call.memory)
    out: Tensor = KernelProduct.apply(call, v, *operands.flat())  # type: ignore[no-untyped-call]
    return out


def dense_copy(call: Call, operands: Operands) -> Tensor:
    """K without ``delta`` as a new tensor ``(*batch, n, m)``; differentiable where somebody asks."""
    if operands.like.dim() == 2 and not is_recorded(*operands.flat()):
        return Tiles(operands, identity=call.identity).dense()
    K: Tensor = KernelDense.apply(call, operands.like.dim() - 2, *operands.flat())  # type: ignore[no-untyped-call]
    return K


class KernelProduct(Function):
    """(call, v, *operands.flat()) -> K @ v, without ``delta``."""

    @staticmethod
    def forward(call: Call, v: Tensor, *tensors: Tensor) -> Tensor:
        (flat_v, *flat), batch = _flatten_batch((v, *tensors), [2] + [t.dim() - v.dim() + 2 for t in tensors])
        operands = call.structure.build(flat)
        assert call.forward is not None
        if not batch:
            return call.forward.product(operands.select(0), call.identity, flat_v[0], call.memory)
        n, t = operands.shape[0], v.shape[-1]
        if call.forward.takes_batches(operands):
            return call.forward.product(operands, call.identity, flat_v, call.memory).reshape(*batch, n, t)
        results = [
            call.forward.product(operands.select(b), call.identity, flat_v[b], call.memory.setdefault(b, {}))
            for b in range(len(flat_v))
        ]
        return torch.stack(results).reshape(*batch, n, t) if results else v.new_zeros(*batch, n, t)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        v, *tensors = ctx.saved_tensors
        call: Call = ctx.call
        operands = call.structure.build(tensors)
        dv = None
        if ctx.needs_input_grad[1]:
            dv = KernelProduct.apply(call.transposed(), u, *operands.transposed().flat())  # type: ignore[no-untyped-call]
        wanted = tuple(ctx.needs_input_grad[2:])
        return None, dv, *_gradient(call, wanted, (u, v), tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
        """The rule for torch.vmap: one more batch dimension."""
        return _vmap(KernelProduct.apply, info, in_dims, (replace(args[0], memory={}), *args[1:]), 1)


class KernelDense(Function):
    """(call, *operands.flat()) -> K as a tensor, without ``delta``."""

    @staticmethod
    def forward(call: Call, batch_dims: int, *tensors: Tensor) -> Tensor:
        flat, batch = _flatten_batch(tensors, [t.dim() - batch_dims for t in tensors])
        operands = call.structure.build(flat)
        n, m = operands.shape
        K = operands.like.new_empty(batch.numel(), n, m)
        for b in range(batch.numel()):
            Tiles(operands.select(b), identity=call.identity).dense(K[b])
        return K.reshape(*batch, n, m)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor | None, ...]:
        wanted = tuple(ctx.needs_input_grad[2:])
        return None, None, *_gradient(ctx.call, wanted, (G,), ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
        """The rule for torch.vmap: one more batch dimension."""
        return _vmap(KernelDense.apply, info, in_dims, (args[0], args[1] + 1, *args[2:]), 2)


def _gradient(
    call: Call, wanted: tuple[bool, ...], cotangents: tuple[Tensor, ...], tensors: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Gradients in every operand, None where unwanted; differentiable."""
    if not any(wanted):
        return tuple(None for _ in wanted)
    found = KernelGradient.apply(call, wanted, len(cotangents), *cotangents, *tensors)  # type: ignore[no-untyped-call]
    grads = iter(found)
    return tuple(next(grads) if want else None for want in wanted)


class KernelGradient(Function):
    """(call, wanted, count, *cotangents, *operands.flat()) -> the wanted gradients of sum(G * K).

    The cotangents are ``(u, v)``, where G = u v', or ``(G,)``.
    """

    @staticmethod
    def forward(call: Call, wanted: tuple[bool, ...], count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        dims = tensors[0].dim() - 2
        flat, batch = _flatten_batch(tensors, [t.dim() - dims for t in tensors])
        cotangents, operands = flat[:count], call.structure.build(flat[count:])
        if batch and count == 2 and call.forward is not None and call.forward.takes_batches(operands):
            outer = OuterCotangent(cotangents[0], cotangents[1])
            grads = call.forward.pull(operands, call.identity, outer, wanted, call.memory)
            return tuple(g.reshape(batch + g.shape[1:]) for g in grads if g is not None)
        stacked: list[list[Tensor]] = []
        for b in range(batch.numel()):
            matrix = operands.select(b)
            if count == 2 and call.forward is not None:
                memory = call.memory.setdefault(b, {}) if len(batch) else call.memory
                outer = OuterCotangent(cotangents[0][b], cotangents[1][b])
                grads = call.forward.pull(matrix, call.identity, outer, wanted, memory)
            else:
                grads = pull(matrix, DenseCotangent(cotangents[0][b]), wanted, call.identity)
            stacked.append([g for g in grads if g is not None])
        return tuple(torch.stack(g).reshape(batch + g[0].shape) for g in zip(*stacked, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call, ctx.wanted, ctx.count = inputs[:3]
        ctx.save_for_backward(*inputs[3:])

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        call, wanted, count = ctx.call, ctx.wanted, ctx.count
        tensors = tuple(ctx.saved_tensors)
        floating = tuple(range(len(tensors)))
        total: list[Tensor] = [torch.zeros_like(t) for t in tensors]
        chosen = [count + i for i, want in enumerate(wanted) if want]
        n, m = call.structure.build(tensors[count:]).shape
        rows = max(1, BLOCK_ELEMENTS // max(1, m * max(1, tensors[0][..., 0, 0].numel())))

        for i0 in range(0, n, rows):
            i1 = min(i0 + rows, n)

            def value(*inputs: Tensor, i0: int = i0, i1: int = i1) -> Tensor:
                K = reference_rows(call.structure.build(inputs[count:]), call.identity, i0, i1)
                if count == 1:
                    return (inputs[0][..., i0:i1, :] * K).sum()
                return (inputs[0][..., i0:i1, :] * (K @ inputs[1])).sum()

            def directional(*inputs: Tensor, value: Callable[..., Tensor] = value) -> Tensor:
                grads = torch.func.grad(value, argnums=tuple(chosen))(*inputs)
                return torch.stack([(g * s).sum() for g, s in zip(grads, seeds, strict=True)]).sum()

            for into, grad in zip(total, torch.func.grad(directional, argnums=floating)(*tensors), strict=True):
                into += grad
        return None, None, None, *total

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
        """The rule for torch.vmap: one more batch dimension."""
        return _vmap(KernelGradient.apply, info, in_dims, args, 3)
