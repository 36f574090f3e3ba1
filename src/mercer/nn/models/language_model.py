"""A causal language model whose mixer is one argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from mercer.nn.attention.diag_attention import DiagAttention, SoftmaxAttention
from mercer.nn.attention.norm_attention import LinearAttention, NormAttention
from mercer.nn.models.mixer_block import Norm
from mercer.nn.models.registry import register_model
from mercer.nn.models.sequence_network import SequenceNetwork
from mercer.nn.models.transnormer import transnormer_mixers

__all__ = ["LanguageModel", "Mixer"]

Mixer = str | Callable[[int], nn.Module]
NAMES = ("transnormer", "softmax", "linear", "norm", "diag", "long_conv")


class LanguageModel(SequenceNetwork):
    """Predicts the next token; what mixes the sequence is one argument, everything else stays the same.

    Args:
        vocabulary: number of tokens.
        mixer: ``"transnormer"``, blocks in the lower half of the layers and normed linear attention in the upper;
            ``"softmax"``; ``"linear"``, linear attention with its denominator; ``"norm"`` or ``"diag"``, one of
            TransNormer's two in all layers; ``"long_conv"``, :class:`mercer.nn.LongConv`; or a function of the width
            that builds a causal mixer (:class:`CausalMixer`).
        layers: how many.
        width: of the rows.
        heads: of attentions.
        block: rows of a block, of attentions that have blocks.
        length: of the kernels of ``"long_conv"``, which needs it.
        hidden: of the gated layers; None is ``8 width / 3``.
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
        norm: Norm = "rms",
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        if callable(mixer):
            mixers: Sequence[nn.Module] = [mixer(width, **options) for _ in range(layers)]
        elif mixer == "transnormer":
            order = ["diag"] * (layers // 2) + ["norm"] * (layers - layers // 2)
            settings: dict[str, Any] = {"variant": "T2", "causal": True, "positions": "lrpe"}
            mixers = transnormer_mixers(order, width, heads, block=block, **settings | options)
        else:
            build = _builder(mixer, heads=heads, block=block, length=length)
            mixers = [build(width, **options) for _ in range(layers)]
        for built in mixers:
            if not getattr(built, "causal", True):
                raise ValueError(
                    f"LanguageModel: {type(built).__name__} is not causal, so it would see what it predicts."
                )
        super().__init__(mixers, width, vocabulary=vocabulary, d_input=None, hidden=hidden, norm=norm, dropout=dropout)


def _builder(mixer: str, *, heads: int, block: int, length: int | None) -> Callable[..., nn.Module]:
    """The class behind a name, with what the model decides."""
    if mixer == "long_conv":
        import mercer.nn

        if length is None:
            raise ValueError('LanguageModel(mixer="long_conv"): give length, that of the longest sequence.')
        return partial(mercer.nn.LongConv, length=length, causal=True)  # type: ignore[attr-defined, unused-ignore]
    builders: dict[str, Callable[..., nn.Module]] = {
        "softmax": partial(SoftmaxAttention, heads=heads),
        "linear": partial(LinearAttention, heads=heads),
        "norm": partial(NormAttention, heads=heads),
        "diag": partial(DiagAttention, heads=heads, block=block),
    }
    if mixer not in builders:
        raise ValueError(f"LanguageModel(mixer={mixer!r}): choose one of {', '.join(NAMES)}, or give a function.")
    return builders[mixer]


register_model("language_model", LanguageModel)
