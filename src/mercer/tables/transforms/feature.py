"""One column of numbers that a model sees."""

from dataclasses import dataclass

__all__ = ["Feature"]


@dataclass(frozen=True)
class Feature:
    """What one column of the feature matrix means.

    Attributes:
        name: such as ``"log carat"`` or ``"cut = Ideal"``.
        source: the table's column that it comes from.
        role: ``"smooth"`` for every part of a model, ``"linear"`` for the linear part only.
        tie: features with the same tie share a lengthscale: the indicators of one category are one block, in which a
            stationary kernel sees two rows as equal or different (the Hamming distance, up to a factor).
    """

    name: str
    source: str
    role: str
    tie: str
