"""Passes over tiles that are never stored: products, dense copies and gradients."""

from mercer.operators.tiles.passes import Block, Tiles, meetings
from mercer.operators.tiles.point_gradients import point_gradients
from mercer.operators.tiles.product import Call, KernelDense, KernelProduct, reference_rows
from mercer.operators.tiles.pull import Gradients, OuterCotangent, pull

__all__ = [
    "Block",
    "Call",
    "Gradients",
    "KernelDense",
    "KernelProduct",
    "OuterCotangent",
    "Tiles",
    "meetings",
    "point_gradients",
    "pull",
    "reference_rows",
]
