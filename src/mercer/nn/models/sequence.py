"""A model of sequences: any mixer, stacked in residual blocks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.nn.parameter_groups import parameter_groups
from mercer.nn.seeding import seeded

__all__ = ["SequenceBlock", "SequenceModel"]

Norm = Literal["rms", "layer", "batch"]
Pool = Literal["mean", "last"]


class SequenceModel(nn.Module):
    """Sequences in; one answer for each, or one for every step.

    A map (or an embedding) to ``width`` columns, blocks of norm, mixer and residual, and a map to the answer.

    Args:
        d_input: columns of a step; with ``tokens`` the size of the vocabulary.
        d_output: numbers of an answer.
        layer: makes a mixer of the given width: ``partial(LongConv, length=1024, kernel="sgconv")``. A mixer maps
            ``(B, L, width)`` to the same; those that know ``lengths`` are given them.
        layers: how many blocks.
        width: of the steps within.
        norm: "rms", "layer" or "batch". Statistics of a batch in training are made of all steps, later ones too, so
            that with causal mixers "batch" is refused.
        prenorm: whether the norm stands before the mixer, or after the sum.
        pool: "mean" over the steps or the "last" one: an answer for each sequence. None: an answer for every step.
        tokens: whether inputs are whole numbers to be embedded.
        feedforward: hidden columns of a two-layer network after each mixer, with a norm and a residual of its own; None
            has none.
        dropout: after each mixer and network, in training.
        random_state: of all weights, the mixers' too; None draws from torch's global generator.

    Attributes:
        causal: whether every mixer says that it is.

    Raises:
        ValueError: batch norm with a causal mixer, an unknown option, a number below 1.

    >>> from functools import partial
    >>> from mercer.nn import LongConv
    >>> model = SequenceModel(1, 10, layer=partial(LongConv, length=64, kernel="sgconv"), layers=2, width=16)
    >>> model(torch.randn(8, 64, 1)).shape
    torch.Size([8, 10])
    """

    def __init__(
        self,
        d_input: int,
        d_output: int,
        *,
        layer: Callable[[int], nn.Module],
        layers: int = 6,
        width: int = 256,
        norm: Norm = "rms",
        prenorm: bool = True,
        pool: Pool | None = "mean",
        tokens: bool = False,
        feedforward: int | None = None,
        dropout: float = 0.0,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        if min(d_input, d_output, layers, width, 1 if feedforward is None else feedforward) < 1:
            raise ValueError(
                f"SequenceModel: d_input={d_input}, d_output={d_output}, layers={layers}, width={width} and "
                f"feedforward={feedforward} must be 1 or more."
            )
        if norm not in ("rms", "layer", "batch"):
            raise ValueError(f"SequenceModel: norm={norm!r} is not 'rms', 'layer' or 'batch'.")
        if pool not in ("mean", "last", None):
            raise ValueError(f"SequenceModel: pool={pool!r} is not 'mean', 'last' or None.")
        self.d_input, self.width, self.pool, self.tokens = d_input, width, pool, tokens
        with seeded(random_state):
            self.encoder = nn.Embedding(d_input, width) if tokens else nn.Linear(d_input, width)
            self.blocks = nn.ModuleList()
            for _ in range(layers):
                mixer = layer(width)
                if norm == "batch" and getattr(mixer, "causal", False):
                    raise ValueError(
                        f"SequenceModel: norm='batch' with the causal {type(mixer).__name__} leaks the future: in "
                        f"training its statistics are made of all steps. Use norm='rms', or a two-sided mixer."
                    )
                self.blocks.append(SequenceBlock(mixer, width, norm=norm, prenorm=prenorm, dropout=dropout))
                if feedforward is not None:
                    network = nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))
                    self.blocks.append(SequenceBlock(network, width, norm=norm, prenorm=prenorm, dropout=dropout))
            self.norm = _make_norm(norm, width) if prenorm else nn.Identity()
            self.decoder = nn.Linear(width, d_output)

    @property
    def causal(self) -> bool:
        """Whether no answer of a step depends on later ones."""
        return all(getattr(block.mixer, "causal", block.is_pointwise) for block in self._blocks())

    def forward(self, x: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """The answers: ``(B, d_output)``, or ``(B, L, d_output)`` without pooling.

        Args:
            x: ``(B, L, d_input)``, or with ``tokens`` whole numbers ``(B, L)``.
            lengths: ``(B,)``, of sequences whose end is padding; the pool leaves it out.

        Raises:
            ShapeError: another shape, or lengths that do not fit.
        """
        self._check(x, lengths)
        h = self.encoder(x)
        for block in self._blocks():
            h = block(h, lengths)
        answer: Tensor = self.decoder(self._pooled(self.norm(h), lengths))
        return answer

    def initial_state(self, batch: int = 1) -> list[Any]:
        """The states of all mixers, for :meth:`step`.

        Raises:
            ValueError: in training, or a mixer that has no steps.
        """
        states: list[Any] = []
        for block in self._blocks():
            if block.is_pointwise:
                states.append(None)
                continue
            if not hasattr(block.mixer, "initial_state"):
                raise ValueError(
                    f"SequenceModel: {type(block.mixer).__name__} has no steps. Call the model on the whole."
                )
            states.append(block.mixer.initial_state(batch))
        return states

    @torch.no_grad()
    def step(self, x: Tensor, states: list[Any]) -> tuple[Tensor, list[Any]]:
        """The answer ``(B, d_output)`` after one more step ``(B, d_input)``, or ``(B,)`` with ``tokens``.

        Answers are those of ``pool=None``; a mean over the steps so far is for the caller to take.

        Raises:
            ValueError: in training.
        """
        if self.training:
            raise ValueError("SequenceModel: steps are for evaluation: call .eval() first.")
        h = self.encoder(x)
        for i, block in enumerate(self._blocks()):
            h, states[i] = block.step(h, states[i])
        h = self.norm(h.unsqueeze(1)).squeeze(1)
        return self.decoder(h), states

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser: what the mixers ask for, no decay of vectors, the rest."""
        return parameter_groups(self)

    def _blocks(self) -> list[SequenceBlock]:
        return list(self.blocks)  # type: ignore[arg-type]

    def _check(self, x: Tensor, lengths: Tensor | None) -> None:
        if x.dim() != (2 if self.tokens else 3) or (not self.tokens and x.shape[-1] != self.d_input) or x.shape[1] < 1:
            wanted = "(B, L)" if self.tokens else f"(B, L, {self.d_input})"
            raise ShapeError(f"SequenceModel: x is {wanted}, not {tuple(x.shape)}.")
        if lengths is not None and lengths.shape != x.shape[:1]:
            raise ShapeError(f"SequenceModel: lengths is ({x.shape[0]},), one a sequence, not {tuple(lengths.shape)}.")

    def _pooled(self, h: Tensor, lengths: Tensor | None) -> Tensor:
        if self.pool is None:
            return h
        if lengths is None:
            return h.mean(1) if self.pool == "mean" else h[:, -1]
        lengths = lengths.to(h.device).clamp(1, h.shape[1])
        if self.pool == "last":
            return h[torch.arange(len(h), device=h.device), lengths - 1]
        inside = torch.arange(h.shape[1], device=h.device) < lengths[:, None]
        return (h * inside.unsqueeze(-1)).sum(1) / lengths.unsqueeze(-1)


