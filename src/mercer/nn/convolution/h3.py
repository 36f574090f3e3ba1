"""Two long convolutions with gates between them: the language layer H3, of learnt taps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mercer.errors import ShapeError
from mercer.nn.convolution.dense_kernel import LongConvKernel
from mercer.nn.convolution.folded import FoldedConv
from mercer.nn.convolution.layer_parts import WarnsOnce, n_taps
from mercer.nn.convolution.long_convolution import PlanName, long_conv
from mercer.nn.convolution.state import ConvState, Method
from mercer.nn.parameter_groups import parameter_groups
from mercer.nn.seeding import seeded

__all__ = ["FoldedH3Conv", "H3Conv", "H3State"]


@dataclass(frozen=True)
class H3State:
    """The states of both convolutions, which steps change in place; with the ways of a :class:`ConvState`.

    Attributes:
        shift: of the keys, a sequence each.
        mix: of keys times values: ``head_dim^2`` rows for each sequence, side by side.
    """

    shift: ConvState
    mix: ConvState

    def clone(self) -> Self:
        """A copy that goes its own way."""
        return type(self)(self.shift.clone(), self.mix.clone())

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return type(self)(self.shift.to(device), self.mix.to(device))

    def select(self, rows: Any) -> Self:
        """Some of the sequences: a list, a slice or a tensor of indices."""
        each = torch.arange(self.mix.batch).view(self.shift.batch, -1)
        return type(self)(self.shift.select(rows), self.mix.select(each[rows].flatten()))

    @classmethod
    def stack(cls, states: Sequence[Self]) -> Self:
        """The sequences of several states as one batch; raises as :meth:`ConvState.stack`."""
        shifts, mixes = [state.shift for state in states], [state.mix for state in states]
        return cls(type(shifts[0]).stack(shifts), type(mixes[0]).stack(mixes))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        parts = {"shift": self.shift, "mix": self.mix}
        return {f"{part}.{name}": x for part, state in parts.items() for name, x in state.tensors().items()}

    def numbers(self) -> dict[str, Any]:
        """What is no tensor, as JSON."""
        return {
            "shift": [type(self.shift).__name__, self.shift.numbers()],
            "mix": [type(self.mix).__name__, self.mix.numbers()],
        }

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> Self:
        """The state that had these tensors and numbers.

        Raises:
            KeyError: one is missing.
        """
        from mercer.nn.convolution.states import CONVOLUTION_STATES

        parts = []
        for part in ("shift", "mix"):
            kind, own = numbers[part]
            found = {name.removeprefix(f"{part}."): x for name, x in tensors.items() if name.startswith(f"{part}.")}
            parts.append(CONVOLUTION_STATES[kind].restore(found, own))
        return cls(*parts)


class H3Conv(WarnsOnce):
    r"""A causal mixer for language: keys meet values, are convolved, and meet queries.

    .. math:: q, k, v = W u, \quad k \leftarrow f * k + D_1 k, \quad
        y = q \odot (g * (k \odot v) + D_2 (k \odot v)), \quad \text{output } W_o y

    Args:
        channels: the width.
        length: the longest kernel.
        head_dim: d; keys and values of a head meet as an outer product d x d, and queries sum it up again.
        kernel: what makes the two kernels, called with ``(channels, length, heads=1)``.
        plan: as in :func:`mercer.nn.functional.long_conv`.
        state: how steps are made, as in :class:`ConvState`.
        reference: compute what the official code does: all ``length`` taps in a cyclic transform of twice the
            sequence. Where the sequence is shorter than ``length``, taps beyond its end act on the future; so the layer
            is not causal then, and has no steps. For weights that were trained so; ``head_dim`` is 1, for with others
            the official layer cannot run.
        random_state: of all weights.

    Parameters have the official names: its ``state_dict`` loads as it is.

    Raises:
        ValueError: a ``head_dim`` that does not divide the channels, or another than 1 with ``reference``.

    Cost: two convolutions of ``channels`` and ``channels head_dim`` rows, four square maps.
    Source: Fu et al., Simple Hardware-Efficient Long Convolutions (ICML 2023); names as in its official code.

    >>> layer = H3Conv(8, 100, head_dim=2).eval()
    >>> layer(torch.randn(2, 50, 8)).shape
    torch.Size([2, 50, 8])
    """

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        head_dim: int = 1,
        kernel: Callable[..., nn.Module] = LongConvKernel,
        plan: PlanName = "auto",
        state: Method = "auto",
        reference: bool = False,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        if reference and head_dim != 1:
            raise ValueError(f"H3Conv(reference=True): the official layer has head_dim=1 only, not {head_dim}.")
        if head_dim < 1 or channels % head_dim:
            raise ValueError(f"H3Conv: head_dim={head_dim} does not divide channels={channels}.")
        self.channels, self.length, self.head_dim = channels, length, head_dim
        self.plan, self.state, self.causal = plan, state, not reference
        n_heads = channels // head_dim
        with seeded(random_state):
            self.q_proj = nn.Linear(channels, channels)
            self.k_proj = nn.Linear(channels, channels)
            self.v_proj = nn.Linear(channels, channels)
            self.k_kernel = kernel(channels, length, heads=1)
            self.k_D = nn.Parameter(torch.randn(channels))
            self.kernel = kernel(n_heads, length, heads=1)
            self.D = nn.Parameter(torch.randn(n_heads))
            self.output_linear = nn.Linear(channels, channels)

    def forward(self, u: Tensor, *, state: H3State | None = None) -> Any:
        """``(B, L, H)`` to ``(B, L, H)``; with a state ``(y, state)``. Beyond ``length`` kernels are zero, except
        those without an end, such as S4D's.

        Raises:
            ShapeError: another number of channels.
            ValueError: a state in training.
        """
        if u.dim() != 3 or u.shape[-1] != self.channels or u.shape[1] < 1:
            raise ShapeError(f"H3Conv({self.channels}): u is (B, L, {self.channels}), not {tuple(u.shape)}.")
        if state is None:
            shift = partial(self._convolve, kernel=self.k_kernel, skip=self.k_D)
            return self.mixed(u, shift, partial(self._convolve, kernel=self.kernel, skip=self.D))
        self._require_streaming()
        y = self.mixed(
            u,
            lambda k: state.shift.advance(k)[:, 0] + self.k_D.unsqueeze(-1) * k,
            lambda pairs: state.mix.advance(pairs)[:, 0] + self.D.unsqueeze(-1) * pairs,
        )
        return y, state

    def mixed(self, u: Tensor, shift: Callable[[Tensor], Tensor], mix: Callable[[Tensor], Tensor]) -> Tensor:
        """What the layer makes of u with these convolutions: of keys ``(B, H, L)``, of pairs ``(B d^2, heads, L)``."""
        q, k, v = (part(u).mT for part in (self.q_proj, self.k_proj, self.v_proj))  # (B, H, L)
        pairs = self._pairs(shift(k), v)  # (B, d1, d2, heads, L)
        y = mix(pairs.flatten(0, 2)).reshape(pairs.shape)
        y = (y * self._split(q).unsqueeze(2)).sum(1)  # (B, d2, heads, L)
        # Entry i of all heads side by side, as in the official code.
        out: Tensor = self.output_linear(y.flatten(1, 2).mT)
        return out

    def fold(self, length: int | None = None) -> FoldedH3Conv:
        """This layer with its kernels fixed, made of torch's own grouped convolutions: for export where FFTs are not
        known.

        Args:
            length: of the kernels; None is all of them. Shorter sequences are fine.

        Raises:
            ValueError: with ``reference``, whose taps depend on the sequence.
        """
        if not self.causal:
            raise ValueError("H3Conv(reference=True).fold: its taps depend on how long the sequence is.")
        return FoldedH3Conv(self, self.length if length is None else length).eval()

    def initial_state(self, batch: int = 1, *, method: Method | None = None) -> H3State:
        """An empty state; ``method`` as in :class:`ConvState`.

        Raises:
            ValueError: in training.
        """
        self._require_streaming()
        how = self.state if method is None else method
        return H3State(
            ConvState.start(self.k_kernel, batch, method=how, length=self.length),
            ConvState.start(self.kernel, batch * self.head_dim**2, method=how, length=self.length),
        )

    def prefill(
        self, u: Tensor, state: H3State | None = None, *, method: Method | None = None
    ) -> tuple[Tensor, H3State]:
        """The output of a chunk ``(B, n, H)``, n >= 0, after a state, or of the first one, and the state after it."""
        state = self.initial_state(u.shape[0], method=method) if state is None else state
        if u.shape[1] == 0:
            return u, state
        y, state = self(u, state=state)
        return y, state

    def step(self, u: Tensor, state: H3State) -> tuple[Tensor, H3State]:
        """One step ``(B, H)``; its output ``(B, H)`` and the state, which is changed in place.

        Raises:
            ValueError: in training.
        """
        self._require_streaming()
        q, k, v = (part(u) for part in (self.q_proj, self.k_proj, self.v_proj))
        k = state.shift.step(k)[:, 0] + self.k_D * k
        pairs = self._pairs(k.unsqueeze(-1), v.unsqueeze(-1)).squeeze(-1)  # (B, d1, d2, heads)
        flat = pairs.flatten(0, 2)
        y = (state.mix.step(flat)[:, 0] + self.D * flat).view_as(pairs)
        y = (y * self._split(q.unsqueeze(-1)).squeeze(-1).unsqueeze(2)).sum(1)
        mixed: Tensor = self.output_linear(y.flatten(1))
        return mixed, state

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The kernels' own learning rate and no decay; no decay of skips and biases; the rest."""
        return parameter_groups(self)

    def _require_streaming(self) -> None:
        if not self.causal:
            raise ValueError("H3Conv(reference=True) sees the future: it has no steps and no state.")
        if self.training:
            raise ValueError(
                "H3Conv: steps and states are for evaluation, since they keep the kernel: call .eval() first."
            )

    def _convolve(self, x: Tensor, *, kernel: nn.Module, skip: Tensor) -> Tensor:
        """``(..., H, L)`` to the same."""
        L = x.shape[-1]
        taps: Tensor = kernel(n_taps(self, kernel, L, self.length) if self.causal else self.length)[0]
        if not self.causal:  # as many as a transform of 2 L takes; those from L on stand for lags below 0
            taps = pad(taps, (0, 2 * L - self.length))
        y: Tensor = long_conv(x, taps, skip=skip, causal=self.causal, layout="bhl", plan=self.plan)
        return y

    def _split(self, x: Tensor) -> Tensor:
        """``(B, H, L)`` as ``(B, d, heads, L)``; column ``h d + i`` is entry i of head h."""
        split: Tensor = x.unflatten(1, (-1, self.head_dim))
        return split.transpose(1, 2)

    def _pairs(self, k: Tensor, v: Tensor) -> Tensor:
        return self._split(k).unsqueeze(2) * self._split(v).unsqueeze(1)


class FoldedH3Conv(nn.Module):
    """What :meth:`H3Conv.fold` gives: two grouped convolutions between the layer's own maps."""

    def __init__(self, layer: H3Conv, length: int) -> None:
        super().__init__()
        with torch.no_grad():
            kernels = layer.k_kernel(length), layer.kernel(length)
        skips = layer.k_D[None], layer.D[None]
        self.shift, self.mix = (
            FoldedConv(k, skip, nn.Identity(), causal=True) for k, skip in zip(kernels, skips, strict=True)
        )
        self.layer = copy.deepcopy(layer)
        del self.layer.kernel, self.layer.k_kernel, self.layer.D, self.layer.k_D

    def forward(self, u: Tensor) -> Tensor:
        """``(B, L, H)`` to what the layer gives."""
        return self.layer.mixed(u, lambda k: self.shift(k.mT).mT, lambda pairs: self.mix(pairs.mT).mT)
