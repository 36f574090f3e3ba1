"""The exact step of a kernel of straight lines: sums over boxes and ramps in place of taps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from mercer.nn.convolution.ring_state import RingState
from mercer.nn.convolution.sgconv_kernel import Part, SGConvKernel
from mercer.nn.convolution.state import ConvState

__all__ = ["StructuredState"]


class Segment(NamedTuple):
    """Taps ``first`` to ``first + 2^level - 1`` of a kernel: ``height + slope (m + 1/2)`` at ``first + m``."""

    first: int
    level: int
    height: Tensor  # (C, H)
    slope: Tensor | None


class StructuredState(ConvState):
    r"""Of an :class:`SGConvKernel` that is made of pieces: two multiply-adds for each of its d numbers a scale.

    Linear interpolation makes a kernel of straight segments, each ``s = 2^q`` taps long. So a step needs, of the inputs
    ending at certain times, the sum over a box of s steps and the sum with weights 1/2, 3/2, ... over a ramp of s
    steps:

    .. math:: B_{2s}(t) = B_s(t) + B_s(t - s), \quad
        R_{2s}(t) = R_s(t) + R_s(t - s) + s B_s(t - s), \quad B_1 = u, \quad R_1 = u / 2

    No running sums: nothing drifts, however long the stream. Sums are float64 whatever the layer's type. It keeps a few
    L numbers a channel.
    """

    method = "structured"
    fixed = ("_weights", "_lengths", "_first", "_doubling", "_lines", "_delays", "_powers")
    memory: ClassVar[Mapping[str, int]] = {"_memory": 1}
    counters = (*ConvState.counters, "_levels")

    def __init__(self, kernel: SGConvKernel, batch: int) -> None:
        example = kernel.kernel_list[0]
        super().__init__((batch, kernel.heads, kernel.channels), example.dtype, example.device)
        segments = [s for part in kernel.parts() for s in _segments(part, kernel)]
        # Chunks go by one transform; they need the inputs themselves.
        self._inputs = RingState(kernel().detach(), batch)
        self._levels = max(s.level for s in segments) + 1
        boxes = [(s.level, s.first, s.height) for s in segments]
        ramps = [(s.level, s.first, s.slope) for s in segments if s.slope is not None]
        terms = [(q, d, w) for q, d, w in boxes] + [(q + self._levels, d, w) for q, d, w in ramps]
        self._weights = torch.stack([w for _, _, w in terms]).double()  # (G, C, H)
        lines = torch.tensor([line for line, _, _ in terms])
        delays = torch.tensor([delay for _, delay, _ in terms])
        # A line of B_q or R_q is as long as the longest delay asked of it; doubling asks for 2^q.
        doubling = torch.tensor([1 << q for q in range(self._levels)] * 2)
        self._lengths = 1 + doubling.scatter_reduce(0, lines, delays, "amax")
        self._first = torch.cumsum(self._lengths, 0) - self._lengths
        self._doubling, self._lines, self._delays = doubling, lines, delays
        self._memory = torch.zeros(
            int(self._lengths.sum()), batch, self.channels, dtype=torch.float64, device=self.device
        )
        self._powers = (
            torch.tensor([float(1 << q) for q in range(self._levels)]).double().to(self.device)[:, None, None]
        )

    @property
    def n_numbers(self) -> int:
        """Numbers a sequence and channel."""
        return len(self._memory) + self._inputs.n_numbers

    @property
    def multiply_adds(self) -> int:
        """Of a step, a sequence, a channel and a head."""
        return len(self._weights)

    def _forget(self) -> None:
        """Nothing: the segments of the kernel are kept as they are."""

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        moved = super().to(device)
        moved._inputs = self._inputs.to(device)
        return moved

    def tensors(self) -> dict[str, Tensor]:
        """As of all states, with the inputs."""
        return super().tensors() | {f"inputs.{name}": x for name, x in self._inputs.tensors().items()}

    def numbers(self) -> dict[str, Any]:
        """As of all states, with the inputs."""
        return super().numbers() | {"inputs": self._inputs.numbers()}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> Self:
        """As of all states, with the inputs."""
        state = super().restore(tensors, numbers)
        inputs = {name.removeprefix("inputs."): x for name, x in tensors.items() if name.startswith("inputs.")}
        state._inputs = RingState.restore(inputs, numbers["inputs"])
        return state

    def _mapped(self, change: Callable[[Tensor, int], Tensor]) -> Self:
        made = super()._mapped(change)
        made._inputs = self._inputs._mapped(change)
        return made

    @classmethod
    def _joined(cls, states: Sequence[Self]) -> Self:
        made = super()._joined(states)
        made._inputs = RingState.stack([state._inputs for state in states])
        return made

    def _step(self, u: Tensor) -> Tensor:
        self._inputs.keep(u)  # for the next chunk
        self._inputs.position += 1
        t, q = self.position, self._levels
        late = self._memory[self._places(torch.arange(2 * q), t, self._doubling)]  # of 2^q steps ago
        B, R = late[:q], late[q:]
        new = torch.empty_like(late)
        now = u.double()
        new[0], new[q] = now, 0.5 * now
        if q > 1:
            new[1:q] = now + B[:-1].cumsum(0)
            new[q + 1 :] = 0.5 * now + (R[:-1] + self._powers[:-1] * B[:-1]).cumsum(0)
        self._memory[self._places(torch.arange(2 * q), t, 0)] = new
        terms = self._memory[self._places(self._lines, t, self._delays)]  # (G, B, H)
        return torch.einsum("gbh,gch->bch", terms, self._weights)

    def _advance(self, u: Tensor) -> Tensor:
        y = self._inputs.advance(u)
        past = self._inputs.past().double()  # (B, H, p)
        n_kept, end = past.shape[-1], self.position + u.shape[-1]
        B, R = past, 0.5 * past
        for q in range(self._levels):
            for i, values in ((q, B), (q + self._levels, R)):
                n = min(int(self._lengths[i]), n_kept)
                times = torch.arange(end - n, end)
                self._memory[self._first[i] + times % self._lengths[i]] = values[..., n_kept - n :].permute(2, 0, 1)
            s = 1 << q
            R = R + _later(R, s) + s * _later(B, s)
            B = B + _later(B, s)
        return y

    def _places(self, lines: Tensor, t: int, delays: Tensor | int) -> Tensor:
        return self._first[lines] + (t - delays) % self._lengths[lines]


def _later(x: Tensor, steps: int) -> Tensor:
    """Delayed, with zeros before the first."""
    return torch.nn.functional.pad(x, (steps, 0))[..., : x.shape[-1]]


def _segments(part: Part, kernel: SGConvKernel) -> Iterator[Segment]:
    """The straight segments of a piece, up to where the kernel is cut, in lengths that are powers of two."""
    offset, s, w = part.offset, part.scale, part.weights.detach()
    d = w.shape[-1]
    assert kernel.length is not None
    runs: list[tuple[int, int, Tensor, Tensor | None]]
    if s == 1 or kernel.interpolation == "nearest":
        runs = [(offset + n * s, s, w[..., n], None) for n in range(d)]
    else:
        # Numbers stand in the middle of their s taps; before the first and after the last the line is level.
        runs = [(offset, s // 2, w[..., 0], None)]
        runs += [(offset + n * s - s // 2, s, w[..., n - 1], (w[..., n] - w[..., n - 1]) / s) for n in range(1, d)]
        runs += [(offset + d * s - s // 2, s // 2, w[..., d - 1], None)]
    for first, size, height, slope in runs:
        at, left = 0, min(size, kernel.length - first)
        while left > 0:
            level = left.bit_length() - 1
            raised = height if slope is None else height + slope * at
            yield Segment(first + at, level, raised, slope)
            at += 1 << level
            left -= 1 << level
