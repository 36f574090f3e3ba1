"""The gallery as a web application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from mercer.errors import MercerError
from mercer.gallery.forms import Forms, RefusedError
from mercer.gallery.guard import Guard
from mercer.gallery.limits import Limit
from mercer.gallery.mail import MailError
from mercer.gallery.posting import Posting
from mercer.gallery.reading import Reading
from mercer.gallery.runs import QueueFullError
from mercer.gallery.site import LINKS, Gallery
from mercer.gallery.store import StoreError
from mercer.gallery.stream import Stream
from mercer.gallery.subscribers import AddressError

__all__ = ["make_app"]

_STATUS = {RefusedError: 403, QueueFullError: 429, AddressError: 400, MailError: 502, StoreError: 507}
_NOT_FOUND = "There is no such page. The front page leads to all of them."


def make_app(
    gallery: Gallery, *, key: str | None = None, is_local: bool = True, changes: Limit | None = None
) -> Starlette:
    """The application, for uvicorn or any other ASGI server.

    Args:
        gallery: what is shown.
        key: the token of those who may start work; None lets everybody who can reach the gallery.
        is_local: it is bound to this machine only.
        changes: how often one visitor may send a form; None takes 20 at once and one every 2 seconds.
    """
    forms = Forms(gallery.store.secret, key=key)
    reading, posting = Reading(gallery, forms), Posting(gallery, forms)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await gallery.queue.open()
        yield
        await gallery.queue.close()

    async def failed(request: Request, error: Exception) -> Response:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        return _say(gallery, request, status, " ".join(str(error).split()))

    async def missing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _say(gallery, request, error.status_code, _NOT_FOUND if error.detail == "Not Found" else error.detail)

    return Starlette(
        routes=[
            Route("/", reading.front),
            Route("/papers/{key}", reading.paper),
            Route("/figures/{file}.svg", reading.figure),
            Route("/assets/{name}", reading.asset),
            Route("/feed.xml", reading.feed),
            Route("/runs", reading.runs),
            Route("/runs/{id:int}/events", Stream(gallery).answer),
            Route("/subscribe", reading.subscribe),
            Route("/confirm/{token}", reading.confirm),
            Route("/unsubscribe/{token}", reading.unsubscribe),
            Route("/papers/{key}/run", posting.run, methods=["POST"]),
            Route("/runs/{id:int}/cancel", posting.cancel, methods=["POST"]),
            Route("/subscribe", posting.subscribe, methods=["POST"]),
            Route("/confirm/{token}", posting.confirm, methods=["POST"]),
            Route("/unsubscribe/{token}", posting.unsubscribe, methods=["POST"]),
        ],
        lifespan=lifespan,
        middleware=[Middleware(Guard, is_local=is_local, changes=changes)],
        exception_handlers={MercerError: failed, HTTPException: missing},
    )


def _say(gallery: Gallery, request: Request, status: int, text: str) -> Response:
    """One line, as a page or for a program."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"error": text}, status)
    return HTMLResponse(gallery.pages.message(LINKS, title="That did not work", text=text), status)
