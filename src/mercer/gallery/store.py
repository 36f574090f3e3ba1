"""What the gallery remembers: runs, the history of verdicts and subscribers, in one SQLite file.

Every change is a transaction that is on the disk when it is done, so that a crash or a full disk loses nothing that
was there before. Results themselves are not in here: they are the JSON files that ``mercer run`` writes.
"""

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from mercer import config
from mercer.errors import MercerError

__all__ = ["Store", "StoreError", "now", "store_path"]

VERSION = 1
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE papers (paper TEXT PRIMARY KEY, noted TEXT NOT NULL);
CREATE TABLE history (
  paper TEXT NOT NULL, claim TEXT NOT NULL, date TEXT NOT NULL, fingerprint TEXT NOT NULL, noted TEXT NOT NULL,
  version TEXT NOT NULL, verdict TEXT NOT NULL, value TEXT NOT NULL, seconds REAL NOT NULL,
  PRIMARY KEY (paper, claim, date, fingerprint)
);
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, paper TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  asked TEXT NOT NULL, started TEXT, ended TEXT
);
CREATE TABLE events (
  run INTEGER NOT NULL REFERENCES runs (id), number INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, number)
);
CREATE TABLE subscribers (
  address TEXT PRIMARY KEY COLLATE NOCASE, token TEXT NOT NULL UNIQUE, asked TEXT NOT NULL, confirmed TEXT,
  told_until TEXT, n_asked INTEGER NOT NULL DEFAULT 1
);
"""


class StoreError(MercerError, OSError):
    """The file cannot be read or written; the message is one line."""


class Store:
    """The file, opened; made if it is not there, readable for its owner only.

    Args:
        path: of the file.

    Raises:
        StoreError: it cannot be opened, is no SQLite file, or a newer mercer made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            # Handlers of the server run in threads now and then; each statement of SQLite is one step of its own.
            self._connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} cannot be opened: {error}.") from None
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA secure_delete = ON")  # an address that was deleted is gone from the file
            with self.transaction():
                found = self._connection.execute("PRAGMA user_version").fetchone()[0]
                if found == 0:
                    for statement in filter(str.strip, _TABLES.split(";")):
                        self._connection.execute(statement)
                    self._connection.execute("INSERT INTO meta VALUES ('secret', ?)", (secrets.token_hex(32),))
                    self._connection.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StoreError(f"{self.path} cannot be used: {error}.") from None
            raise StoreError(
                f"{self.path} is damaged: {error}. Move it away, and the gallery makes "
                "a new one; results are not in it."
            ) from None
        if found > VERSION:
            raise StoreError(f"{self.path} comes from a newer mercer (format {found}, here {VERSION}). Update mercer.")

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._connection.close()

    @property
    def secret(self) -> bytes:
        """A random key that stays the same as long as the file does; it signs the forms of the pages."""
        return bytes.fromhex(str(self.rows("SELECT value FROM meta WHERE name = 'secret'")[0]["value"]))

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """What a query finds."""
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} cannot be read: {error}.") from None

    def change(self, statement: str, *values: object) -> int:
        """Run one statement that changes something; gives the number of rows that it touched."""
        try:
            return self._connection.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} cannot be written: {error}. What was in it stands.") from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several changes that happen together or not at all; no other process changes anything in between."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self.path} cannot be written: {error}.") from None
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite itself has rolled back where the disk was full
                self._connection.execute("ROLLBACK")
            raise


def store_path(results: Path | None) -> Path:
    """The file that belongs to a folder of results: ``gallery.sqlite3`` in the data folder for the usual one.

    Args:
        results: the ``--results`` of the command, None for the usual folder.
    """
    if results is None:
        return config.data_dir() / "gallery.sqlite3"
    digest = hashlib.sha256(str(results.resolve()).encode()).hexdigest()
    return config.data_dir() / f"gallery-{digest[:8]}.sqlite3"


def now() -> str:
    """The time in UTC, to the microsecond, in a form that sorts: ``2026-11-26T18:30:00.000000+00:00``."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
