"""How verdicts changed from one measurement to the next, and what is new since a day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from mercer.gallery.shelf import Item, Shelf
from mercer.gallery.store import Store, now
from mercer.papers.claim import Claim, Verdict, deciding
from mercer.papers.report import named
from mercer.papers.results import Result

__all__ = ["Entry", "History", "News"]

_HALF_LIFE_DAYS = 7.0
_WEIGHT_OF_A_CHANGE = 3.0  # in runs of the whole paper


@dataclass(frozen=True)
class Entry:
    """One measurement of one claim.

    Args:
        date: when it was measured, in UTC.
        version: of mercer.
        verdict: what came out.
        value: the number that decided, with its spread.
        seconds: how long it took.
    """

    date: str
    version: str
    verdict: Verdict
    value: str
    seconds: float


@dataclass(frozen=True)
class News:
    """A paper that can be measured since then, or a verdict that is another one.

    Args:
        paper: its key.
        noted: when the gallery learnt of it, in UTC.
        claim: whose verdict has changed; None where the whole paper is new.
        before: the verdict that stood before.
        after: the verdict now.
        value: the number that decided.
    """

    paper: str
    noted: str
    claim: str | None = None
    before: Verdict | None = None
    after: Verdict | None = None
    value: str = ""


class History:
    """The measurements that the gallery has seen, whoever made them.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, shelf: Shelf) -> None:
        """Remember all results that are on the shelf now, and papers that were not there before.

        Raises:
            StoreError: it cannot be written.
        """
        known = {tuple(row) for row in self._store.rows("SELECT paper, claim, date, fingerprint FROM history")}
        papers = {row["paper"] for row in self._store.rows("SELECT paper FROM papers")}
        moment = now()
        results = [
            (item.entry.key, claim, item.results[claim.id])
            for item in shelf.items
            for claim in item.claims
            if claim.id in item.results and item.results[claim.id].measurement is not None
        ]
        new = [r for r in results if (r[0], r[1].id, r[2].date, r[2].fingerprint) not in known]
        fresh = [item.entry.key for item in shelf.items if item.paper is not None and item.entry.key not in papers]
        if not new and not fresh:
            return
        with self._store.transaction():
            for key in fresh:
                self._store.change("INSERT OR IGNORE INTO papers VALUES (?, ?)", key, moment)
            for key, claim, result in new:
                statement = "INSERT OR IGNORE INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                self._store.change(statement, key, claim.id, *_row(claim, result, moment))

    def of(self, paper: str) -> dict[str, list[Entry]]:
        """All measurements of a paper by claim, newest first."""
        query = "SELECT * FROM history WHERE paper = ? ORDER BY date DESC, rowid DESC"
        found: dict[str, list[Entry]] = {}
        for row in self._store.rows(query, paper):
            entry = Entry(row["date"], row["version"], Verdict(row["verdict"]), row["value"], row["seconds"])
            found.setdefault(row["claim"], []).append(entry)
        return found

    def news(self, *, since: str = "", until: str | None = None) -> list[News]:
        """Papers and verdicts that are new, newest first.

        Args:
            since: a time in UTC, exclusive; empty for all.
            until: inclusive; None for now.
        """
        query = "SELECT paper, claim, noted, verdict, value FROM history ORDER BY date, rowid"
        last: dict[tuple[str, str], Verdict] = {}
        found = [News(row["paper"], row["noted"]) for row in self._store.rows("SELECT * FROM papers")]
        for row in self._store.rows(query):
            place, after = (row["paper"], row["claim"]), Verdict(row["verdict"])
            before = last.get(place)
            last[place] = after
            if before is not None and before is not after:
                found.append(News(row["paper"], row["noted"], row["claim"], before, after, row["value"]))
        inside = [news for news in found if since < news.noted and (until is None or news.noted <= until)]
        return sorted(inside, key=lambda news: (news.noted, news.claim is None, news.paper), reverse=True)

    def trend(self, items: Iterable[Item]) -> dict[str, float]:
        """How much has happened to each paper lately: measured claims and, three times as heavy, changed verdicts.

        What lies a week back counts half. A measurement of all claims of a paper counts one.
        """
        n_claims = {item.entry.key: max(1, len(item.claims)) for item in items}
        trend = dict.fromkeys(n_claims, 0.0)
        for row in self._store.rows("SELECT paper, date FROM history"):
            if row["paper"] in trend:
                trend[row["paper"]] += _freshness(row["date"]) / n_claims[row["paper"]]
        for news in self.news():
            if news.claim is not None and news.paper in trend:
                trend[news.paper] += _WEIGHT_OF_A_CHANGE * _freshness(news.noted)
        return trend


def _row(claim: Claim, result: Result, moment: str) -> tuple[object, ...]:
    measurement = result.measurement
    assert measurement is not None
    value = named(claim, deciding(claim, measurement.values), measurement)
    version = str(measurement.machine.get("versions", {}).get("mercer", "?"))
    return result.date, result.fingerprint, moment, version, str(result.verdict), value, measurement.seconds


def _freshness(date: str) -> float:
    days = (datetime.now(UTC) - datetime.fromisoformat(date)).total_seconds() / 86400.0
    return float(0.5 ** (max(0.0, days) / _HALF_LIFE_DAYS))
