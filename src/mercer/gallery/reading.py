"""What is only read: the pages, their figures, the feed."""

import asyncio
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mercer.gallery.feed import feed
from mercer.gallery.forms import Forms
from mercer.gallery.front import Query
from mercer.gallery.pages import ASSETS, asset
from mercer.gallery.shelf import Item
from mercer.gallery.site import LINKS, Gallery

__all__ = ["Reading"]

_A_YEAR = {"cache-control": "public, max-age=31536000, immutable"}
# A figure that is opened by itself is a document, in which nothing may run.
_FIGURE = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "cache-control": "no-cache",
}


class Reading:
    """Answers what changes nothing.

    Args:
        gallery: what is shown.
        forms: makes the tokens of forms.
    """

    def __init__(self, gallery: Gallery, forms: Forms) -> None:
        self._gallery, self._forms = gallery, forms

    async def front(self, request: Request) -> Response:
        """The front page, or its list with ``part=list``; with the right ``token=``, a cookie that lets one run."""
        if "token" in request.query_params:
            response = RedirectResponse("/", 303)
            if self._forms.let_in(request, response, request.query_params["token"]):
                return response
            raise HTTPException(403, "This is not the token that `mercer gallery` has printed.")
        self._gallery.refresh()
        part = request.query_params.get("part") == "list"
        body, tag = self._gallery.front(Query.of(request.query_params), part=part)
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(body, headers=headers)

    async def paper(self, request: Request) -> Response:
        """One paper."""
        self._gallery.refresh()
        item = self._item(request)
        outdated = await asyncio.to_thread(self._gallery.outdated, item)
        last = self._gallery.runs.last(item.entry.key)
        progress = self._gallery.progress(last) if last is not None else None
        may_run = self._forms.may_run(request)

        def page(csrf: str) -> str:
            context = {"progress": progress, "may_run": may_run, "outdated": outdated, "active": self._active}
            return self._gallery.pages.paper(item, LINKS, csrf=csrf, **context)

        return self._with_form(request, page)

    async def figure(self, request: Request) -> Response:
        """One figure, ``KEY.CLAIM.NAME``."""
        self._gallery.refresh()
        parts = request.path_params["file"].split(".")
        svg = self._gallery.figure(*parts) if len(parts) == 3 else None
        if svg is None:
            raise HTTPException(404, "There is no such figure.")
        return Response(svg, media_type="image/svg+xml", headers=_FIGURE)

    async def asset(self, request: Request) -> Response:
        """The style sheet, the script, the icon."""
        name = request.path_params["name"]
        if name not in ASSETS:
            raise HTTPException(404, "There is no such file.")
        return Response(asset(name), media_type=ASSETS[name], headers=_A_YEAR if request.url.query else {})

    async def feed(self, request: Request) -> Response:
        """The Atom feed."""
        self._gallery.refresh()
        text = feed(self._gallery.shelf, self._gallery.history, base=f"{self._gallery.url}/", links=LINKS)
        return Response(text, media_type="application/atom+xml")

    async def runs(self, request: Request) -> Response:
        """The queue."""
        runs = self._gallery.runs
        active, recent = ([self._gallery.progress(run) for run in some] for some in (runs.active(), runs.recent()))
        return HTMLResponse(self._gallery.pages.runs(LINKS, active=active, recent=recent))

    async def subscribe(self, request: Request) -> Response:
        """The form for an address."""

        def page(csrf: str) -> str:
            return self._gallery.pages.subscribe(LINKS, csrf=csrf, address="", error="", active=self._active)

        return self._with_form(request, page)

    async def confirm(self, request: Request) -> Response:
        """Where the mail leads that asks; a button, since mail programs open links by themselves."""
        title, text = "Get it in your inbox", "Shall news of this gallery be sent to {}?"
        return self._button(
            request, title, text, "Yes, send it to me", "This link is not valid any more. Subscribe again."
        )

    async def unsubscribe(self, request: Request) -> Response:
        """Where the last link of every mail leads."""
        title, text = "Unsubscribe", "{} is deleted here, and gets no more mail."
        return self._button(request, title, text, "Delete my address", "This address is not here, or not any more.")

    def _button(self, request: Request, title: str, text: str, button: str, gone: str) -> Response:
        subscriber = self._gallery.subscribers.find(request.path_params["token"])
        if subscriber is None:
            raise HTTPException(404, gone)
        words = {"title": title, "text": text.format(subscriber.address), "button": button, "action": request.url.path}
        return self._with_form(request, lambda csrf: self._gallery.pages.message(LINKS, csrf=csrf, **words))

    def _with_form(self, request: Request, page: Callable[[str], str]) -> Response:
        response = HTMLResponse(page(self._forms.token(request)))
        self._forms.keep(request, response)
        return response

    @property
    def _active(self) -> int:
        return len(self._gallery.runs.active())

    def _item(self, request: Request) -> Item:
        item = self._gallery.shelf.find(request.path_params["key"])
        if item is None:
            raise HTTPException(404, "There is no such paper. The front page has all of them.")
        return item
