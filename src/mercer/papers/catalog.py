"""The list of all papers, those included whose module is not written yet: ``catalog.json``, read and checked."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Entry", "catalog"]


@dataclass(frozen=True)
class Entry:
    """What is known about a paper; None or empty where it is not.

    Args:
        number: 1 to 36 in the catalog.
        slug: its name in commands and file names.
        title: in full.
        summary: what it says, in our words.
        authors: as far as known, in their order.
        arxiv: the identifier, such as ``"2102.13088"``.
        year: of the first version.
        venue: where it was published.
        code: the official code, if there is any.
        tags: for searching.
    """

    number: int
    slug: str
    title: str
    summary: str
    authors: tuple[str, ...] = ()
    arxiv: str | None = None
    year: int | None = None
    venue: str | None = None
    code: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """``22-self-distillation``: the name of its folder and its page."""
        return f"{self.number:02d}-{self.slug}"

    @property
    def month(self) -> str | None:
        """Month of the first version, ``2021-02``: the first four digits of an arXiv id."""
        return f"20{self.arxiv[:2]}-{self.arxiv[2:4]}" if self.arxiv else None

    @property
    def citation(self) -> str:
        """Authors, venue and arXiv id as one line, as far as they are known."""
        parts = [", ".join(self.authors), self.venue or (str(self.year) if self.year else "")]
        return ". ".join([part for part in parts if part] + ([f"arXiv {self.arxiv}"] if self.arxiv else []))


@cache
def catalog() -> dict[int, Entry]:
    """All papers by number."""
    records = json.loads(Path(__file__).with_name("catalog.json").read_text(encoding="utf-8"))
    entries = [
        Entry(**{**record, "authors": tuple(record["authors"]), "tags": tuple(record["tags"])}) for record in records
    ]
    return {entry.number: entry for entry in sorted(entries, key=lambda entry: entry.number)}
