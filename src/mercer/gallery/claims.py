"""A paper's claims as data for its page: the paper's number beside ours, bounds, seeds, history, figures."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from mercer.gallery.front import SLUGS
from mercer.gallery.history import Entry
from mercer.gallery.pictures import Dots, dots_of
from mercer.gallery.shelf import Item
from mercer.gallery.words import code_of, day, html_of
from mercer.papers.claim import Claim, Effort, Quantity, Verdict, deciding, number
from mercer.papers.measurement import Figure, Measurement, Table
from mercer.papers.report import MARKS, cost, measured, seconds
from mercer.papers.results import Result

__all__ = ["ClaimView", "QuantityView", "claim_views", "quick_seconds"]

_MOST_HISTORY = 20


@dataclass(frozen=True)
class QuantityView:
    """One row of numbers: its role (``control``, ``beside it`` or nothing), value, bound, and whether that is kept."""

    role: str
    text: str
    value: str
    bound: str
    keeps: bool | None
    dots: Dots | None


@dataclass(frozen=True)
class ClaimView:
    """What the page shows of a claim.

    Args:
        claim: as it is stated.
        verdict: what came out.
        mark: its sign.
        slug: its name in the style sheet.
        main: the number that decides.
        quantities: all numbers.
        reason: why it was not measured, or nothing.
        notes: HTML.
        tables: with their cells as text.
        figures: in the order they were made.
        fine: cost, machine, versions and date.
        remarks: about this very run.
        is_outdated: the code has changed since.
        history: earlier measurements and this one, newest first.
        code: the source of what measures it.
    """

    claim: Claim
    verdict: Verdict
    mark: str
    slug: str
    main: QuantityView
    quantities: tuple[QuantityView, ...]
    reason: str
    notes: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    fine: str
    remarks: tuple[str, ...]
    is_outdated: bool
    history: tuple[dict[str, Any], ...]
    code: str


def claim_views(item: Item, history: Mapping[str, Sequence[Entry]], outdated: AbstractSet[str]) -> list[ClaimView]:
    """The claims of a paper, in the order of its module.

    Args:
        item: the paper with its results.
        history: of :meth:`mercer.gallery.history.History.of`.
        outdated: of :meth:`mercer.gallery.shelf.Shelf.outdated`.
    """
    return [
        _view(claim, item.results.get(claim.id), history.get(claim.id, ()), claim.id in outdated)
        for claim in item.claims
    ]


def quick_seconds(item: Item) -> str:
    """How long all quick claims may take together."""
    return seconds(sum(claim.quick.seconds for claim in item.claims if isinstance(claim.quick, Effort)))


def _view(claim: Claim, result: Result | None, history: Sequence[Entry], is_outdated: bool) -> ClaimView:
    measurement = result.measurement if result is not None else None
    verdict = result.verdict if result is not None else Verdict.NOT_MEASURED
    main = deciding(claim, measurement.values if measurement is not None else {})
    return ClaimView(
        claim=claim,
        verdict=verdict,
        mark=MARKS[verdict],
        slug=SLUGS[verdict],
        main=_quantity(claim, main, measurement),
        quantities=tuple(_quantity(claim, quantity, measurement) for quantity in claim.quantities),
        reason=_reason(claim, result),
        notes=html_of(claim.notes) if claim.notes else "",
        tables=tuple(map(_table, measurement.tables)) if measurement is not None else (),
        figures=measurement.figures if measurement is not None else (),
        fine=_fine(result, measurement) if result is not None and measurement is not None else "",
        remarks=measurement.notes if measurement is not None else (),
        is_outdated=is_outdated,
        history=tuple(map(_history, history[:_MOST_HISTORY])),
        code=code_of(claim),
    )


def _quantity(claim: Claim, quantity: Quantity, measurement: Measurement | None) -> QuantityView:
    values = measurement.values.get(quantity.name, ()) if measurement is not None else ()
    role = "control" if quantity in claim.controls else "beside it" if quantity in claim.rivals else ""
    return QuantityView(
        role=role,
        text=quantity.text,
        value=measured(quantity, measurement) if measurement is not None else "",
        bound=quantity.bound,
        keeps=quantity.holds(values) if quantity.has_bound and measurement is not None else None,
        dots=dots_of(quantity, values),
    )


def _reason(claim: Claim, result: Result | None) -> str:
    if result is not None and result.measurement is not None:
        return ""
    if result is not None and result.reason:
        return f"{'It failed' if result.failed else 'Not measured'}: {result.reason}"
    return f"Not shown in quick: {claim.quick}" if isinstance(claim.quick, str) else "Not measured here yet."


def _fine(result: Result, measurement: Measurement) -> str:
    machine = measurement.machine
    versions = ", ".join(f"{name} {version}" for name, version in dict(machine.get("versions", {})).items())
    return f"{cost(measurement)}; {machine.get('processor')}; {versions}; {day(result.date)}."


def _table(table: Table) -> Table:
    rows = tuple(
        tuple(number(cell) if isinstance(cell, float) else "" if cell is None else str(cell) for cell in row)
        for row in table.rows
    )
    return Table(table.name, table.caption, table.columns, rows)


def _history(entry: Entry) -> dict[str, Any]:
    return {
        "date": day(entry.date),
        "version": entry.version,
        "mark": MARKS[entry.verdict],
        "slug": SLUGS[entry.verdict],
        "verdict": str(entry.verdict),
        "value": entry.value,
        "seconds": seconds(entry.seconds),
    }
