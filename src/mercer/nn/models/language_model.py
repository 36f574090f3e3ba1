"""A causal language model whose mixer is one argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mercer.nn.models.mixer_block import is_causal
from mercer.nn.models.mixers import Mixer, build_mixers
from mercer.nn.models.norms import Norm, refuse_batch_norm
from mercer.nn.models.registry import register_model
from mercer.nn.models.sequence_network import SequenceNetwork

__all__ = ["LanguageModel"]


class LanguageModel(SequenceNetwork):
    """Predicts the next token; what mixes the sequence is one argument, everything else stays the same.

    Args:
        vocabulary: number of tokens.
        mixer: ``"transnormer"``, blocks in the lower half of the layers and normed linear attention in the upper;
            ``"softmax"``; ``"linear"``, linear attention with its denominator; ``"norm"`` or ``"diag"``, one of
            TransNormer's two in all layers; ``"long_conv"``, :class:`mercer.nn.LongConv`, ``"sgconv"`` and ``"s4d"``,
            the same with other kernels; ``"h3"``, :class:`mercer.nn.H3Conv`; or a function of the width that builds a
            causal mixer (:class:`CausalMixer`). ``"soft"`` and ``"butterfly"`` have no causal form and are refused.
        layers: how many.
        width: of the rows.
        heads: of attentions.
        block: rows of a block, of attentions that have blocks.
        length: of the kernels of convolutions, which need it.
        hidden: of the gated layers (:class:`mercer.nn.GatedMLP`); None is ``8 width / 3``.
        feedforward: a function of the width that makes what stands in their place, such as ``lambda width:
            SNNKLinear(width, width, 64)``.
        norm: ``"rms"``; ``"srms"``, without a gain; ``"layer"``; or a function of the width. A batch norm is refused:
            in training its mean over all places would tell each about those after it.
        dropout: in training.
        options: more of what the mixer's class takes, such as ``positions="rope"``.

    Raises:
        ValueError: an unknown mixer or norm, a mixer that is not causal, a batch norm, no length for long
            convolutions.

    >>> model = LanguageModel(50, mixer="softmax", layers=2, width=16, heads=2)
    >>> model(torch.zeros(1, 7, dtype=torch.long)).shape
    torch.Size([1, 7, 50])
    >>> LanguageModel(50, width=16, heads=2, norm="batch")
    Traceback (most recent call last):
    ValueError: A batch norm takes its mean over all places, later ones too: in training the model would see the ...
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        mixer: Mixer = "transnormer",
        layers: int = 4,
        width: int = 128,
        heads: int = 4,
        block: int = 64,
        length: int | None = None,
        hidden: int | None = None,
        feedforward: Callable[[int], nn.Module] | None = None,
        norm: Norm = "rms",
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        mixers = build_mixers(
            mixer, layers, width, causal=True, heads=heads, block=block, length=length, options=options
        )
        for built in mixers:
            refuse_batch_norm(built)
            if not is_causal(built):
                raise ValueError(
                    f"LanguageModel: {type(built).__name__} is not causal, so it would see what it predicts. If it is, "
                    f"say so by an attribute causal = True."
                )
        super().__init__(
            mixers,
            width,
            vocabulary=vocabulary,
            d_input=None,
            hidden=hidden,
            feedforward=feedforward,
            norm=norm,
            dropout=dropout,
        )


register_model("language_model", LanguageModel)
