"""A progress line for work that lasts, and nothing at all for work that does not."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

__all__ = ["Progress", "track"]

Item = TypeVar("Item")
_SECONDS_BETWEEN_REDRAWS = 0.1  # on a terminal
_SECONDS_BETWEEN_LINES = 10.0  # in a log file
_BAR_WIDTH = 24
_open: list["Progress[object]"] = []  # outermost first: only that one draws, so nested loops do not fight over the line


class Progress(Generic[Item]):
    """What :func:`track` returns: iterate over it, or enter it with ``with`` and call :meth:`advance`."""

    def __init__(self, items: Iterable[Item], total: float | None, description: str, after_seconds: float) -> None:
        self.total, self.description, self.after_seconds = total, description, after_seconds
        self.done = 0.0
        self._items = items
        self._started = self._last_drawn = time.monotonic()
        self._drawn = False

    def advance(self, n: float = 1, *, note: str = "") -> None:
        """Say that ``n`` more steps are done; ``note`` (such as ``"residual 3e-4"``) stands at the end of the line."""
        self.done += n
        now = time.monotonic()
        on_terminal = sys.stderr.isatty()
        pause = _SECONDS_BETWEEN_REDRAWS if on_terminal else _SECONDS_BETWEEN_LINES
        is_due = now - self._started >= self.after_seconds and (not self._drawn or now - self._last_drawn >= pause)
        if is_due and _open[:1] == [self] and _is_wanted(on_terminal):
            line = self._line(now - self._started, note)
            sys.stderr.write(f"\r\x1b[2K{line}" if on_terminal else f"{line}\n")
            sys.stderr.flush()
            self._drawn, self._last_drawn = True, now

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        _open.append(cast("Progress[object]", self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open.remove(cast("Progress[object]", self))
        if self._drawn and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()

    def __iter__(self) -> Iterator[Item]:
        with self:
            for item in self._items:
                yield item
                self.advance()

    def _line(self, seconds: float, note: str) -> str:
        if self.total:
            share = min(1.0, self.done / self.total)
            bar = "#" * round(share * _BAR_WIDTH)
            state = f"[{bar:<{_BAR_WIDTH}}] {share:4.0%}  {_duration(seconds * (1 / share - 1))} left" if share else ""
        else:
            state = f"{self.done:g} done in {_duration(seconds)}"
        return "  ".join(part for part in (self.description, state, note) if part)


def track(
    items: Iterable[Item] | int | None, *, description: str, after_seconds: float = 3.0, total: float | None = None
) -> Progress[Item]:
    """Show on stderr how far the work is, once it has lasted ``after_seconds``.

    Nothing is shown when stderr is not a terminal; ``MERCER_PROGRESS=1`` shows it nevertheless (as lines), and
    ``MERCER_PROGRESS=0`` never. The line is removed at the end.

    Args:
        items: what to iterate over, or a number of steps, or None if that number is not known.
        description: a word or two in front of the bar.
        after_seconds: work shorter than this stays silent.
        total: the number of steps, for an iterable that has no length.

    >>> [i * i for i in track(range(3), description="squares")]
    [0, 1, 4]
    >>> with track(2, description="panels") as progress:
    ...     progress.advance()
    ...     progress.advance(note="residual 1e-7")
    """
    if items is None:
        return Progress((), total, description, after_seconds)
    if isinstance(items, int):
        return Progress(cast("Iterable[Item]", range(items)), items, description, after_seconds)
    if total is None and isinstance(items, Sized):
        total = len(items)
    return Progress(items, total, description, after_seconds)


def _is_wanted(on_terminal: bool) -> bool:
    chosen = os.environ.get("MERCER_PROGRESS", "")
    return chosen != "0" and (on_terminal or bool(chosen))


def _duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )
