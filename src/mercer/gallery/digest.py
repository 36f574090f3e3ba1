"""News by mail: what each subscriber has not been told yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any

from mercer.gallery.front import SLUGS
from mercer.gallery.history import History, News
from mercer.gallery.links import Links
from mercer.gallery.mail import MailError, MailSettings, compose, connection
from mercer.gallery.pages import render
from mercer.gallery.shelf import Item, Shelf
from mercer.gallery.store import now
from mercer.gallery.subscribers import Subscriber, Subscribers
from mercer.gallery.words import summed_up
from mercer.papers.claim import Verdict
from mercer.papers.report import MARKS

__all__ = ["Digest", "Sent", "send_confirmation", "send_digests"]

_COLOURS = {"holds": "#1d7a45", "protocol": "#8a5a00", "fails": "#b3261e", "open": "#667083"}


@dataclass(frozen=True)
class Sent:
    """What became of the digests.

    Args:
        told: how many subscribers were sent one.
        idle: how many had heard all news before.
        refused: addresses whose mail the server refused, with why; they are tried again the next time.
    """

    told: int
    idle: int
    refused: tuple[str, ...]


class Digest:
    """Makes digests of news.

    Args:
        shelf: the papers.
        history: gives the news.
        url: of the gallery, without a slash at its end.
    """

    def __init__(self, shelf: Shelf, history: History, *, url: str) -> None:
        self._items = {item.entry.key: item for item in shelf.items}
        self._history, self._url = history, url

    def news(self, *, since: str, until: str) -> list[News]:
        """News after one time, up to another; only of papers that are here."""
        return [news for news in self._history.news(since=since, until=until) if news.paper in self._items]

    def text(self, news: Sequence[News], *, leave: str | None = None) -> tuple[str, str, str]:
        """Subject, plain text and HTML of a digest.

        Args:
            news: at least one.
            leave: the link that unsubscribes.
        """
        papers = [self._paper(self._items[key], news) for key in dict.fromkeys(each.paper for each in news)]
        n_new = sum(paper["is_new"] for paper in papers)
        n_changed = sum(len(paper["changes"]) for paper in papers)
        parts = [f"{n_new} new paper{'s' * (n_new != 1)}"] if n_new else []
        parts += [f"{n_changed} changed verdict{'s' * (n_changed != 1)}"] if n_changed else []
        headline = f"Kernel papers, measured again: {' and '.join(parts)}"
        context = {"headline": headline, "papers": papers, "leave": leave}
        return headline, render("digest.txt.jinja", **context), render("digest.html.jinja", **context)

    def mail(self, settings: MailSettings, subscriber: Subscriber, news: Sequence[News]) -> EmailMessage:
        """The digest for one subscriber."""
        leave = f"{self._url}/unsubscribe/{subscriber.token}"
        subject, text, html = self.text(news, leave=leave)
        return compose(settings, to=subscriber.address, subject=subject, text=text, html=html, leave=leave)

    def _paper(self, item: Item, news: Sequence[News]) -> dict[str, Any]:
        own = [each for each in news if each.paper == item.entry.key]
        return {
            "title": item.entry.title,
            "summary": item.entry.summary,
            "line": summed_up(item.counts) or "nothing measured yet",
            "address": self._url + Links().paper(item.entry.key),
            "is_new": any(each.claim is None for each in own),
            "changes": [_change(item, each) for each in own if each.claim is not None],
        }


def send_digests(digest: Digest, subscribers: Subscribers, settings: MailSettings, *, since: str | None = None) -> Sent:
    """Send every subscriber what is new for it; who is told is noted at once, so that nobody is told twice.

    Args:
        digest: makes the texts.
        subscribers: those who confirmed get one.
        settings: how mail is sent.
        since: news since this time for all; None for what each has not been told yet.

    Raises:
        MailError: the server takes no mail. Those who were sent theirs before are not sent it again.
        StoreError: that somebody was told cannot be noted.
    """
    until = now()
    waiting = [(s, digest.news(since=since or s.told_until, until=until)) for s in subscribers.confirmed()]
    due = [(subscriber, news) for subscriber, news in waiting if news]
    refused: list[str] = []
    if due:
        with connection(settings) as session:
            for subscriber, news in due:
                try:
                    session.send_message(digest.mail(settings, subscriber, news))
                except SMTPRecipientsRefused as error:
                    code, reason = next(iter(error.recipients.values()))
                    refused.append(f"{subscriber.address}: {code} {reason.decode(errors='replace')}")
                    continue
                subscribers.told(subscriber, until)
    return Sent(len(due) - len(refused), len(waiting) - len(due), tuple(refused))


def send_confirmation(settings: MailSettings, subscriber: Subscriber, *, url: str) -> None:
    """Ask an address whether it wants to be subscribed.

    Raises:
        MailError: the server does not take the mail.
    """
    link = f"{url}/confirm/{subscriber.token}"
    text, html = (render(f"confirm.{kind}.jinja", confirm=link) for kind in ("txt", "html"))
    subject = "Confirm: news of kernel papers"
    with connection(settings) as session:
        try:
            session.send_message(compose(settings, to=subscriber.address, subject=subject, text=text, html=html))
        except SMTPRecipientsRefused:
            raise MailError("The mail server does not take mail for this address.") from None
        except SMTPException as error:
            raise MailError(f"The mail cannot be sent: {' '.join(str(error).split())}") from None


def _change(item: Item, news: News) -> dict[str, Any]:
    claim = item.paper.claims.get(news.claim or "") if item.paper is not None else None
    after = news.after or Verdict.NOT_MEASURED
    return {
        "claim": news.claim,
        "says": claim.says if claim is not None else "",
        "before": str(news.before),
        "after": str(after),
        "mark": MARKS[after],
        "colour": _COLOURS[SLUGS[after]],
        "value": news.value,
    }