class SequenceBlock(nn.Module):
    """``x + mixer(norm(x))``, or ``norm(x + mixer(x))`` without prenorm."""

    def __init__(self, mixer: nn.Module, width: int, *, norm: Norm, prenorm: bool, dropout: float) -> None:
        super().__init__()
        self.mixer: Any = mixer
        self.norm = _make_norm(norm, width)
        self.dropout = nn.Dropout(dropout)
        self.prenorm = prenorm
        self.is_pointwise = isinstance(mixer, nn.Sequential)
        self.takes_lengths = "lengths" in inspect.signature(mixer.forward).parameters

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``(B, L, width)`` to the same."""
        given = {"lengths": lengths} if self.takes_lengths and lengths is not None else {}
        y = self.dropout(self.mixer(self.norm(x) if self.prenorm else x, **given))
        total: Tensor = x + y if self.prenorm else self.norm(x + y)
        return total

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step ``(B, width)`` and the state after it."""
        z = self._normed(x) if self.prenorm else x
        y, state = (self.mixer(z), None) if self.is_pointwise else self.mixer.step(z, state)
        return (x + y if self.prenorm else self._normed(x + y)), state

    def _normed(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(x.unsqueeze(1)).squeeze(1)
        return found


class _BatchNorm(nn.BatchNorm1d):
    """Of columns that stand last."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = super().forward(x.flatten(0, 1)).view_as(x)
        return found


def _make_norm(norm: str, width: int) -> nn.Module:
    if norm == "batch":
        return _BatchNorm(width)
    return nn.RMSNorm(width) if norm == "rms" else nn.LayerNorm(width)
