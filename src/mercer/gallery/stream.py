"""A run as it happens: its events as server-sent events, from any of them on."""

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from mercer.gallery.front import SLUGS
from mercer.gallery.progress import outcome_words, words_of
from mercer.gallery.runs import FINAL, RunRecord
from mercer.gallery.site import Gallery
from mercer.papers.claim import Verdict
from mercer.papers.report import MARKS

__all__ = ["Stream"]

_SECONDS_BETWEEN_SIGNS = 10.0  # of life, for whoever stands between and would close a silent connection
_MOST_READERS = 100


class Stream:
    """Answers with the events of one run.

    Args:
        gallery: whose runs they are.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery, self._readers = gallery, 0

    async def answer(self, request: Request) -> Response:
        """From the event after ``?after=`` or after the last one that the browser says it has seen."""
        id = int(request.path_params["id"])
        run = self._gallery.runs.find(id)
        if run is None:
            return PlainTextResponse(f"There is no run {id}.\n", 404)
        seen = request.headers.get("last-event-id") or request.query_params.get("after", "0")
        after = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else 0
        if run.state in FINAL and not self._gallery.runs.events(id, after=after):
            return Response(status_code=204)  # which tells a browser not to ask again
        if self._readers >= _MOST_READERS:
            return PlainTextResponse("Too many are watching. Load the page again later.\n", 503)
        return StreamingResponse(self._events(id, after), media_type="text/event-stream")

    async def _events(self, id: int, after: int) -> AsyncIterator[str]:
        self._readers += 1
        try:
            yield "retry: 1000\n\n"
            while True:
                found = self._gallery.runs.events(id, after=after)
                for number, event in found:
                    after = number
                    yield f"id: {number}\nevent: run\ndata: {json.dumps(shown(event, self._gallery.runs.find(id)))}\n\n"
                if found:  # while they were sent, more may have come
                    continue
                run = self._gallery.runs.find(id)
                if (
                    self._gallery.queue.is_closing
                    or run is None
                    or (run.state in FINAL and not self._gallery.runs.events(id, after=after))
                ):
                    return
                await self._gallery.queue.wait(_SECONDS_BETWEEN_SIGNS)
                yield ": still here\n\n"
        finally:
            self._readers -= 1


def shown(event: dict[str, Any], run: RunRecord | None) -> dict[str, Any]:
    """An event in the words of the page."""
    kind = event["event"]
    if kind == "printed":
        return {"printed": event["text"]}
    if kind == "begin":
        return {"claim": event["claim"], "state": "running", "seeds": event["seeds"]}
    if kind == "seed":
        return {"claim": event["claim"], "done": event["done"]}
    if kind == "outcome":
        verdict = Verdict(event["verdict"])
        mark, slug = ("!", "crashed") if event["failed"] else (MARKS[verdict], SLUGS[verdict])
        state = "failed" if event["failed"] else "done"
        return {"claim": event["claim"], "state": state, "mark": mark, "slug": slug, "text": outcome_words(event)}
    words = words_of(run) if run is not None else ""
    if kind == "ended":
        return {"ended": event["state"], "words": words}
    if kind == "interrupted":
        return {"words": words, "printed": "The server was started again; what was measured stands.\n"}
    return {"words": words}
