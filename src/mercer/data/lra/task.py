"""What a task of the Long Range Arena is to a program: sequences of numbers, and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = ["LongRangeTask", "Split"]

Array = np.ndarray[Any, Any]


class Split(NamedTuple):
    """Sequences and their classes.

    Attributes:
        inputs: ``(n, length)`` tokens, padded at the end with 0, int16; or pixels row by row, uint8; ``(n, 2, length)``
            where two texts are compared.
        targets: ``(n,)`` classes from 0 on, int64.
    """

    inputs: Array
    targets: Array


@dataclass(frozen=True)
class LongRangeTask:
    """One of the six tasks, read from its files.

    Attributes:
        name: "listops", "text", "retrieval", "image", "pathfinder" or "pathx".
        train, valid, test: the parts. For "text" the last two are the same, as in the official code.
        n_classes: classes.
        vocabulary: numbers that may stand in the inputs: tokens with the padding, or 256 levels of a pixel.
        length: of every sequence.
        is_pixels: whether inputs are pixels, which 0 does not pad.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    n_classes: int
    vocabulary: int
    length: int
    is_pixels: bool
