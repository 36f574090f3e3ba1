import pytest

from mercer.gallery.store import now
from mercer.papers import Verdict


def test_a_changed_verdict_is_news_and_history_keeps_both(shelf, history, put_results):
    history.note(shelf)
    begin = now()
    assert [news.paper for news in history.news()] == ["91-dice"]  # papers without a module are no news
    put_results(shelf, "loaded", date="2026-01-01T00:00:00+00:00")
    history.note(shelf)
    assert history.news(since=begin) == []  # the first verdict of a claim changes nothing
    put_results(shelf, "loaded", date="2026-02-01T00:00:00+00:00", values=0.95)
    history.note(shelf)
    (news,) = history.news(since=begin)
    assert (news.paper, news.claim, news.before, news.after) == (
        "91-dice",
        "loaded",
        Verdict.DOES_NOT_HOLD,
        Verdict.HOLDS,
    )
    assert news.value == "share: 0.95"
    entries = history.of("91-dice")["loaded"]
    assert [entry.verdict for entry in entries] == [Verdict.HOLDS, Verdict.DOES_NOT_HOLD]
    assert entries[0].version == "0.1.0"
    assert history.news(since=news.noted) == []
    assert history.news(until=begin)[0].claim is None


def test_what_is_noted_once_is_not_noted_again(shelf, history, store, put_results):
    put_results(shelf, "fair")
    history.note(shelf)
    before = [tuple(row) for row in store.rows("SELECT * FROM history")]
    history.note(shelf)
    assert [tuple(row) for row in store.rows("SELECT * FROM history")] == before


def test_changed_verdicts_weigh_more_than_measurements_and_all_fade(shelf, history, put_results):
    put_results(shelf, "fair", date="2020-01-01T00:00:00+00:00")
    history.note(shelf)
    assert history.trend(shelf.items)["91-dice"] == pytest.approx(0.0, abs=1e-6)
    put_results(shelf, "fair")
    history.note(shelf)
    assert history.trend(shelf.items)["91-dice"] == pytest.approx(1 / 3, rel=0.01)  # one of three claims, just now
    put_results(shelf, "fair", values=0.9, date="2027-01-01T00:00:00+00:00")
    history.note(shelf)
    assert history.trend(shelf.items)["91-dice"] == pytest.approx(2 / 3 + 3.0, rel=0.01)
    assert history.trend(shelf.items)["06-transnormer"] == 0.0
