"""Stands before every page: who may ask, how much and how often, and what a browser is told to refuse."""

import json
import math
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mercer.gallery.limits import Limit, Limiter
from mercer.gallery.serve import is_loopback

__all__ = ["LARGEST_FORM", "ONE_CLICK", "Guard"]

LARGEST_FORM = 16_384  # bytes
ONE_CLICK = "/unsubscribe/"  # mail programs post here from elsewhere; the address's own token lets them
_READS, _CHANGES = Limit(burst=400, per_second=100.0), Limit(burst=20, per_second=0.5)
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class _TooLargeError(Exception):
    pass


class Guard:
    """Middleware around the pages.

    Args:
        app: the pages.
        is_local: bound to this machine only: then no other name than this machine's is answered, so that a foreign
            page cannot reach the gallery through a name that it has pointed here.
        reads: limit of one visitor's readings; None takes 400 at once and 100 a second.
        changes: limit of what changes something; None takes 20 at once and one every 2 seconds.
    """

    def __init__(
        self, app: ASGIApp, *, is_local: bool, reads: Limit | None = None, changes: Limit | None = None
    ) -> None:
        self._app, self._is_local = app, is_local
        self._reads, self._changes = Limiter(reads or _READS), Limiter(changes or _CHANGES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, received = Headers(scope=scope), 0

        async def receive_little() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_FORM:
                raise _TooLargeError
            return message

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                answer.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(*refusal, headers=headers, send=send_guarded)
            return
        try:
            await self._app(scope, receive_little, send_guarded)
        except _TooLargeError:
            text = f"That is too large: {LARGEST_FORM:,} bytes are the most."
            await _answer(413, text, 0.0, headers=headers, send=send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, float] | None:
        """Status, a line that says why, and seconds to wait; None lets the request pass."""
        host, method = headers.get("host", ""), scope["method"]
        if self._is_local and not is_loopback(_name(f"//{host}")):
            return 400, "This gallery is called 127.0.0.1 or localhost.", 0.0
        if method not in ("GET", "HEAD", "POST"):
            return 405, f"{method[:20]} is not a way to ask this gallery.", 0.0
        visitor = scope["client"][0] if scope.get("client") else "unknown"
        wait = (self._changes if method == "POST" else self._reads).wait(visitor)
        if wait:
            return 429, f"Too many requests. Wait {math.ceil(wait)} s.", wait
        if method == "POST":
            length = headers.get("content-length", "0")
            if not length.isdigit() or int(length) > LARGEST_FORM:
                return 413, f"That is too large: {LARGEST_FORM:,} bytes are the most.", 0.0
            if not scope["path"].startswith(ONE_CLICK) and not _is_from_here(headers, host):
                return 403, "This was sent from another site, and is refused.", 0.0
        return None


def _is_from_here(headers: Headers, host: str) -> bool:
    """Whether a browser says that one of our own pages sends this; other programs say nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == host


def _name(address: str) -> str:
    """The host of an address; empty if there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


async def _answer(status: int, text: str, wait: float, *, headers: Headers, send: Send) -> None:
    wants_json = "application/json" in headers.get("accept", "")
    body = (json.dumps({"error": text}) if wants_json else f"{text}\n").encode()
    kind = "application/json" if wants_json else "text/plain; charset=utf-8"
    lines = [("content-type", kind), ("content-length", str(len(body)))]
    lines += [("retry-after", str(math.ceil(wait)))] if wait else []
    raw = [(name.encode(), value.encode()) for name, value in lines]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
