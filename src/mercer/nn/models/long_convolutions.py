"""Models of long convolutions by name."""

from __future__ import annotations

from functools import partial
from typing import Any

from mercer.nn.convolution import H3Conv, LongConv
from mercer.nn.models.registry import register_model
from mercer.nn.models.sequence import SequenceModel

__all__ = ["long_conv_classifier", "long_conv_language_model"]


def long_conv_classifier(
    d_input: int, d_output: int, *, length: int, kernel: Any = "sgconv", causal: bool = False, **options: Any
) -> SequenceModel:
    """A :class:`SequenceModel` of :class:`LongConv`, with batch norm where it is two-sided, as for the Long Range
    Arena.

    Args:
        d_input, d_output: as in :class:`SequenceModel`.
        length, kernel, causal: as in :class:`LongConv`.
        options: all others of :class:`SequenceModel`.

    >>> long_conv_classifier(1, 2, length=100, layers=1, width=8).causal
    False
    """
    layer = partial(LongConv, length=length, kernel=kernel, causal=causal)
    return SequenceModel(d_input, d_output, layer=layer, **{"norm": "rms" if causal else "batch", **options})


def long_conv_language_model(
    vocabulary: int,
    *,
    length: int,
    kernel: Any = "sgconv",
    gated: bool = False,
    feedforward: int | None = None,
    **options: Any,
) -> SequenceModel:
    """A causal language model: an answer of ``vocabulary`` logits after every token.

    Args:
        vocabulary: how many tokens there are.
        length, kernel: as in :class:`LongConv`.
        gated: mixers are :class:`H3Conv`, with its own kernels.
        options: all others of :class:`SequenceModel`.

    >>> import torch
    >>> model = long_conv_language_model(50, length=64, layers=1, width=16)
    >>> model(torch.randint(50, (2, 20))).shape
    torch.Size([2, 20, 50])
    """
    mixer: Any = partial(H3Conv, length=length) if gated else partial(LongConv, length=length, kernel=kernel)
    return SequenceModel(vocabulary, vocabulary, layer=mixer, pool=None, tokens=True, **options)


register_model("long_conv_classifier", long_conv_classifier)
register_model("long_conv_language_model", long_conv_language_model)
