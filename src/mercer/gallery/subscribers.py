"""Who gets the digest: addresses that asked for it and confirmed, kept in the store and nowhere else."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mercer.errors import MercerError
from mercer.gallery.store import Store, now

__all__ = ["AddressError", "Subscriber", "Subscribers", "check_address"]

# What nearly every mail server takes; the confirmation shows whether the address exists.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")
_DAYS_TO_CONFIRM = 7
_MOST_ASKED = 3  # confirmations that one address is sent; more would let a stranger annoy it
_MOST_WAITING = 1000


class AddressError(MercerError, ValueError):
    """What was given is no e-mail address that could be written to."""


@dataclass(frozen=True)
class Subscriber:
    """One address.

    Args:
        address: as it was given.
        token: in the links by which it is confirmed and removed.
        is_confirmed: whether it gets digests.
        told_until: news up to this time were sent.
    """

    address: str
    token: str
    is_confirmed: bool
    told_until: str


class Subscribers:
    """All subscribers.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(self, address: str) -> Subscriber | None:
        """Note that somebody wants this address to be sent the digest; it is not sent any before it has confirmed.

        Returns:
            Whom to send the confirmation; None where no mail must go out: the address is confirmed already, or was
            sent as many confirmations as one address gets in a week.

        Raises:
            AddressError: it is no address.
            StoreError: it cannot be written.
        """
        address = check_address(address)
        week_ago = (datetime.now(UTC) - timedelta(days=_DAYS_TO_CONFIRM)).isoformat(timespec="microseconds")
        with self._store.transaction():
            self._store.change("DELETE FROM subscribers WHERE confirmed IS NULL AND asked < ?", week_ago)
            found = self._store.rows("SELECT * FROM subscribers WHERE address = ?", address)
            if found:
                if found[0]["confirmed"] is not None or found[0]["n_asked"] >= _MOST_ASKED:
                    return None
                self._store.change("UPDATE subscribers SET n_asked = n_asked + 1 WHERE address = ?", address)
            else:
                n_waiting = self._store.rows("SELECT COUNT(*) AS n FROM subscribers WHERE confirmed IS NULL")[0]["n"]
                if n_waiting >= _MOST_WAITING:
                    raise AddressError("Too many addresses wait for their confirmation. Try again tomorrow.")
                statement = "INSERT INTO subscribers (address, token, asked) VALUES (?, ?, ?)"
                self._store.change(statement, address, secrets.token_urlsafe(24), now())
        return self._one("address = ?", address)

    def find(self, token: str) -> Subscriber | None:
        """Whose token it is."""
        return self._one("token = ?", token)

    def confirm(self, token: str) -> Subscriber | None:
        """Begin to send digests; news from now on. None if nobody has this token."""
        moment = now()
        statement = "UPDATE subscribers SET confirmed = ?, told_until = ? WHERE token = ? AND confirmed IS NULL"
        self._store.change(statement, moment, moment, token)
        return self.find(token)

    def remove(self, token: str) -> bool:
        """Delete the address; False if it is not there, because it was deleted before."""
        return self._store.change("DELETE FROM subscribers WHERE token = ?", token) == 1

    def confirmed(self) -> list[Subscriber]:
        """All who get digests, in the order in which they confirmed."""
        rows = self._store.rows("SELECT address FROM subscribers WHERE confirmed IS NOT NULL ORDER BY confirmed")
        return [found for row in rows if (found := self._one("address = ?", row["address"])) is not None]

    def told(self, subscriber: Subscriber, until: str) -> None:
        """Note that news up to a time were sent."""
        self._store.change("UPDATE subscribers SET told_until = ? WHERE address = ?", until, subscriber.address)

    def _one(self, where: str, value: str) -> Subscriber | None:
        rows = self._store.rows(f"SELECT * FROM subscribers WHERE {where}", value)
        if not rows:
            return None
        row = rows[0]
        return Subscriber(row["address"], row["token"], row["confirmed"] is not None, row["told_until"] or "")


def check_address(text: str) -> str:
    """The address without blanks around it.

    Raises:
        AddressError: it is none.

    >>> check_address(" ada@example.org ")
    'ada@example.org'
    """
    address = text.strip()
    if len(address) > 254 or not _ADDRESS.fullmatch(address):
        shown = address if len(address) <= 60 else f"{address[:60]}…"
        raise AddressError(f"{shown!r} is not an e-mail address: it looks like name@example.org.")
    return address
