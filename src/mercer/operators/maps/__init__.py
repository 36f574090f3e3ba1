"""The maps of kernels as plain data: expressions of a published op set, and what they are lowered to."""

from mercer.operators.maps.calls import calls_of, count_calls, in_order
from mercer.operators.maps.expression import (
    LEAVES,
    Expression,
    Operation,
    clamp,
    constant,
    derivatives,
    evaluate,
    leaf,
    leaves,
    make,
    postorder,
    rebuild,
    same_op,
    substitute,
)
from mercer.operators.maps.lowering import lower
from mercer.operators.maps.operations import OPERATIONS
from mercer.operators.maps.shortcut import Bounds, quick_forms
from mercer.operators.maps.special import matern, matern_polynomial, reciprocal_or_zero, safe_sqrt
from mercer.operators.maps.versine import both_versines

__all__ = [
    "LEAVES",
    "OPERATIONS",
    "Bounds",
    "Expression",
    "Operation",
    "both_versines",
    "calls_of",
    "clamp",
    "constant",
    "count_calls",
    "derivatives",
    "evaluate",
    "in_order",
    "leaf",
    "leaves",
    "lower",
    "make",
    "matern",
    "matern_polynomial",
    "postorder",
    "quick_forms",
    "rebuild",
    "reciprocal_or_zero",
    "safe_sqrt",
    "same_op",
    "substitute",
]
