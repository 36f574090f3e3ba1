"""A model of sequences: any mixer, stacked in residual blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.nn.lengths import Lengths, kept_rows
from mercer.nn.models.mixer_block import MixerBlock, is_causal
from mercer.nn.models.mixer_stack import MixerStack
from mercer.nn.models.mixers import Mixer, build_mixers
from mercer.nn.models.norms import Norm, build_norm, normed
from mercer.nn.models.registry import register_model
from mercer.nn.models.states import SequenceState
from mercer.nn.parameter_groups import parameter_groups
from mercer.nn.seeding import seeded

__all__ = ["SequenceModel"]

Pool = Literal["mean", "last"]


class SequenceModel(nn.Module):
    """Sequences in; one answer for each, or one for every step.

    A map (or an embedding) to ``width`` columns, a :class:`MixerStack`, and a map to the answer.

    Args:
        d_input: columns of a step; with ``tokens`` the size of the vocabulary.
        d_output: numbers of an answer.
        layer: the mixer by name, such as "sgconv", "s4d", "softmax", "transnormer" or "soft" (see
            :class:`LanguageModel`); or a function that makes one of the given width:
            ``partial(LongConv, length=1024, kernel="sgconv")``. A mixer maps ``(B, L, width)`` to the same; those that
            know ``lengths``, or a ``mask``, are given them.
        layers: how many blocks.
        width: of the steps within.
        causal: which form of a mixer by name; functions decide that for themselves.
        heads, block: of attentions by name.
        length: of convolutions by name, which need it.
        norm: "rms", "srms", "layer", "batch", or a function of the width. Statistics of a batch in training are made of
            all steps, later ones too, so that with causal mixers a batch norm is refused.
        prenorm: whether the norm stands before the mixer, or after the sum.
        pool: "mean" over the steps or the "last" one: an answer for each sequence. None: an answer for every step.
        tokens: whether inputs are whole numbers to be embedded.
        feedforward: hidden columns of a two-layer network after each mixer, with a norm and a residual of its own; or a
            function of the width, such as :class:`mercer.nn.GatedMLP`; None has none.
        dropout: after each mixer and network, in training; with ``tie_dropout`` of whole columns of a sequence.
        random_state: of all weights, the mixers' too; None draws from torch's global generator.
        options: more of what the mixer's class takes.

    Raises:
        ValueError: batch norm with a causal mixer, an unknown option, a number below 1.

    >>> model = SequenceModel(1, 10, layer="sgconv", length=64, layers=2, width=16)
    >>> model(torch.randn(8, 64, 1)).shape, model.causal
    (torch.Size([8, 10]), False)
    """

    def __init__(
        self,
        d_input: int,
        d_output: int,
        *,
        layer: Mixer,
        layers: int = 6,
        width: int = 256,
        causal: bool = False,
        heads: int = 4,
        block: int = 64,
        length: int | None = None,
        norm: Norm = "rms",
        prenorm: bool = True,
        pool: Pool | None = "mean",
        tokens: bool = False,
        feedforward: int | Callable[[int], nn.Module] | None = None,
        dropout: float = 0.0,
        tie_dropout: bool = False,
        random_state: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if min(d_input, d_output, layers, width, feedforward if isinstance(feedforward, int) else 1) < 1:
            raise ValueError(
                f"SequenceModel: d_input={d_input}, d_output={d_output}, layers={layers}, width={width} and "
                f"feedforward={feedforward} must be 1 or more."
            )
        if pool not in ("mean", "last", None):
            raise ValueError(f"SequenceModel: pool={pool!r} is not 'mean', 'last' or None.")
        self.d_input, self.width, self.pool, self.tokens = d_input, width, pool, tokens
        with seeded(random_state):
            self.encoder = nn.Embedding(d_input, width) if tokens else nn.Linear(d_input, width)
            mixers = build_mixers(
                layer, layers, width, causal=causal, heads=heads, block=block, length=length, options=options
            )
            self.blocks = MixerStack(
                MixerBlock(
                    mixer,
                    width,
                    feedforward=_network(feedforward, width),
                    norm=norm,
                    prenorm=prenorm,
                    dropout=dropout,
                    tie_dropout=tie_dropout,
                )
                for mixer in mixers
            )
            leaks = any(is_causal(mixer) for mixer in mixers)
            self.norm = build_norm(norm, width, causal=leaks) if prenorm else nn.Identity()
            self.decoder: nn.Module = nn.Linear(width, d_output)

    @property
    def causal(self) -> bool:
        """Whether no answer of a step depends on later ones."""
        return self.blocks.causal

    def forward(self, x: Tensor, *, lengths: Lengths | None = None) -> Tensor:
        """The answers: ``(B, d_output)``, or ``(B, L, d_output)`` without pooling.

        Args:
            x: ``(B, L, d_input)``, or with ``tokens`` whole numbers ``(B, L)``.
            lengths: ``(B,)``, of sequences whose end is padding; no row sees it, and the pool leaves it out.

        Raises:
            ShapeError: another shape, or lengths that do not fit.
            ValueError: lengths, and a mixer that cannot leave padding out.
        """
        answer: Tensor = self.decoder(self.features(x, lengths=lengths))
        return answer

    def features(self, x: Tensor, *, lengths: Lengths | None = None) -> Tensor:
        """What the answers are made of, ``(B, width)`` or ``(B, L, width)``; arguments as of :meth:`forward`."""
        self._check(x, lengths)
        rows = self.blocks(self.encoder(x), lengths=lengths)
        return self._pooled(normed(self.norm, rows, lengths), lengths)

    def initial_state(self, batch: int = 1) -> SequenceState:
        """The states of all mixers, for :meth:`step`.

        Raises:
            ValueError: in training, or a mixer that has no steps.
        """
        self._require_evaluation()
        return self.blocks.initial_state(batch)

    @torch.no_grad()
    def prefill(self, x: Tensor, state: SequenceState | None = None) -> tuple[Tensor, SequenceState]:
        """The answers of ``pool=None`` for many steps after a state, and the state after them.

        Raises:
            ShapeError: another shape.
            ValueError: in training, or a mixer that has no steps.
        """
        self._require_evaluation()
        self._check(x, None)
        rows, after = self.blocks.prefill(self.encoder(x), state)
        return self.decoder(self.norm(rows)), after

    @torch.no_grad()
    def step(self, x: Tensor, state: SequenceState | None = None) -> tuple[Tensor, SequenceState]:
        """The answer ``(B, d_output)`` after one more step ``(B, d_input)``, or ``(B,)`` with ``tokens``.

        Answers are those of ``pool=None``; a mean over the steps so far is for the caller to take. States of
        convolutions are changed in place (:meth:`SequenceState.clone` keeps a copy).

        Raises:
            ValueError: in training.
        """
        self._require_evaluation()
        rows, after = self.blocks.step(self.encoder(x), state)
        return self.decoder(self.norm(rows)), after

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser: what the mixers ask for (kernels: a rate of their own), no decay of vectors, the rest."""
        return parameter_groups(self)

    def _require_evaluation(self) -> None:
        if self.training:
            raise ValueError("SequenceModel: steps are for evaluation: call .eval() first.")

    def _check(self, x: Tensor, lengths: Lengths | None) -> None:
        if x.dim() != (2 if self.tokens else 3) or (not self.tokens and x.shape[-1] != self.d_input) or x.shape[1] < 1:
            wanted = "(B, L)" if self.tokens else f"(B, L, {self.d_input})"
            raise ShapeError(f"SequenceModel: x is {wanted}, not {tuple(x.shape)}.")
        kept_rows(x, lengths)

    def _pooled(self, h: Tensor, lengths: Lengths | None) -> Tensor:
        if self.pool is None:
            return h
        kept = kept_rows(h, lengths)
        if kept is None:
            return h.mean(1) if self.pool == "mean" else h[:, -1]
        count = kept.sum(1, keepdim=True).clamp(min=1)
        if self.pool == "last":
            return h[torch.arange(h.shape[0], device=h.device), count[:, 0] - 1]
        return h.masked_fill(~kept.unsqueeze(-1), 0.0).sum(1) / count


def _network(feedforward: int | Callable[[int], nn.Module] | None, width: int) -> nn.Module | None:
    if isinstance(feedforward, int):
        return nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))
    return None if feedforward is None else feedforward(width)


register_model("sequence_model", SequenceModel)
