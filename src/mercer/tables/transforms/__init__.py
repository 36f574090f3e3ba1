"""Columns of a table as numbers, fitted on the training part only: one file a kind of column."""

from mercer.tables.transforms.category import CategoryTransform, ManyLevelsTransform, OrderedTransform
from mercer.tables.transforms.feature import Feature
from mercer.tables.transforms.moment import MomentTransform
from mercer.tables.transforms.number import NumberTransform

__all__ = [
    "CategoryTransform",
    "Feature",
    "ManyLevelsTransform",
    "MomentTransform",
    "NumberTransform",
    "OrderedTransform",
]
