"""The front page as data: which papers are asked for, in which order, and what each card shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mercer.gallery.pictures import Bar, similarity_bars
from mercer.gallery.search import LONGEST_QUERY, Search
from mercer.gallery.shelf import Item
from mercer.gallery.words import month, names, summed_up
from mercer.papers.claim import Verdict
from mercer.papers.report import MARKS

__all__ = ["SLUGS", "Card", "Query", "card_of", "choose", "sorted_by", "tags_of", "verdict_choices"]

# How verdicts are called in addresses and in the style sheet.
SLUGS = {
    Verdict.HOLDS: "holds",
    Verdict.PROTOCOL_ONLY: "protocol",
    Verdict.DOES_NOT_HOLD: "fails",
    Verdict.NOT_MEASURED: "open",
}
_ORDERS = ("newest", "trending")


@dataclass(frozen=True)
class Query:
    """What a reader asks for.

    Args:
        text: words to search for.
        tag: only papers that have it.
        verdict: only papers with a claim of that verdict, by its slug.
        sort: ``"newest"`` or ``"trending"``.
    """

    text: str = ""
    tag: str = ""
    verdict: str = ""
    sort: str = "newest"

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> "Query":
        """From the address of a page; what makes no sense in it is left out."""
        verdict, sort = parameters.get("verdict", ""), parameters.get("sort", "")
        return cls(
            text=" ".join(parameters.get("q", "")[:LONGEST_QUERY].split()),
            tag=parameters.get("tag", "")[:40].strip().lower(),
            verdict=verdict if verdict in SLUGS.values() else "",
            sort=sort if sort in _ORDERS else "newest",
        )


@dataclass(frozen=True)
class Card:
    """A paper on the front page.

    Args:
        item: the paper.
        date: ``February 2021``.
        authors: in one line.
        pips: for every claim its mark, the slug of its verdict, and a text.
        line: ``5 of 7 claims hold``.
        figure: claim and name of the figure that is shown, or None.
        caption: of the figure.
        bars: how near all papers are, shown where there is no figure.
        near: keys of the three nearest papers.
        trend: how much has happened lately.
    """

    item: Item
    date: str
    authors: str
    pips: tuple[tuple[str, str, str], ...]
    line: str
    figure: tuple[str, str] | None
    caption: str
    bars: tuple[Bar, ...]
    near: tuple[str, ...]
    trend: float


def choose(query: Query, items: Sequence[Item], search: Search, trend: Mapping[str, float]) -> dict[str, list[Item]]:
    """The papers of a query: ``exact`` ones in the order asked for, and ``close`` ones by how close they are."""
    inside = [item for item in items if not query.tag or query.tag in item.entry.tags]
    if query.verdict:
        inside = [item for item in inside if query.verdict in {SLUGS[verdict] for verdict in verdicts_of(item)}]
    found = search(query.text, sorted_by(query.sort, inside, trend))
    return {"exact": list(found.exact), "close": list(found.close)}


def verdicts_of(item: Item) -> set[Verdict]:
    """The verdicts of its claims; a paper without a module is not measured."""
    return set(item.counts) or {Verdict.NOT_MEASURED}


def sorted_by(order: str, items: Sequence[Item], trend: Mapping[str, float]) -> list[Item]:
    """Newest first by the arXiv identifier, or by what has happened lately, and then newest first."""
    newest = sorted(items, key=lambda item: item.entry.arxiv or str(item.entry.year or ""), reverse=True)
    if order == "trending":
        return sorted(newest, key=lambda item: -round(trend.get(item.entry.key, 0.0), 3))
    return newest


def tags_of(items: Sequence[Item]) -> list[tuple[str, int]]:
    """All tags with the number of their papers, the frequent ones first."""
    tags = [tag for item in items for tag in item.entry.tags]
    return sorted({tag: tags.count(tag) for tag in tags}.items(), key=lambda pair: (-pair[1], pair[0]))


def card_of(item: Item, search: Search, order: Sequence[str], trend: Mapping[str, float]) -> Card:
    """What is shown of a paper.

    Args:
        item: the paper.
        search: tells which others are near.
        order: keys of all papers, for the bars.
        trend: of :meth:`mercer.gallery.history.History.trend`.
    """
    near = search.near(item.entry.key)
    figure = item.figures[0] if item.figures else None
    return Card(
        item=item,
        date=month(item.entry),
        authors=names(item.entry),
        pips=tuple((MARKS[v], SLUGS[v], f"{claim}: {v}") for claim, v in item.verdicts.items()),
        line=summed_up(item.counts),
        figure=(figure[0], figure[1].name) if figure is not None else None,
        caption=figure[1].caption if figure is not None else "",
        bars=tuple(similarity_bars(near, order)) if figure is None else (),
        near=tuple(key for key, _ in near[:3]),
        trend=round(trend.get(item.entry.key, 0.0), 3),
    )


def verdict_choices() -> list[dict[str, Any]]:
    """The verdicts as filters: slug, mark and name."""
    return [{"slug": slug, "mark": MARKS[verdict], "name": str(verdict)} for verdict, slug in SLUGS.items()]
