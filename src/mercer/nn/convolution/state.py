"""What a causal convolution remembers of its past, so that it can go on step by step or chunk by chunk."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Self, TypeAlias

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.operators import convolve

__all__ = ["ConvState", "Method"]

Method: TypeAlias = Literal["auto", "ring", "relaxed", "structured", "block"]
METHODS = ("auto", "ring", "relaxed", "structured", "block")


class ConvState(ABC):
    """The state of causal convolutions: H channels with C kernels each, of B sequences side by side.

    ``ConvState.start(kernel, batch, method=...)`` makes one. All give the same numbers; they differ in what a step
    costs for kernels of L taps:

    - "ring": L multiply-adds a step, every kernel;
    - "relaxed": O(log^2 L) a step on average, O(L log L) at worst, every kernel;
    - "block": O(b log b + L / b) a step for blocks of b steps, every kernel; made for chunks;
    - "structured": 2 d (log2(L / d) + 1) multiply-adds of an :class:`SGConvKernel` without power of t, N of an
      :class:`S4DKernel`.

    States are for evaluation: they hold the kernel as it was when they began, no gradients flow through them, and a
    step changes them in place. :meth:`clone` keeps a copy.

    Attributes:
        position: steps so far.

    >>> from mercer.nn import ConvState
    >>> state = ConvState.start(torch.tensor([[[1.0, 0.5]]]), batch=1)
    >>> [float(state.step(torch.full((1, 1), float(t)))) for t in (1, 2, 3)]
    [1.0, 2.5, 4.0]
    >>> state.advance(torch.tensor([[[4.0, 5.0]]])).flatten()
    tensor([5.5000, 7.0000])
    """

    method: ClassVar[str]

    def __init__(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        self.batch, self.heads, self.channels = shape
        self.dtype, self.device = dtype, device
        self.position = 0
        self.room: int | None = None  # steps, where a kernel that never ends has been cut

    @staticmethod
    def start(
        kernel: Any, batch: int = 1, *, method: Method = "auto", length: int | None = None, block: int = 128
    ) -> ConvState:
        """An empty state.

        Args:
            kernel: a module as :class:`SGConvKernel`, or taps ``(C, H, L)``.
            batch: B.
            method: "auto" is "structured" for an :class:`S4DKernel`, else "ring".
            length: how many taps to keep, where the kernel never ends; None is the length it was built for.
            block: b of "block".

        Raises:
            ValueError: an unknown method, or "structured" for a kernel that has no structure to use.
        """
        from mercer.nn.convolution.block_state import BlockState
        from mercer.nn.convolution.diagonal_state import DiagonalState
        from mercer.nn.convolution.relaxed_state import RelaxedState
        from mercer.nn.convolution.ring_state import RingState
        from mercer.nn.convolution.s4d_kernel import S4DKernel
        from mercer.nn.convolution.sgconv_kernel import SGConvKernel
        from mercer.nn.convolution.structured_state import StructuredState

        if method not in METHODS:
            raise ValueError(f"ConvState: method={method!r} is not one of {', '.join(map(repr, METHODS))}.")
        if batch < 1 or block < 1:
            raise ValueError(f"ConvState: batch={batch} and block={block} must be 1 or more.")
        with torch.no_grad():
            if isinstance(kernel, S4DKernel) and method in ("auto", "structured"):
                return DiagonalState(kernel, batch)
            if method == "structured":
                if not isinstance(kernel, SGConvKernel):
                    raise ValueError(
                        f"method='structured' is for an SGConvKernel or an S4DKernel, not {type(kernel).__name__}. Use "
                        f"'relaxed', which takes any kernel."
                    )
                return StructuredState(kernel, batch)
            taps = kernel if isinstance(kernel, Tensor) else kernel(length)
            # Sums of half types are float32 everywhere.
            taps = taps.detach().float() if taps.dtype in (torch.float16, torch.bfloat16) else taps.detach()
            if taps.dim() != 3 or 0 in taps.shape:
                raise ShapeError(f"ConvState: the taps are (C, H, L), not {tuple(taps.shape)}.")
            ends = getattr(kernel, "length", 0) is not None
            if method == "block":
                return BlockState(taps, batch, ends=ends, block=block)
            kind = RelaxedState if method == "relaxed" else RingState
            return kind(taps, batch, ends=ends)

    @torch.no_grad()
    def step(self, u: Tensor) -> Tensor:
        """One step ``(B, H)`` of all sequences; the outputs ``(B, C, H)``.

        Raises:
            ShapeError: another shape.
            ValueError: beyond the taps that were kept of a kernel that never ends.
        """
        if u.shape != (self.batch, self.channels):
            raise ShapeError(
                f"ConvState of {self.batch} sequences and {self.channels} channels: a step is (B, H), not "
                f"{tuple(u.shape)}."
            )
        self._require_room(1)
        y = self._step(u.detach())
        self.position += 1
        return y.to(u.dtype)

    @torch.no_grad()
    def advance(self, u: Tensor) -> Tensor:
        """A chunk ``(B, H, n)``, n >= 0; the outputs ``(B, C, H, n)``. Raises as :meth:`step`."""
        if u.dim() != 3 or u.shape[:2] != (self.batch, self.channels):
            raise ShapeError(
                f"ConvState of {self.batch} sequences and {self.channels} channels: a chunk is (B, H, n), not "
                f"{tuple(u.shape)}."
            )
        self._require_room(u.shape[-1])
        if u.shape[-1] == 0:
            return u.new_zeros(self.batch, self.heads, self.channels, 0)
        y = self._advance(u.detach())
        self.position += u.shape[-1]
        return y.to(u.dtype)

    def clone(self) -> Self:
        """A copy that goes its own way."""
        return copy.deepcopy(self)

    @property
    @abstractmethod
    def n_numbers(self) -> int:
        """How many numbers it keeps of each sequence and channel."""

    @abstractmethod
    def _step(self, u: Tensor) -> Tensor: ...

    @abstractmethod
    def _advance(self, u: Tensor) -> Tensor: ...

    def _require_room(self, n: int) -> None:
        if self.room is not None and self.position + n > self.room:
            raise ValueError(
                f"step {self.position + n} is beyond the {self.room} taps that this state keeps of a kernel that never "
                f"ends. Use method='structured', or ConvState.start(..., length=) with more taps."
            )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(batch={self.batch}, heads={self.heads}, channels={self.channels}, "
            f"position={self.position}, n_numbers={self.n_numbers})"
        )


class TapsState(ConvState):
    """A state that knows the kernel by its taps."""

    def __init__(self, taps: Tensor, batch: int, *, ends: bool = True) -> None:
        super().__init__((batch, *taps.shape[:2]), taps.dtype, taps.device)
        self.taps, self.n_taps = taps, taps.shape[-1]
        self.room = None if ends else self.n_taps


class HistoryState(TapsState):
    """A state that keeps the last inputs, as many as there are taps, and takes chunks by one convolution of all."""

    def _advance(self, u: Tensor) -> Tensor:
        u = u.to(self.dtype)
        whole = torch.cat([self.past(), u], -1)  # (B, H, p + n)
        y = convolve(whole.unsqueeze(1), self.taps[..., : whole.shape[-1]])[..., -u.shape[-1] :]
        self._remember(whole[..., -self.n_taps :])
        return y

    @abstractmethod
    def past(self) -> Tensor:
        """The last inputs, oldest first, ``(B, H, p)``; as many as there were, ``n_taps`` at most."""

    @abstractmethod
    def _remember(self, past: Tensor) -> None:
        """Go on after these inputs, ``(B, H, p)``, oldest first."""
