"""What a causal convolution remembers of its past, so that it can go on step by step or chunk by chunk."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, TypeAlias

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.nn.precision import without_autocast
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
    step changes them in place. :meth:`clone` keeps a copy. They are moved, picked from and stacked, and saved with the
    network's by :class:`mercer.nn.models.SequenceState`.

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
    # What a state consists of, by the names of its attributes.
    fixed: ClassVar[tuple[str, ...]]  # tensors of the kernel, which no step changes
    memory: ClassVar[Mapping[str, int]]  # tensors that steps change, each with the axis of its sequences
    counters: ClassVar[tuple[str, ...]] = ("batch", "heads", "channels", "position", "room")

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
            ValueError: an unknown method, "structured" for a kernel that has no structure to use, or a kernel that is
                resampled to each sequence.
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
        if getattr(kernel, "resample", None) == "sequence":
            raise ValueError("ConvState: resample='sequence' has other taps for each length, so that no step is known.")
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
        with without_autocast(u):
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
        with without_autocast(u):
            y = self._advance(u.detach())
        self.position += u.shape[-1]
        return y.to(u.dtype)

    def clone(self) -> Self:
        """A copy that goes its own way."""
        return self._mapped(lambda memory, _: memory.clone())

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        moved = self._mapped(lambda memory, _: memory.to(device, copy=True))
        for name in self.fixed:
            tensor = getattr(moved, name)
            # Tables of places stay on the CPU, where they are made.
            if tensor.is_floating_point() or tensor.is_complex():
                setattr(moved, name, tensor.to(device))
        moved.device = torch.device(device)
        moved._forget()
        return moved

    def select(self, rows: Any) -> Self:
        """Some of the sequences, in any order and as often as wanted: a list, a slice or a tensor of indices."""
        return self._mapped(lambda memory, axis: memory.movedim(axis, 0)[rows].movedim(0, axis).clone())

    @classmethod
    def stack(cls, states: Sequence[Self]) -> Self:
        """The sequences of several states as one batch.

        Raises:
            ValueError: states of other kernels, or after other numbers of steps: one batch goes on in one step.
        """
        first = states[0]
        for other in states[1:]:
            if other.position != first.position:
                raise ValueError(
                    f"ConvState.stack: the states are after {first.position} and {other.position} steps. Convolutions "
                    f"go on together only from the same step: give sequences of one length."
                )
            if any(
                getattr(first, name).shape != getattr(other, name).shape
                or not torch.equal(getattr(first, name), getattr(other, name))
                for name in first.fixed
            ):
                raise ValueError("ConvState.stack: the states are of different kernels.")
        places = {tuple(vars(state)[name] for name in first.counters if name != "batch") for state in states}
        # Different chunks on the way leave the same inputs at different places.
        return cls._joined(states if len(places) == 1 else [state._aligned() for state in states])

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, those of the kernel too: with :meth:`numbers` the whole state."""
        return {name: getattr(self, name) for name in (*self.fixed, *self.memory)}

    def numbers(self) -> dict[str, Any]:
        """What is no tensor, as JSON."""
        return {"dtype": str(self.dtype).removeprefix("torch."), **{name: vars(self)[name] for name in self.counters}}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> Self:
        """The state that had these :meth:`tensors` and :meth:`numbers`.

        Raises:
            KeyError: one is missing.
        """
        state = cls.__new__(cls)
        for name in (*cls.fixed, *cls.memory):
            setattr(state, name, tensors[name])
        for name in cls.counters:
            setattr(state, name, numbers[name])
        state.dtype = getattr(torch, numbers["dtype"])
        state.device = tensors[next(iter(cls.memory))].device
        state._forget()
        return state

    @property
    @abstractmethod
    def n_numbers(self) -> int:
        """How many numbers it keeps of each sequence and channel."""

    @abstractmethod
    def _forget(self) -> None:
        """Compute anew, or when it is needed, what follows from the kernel."""

    def _aligned(self) -> Self:
        """The same state, lying in memory as all do that have had as many steps."""
        return self

    def _mapped(self, change: Callable[[Tensor, int], Tensor]) -> Self:
        """A copy whose memory is changed; the kernel is shared."""
        made = copy.copy(self)
        for name, axis in self.memory.items():
            setattr(made, name, change(getattr(self, name), axis))
        name, axis = next(iter(self.memory.items()))
        made.batch = getattr(made, name).shape[axis]
        return made

    @classmethod
    def _joined(cls, states: Sequence[Self]) -> Self:
        """The memories side by side."""
        made = copy.copy(states[0])
        for name, axis in cls.memory.items():
            setattr(made, name, torch.cat([getattr(state, name) for state in states], axis))
        made.batch = sum(state.batch for state in states)
        return made

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

    fixed = ("taps",)
    counters = (*ConvState.counters, "n_taps")

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

    def _aligned(self) -> Self:
        made = self.clone()
        made._remember(self.past())
        return made

    @abstractmethod
    def past(self) -> Tensor:
        """The last inputs, oldest first, ``(B, H, p)``; as many as there were, ``n_taps`` at most."""

    @abstractmethod
    def _remember(self, past: Tensor) -> None:
        """Go on after these inputs, ``(B, H, p)``, oldest first."""
