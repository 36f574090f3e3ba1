"""A gallery: papers, their history, the queue and the subscribers, kept up to date together."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime

from mercer.gallery.front import Query
from mercer.gallery.history import History
from mercer.gallery.links import Links
from mercer.gallery.mail import MailSettings
from mercer.gallery.pages import Pages
from mercer.gallery.pictures import for_screens
from mercer.gallery.progress import Progress, progress_of
from mercer.gallery.queue import Queue
from mercer.gallery.runs import RunRecord, Runs
from mercer.gallery.shelf import Item, Shelf
from mercer.gallery.store import Store, StoreError
from mercer.gallery.subscribers import Subscribers

__all__ = ["Gallery"]

_MOST_PAGES = 64
LINKS = Links()


class Gallery:
    """All parts of one gallery.

    Args:
        shelf: the papers.
        store: what is remembered.
        url: the address under which readers find it, for mail and the feed, without a slash at its end.
        mail: how mail is sent; None for none.
        command: for tests: the program that measures.
    """

    def __init__(
        self,
        shelf: Shelf,
        store: Store,
        *,
        url: str,
        mail: MailSettings | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.shelf, self.store, self.url, self.mail = shelf, store, url, mail
        self.history, self.runs, self.subscribers = History(store), Runs(store), Subscribers(store)
        self.pages = Pages(shelf, self.history, can_subscribe=mail is not None)
        self.queue = Queue(self.runs, shelf, command=command)
        self._noted = -1
        self._fronts: OrderedDict[tuple[object, ...], tuple[bytes, str]] = OrderedDict()
        self._figures: dict[tuple[str, str, str], str] = {}
        self._outdated: dict[str, tuple[int, set[str]]] = {}

    def refresh(self) -> None:
        """See what has changed on the disk, and remember it."""
        self.shelf.refresh()
        if self._noted == self.shelf.version:
            return
        self._fronts.clear()
        self._figures = {
            (item.entry.key, claim, figure.name): figure.svg
            for item in self.shelf.items
            for claim, figure in item.figures
        }
        try:
            self.history.note(self.shelf)
        except StoreError:  # a full disk: pages are shown all the same, and the next look tries again
            return
        self._noted = self.shelf.version

    def front(self, query: Query, *, part: bool) -> tuple[bytes, str]:
        """The front page or its list, and a tag that changes with it."""
        active = len(self.runs.active())
        hour = datetime.now(UTC).strftime("%Y%m%d%H")  # what is trending changes with time
        key = (self.shelf.version, hour, query, part, active)
        if key not in self._fronts:
            body = self.pages.front(query, LINKS, part=part, active=active).encode()
            self._fronts[key] = body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            while len(self._fronts) > _MOST_PAGES:
                self._fronts.popitem(last=False)
        return self._fronts[key]

    def figure(self, key: str, claim: str, name: str) -> str | None:
        """A figure as SVG; looked up among those that are on the shelf, never by a path."""
        svg = self._figures.get((key, claim, name))
        return for_screens(svg) if svg is not None else None

    def outdated(self, item: Item) -> set[str]:
        """Claims whose code has changed since; kept until a result changes."""
        version, found = self._outdated.get(item.entry.key, (-1, set()))
        if version != self.shelf.version:
            version, found = self.shelf.version, self.shelf.outdated(item)
            self._outdated[item.entry.key] = version, found
        return found

    def progress(self, run: RunRecord) -> Progress:
        """How far a run is."""
        return progress_of(run, self.shelf.find(run.paper), self.runs.events(run.id))
