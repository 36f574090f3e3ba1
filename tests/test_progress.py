import io
from types import SimpleNamespace

import pytest

from mercer import progress
from mercer.progress import track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=screen))  # pytest puts its own stderr back in sys
    return screen


def test_short_work_shows_nothing(clock, terminal):
    for _ in track(10, description="solve"):
        clock[0] += 0.29
    assert terminal.getvalue() == ""


def test_long_work_shows_share_and_time_left_and_cleans_up(clock, terminal):
    for _ in track(["a", "b", "c", "d"], description="solve"):
        clock[0] += 2
    screen = terminal.getvalue()
    assert "solve  [############            ]  50%  4 s left" in screen
    assert "25%" not in screen
    assert screen.endswith("\r\x1b[2K")


def test_unknown_length_counts(clock, terminal):
    with track(None, description="search", after_seconds=0) as bar:
        clock[0] += 200
        bar.advance(3, note="residual 1e-3")
    assert "search  3 done in 3 min 20 s  residual 1e-3" in terminal.getvalue()


def test_it_is_not_redrawn_more_than_ten_times_a_second(clock, terminal):
    for _ in track(1000, description="solve", after_seconds=0):
        clock[0] += 0.001
    assert terminal.getvalue().count("solve") <= 11


def test_only_the_outermost_of_nested_loops_draws(clock, terminal):
    for _ in track(2, description="outer", after_seconds=0):
        for _ in track(3, description="inner", after_seconds=0):
            clock[0] += 5
    assert "outer" in terminal.getvalue()
    assert "inner" not in terminal.getvalue()


def test_an_exception_cleans_up(clock, terminal):
    def work():
        with track(3, description="solve", after_seconds=0) as bar:
            bar.advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert terminal.getvalue().endswith("\r\x1b[2K")
    assert progress._open == []


def test_a_log_file_gets_lines_only_when_asked(clock, monkeypatch, capsys):
    def work():
        for _ in track((i for i in range(4)), description="solve", total=4):
            clock[0] += 6

    work()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("MERCER_PROGRESS", "1")
    work()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("]")[1].split()[0] for line in lines] == ["25%", "75%"]


def test_it_can_be_switched_off(clock, terminal, monkeypatch):
    monkeypatch.setenv("MERCER_PROGRESS", "0")
    for _ in track(2, description="solve", after_seconds=0):
        clock[0] += 5
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(("seconds", "text"), [(41.6, "42 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_are_written_for_people(seconds, text):
    assert progress._duration(seconds) == text
