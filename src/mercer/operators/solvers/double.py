"""The float64 copy of an operator that residuals are computed with."""

from typing import Any

__all__ = ["in_double"]

_CLOSE = 1e-12  # asked of the products of plans that approximate


def in_double(A: Any) -> Any:
    """An operator in float64; where its plan uses structure, so does the copy, to 1e-12 or what the original allows.

    A plan for float64 alone might fall back to ``n * m`` entries.
    """
    if not getattr(A, "is_structured", False):
        return A.double()
    for tolerance in (_CLOSE, A.plan.error):
        try:
            copy = A.double().with_plan(A.forced, tolerance=min(tolerance, 0.1))
        except ValueError:  # the plan asked for does not reach it
            continue
        if copy.is_structured:
            return copy
    return A.double()
