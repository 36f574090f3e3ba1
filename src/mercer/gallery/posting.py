"""What changes something: a run is started or cancelled, an address subscribed, confirmed or deleted."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from mercer.gallery.digest import send_confirmation
from mercer.gallery.forms import Forms
from mercer.gallery.limits import Limit, Limiter
from mercer.gallery.mail import MailError
from mercer.gallery.site import LINKS, Gallery
from mercer.gallery.subscribers import AddressError

__all__ = ["Posting"]

# All visitors together: a gallery is no means to send mail to strangers.
_CONFIRMATIONS = Limit(burst=30, per_second=1.0 / 120.0)
_ASKED = "If the address is new here, a mail is on its way to it. Open its link to confirm."


class Posting:
    """Answers forms; each has to carry the token of a page of ours, but for one-click unsubscribing.

    Args:
        gallery: what is changed.
        forms: checks them.
    """

    def __init__(self, gallery: Gallery, forms: Forms) -> None:
        self._gallery, self._forms = gallery, forms
        self._confirmations = Limiter(_CONFIRMATIONS)

    async def run(self, request: Request) -> Response:
        """Put a paper into the queue."""
        self._forms.check_may_run(request)
        await self._forms.read(request)
        item = self._gallery.shelf.find(request.path_params["key"])
        if item is None or item.paper is None:
            raise HTTPException(404, "This paper has no module, so there is nothing to run.")
        run = await self._gallery.queue.ask(item.entry.key)
        return _done(request, {"id": run.id}, f"{LINKS.paper(item.entry.key)}#run")

    async def cancel(self, request: Request) -> Response:
        """Cancel a run; one that has ended stays as it is."""
        self._forms.check_may_run(request)
        await self._forms.read(request)
        run = self._gallery.runs.find(request.path_params["id"])
        if run is None:
            raise HTTPException(404, "There is no such run.")
        cancelled = await self._gallery.queue.cancel(run.id)
        return _done(request, {"cancelled": cancelled}, f"{LINKS.paper(run.paper)}#run")

    async def subscribe(self, request: Request) -> Response:
        """Note an address and ask it; the answer is the same whether it is known or not."""
        fields = await self._forms.read(request)
        mail = self._gallery.mail
        if mail is None:
            raise HTTPException(404, "This gallery sends no mail. Its feed has the same news.")
        address = fields.get("address", "")
        try:
            if self._confirmations.wait("all"):
                raise AddressError("Too many addresses were given in the last minutes. Try again later.")
            subscriber = self._gallery.subscribers.ask(address)
            if subscriber is not None:
                await asyncio.to_thread(send_confirmation, mail, subscriber, url=self._gallery.url)
        except (AddressError, MailError) as error:
            status = 400 if isinstance(error, AddressError) else 502
            words = {"csrf": self._forms.token(request), "address": address[:254], "error": str(error), "active": 0}
            return HTMLResponse(self._gallery.pages.subscribe(LINKS, **words), status)
        return self._message("Look into your mail", _ASKED)

    async def confirm(self, request: Request) -> Response:
        """The button of the page that the mail leads to."""
        await self._forms.read(request)
        subscriber = self._gallery.subscribers.confirm(request.path_params["token"])
        if subscriber is None:
            raise HTTPException(404, "This link is not valid any more. Subscribe again.")
        return self._message("You are subscribed", f"News of this gallery will be sent to {subscriber.address}.")

    async def unsubscribe(self, request: Request) -> Response:
        """Delete an address: from the button of its page, or from a mail program (RFC 8058), which has no cookies."""
        fields = await self._forms.fields(request)
        if fields.get("List-Unsubscribe") != "One-Click":
            await self._forms.read(request)
        self._gallery.subscribers.remove(request.path_params["token"])
        return self._message("You are unsubscribed", "Your address is deleted.")

    def _message(self, title: str, text: str) -> Response:
        return HTMLResponse(self._gallery.pages.message(LINKS, title=title, text=text))


def _done(request: Request, found: dict[str, object], page: str) -> Response:
    """For the script of a page, or back to the page for a browser without it."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(found)
    return RedirectResponse(page, 303)
