"""Renders the pages: everything from outside is escaped, and nothing is fetched from elsewhere."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from mercer.errors import MissingExtra
from mercer.gallery.claims import claim_views, quick_seconds
from mercer.gallery.front import Query, card_of, choose, tags_of, verdict_choices
from mercer.gallery.history import History
from mercer.gallery.links import Links
from mercer.gallery.progress import Progress
from mercer.gallery.search import Search
from mercer.gallery.shelf import Item, Shelf
from mercer.gallery.words import bibtex, counted, day, html_of, month, names, summed_up
from mercer.papers import registry

__all__ = ["ASSETS", "Pages", "asset", "render"]

ASSETS = {"gallery.css": "text/css", "gallery.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Pages:
    """The pages of a shelf, for a server or for files.

    Args:
        shelf: what there is to show.
        history: what came out before.
        can_subscribe: whether mail can be sent.
    """

    def __init__(self, shelf: Shelf, history: History, *, can_subscribe: bool = False) -> None:
        self._shelf, self._history, self._can_subscribe = shelf, history, can_subscribe
        self._search = Search(shelf.items)

    def front(self, query: Query, links: Links, *, part: bool = False, active: int = 0) -> str:
        """The front page.

        Args:
            query: which papers.
            links: where pages lie.
            part: only the list of papers, which changes as one types.
            active: how many runs wait or are under way.
        """
        items = self._shelf.items
        trend = self._history.trend(items)
        order = [item.entry.key for item in sorted(items, key=lambda item: item.entry.arxiv or "")]
        found = {
            name: [card_of(item, self._search, order, trend) for item in some]
            for name, some in choose(query, items, self._search, trend).items()
        }
        return render(
            "list.html.jinja" if part else "front.html.jinja",
            links=links,
            query=query,
            exact=found["exact"],
            close=found["close"],
            slugs={item.entry.key: item.entry.slug for item in items},
            texts={item.entry.key: " ".join(item.text.lower().split()) for item in items} if links.is_static else {},
            tags=tags_of(items),
            verdicts=verdict_choices(),
            n_papers=len(items),
            n_measured=sum(item.paper is not None for item in items),
            n_claims=sum(len(item.claims) for item in items),
            embedding=self._search.embedding.name,
            problems=[problem for item in items for problem in item.problems],
            active=active,
            can_subscribe=self._can_subscribe,
        )

    def paper(self, item: Item, links: Links, **context: Any) -> str:
        """The page of one paper.

        Args:
            item: the paper.
            links: where pages lie.
            context: for a server: ``csrf``, ``progress`` of the last run, ``may_run``; ``outdated`` claims.
        """
        entry = item.entry
        title, _, text = item.paper.text.partition("\n") if item.paper is not None else ("", "", "")
        outdated = context.pop("outdated", set())
        return render(
            "paper.html.jinja",
            links=links,
            item=item,
            entry=entry,
            title=title.strip().rstrip("."),
            text=html_of(text.strip()),
            date=month(entry),
            authors=names(entry, most=12),
            line=summed_up(item.counts),
            claims=claim_views(item, self._history.of(entry.key), outdated),
            counts=_counted(item),
            command=entry.slug if entry.number in registry.modules() or item.paper is None else str(item.paper.file),
            bibtex=bibtex(entry),
            near=[found.entry for key, _ in self._search.near(entry.key)[:4] if (found := self._shelf.find(key))],
            quick=quick_seconds(item),
            see=[pair for pair in (item.paper.see if item.paper is not None else ()) if pair[1].startswith("http")],
            can_subscribe=self._can_subscribe,
            **{"csrf": "", "progress": None, "may_run": False, "active": 0} | context,
        )

    def message(self, links: Links, *, title: str, text: str, **context: Any) -> str:
        """A page with one message and, perhaps, one button."""
        defaults = {"csrf": "", "action": "", "button": "", "active": 0}
        return render(
            "message.html.jinja",
            links=links,
            title=title,
            text=text,
            can_subscribe=self._can_subscribe,
            **defaults | context,
        )

    def subscribe(self, links: Links, **context: Any) -> str:
        """The page with the form for an address."""
        return render("subscribe.html.jinja", links=links, can_subscribe=self._can_subscribe, **context)

    def runs(self, links: Links, *, active: list[Progress], recent: list[Progress], **context: Any) -> str:
        """The queue and what ran before."""
        titles = {item.entry.key: item.entry.title for item in self._shelf.items}
        rows = {"active_runs": active, "recent": recent, "titles": titles, "active": len(active)}
        return render("runs.html.jinja", links=links, can_subscribe=self._can_subscribe, **rows | context)


def render(template: str, **context: Any) -> str:
    """A template of the gallery with its values.

    Raises:
        MissingExtra: jinja2 or markdown-it-py is not installed.
    """
    return str(_environment().get_template(template).render(**context))


@cache
def asset(name: str) -> bytes:
    """The style sheet, the script or the icon; names are those of :data:`ASSETS`."""
    return files("mercer.gallery").joinpath("assets", name).read_bytes()


@cache
def _environment() -> Any:
    try:
        import markdown_it  # noqa: F401
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtra(f"The gallery needs {error.name}: pip install 'mercer[gallery]'") from None
    environment = Environment(
        loader=PackageLoader("mercer.gallery"),
        autoescape=lambda name: name is None or not name.endswith(".txt.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["day"] = day
    environment.globals["stamp"] = {name: hashlib.sha256(asset(name)).hexdigest()[:8] for name in ASSETS}
    return environment


def _counted(item: Item) -> list[dict[str, Any]]:
    counts = {str(verdict): n for verdict, n in item.counts.items()}
    found = [(choice, counts[choice["name"]]) for choice in verdict_choices() if choice["name"] in counts]
    return [choice | {"n": n, "name": counted(choice["name"], n)} for choice, n in found]
