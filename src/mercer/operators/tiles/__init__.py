"""Passes over tiles that are never stored: products, dense copies and gradients."""

from mercer.operators.tiles.definition import few_entries, is_small, reference_rows
from mercer.operators.tiles.passes import Block, Tiles, meetings
from mercer.operators.tiles.point_gradients import point_gradients
from mercer.operators.tiles.product import Call, dense_copy, multiply
from mercer.operators.tiles.pull import Gradients, OuterCotangent, pull

__all__ = [
    "Block",
    "Call",
    "Gradients",
    "OuterCotangent",
    "Tiles",
    "dense_copy",
    "few_entries",
    "is_small",
    "meetings",
    "multiply",
    "point_gradients",
    "pull",
    "reference_rows",
]
