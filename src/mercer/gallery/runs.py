"""Runs that were asked for, and what happened in each, kept so that a restart of the server loses nothing."""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from mercer.errors import MercerError
from mercer.gallery.store import Store, now

__all__ = ["FINAL", "QueueFullError", "RunRecord", "Runs"]

FINAL = frozenset({"done", "failed", "cancelled"})
_MOST_WAITING = 20
_MOST_PRINTED = 200_000  # characters of a run that are kept; what fails keeps its whole log in a file beside
_KEPT = 200  # finished runs whose events are kept


class QueueFullError(MercerError):
    """Too many runs are waiting already."""


@dataclass(frozen=True)
class RunRecord:
    """A run of a paper's quick claims.

    Args:
        id: counts from 1.
        paper: its key.
        state: ``waiting``, ``running``, ``done``, ``failed`` (a claim crashed, or the whole run did), ``cancelled``.
        reason: why it failed.
        asked: when, in UTC.
        started: when, or None.
        ended: when, or None.
    """

    id: int
    paper: str
    state: str
    reason: str
    asked: str
    started: str | None
    ended: str | None


class Runs:
    """The queue and its past.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(self, paper: str) -> RunRecord:
        """A new run at the end of the queue, or the one of this paper that is waiting or running already.

        Raises:
            QueueFullError: 20 are waiting.
            StoreError: it cannot be written.
        """
        with self._store.transaction():
            active = self._select("state IN ('waiting', 'running')")
            for run in active:
                if run.paper == paper:
                    return run
            if len(active) >= _MOST_WAITING:
                raise QueueFullError(f"{len(active)} runs are waiting already. Try again when some are done.")
            self._store.change("INSERT INTO runs (paper, state, asked) VALUES (?, 'waiting', ?)", paper, now())
            run = self._select("state = 'waiting' AND paper = ?", paper)[0]
            self._add(run.id, {"event": "waiting", "before": len(active)})
            old = "SELECT id FROM runs WHERE state NOT IN ('waiting', 'running') ORDER BY id DESC LIMIT -1 OFFSET ?"
            self._store.change(f"DELETE FROM events WHERE run IN ({old})", _KEPT)
        return run

    def find(self, id: int) -> RunRecord | None:
        """The run of that number."""
        return next(iter(self._select("id = ?", id)), None) if id < 2**63 else None  # SQLite counts no further

    def active(self) -> list[RunRecord]:
        """Running and waiting ones, in the order of the queue."""
        return self._select("state IN ('waiting', 'running')")

    def recent(self, limit: int = 50) -> list[RunRecord]:
        """The last ones that have ended, newest first."""
        states = ", ".join(f"'{state}'" for state in sorted(FINAL))
        return self._select(f"state IN ({states})", order=f"ended DESC LIMIT {int(limit)}")

    def last(self, paper: str) -> RunRecord | None:
        """The newest run of a paper."""
        return next(iter(self._select("paper = ?", paper, order="id DESC LIMIT 1")), None)

    def start(self) -> RunRecord | None:
        """Take the first that waits and call it running; None if none waits."""
        with self._store.transaction():
            waiting = self._select("state = 'waiting'")
            if not waiting:
                return None
            self._store.change("UPDATE runs SET state = 'running', started = ? WHERE id = ?", now(), waiting[0].id)
            self._add(waiting[0].id, {"event": "running"})
        return self.find(waiting[0].id)

    def end(self, id: int, state: str, reason: str = "") -> bool:
        """Give a run its final state; False if it has one already.

        Args:
            id: of the run.
            state: one of :data:`FINAL`.
            reason: why it failed, in one line.
        """
        with self._store.transaction():
            statement = "UPDATE runs SET state = ?, reason = ?, ended = ? WHERE id = ? AND ended IS NULL"
            is_new = self._store.change(statement, state, reason, now(), id) == 1
            if is_new:
                self._add(id, {"event": "ended", "state": state, "reason": reason})
        return is_new

    def wait_again(self) -> list[RunRecord]:
        """Put runs that were under way when the server ended back into the queue; what they measured stands."""
        with self._store.transaction():
            interrupted = self._select("state = 'running'")
            for run in interrupted:
                self._store.change("UPDATE runs SET state = 'waiting' WHERE id = ?", run.id)
                self._add(run.id, {"event": "interrupted"})
        return interrupted

    def tell(self, id: int, event: dict[str, Any]) -> None:
        """Keep an event of a run. Text that is printed is kept up to 200,000 characters.

        Raises:
            StoreError: it cannot be written.
        """
        with self._store.transaction():
            if event["event"] == "printed":
                printed = self._store.rows("SELECT SUM(LENGTH(body)) AS n FROM events WHERE run = ?", id)[0]["n"] or 0
                if printed > _MOST_PRINTED:
                    return
                if printed + len(event["text"]) > _MOST_PRINTED:
                    text = event["text"][: max(0, _MOST_PRINTED - printed)]
                    event = event | {"text": f"{text}\n... the rest of what is printed is not shown\n{' ' * 100}"}
            self._add(id, event)

    def events(self, id: int, *, after: int = 0) -> list[tuple[int, dict[str, Any]]]:
        """What happened in a run, in order, with numbers that count from 1; only what came after one number."""
        query = "SELECT number, body FROM events WHERE run = ? AND number > ? ORDER BY number"
        return [(row["number"], json.loads(row["body"])) for row in self._store.rows(query, id, after)]

    def _add(self, id: int, event: dict[str, Any]) -> None:
        next_number = "(SELECT COALESCE(MAX(number), 0) + 1 FROM events WHERE run = ?)"
        body = json.dumps(event, ensure_ascii=False)
        self._store.change(f"INSERT INTO events (run, number, body) VALUES (?, {next_number}, ?)", id, id, body)

    def _select(self, where: str, *values: object, order: str = "state = 'waiting', id") -> list[RunRecord]:
        rows: list[sqlite3.Row] = self._store.rows(f"SELECT * FROM runs WHERE {where} ORDER BY {order}", *values)
        return [RunRecord(**dict(row)) for row in rows]
