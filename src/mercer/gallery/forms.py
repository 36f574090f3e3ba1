"""Forms and who sends them: a token in every form that another site cannot know, and the token of whoever may run."""

import hashlib
import hmac
import secrets
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from mercer.errors import MercerError

__all__ = ["Forms", "RefusedError"]

_VISIT, _KEY = "mercer_visit", "mercer_key"


class RefusedError(MercerError):
    """A form without its token, or a visitor who may not start work."""


class Forms:
    """Checks forms.

    Args:
        secret: signs the tokens of forms.
        key: what a visitor needs to start work; None lets everybody who can reach the gallery.
    """

    def __init__(self, secret: bytes, *, key: str | None = None) -> None:
        self._secret, self._key = secret, key

    def token(self, request: Request) -> str:
        """The token for the forms of a page; :meth:`keep` has to be called on the page's response."""
        if not hasattr(request.state, "visit"):
            request.state.visit = request.cookies.get(_VISIT) or secrets.token_urlsafe(24)
        return hmac.new(self._secret, request.state.visit.encode(), hashlib.sha256).hexdigest()

    def keep(self, request: Request, response: Response) -> None:
        """Give a visitor the cookie to which the token of the page is bound."""
        if request.cookies.get(_VISIT) != request.state.visit:
            _set(response, _VISIT, request.state.visit, request)

    async def read(self, request: Request) -> dict[str, str]:
        """The fields of a form.

        Raises:
            RefusedError: it lacks the token of this visitor's pages.
        """
        fields = await self.fields(request)
        if not request.cookies.get(_VISIT) or not _same(fields.get("csrf", ""), self.token(request)):
            raise RefusedError("This form is too old, or was not made by this gallery. Load the page again.")
        return fields

    async def fields(self, request: Request) -> dict[str, str]:
        """The fields of a form, unchecked."""
        return dict(parse_qsl((await request.body()).decode(errors="replace"), max_num_fields=20))

    def may_run(self, request: Request) -> bool:
        """Whether this visitor may start and cancel runs."""
        if self._key is None:
            return True
        given = request.headers.get("authorization", "").removeprefix("Bearer ") or request.cookies.get(_KEY, "")
        return _same(given, self._key)

    def check_may_run(self, request: Request) -> None:
        """Raise where :meth:`may_run` says no.

        Raises:
            RefusedError: the visitor may not start work.
        """
        if not self.may_run(request):
            raise RefusedError("To run claims, open the address with the token that `mercer gallery` has printed.")

    def let_in(self, request: Request, response: Response, key: str) -> bool:
        """Keep the key of the address bar in a cookie if it is the right one."""
        is_right = self._key is not None and _same(key, self._key)
        if is_right:
            _set(response, _KEY, key, request)
        return is_right


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


def _set(response: Response, name: str, value: str, request: Request) -> None:
    response.set_cookie(name, value, httponly=True, samesite="strict", secure=request.url.scheme == "https")
