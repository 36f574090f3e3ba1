"""What was checked and what came out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mercer.testing.case import Case


class PropertyError(AssertionError):
    """A property does not hold; the message names it, the smallest case found, and how to repeat it.

    Attributes:
        property: the name of the property.
        case: the smallest failing case that was found.
        error, tolerance: what was measured there, and what is allowed.
    """

    def __init__(self, message: str, property: str, case: Case, error: float, tolerance: float) -> None:
        super().__init__(message)
        self.property, self.case, self.error, self.tolerance = property, case, error, tolerance

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.property, self.case, self.error, self.tolerance)


@dataclass(frozen=True)
class Result:
    """A row of a report.

    Attributes:
        property: its name.
        status: "passed", "failed" or "skipped".
        checks: comparisons made.
        worst: the largest error, in units of what is allowed.
        detail: the smallest failing case and how to repeat it, or why the property was skipped.
        failure: the error that :func:`check_kernel` raises, None unless failed.
        seconds: time taken.
    """

    property: str
    status: str
    checks: int
    worst: float
    detail: str = ""
    failure: PropertyError | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All results of one kernel or operator, one row a property; ``print`` shows a table."""

    name: str
    results: list[Result] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def failures(self) -> list[Result]:
        """The rows that failed."""
        return [result for result in self.results if result.status == "failed"]

    def __getitem__(self, name: str) -> Result:
        return next(result for result in self.results if result.property == name)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __str__(self) -> str:
        width = max((len(result.property) for result in self.results), default=0)
        lines = [self.name]
        for r in self.results:
            numbers = f"{r.checks:5d} checks, worst {r.worst:8.2g} of what is allowed" if r.status != "skipped" else ""
            first = r.detail.partition("\n")[0]
            lines.append(f"  {r.property:{width}}  {r.status:7}  {numbers}{'  ' if numbers and first else ''}{first}")
        return "\n".join(lines)
