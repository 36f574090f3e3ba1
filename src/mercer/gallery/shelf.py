"""What there is to show: every paper with its claims and what came out, read again when a result changes."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mercer.papers import registry
from mercer.papers.catalog import Entry
from mercer.papers.claim import Claim, Verdict
from mercer.papers.measurement import Figure
from mercer.papers.paper import Paper
from mercer.papers.registry import PaperError
from mercer.papers.results import Result, path_of, read_folder
from mercer.papers.tasks import tasks_of

__all__ = ["Item", "Shelf", "shelf_of"]

_SECONDS_BETWEEN_LOOKS = 0.5  # at the files of the results; a look takes a millisecond


@dataclass(frozen=True)
class Item:
    """One paper.

    Args:
        entry: what the catalog knows.
        paper: its module, or None if it is not written yet or cannot be loaded.
        results: what was measured, by claim.
        problems: a line for everything that could not be read.
    """

    entry: Entry
    paper: Paper | None = None
    results: Mapping[str, Result] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def claims(self) -> list[Claim]:
        """In the order of the module."""
        return list(self.paper.claims.values()) if self.paper is not None else []

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By claim, in the order of the module."""
        return {claim.id: self._verdict(claim.id) for claim in self.claims}

    @property
    def counts(self) -> Counter[Verdict]:
        """How many claims have which verdict."""
        return Counter(self.verdicts.values())

    @property
    def figures(self) -> list[tuple[str, Figure]]:
        """Every figure with its claim's id; those of a claim that holds come first."""
        found = [
            (claim.id, figure)
            for claim in self.claims
            if claim.id in self.results and (measurement := self.results[claim.id].measurement) is not None
            for figure in measurement.figures
        ]
        return sorted(found, key=lambda pair: self._verdict(pair[0]) is not Verdict.HOLDS)

    @property
    def text(self) -> str:
        """All its words, for searching."""
        entry = self.entry
        parts = [entry.title, entry.slug.replace("-", " "), entry.summary, *entry.authors, *entry.tags]
        parts += [entry.key, entry.slug, entry.arxiv or "", entry.venue or ""]
        parts += [self.paper.text] if self.paper is not None else []
        return " ".join([*parts, *(claim.says for claim in self.claims)])

    def _verdict(self, claim: str) -> Verdict:
        return self.results[claim].verdict if claim in self.results else Verdict.NOT_MEASURED


class Shelf:
    """All papers, and the results of one folder; :meth:`refresh` sees what has changed there.

    Args:
        folder: of the results, with the mode: ``results/quick``.
        entries: the papers to show, in the order of their numbers.
        modules: file of each paper's module, by number.
    """

    def __init__(self, folder: Path, *, entries: Iterable[Entry], modules: Mapping[int, Path]) -> None:
        self.folder, self.version = folder, 0
        self._items: dict[str, Item] = {}
        for entry in entries:
            paper, problems = _load(modules.get(entry.number))
            self._items[entry.key] = Item(paper.entry if paper is not None else entry, paper, {}, problems)
        self._unloaded = {key: item.problems for key, item in self._items.items()}
        self._seen: dict[str, tuple[object, ...]] = {}
        self._looked = -_SECONDS_BETWEEN_LOOKS
        self.refresh()

    @property
    def items(self) -> list[Item]:
        """All papers."""
        return list(self._items.values())

    def find(self, key: str) -> Item | None:
        """The paper of that key, ``22-self-distillation``."""
        return self._items.get(key)

    def refresh(self, *, at_once: bool = False) -> bool:
        """Read the results that have changed on the disk, and say whether any had.

        Args:
            at_once: also if the last look was a moment ago.
        """
        if not at_once and time.monotonic() - self._looked < _SECONDS_BETWEEN_LOOKS:
            return False
        changed = False
        for key, item in self._items.items():
            if item.paper is None:
                continue
            seen = tuple(_state(path_of(self.folder, key, claim)) for claim in item.paper.claims)
            if seen != self._seen.get(key):
                results, problems = read_folder(self.folder, key, item.paper.claims)
                self._items[key] = Item(item.entry, item.paper, results, (*self._unloaded[key], *problems))
                self._seen[key] = seen
                changed = True
        self.version += changed
        self._looked = time.monotonic()
        return changed

    def outdated(self, item: Item) -> set[str]:
        """Claims whose result an earlier state of the code gave; takes up to a second the first time."""
        tasks = tasks_of([item.paper], folder=self.folder) if item.paper is not None else []
        return {
            task.claim.id
            for task in tasks
            if task.claim.id in item.results
            and item.results[task.claim.id].configuration == task.configuration
            and item.results[task.claim.id].fingerprint != task.fingerprint
        }


def shelf_of(folder: Path, own: Iterable[Path] = ()) -> Shelf:
    """The 36 papers of the catalog, with papers of the user's own.

    Args:
        folder: of the results, with the mode.
        own: files ``pNN_slug.py``.

    Raises:
        PaperError: one of ``own`` is no paper, or has the number of another.
    """
    entries = {entry.number: entry for entry in registry.entries()}
    modules = registry.modules()
    for path in own:
        entry = registry.load_file(path.resolve()).entry
        if entry.number in entries:
            raise PaperError(f"{path}: number {entry.number} is taken by {entries[entry.number].slug}; choose another.")
        entries[entry.number], modules[entry.number] = entry, path.resolve()
    return Shelf(folder, entries=entries.values(), modules=modules)


def _load(path: Path | None) -> tuple[Paper | None, tuple[str, ...]]:
    if path is None:
        return None, ()
    try:
        return registry.load_file(path), ()
    except PaperError as error:
        return None, (" ".join(str(error).split()),)


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when a file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
