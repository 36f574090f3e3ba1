"""A stack of mixers between an embedding and an output: what TransNormer and language models are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from mercer.arguments import check_sizes
from mercer.errors import ShapeError
from mercer.nn.attention.gated_mlp import GatedMLP
from mercer.nn.lengths import kept_rows
from mercer.nn.models.generation import generate
from mercer.nn.models.mixer_block import MixerBlock, is_causal
from mercer.nn.models.mixer_stack import MixerStack
from mercer.nn.models.norms import Norm, build_norm, normed, refuse_batch_norm
from mercer.nn.models.states import SequenceState
from mercer.nn.parameter_groups import parameter_groups

__all__ = ["SequenceNetwork"]


class SequenceNetwork(nn.Module):
    """Embedding, blocks and output; :class:`TransNormer` and :class:`LanguageModel` say which mixers.

    Args:
        mixers: one a layer, from ``(B, n, width)`` to the same.
        width: of the rows between layers.
        vocabulary: number of tokens; inputs are then tokens and outputs logits, by the weights of the embedding.
        d_input: columns of the input instead, which a linear layer takes to the width; outputs are ``(B, n, width)``.
        hidden, feedforward, norm, dropout: as of :class:`LanguageModel`.
    """

    def __init__(
        self,
        mixers: Sequence[nn.Module],
        width: int,
        *,
        vocabulary: int | None,
        d_input: int | None,
        hidden: int | None,
        feedforward: Callable[[int], nn.Module] | None = None,
        norm: Norm,
        dropout: float,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if (vocabulary is None) == (d_input is None):
            raise ValueError(f"{name}: give vocabulary or d_input, and not both; got {vocabulary} and {d_input}.")
        check_sizes(name, vocabulary=vocabulary, d_input=d_input, width=width)
        if not mixers:
            raise ValueError(f"{name}: it needs at least one layer.")
        self.width, self.vocabulary, self.d_input = width, vocabulary, d_input
        self.causal = all(is_causal(mixer) for mixer in mixers)
        self.embedding: nn.Linear | nn.Embedding
        if vocabulary is not None:
            self.embedding = nn.Embedding(vocabulary, width)
            # Tied to the output: rows of norm 1, so that the first logits are of order 1.
            nn.init.normal_(self.embedding.weight, std=width**-0.5)
        elif d_input is not None:
            self.embedding = nn.Linear(d_input, width)
        self.first_norm, self.last_norm = (build_norm(norm, width, causal=self.causal) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.blocks = MixerStack(
            MixerBlock(
                mixer,
                width,
                feedforward=GatedMLP(width, hidden) if feedforward is None else feedforward(width),
                norm=norm,
                dropout=dropout,
            )
            for mixer in mixers
        )
        if self.causal:
            refuse_batch_norm(self)

    def forward(self, x: Tensor, *, state: SequenceState | None = None, lengths: Tensor | None = None) -> Tensor:
        """All places at once.

        Args:
            x: tokens ``(B, n)``, or ``(B, n, d_input)``.
            state: of what came before, where something did.
            lengths: ``(B,)``, how many places of each sequence there are; the others are padding, whose outputs mean
                nothing.

        Returns:
            Logits of the next token, ``(B, n, vocabulary)``, or rows ``(B, n, width)``.

        Raises:
            ShapeError: an input of another form.
            ValueError: a state, and the network is not causal.
        """
        if state is not None:
            return self.prefill(x, state, lengths=lengths)[0]
        return self.logits(self.hidden(x, lengths=lengths))

    def hidden(self, x: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """The rows ``(B, n, width)`` from which :meth:`logits` come; arguments as of :meth:`forward`."""
        return normed(self.last_norm, self.blocks(self._embed(x, lengths), lengths=lengths), lengths)

    def logits(self, hidden: Tensor) -> Tensor:
        """``(..., width)`` to ``(..., vocabulary)``; without a vocabulary as they are."""
        return hidden if self.vocabulary is None else hidden @ self.embedding.weight.mT

    def prefill(
        self, x: Tensor, state: SequenceState | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, SequenceState]:
        """:meth:`forward` that also gives the state after the last place of each sequence."""
        self._ask_for_causal("prefill")
        rows, after = self.blocks.prefill(self._embed(x, lengths), state, lengths=lengths)
        return self.logits(self.last_norm(rows)), after

    def step(self, x: Tensor, state: SequenceState | None = None) -> tuple[Tensor, SequenceState]:
        """One place of each sequence, ``(B,)`` or ``(B, d_input)``, and the state after it.

        The states of attentions stay as they were; those of convolutions are changed in place
        (:meth:`SequenceState.clone` keeps a copy).
        """
        self._ask_for_causal("step")
        rows, after = self.blocks.step(self._embed(x[:, None], None)[:, 0], state)
        return self.logits(self.last_norm(rows)), after

    def initial_state(self, batch: int) -> SequenceState:
        """The state of sequences that have not begun."""
        self._ask_for_causal("initial_state")
        return self.blocks.initial_state(batch)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser: what the mixers ask for (kernels: a rate of their own), no decay of vectors, the rest."""
        return parameter_groups(self)

    @overload
    def generate(
        self,
        prompt: Tensor,
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        lengths: Tensor | None = None,
        state: SequenceState | None = None,
        stream: Literal[False] = False,
        random_state: int = 0,
    ) -> Tensor: ...

    @overload
    def generate(
        self,
        prompt: Tensor,
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        lengths: Tensor | None = None,
        state: SequenceState | None = None,
        stream: Literal[True],
        random_state: int = 0,
    ) -> Iterator[Tensor]: ...

    def generate(
        self,
        prompt: Tensor,
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        lengths: Tensor | None = None,
        state: SequenceState | None = None,
        stream: bool = False,
        random_state: int = 0,
    ) -> Tensor | Iterator[Tensor]:
        """Tokens that go on after a prompt, drawn one by one.

        Args:
            prompt: ``(n,)`` or ``(B, n)``, n >= 1.
            max_new_tokens: how many.
            temperature: logits are divided by it; 0 takes the most probable token.
            top_k: draw among that many of the most probable tokens only; None is all.
            lengths: ``(B,)`` of prompts of unequal length, padded at the end.
            state: of what came before the prompt; it stays as it is.
            stream: give the tokens one by one as they are drawn, ``()`` or ``(B,)`` each.
            random_state: of the draws.

        Returns:
            ``(max_new_tokens,)`` or ``(B, max_new_tokens)``, without the prompt; an iterator with ``stream``.

        Raises:
            ShapeError: a prompt that is empty or no tokens.
            ValueError: a negative temperature, top_k below 1, or a network that is not causal.
            TypeError: a network with d_input, which has no tokens.

        The network should be in evaluation mode (``model.eval()``).
        """
        if self.vocabulary is None:
            raise TypeError(f"{type(self).__name__}(d_input=...) has no tokens to generate: call step with rows.")
        self._ask_for_causal("generate")
        options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "random_state": random_state}
        tokens = generate(self, prompt, max_new_tokens, lengths=lengths, state=state, **options)
        if stream:
            return tokens
        drawn = list(tokens)
        return torch.stack(drawn, -1) if drawn else prompt[..., :0]

    def _embed(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        expected = "(B, n) tokens" if self.vocabulary is not None else f"(B, n, {self.d_input})"
        is_right = x.dim() == 2 if self.vocabulary is not None else x.dim() == 3 and x.shape[-1] == self.d_input
        if not is_right:
            raise ShapeError(f"{type(self).__name__}: x must be {expected}, but has shape {tuple(x.shape)}.")
        kept = kept_rows(x, lengths)
        if kept is not None:
            x = x.masked_fill(~kept.view(*kept.shape, *([1] * (x.dim() - 2))), 0)
        rows: Tensor = self.dropout(normed(self.first_norm, self.embedding(x), lengths))
        return rows

    def _ask_for_causal(self, what: str) -> None:
        if not self.causal:
            name = type(self).__name__
            raise ValueError(f"{name}(causal=False) has no {what}: places wait for later ones. Make it causal=True.")
