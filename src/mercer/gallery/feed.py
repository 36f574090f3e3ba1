"""The news as an Atom feed (RFC 4287)."""

from typing import Any

from mercer.gallery.history import History, News
from mercer.gallery.links import Links
from mercer.gallery.pages import render
from mercer.gallery.shelf import Item, Shelf
from mercer.gallery.words import summed_up

__all__ = ["feed"]

_MOST = 50


def feed(shelf: Shelf, history: History, *, base: str, links: Links) -> str:
    """The last 50 news: papers that can be measured, and verdicts that changed.

    Args:
        shelf: the papers.
        history: gives the news.
        base: the address of the site, with a slash at its end; empty for links that are relative to the feed.
        links: where pages lie.
    """
    items = {item.entry.key: item for item in shelf.items}
    news = [each for each in history.news() if each.paper in items][:_MOST]
    entries = [_entry(each, items[each.paper], base, links) for each in news]
    updated = news[0].noted if news else "1970-01-01T00:00:00+00:00"
    home = f"{base}{links.home.removeprefix('/')}"
    return render("feed.xml.jinja", base=base, home=home, updated=updated, entries=entries)


def _entry(news: News, item: Item, base: str, links: Links) -> dict[str, Any]:
    page = base + links.paper(item.entry.key).removeprefix("/")
    if news.claim is None:
        title, summary = (
            item.entry.title,
            f"{item.entry.summary} Measured here: {summed_up(item.counts) or 'nothing yet'}.",
        )
    else:
        claim = item.paper.claims.get(news.claim) if item.paper is not None else None
        title = f"{item.entry.slug}/{news.claim}: {news.after}, was {str(news.before)!r}"
        summary = f"{claim.says if claim is not None else ''} Now {news.value}.".strip()
        page += f"#{news.claim}"
    id = f"{news.paper}:{news.claim or 'new'}:{news.noted}"
    return {"id": id, "title": title, "summary": summary, "updated": news.noted, "address": page}
