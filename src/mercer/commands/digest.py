"""`mercer digest`: send news of the gallery to those who subscribed."""

import argparse
import sys
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Send every subscriber of the gallery what it has not been told yet: papers that became measurable and verdicts that
changed. Who has heard everything gets no mail. For a timer of the system, once a day or a week. Mail goes out as the
environment says, see `mercer gallery --help`. Exit code: 1 if the mail server refused an address or all of it.
"""


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "digest",
        help="send news of the gallery to its subscribers",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--since", metavar="DATE", help="news since that day, UTC, also what was sent already")
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent, and send nothing")
    text = "folder of the results (default: results in your data folder)"
    parser.add_argument("--results", metavar="FOLDER", type=Path, help=text)
    parser.add_argument("--url", help="address under which readers find the gallery, for the links")


def run(arguments: argparse.Namespace) -> None:
    """Send, or print."""
    from mercer.commands.gallery import PORT, public_url
    from mercer.gallery import History, MailError, Store, Subscribers, mail_settings, shelf_of, store_path
    from mercer.gallery.digest import Digest, send_digests
    from mercer.papers.results import results_folder

    since = _since(arguments.since)
    mail, url = mail_settings(), public_url(arguments.url) or f"http://127.0.0.1:{PORT}"
    if mail is None and not arguments.dry_run:
        raise MailError("MERCER_SMTP_HOST is not set, so no mail can be sent. --dry-run shows what would be.")
    store = Store(store_path(arguments.results))
    try:
        shelf, history = shelf_of(results_folder("quick", root=arguments.results)), History(store)
        history.note(shelf)
        digest, subscribers = Digest(shelf, history, url=url), Subscribers(store)
        if arguments.dry_run:
            _show(digest, subscribers, since)
            return
        assert mail is not None
        sent = send_digests(digest, subscribers, mail, since=since)
    finally:
        store.close()
    print(f"{sent.told} told, {sent.idle} had nothing new to hear, {len(sent.refused)} refused.")
    for line in sent.refused:
        print(f"note: refused: {line}", file=sys.stderr)
    if sent.refused:
        raise SystemExit(1)


def _show(digest: Any, subscribers: Any, since: str | None) -> None:
    """What every subscriber would get; without subscribers, what one would."""
    from mercer.gallery.store import now

    confirmed, until = subscribers.confirmed(), now()
    due = [(s.address, digest.news(since=since or s.told_until, until=until)) for s in confirmed]
    if not confirmed:
        due = [("nobody has subscribed", digest.news(since=since or "", until=until))]
    for address, news in due:
        print(f"To: {address}")
        if news:
            subject, text, _ = digest.text(news)
            print(f"Subject: {subject}\n\n{text}")
        else:
            print("nothing new, so no mail\n")


def _since(text: str | None) -> str | None:
    """A day as the store writes times."""
    from datetime import UTC, datetime

    from mercer.errors import MercerError

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MercerError(f"--since {text}: a day looks like 2026-11-20.") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")
