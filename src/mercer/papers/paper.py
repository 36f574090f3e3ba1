"""A paper: what it is, what it claims, and how its method can be broken so that the claims come out false."""

import ast
import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mercer.papers.catalog import Entry, catalog
from mercer.papers.claim import Claim, Effort, Kind, Mode, Quantity
from mercer.papers.measuring import Run

__all__ = ["Paper", "Sabotage"]

_MOST_QUICK_SECONDS = 240.0


@dataclass(frozen=True)
class Sabotage:
    """One way to break a method.

    Args:
        name: ``"shuffled labels"``.
        broken: gives the context inside which the method is broken.
        breaks: ids of the claims that must not hold inside it.
    """

    name: str
    broken: Callable[[], AbstractContextManager[Any]]
    breaks: tuple[str, ...]


class Paper:
    """One paper and its claims; the module that makes it is its only file.

    Args:
        entry: what the catalog says, or an :class:`Entry` of one's own for a paper outside of it.
        see: titles and addresses for further reading: later theory, the official code.
    """

    def __init__(self, entry: Entry, *, see: Sequence[tuple[str, str]] = ()) -> None:
        self.entry, self.see = entry, tuple(see)
        self.claims: dict[str, Claim] = {}
        self.sabotages: list[Sabotage] = []
        self.file: Path | None = None
        self.text = ""

    @classmethod
    def from_catalog(cls, number: int, *, see: Sequence[tuple[str, str]] = ()) -> "Paper":
        """The paper of that number in ``catalog.json``.

        Raises:
            ValueError: the catalog has no such number.
        """
        entry = catalog().get(number)
        if entry is None:
            raise ValueError(f"catalog.json has no paper {number}; it has {min(catalog())} to {max(catalog())}.")
        return cls(entry, see=see)

    def __repr__(self) -> str:
        return f"<Paper {self.entry.number:02d} {self.entry.slug}, {len(self.claims)} claims>"

    def claim(
        self,
        id: str,
        *,
        says: str,
        measures: Quantity | Iterable[Quantity],
        quick: Effort | str,
        controls: Quantity | Iterable[Quantity] = (),
        rivals: Quantity | Iterable[Quantity] = (),
        reported: str | None = None,
        where: str | None = None,
        kind: Kind = "quality",
        identity: bool = False,
        full: Effort | str | None = None,
        notes: str = "",
    ) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
        """Make a claim of the function below, which is given a :class:`Run` and records one set of numbers a seed.

        Args:
            id: small letters, digits and hyphens; unique in the paper.
            says: what the paper says, as one sentence.
            measures: what is measured here and the bounds under which the claim holds; the first is the main one.
            controls: what must hold as well for the paper's explanation: a stronger baseline, a fair protocol. If one
                fails, the claim holds in the paper's protocol only.
            rivals: what is measured beside it and not judged, such as an ablation.
            reported: the paper's own number, as text; None if it gives none or it could not be read.
            where: where that stands: ``"table 2"``, ``"theorem 4.2"``, ``"abstract"``.
            kind: ``"quality"``, or ``"speed"`` for ratios of time; those run alone, after all others.
            identity: true by definition, so that it tests our code and not the paper.
            quick: what it may cost on 2 CPU cores, or the reason why it is not shown there.
            full: the same for the paper's own data and scale; default: as quick.
            notes: what a reader has to know; Markdown.

        Raises:
            ValueError: the id is taken, the statement cannot come out false, or the paper's quick claims together
                would take more than 240 seconds.
        """

        def add(function: Callable[[Run], None]) -> Callable[[Run], None]:
            if id in self.claims:
                raise ValueError(f"Paper {self.entry.slug}: two claims have the id {id!r}.")
            claim = Claim(
                id=id,
                says=says,
                measure=function,
                measures=_tuple(measures),
                controls=_tuple(controls),
                rivals=_tuple(rivals),
                reported=reported,
                where=where,
                kind=kind,
                identity=identity,
                quick=quick,
                full=full,
                notes=inspect.cleandoc(notes),
            )
            seconds = sum(budget(each, "quick") for each in (*self.claims.values(), claim))
            if seconds > _MOST_QUICK_SECONDS:
                raise ValueError(
                    f"Paper {self.entry.slug}: its quick claims would take {seconds:g} s together, with {id!r}; "
                    f"{_MOST_QUICK_SECONDS:g} s is the most, 60 s the aim. Take fewer seeds, or move one to full."
                )
            self.claims[id] = claim
            return function

        return add

    def sabotage(self, name: str, broken: Callable[[], AbstractContextManager[Any]], *, breaks: Sequence[str]) -> None:
        """State a way to break the method, and the claims that must then not hold; a test runs it.

        Args:
            name: what is broken, in two or three words.
            broken: gives the context, such as ``lambda: sabotage.shuffled_labels(KernelRidge)``.
            breaks: ids of claims that are already there; quick ones, since the test suite measures them.

        Raises:
            ValueError: no claim, or one that is not there.
        """
        unknown = [id for id in breaks if id not in self.claims]
        if unknown or not breaks:
            missing = f"there is no claim {', '.join(unknown)}" if unknown else "it has to break a claim"
            raise ValueError(f"Paper {self.entry.slug}, sabotage {name!r}: {missing}.")
        self.sabotages.append(Sabotage(name, broken, tuple(breaks)))

    def broken(self, name: str | None) -> AbstractContextManager[Any]:
        """The context of a sabotage; of None, in which all works.

        Raises:
            ValueError: there is no sabotage of this name.
        """
        if name is None:
            return nullcontext()
        ways = {way.name: way for way in self.sabotages}
        if name not in ways:
            raise ValueError(f"Paper {self.entry.slug} has no sabotage {name!r}: choose one of {', '.join(ways)}.")
        return ways[name].broken()

    def locate(self, file: Path, text: str) -> None:
        """Say in which file the paper is and what its docstring says; the registry does."""
        self.file, self.text = file, inspect.cleandoc(text)

    @property
    def exercises(self) -> tuple[str, ...]:
        """The public names of mercer that the module imports: ``mercer.learn.KernelRidge``, ..."""
        tree = ast.parse(self.file.read_text(encoding="utf-8") if self.file else "")
        names = {
            f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mercer"
            for alias in node.names
        }
        return tuple(sorted(name for name in names if not name.startswith("mercer.papers")))


def budget(claim: Claim, mode: Mode) -> float:
    """Seconds that the claim may take in a mode; 0 if it is not measured in it."""
    effort = claim.effort(mode)
    return effort.seconds if isinstance(effort, Effort) else 0.0


def _tuple(quantities: Quantity | Iterable[Quantity]) -> tuple[Quantity, ...]:
    return (quantities,) if isinstance(quantities, Quantity) else tuple(quantities)
