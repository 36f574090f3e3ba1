"""Sends mail over SMTP, with the settings of the environment.

``MERCER_SMTP_HOST`` (without it nothing is sent), ``MERCER_SMTP_PORT`` (587), ``MERCER_SMTP_USER`` and
``MERCER_SMTP_PASSWORD`` (none: without login), ``MERCER_SMTP_FROM`` (the sender's address; default: the user).
"""

import os
import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from mercer.errors import MercerError
from mercer.gallery.subscribers import AddressError, check_address

__all__ = ["MailError", "MailSettings", "compose", "connection", "mail_settings"]

_SECONDS = 20.0


class MailError(MercerError, OSError):
    """Mail cannot be sent: settings are missing or wrong, or the server does not take it."""


@dataclass(frozen=True)
class MailSettings:
    """Where mail is handed over.

    Args:
        host: of the SMTP server.
        port: 465 speaks TLS from the start; on all others TLS begins when the server offers it, and is required where
            there is a password.
        user: to log in; empty for none.
        password: likewise.
        sender: the address that mail comes from.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    sender: str


def mail_settings(environment: Mapping[str, str] = os.environ) -> MailSettings | None:
    """What the environment says; None without ``MERCER_SMTP_HOST``.

    Raises:
        MailError: a port that is none, or no sender.
    """
    host = environment.get("MERCER_SMTP_HOST", "").strip()
    if not host:
        return None
    port, user = environment.get("MERCER_SMTP_PORT", "587"), environment.get("MERCER_SMTP_USER", "")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise MailError(f"MERCER_SMTP_PORT is {port!r}, and a port is a number from 1 to 65535.")
    try:
        sender = check_address(environment.get("MERCER_SMTP_FROM") or user)
    except AddressError:
        raise MailError(
            "MERCER_SMTP_FROM has to be the address that mail comes from, such as mercer@example.org."
        ) from None
    return MailSettings(host, int(port), user, environment.get("MERCER_SMTP_PASSWORD", ""), sender)


def compose(
    settings: MailSettings, *, to: str, subject: str, text: str, html: str, leave: str | None = None
) -> EmailMessage:
    """A message in plain text and HTML.

    Args:
        settings: give the sender.
        to: one address.
        subject: one line.
        text: for readers that show no HTML.
        html: the same for those that do.
        leave: the address that unsubscribes when a mail program posts to it (RFC 8058).
    """
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.sender, to, " ".join(subject.split())
    message["Date"], message["Message-ID"] = formatdate(usegmt=True), make_msgid(domain=settings.sender.split("@")[1])
    message["Auto-Submitted"] = "auto-generated"
    if leave is not None:
        message["List-Unsubscribe"] = f"<{leave}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message


@contextmanager
def connection(settings: MailSettings) -> Iterator[smtplib.SMTP]:
    """A session with the server, for as many messages as there are: ``session.send_message(message)``.

    Raises:
        MailError: the server cannot be reached, lacks TLS where a password would be sent, or refuses; one line.
    """
    place = f"{settings.host}:{settings.port}"
    session: smtplib.SMTP | None = None
    try:
        if settings.port == 465:
            session = smtplib.SMTP_SSL(
                settings.host, settings.port, timeout=_SECONDS, context=ssl.create_default_context()
            )
        else:
            session = smtplib.SMTP(settings.host, settings.port, timeout=_SECONDS)
            session.ehlo()
            if session.has_extn("starttls"):
                session.starttls(context=ssl.create_default_context())
            elif settings.user:
                raise MailError(f"{place} offers no TLS, and a password is not sent without it.")
        if settings.user:
            session.login(settings.user, settings.password)
        yield session
    except MailError:
        raise
    except (smtplib.SMTPException, OSError) as error:
        raise MailError(f"{place} does not take the mail: {' '.join(str(error).split())}") from None
    finally:
        if session is not None:
            with suppress(smtplib.SMTPException, OSError):
                session.quit()
