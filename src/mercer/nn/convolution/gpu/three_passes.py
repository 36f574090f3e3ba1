"""The long convolution of sequences that do not fit on a chip, as a differentiable function."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from mercer.nn.convolution.gpu.launch import options, over_heads, per_program
from mercer.nn.convolution.gpu.plans import TilePlan, matrices, outer_matrix
from mercer.nn.convolution.gpu.reference import by_spectrum

__all__ = ["ThreePasses"]

COLUMNS = 64  # of the outer product that a program takes
LARGEST_BLOCK = 64  # rows of it

Gradients = tuple[Tensor | None, ...]


class ThreePasses(torch.autograd.Function):
    """(u, spectra, gate_in, gate_out, plan, sequences) -> y; u and gates ``(B, H, L)``, y ``(B, R, L)``.

    Kept for the backward pass are u, gates and spectra: the outer product of u is formed again.
    """

    @staticmethod
    def forward(
        u: Tensor, S: Tensor, gate_in: Tensor | None, gate_out: Tensor | None, plan: TilePlan, sequences: int | None
    ) -> Tensor:
        passes = _Passes(u, S, plan, sequences)
        return passes.adjoint(passes.rows(passes.outer(u, gate_in)), gate_out, dtype=u.dtype)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.plan, ctx.sequences = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        u, S, gate_in, gate_out = tensors = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient will be differentiated
            wanted = [x for x in tensors if x is not None and x.requires_grad]
            with torch.enable_grad():
                y = by_spectrum(u, S, None, gate_in, gate_out, plan=ctx.plan)
                found = iter(torch.autograd.grad(y, wanted, dy, create_graph=True))
            return (*(next(found) if x is not None and x.requires_grad else None for x in tensors), None, None)
        dy = dy.contiguous()
        passes = _Passes(u, S, ctx.plan, ctx.sequences)
        heads = S.shape[0] // u.shape[1]
        # A program sees one head; where there are several, their sum is rounded once.
        dtype = u.dtype if heads == 1 else torch.float32
        Z = passes.outer(u, gate_in)
        dgate_out = None if gate_out is None else passes.adjoint(passes.rows(Z), dy, dtype=dtype)[0]
        dZ, dS = passes.pull(Z, passes.outer(dy, gate_out))
        du, dgate_in = passes.adjoint(dZ, gate_in, None if gate_in is None else u, dtype=dtype)
        return over_heads(du, u), dS, over_heads(dgate_in, gate_in), over_heads(dgate_out, gate_out), None, None


class _Passes:
    """The launches for sequences as u; Z and what comes from it have planes ``(B, channels, 2, M, n)``."""

    def __init__(self, u: Tensor, S: Tensor, plan: TilePlan, sequences: int | None) -> None:
        self.S, self.plan = S, plan
        (self.B, self.H, self.L), self.R = u.shape, S.shape[0]
        self.device = u.device
        self.options = options(u, plan)
        half = u.dtype == torch.bfloat16
        self.stored = torch.bfloat16 if half else torch.float32  # float16 might overflow
        self.F = outer_matrix(plan.outer, self.stored, u.device)
        self.matrices = matrices(plan, self.stored, u.device)
        self.count = per_program(u, self.R * plan.outer, sequences)

    def outer(self, x: Tensor, gate: Tensor | None) -> Tensor:
        """The outer product of x, times its gate."""
        from mercer.nn.convolution.gpu import row_kernels

        R, M, n = x.shape[1], self.plan.outer, self.plan.tile
        Z = torch.empty(self.B, R, 2, M, n, dtype=self.stored, device=self.device)
        used = -(-self.L // n)
        block = min(M, LARGEST_BLOCK)
        g = x if gate is None else gate
        with self._device():
            row_kernels.outer[(self.B * R, n // COLUMNS, M // block)](
                x, g, Z, self.F, self.L, used, R, R, g.shape[1], n,
                M=M, BM=block, BT=COLUMNS, HAS_GATE=gate is not None, **self.options,
            )  # fmt: skip
        return Z

    def rows(self, Z: Tensor) -> Tensor:
        """Every row with its kernel's."""
        from mercer.nn.convolution.gpu import row_kernels

        Y = Z.new_empty(self.B, self.R, *Z.shape[2:])
        with self._device():
            row_kernels.convolve_rows[(self.R * self.plan.outer, -(-self.B // self.count))](
                Z, self.S, Y, *self.matrices, self.count, self.B, self.H, self.R, self.plan.outer,
                N1=self.plan.n1, N2=self.plan.n2, **self.options,
            )  # fmt: skip
        return Y

    def pull(self, Z: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of rows and spectra."""
        from mercer.nn.convolution.gpu import row_kernels

        programs = -(-self.B // self.count)
        dZ, dS = torch.empty_like(G), torch.empty(programs, *self.S.shape, device=self.device)
        with self._device():
            row_kernels.pull_rows[(self.R * self.plan.outer, programs)](
                Z, self.S, G, dZ, dS, *self.matrices, self.count, self.B, self.H, self.R, self.plan.outer,
                N1=self.plan.n1, N2=self.plan.n2, **self.options,
            )  # fmt: skip
        return dZ, dS.sum(0)

    def adjoint(
        self, Z: Tensor, first: Tensor | None, second: Tensor | None = None, *, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        """y times ``first``, and times ``second`` if there is one, ``(B, R, L)``; y is the outer inverse of Z."""
        from mercer.nn.convolution.gpu import row_kernels

        M, n, R = self.plan.outer, self.plan.tile, Z.shape[1]
        results = [torch.empty(self.B, R, self.L, dtype=dtype, device=self.device)]
        if second is not None:
            results.append(torch.empty_like(results[0]))
        p, q = (results[0] if x is None else x for x in (first, second))  # what is not there is not read
        block = min(M, LARGEST_BLOCK)
        with self._device():
            row_kernels.outer_adjoint[(self.B * R, n // COLUMNS, -(-self.L // (n * block)))](
                Z, p, q, results[0], results[-1], self.F, self.L, R, p.shape[1], q.shape[1], n,
                M=M, BM=block, BT=COLUMNS, HAS_P=first is not None, HAS_Q=second is not None, **self.options,
            )  # fmt: skip
        return results[0], results[1] if second is not None else None

    def _device(self) -> AbstractContextManager[Any]:
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()
