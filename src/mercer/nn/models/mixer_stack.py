"""The residual blocks of a sequence network, one after the other, and what they remember between tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from mercer.nn.lengths import Lengths
from mercer.nn.models.mixer_block import MixerBlock, is_causal
from mercer.nn.models.states import SequenceState

__all__ = ["MixerStack"]


class MixerStack(nn.ModuleList):
    """A list of :class:`MixerBlock` that runs: the whole sequence at once, in pieces, or token by token.

    :class:`SequenceModel`, :class:`LanguageModel` and :class:`TransNormer` are such a stack between an input and an
    output. It is an ``nn.ModuleList``: blocks are picked and counted as in one.

    Args:
        blocks: in their order.

    >>> stack = MixerStack(MixerBlock(mc.nn.NormAttention(8, 2), 8) for _ in range(3)).double()
    >>> x = torch.randn(1, 20, 8, dtype=torch.float64)
    >>> y, state = stack.prefill(x[:, :19])
    >>> last, state = stack.step(x[:, 19], state)
    >>> torch.allclose(last, stack(x)[:, 19]), len(stack[1:])
    (True, 2)
    """

    @property
    def causal(self) -> bool:
        """Whether no row depends on later ones."""
        return all(is_causal(block.mixer) for block in self._blocks())

    def forward(self, x: Tensor, *, lengths: Lengths | None = None) -> Tensor:
        """``(B, n, width)`` to the same; ``lengths`` as in :class:`MixerBlock`."""
        for block in self._blocks():
            x = block(x, lengths=lengths)
        return x

    def prefill(
        self, x: Tensor, state: SequenceState | None = None, *, lengths: Lengths | None = None
    ) -> tuple[Tensor, SequenceState]:
        """:meth:`forward` of rows after a state, and the state after them."""
        after = []
        for block, own in self._with(state):
            x, own = block.prefill(x, own, lengths)
            after.append(own)
        return x, SequenceState(tuple(after))

    def step(self, x: Tensor, state: SequenceState | None = None) -> tuple[Tensor, SequenceState]:
        """One row of each sequence, ``(B, width)``, and the state after it; without a state it is the first one."""
        state = self.initial_state(x.shape[0]) if state is None else state
        after = []
        for block, own in self._with(state):
            x, own = block.step(x, own)
            after.append(own)
        return x, SequenceState(tuple(after))

    def initial_state(self, batch: int) -> SequenceState:
        """The state of sequences that have not begun.

        Raises:
            ValueError: a mixer that has no steps.
        """
        for block in self._blocks():
            if not hasattr(block.mixer, "initial_state"):
                raise ValueError(f"{type(block.mixer).__name__} has no steps. Call the model on the whole sequence.")
        return SequenceState(tuple(block.mixer.initial_state(batch) for block in self._blocks()))

    def _blocks(self) -> Iterator[MixerBlock]:
        return cast(Iterator[MixerBlock], iter(self))

    def _with(self, state: SequenceState | None) -> list[tuple[MixerBlock, Any]]:
        """Each block with its state; None for all is allowed."""
        layers = (None,) * len(self) if state is None else state.layers
        if len(layers) != len(self):
            raise ValueError(f"The state is of {len(layers)} layers, and the network has {len(self)}.")
        return list(zip(self._blocks(), layers, strict=True))
