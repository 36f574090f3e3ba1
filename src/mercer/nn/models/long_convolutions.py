"""Classifiers of long convolutions by name."""

from __future__ import annotations

from typing import Any

from mercer.nn.models.registry import register_model
from mercer.nn.models.sequence import SequenceModel

__all__ = ["long_conv_classifier"]


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
    chosen: dict[str, Any] = {"layer": "long_conv", "length": length, "kernel": kernel, "causal": causal}
    return SequenceModel(d_input, d_output, **chosen, **{"norm": "rms" if causal else "batch", **options})


register_model("long_conv_classifier", long_conv_classifier)
