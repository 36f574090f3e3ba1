"""What was measured: values of every seed, what they cost, on which machine, with figures and tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from mercer.errors import FileFormatError

__all__ = ["Figure", "Measurement", "Table"]

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """A table beside the numbers: rows of text and numbers."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A figure beside the numbers, as the text of an SVG file."""

    name: str
    caption: str
    svg: str = field(repr=False)


@dataclass(frozen=True)
class Measurement:
    """What one claim gave.

    Args:
        values: by quantity, one number a seed.
        seeds: the seeds that were measured, in the order of the values.
        seeds_asked: how many the claim wanted; more than were measured where the budget of seconds ran out.
        seconds: wall time of the claim, without the start of its process.
        peak_bytes: most memory its process held, libraries included; on a GPU, most that torch allocated there. None
            where the system does not tell.
        device: where it ran: ``"cpu"``, ``"cuda"``.
        machine: processor, threads and versions, as :func:`mercer.timing.machine` tells them.
        tables: in the order they were made.
        figures: likewise.
        notes: what the claim wants a reader to know about this very run.
    """

    values: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    seeds_asked: int
    seconds: float
    peak_bytes: int | None
    device: str
    machine: Mapping[str, Any]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """The mean of the first quantity over the seeds."""
        return self.mean(next(iter(self.values)))

    @property
    def spread(self) -> float | None:
        """Standard deviation of the first quantity over the seeds; None with a single one."""
        return self.deviation(next(iter(self.values)))

    def mean(self, name: str) -> float:
        """Mean of a quantity over the seeds."""
        return fmean(self.values[name])

    def deviation(self, name: str) -> float | None:
        """Standard deviation of a quantity over the seeds (divided by their number less one); None with a single one.

        NaN where a value is not finite.
        """
        values = self.values[name]
        if len(values) < 2:
            return None
        return stdev(values) if all(map(math.isfinite, values)) else math.nan

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, which knows no NaN: numbers that are not finite become text. Figures only by name."""
        return {
            "values": {name: [_to_json(value) for value in values] for name, values in self.values.items()},
            "seeds": list(self.seeds),
            "seeds_asked": self.seeds_asked,
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "device": self.device,
            "machine": dict(self.machine),
            "tables": [
                {
                    "name": table.name,
                    "caption": table.caption,
                    "columns": list(table.columns),
                    "rows": [[_to_json(cell) for cell in row] for row in table.rows],
                }
                for table in self.tables
            ],
            "figures": [{"name": figure.name, "caption": figure.caption} for figure in self.figures],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], *, figures: Sequence[str] = ()) -> "Measurement":
        """The opposite of :meth:`as_dict`; ``figures`` are the texts of the SVG files, in their order.

        Raises:
            FileFormatError: a field is missing or of another type.
        """
        try:
            values = {str(name): tuple(_from_json(v) for v in series) for name, series in record["values"].items()}
            seeds = tuple(int(seed) for seed in record["seeds"])
            tables = tuple(
                Table(t["name"], t["caption"], tuple(t["columns"]), tuple(tuple(row) for row in t["rows"]))
                for t in record["tables"]
            )
            if not values or not seeds or any(len(series) != len(seeds) for series in values.values()):
                raise ValueError("every quantity needs one value a seed")
            return cls(
                values=values,
                seeds=seeds,
                seeds_asked=int(record["seeds_asked"]),
                seconds=float(record["seconds"]),
                peak_bytes=None if record["peak_bytes"] is None else int(record["peak_bytes"]),
                device=str(record["device"]),
                machine=dict(record["machine"]),
                tables=tables,
                figures=tuple(
                    Figure(f["name"], f["caption"], svg) for f, svg in zip(record["figures"], figures, strict=True)
                ),
                notes=tuple(map(str, record["notes"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"the measurement is not complete ({type(error).__name__}: {error})") from None


def _to_json(value: Cell) -> Cell:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(value: float | str) -> float:
    if isinstance(value, str) and value not in ("nan", "inf", "-inf"):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
