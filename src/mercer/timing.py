"""One way to measure speed: side by side, alternating, after a warm-up, with the errors of both sides.

Wall time on a shared core has been wrong by a factor of 6. So competitors take turns in the same process, a ratio is
the median of the ratios of each round, and the clock of the calling thread is kept beside the wall clock.
"""

import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

__all__ = ["Comparison", "Timing", "compare", "machine"]

Clock = Literal["wall", "thread"]


@dataclass(frozen=True)
class Timing:
    """The seconds of one competitor, a value a round.

    Args:
        wall: by the clock on the wall.
        thread: processor time of the calling thread; with several threads, that thread's share.
        error: how wrong its result is, if it was asked for.
    """

    wall: Sequence[float]
    thread: Sequence[float]
    error: float | None = None

    def seconds(self, clock: Clock = "wall") -> float:
        """The median."""
        return median(self.wall if clock == "wall" else self.thread)

    def spread(self, clock: Clock = "wall") -> float:
        """Distance of the quartiles as a share of the median: below 0.05 is a quiet machine."""
        low, middle, high = _quartiles(self.wall if clock == "wall" else self.thread)
        return (high - low) / middle if middle else 0.0


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` measured; ``print`` it, or keep :meth:`as_dict` as JSON.

    Args:
        timings: by competitor.
        clock: the clock that the ratios use.
        work: units (pairs, flops) of one call; 0 if not given.
        limit: how many of them a second the machine allows; 0 if not given.
        machine: what :func:`machine` tells.
    """

    timings: Mapping[str, Timing]
    clock: Clock
    work: float = 0.0
    limit: float = 0.0
    machine: Mapping[str, Any] = field(default_factory=dict)

    def ratio(self, name: str, to: str) -> tuple[float, float, float]:
        """How many times faster ``name`` is than ``to``: lower quartile, median, upper quartile over the rounds."""
        mine, theirs = (getattr(self.timings[n], self.clock) for n in (name, to))
        return _quartiles([b / a for a, b in zip(mine, theirs, strict=True)])

    def rate(self, name: str) -> float:
        """Units of work a second."""
        return self.work / self.timings[name].seconds(self.clock)

    def fraction_of_limit(self, name: str) -> float:
        """The rate as a share of what the machine allows."""
        return self.rate(name) / self.limit

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        rows = {}
        for name, timing in self.timings.items():
            row: dict[str, Any] = {
                "seconds": timing.seconds(self.clock),
                "spread": timing.spread(self.clock),
                "wall": list(timing.wall),
                "thread": list(timing.thread),
                "error": timing.error,
            }
            if self.work:
                row["rate"] = self.rate(name)
            if self.work and self.limit:
                row["fraction_of_limit"] = self.fraction_of_limit(name)
            rows[name] = row
        return {"clock": self.clock, "work": self.work, "timings": rows, "machine": dict(self.machine)}

    def __str__(self) -> str:
        first = next(iter(self.timings))
        lines = []
        for name, timing in self.timings.items():
            line = f"{name:<16} {timing.seconds(self.clock):10.4g} s  spread {timing.spread(self.clock):4.0%}"
            line += f"  {self.rate(name):9.3g} /s" if self.work else ""
            line += f"  {self.fraction_of_limit(name):4.0%} of the limit" if self.work and self.limit else ""
            line += f"  error {timing.error:8.1e}" if timing.error is not None else ""
            if name != first:
                low, middle, high = self.ratio(first, name)
                word = "faster" if middle >= 1.0 else "slower"
                if middle < 1.0:
                    low, middle, high = 1.0 / high, 1.0 / middle, 1.0 / low
                line += f"  {first} is {middle:.3g}x {word} ({low:.3g} to {high:.3g})"
            lines.append(line)
        return "\n".join(lines)


def compare(
    competitors: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 31,
    warmups: int = 1,
    clock: Clock | None = None,
    error: Callable[[Any], float] | None = None,
    work: float = 0.0,
    limit: float = 0.0,
) -> Comparison:
    """Time functions against each other, taking turns.

    Args:
        competitors: functions without arguments, by name; the first is the one that the others are compared with. Put
            the same function in twice to see what the machine's noise alone makes of 1.0.
        rounds: how often each is called. Every round starts with another one, so that none is always first.
        warmups: calls beforehand that do not count.
        clock: ``"thread"`` (processor time of the calling thread) or ``"wall"``. Default: thread where torch uses one
            thread and no GPU, since nothing else can disturb it then; else wall.
        error: given a result, says how wrong it is; asked once for each competitor.
        work: units of work in one call.
        limit: units a second that the machine allows.

    Raises:
        ValueError: no competitors or no rounds.

    >>> print(compare({"ours": lambda: sum(range(100)), "theirs": lambda: sum(range(1000))}))  # doctest: +SKIP
    """
    if not competitors or rounds < 1:
        raise ValueError(f"compare needs a competitor and a round, but has {len(competitors)} and {rounds}.")
    if clock is None:
        clock = "thread" if torch.get_num_threads() == 1 and not torch.cuda.is_available() else "wall"
    names = list(competitors)
    errors: dict[str, float] = {}
    for name in names:
        for _ in range(warmups):
            competitors[name]()
        if error is not None:
            errors[name] = float(error(competitors[name]()))
    wall: dict[str, list[float]] = {name: [] for name in names}
    thread: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            _synchronize()
            wall_start, thread_start = time.perf_counter(), time.thread_time()
            competitors[name]()
            _synchronize()
            wall[name].append(time.perf_counter() - wall_start)
            thread[name].append(time.thread_time() - thread_start)
    timings = {name: Timing(wall[name], thread[name], errors.get(name)) for name in names}
    return Comparison(timings, clock, work, limit, machine())


def machine() -> dict[str, Any]:
    """What a number has to be read with: processor, threads, device and versions."""
    model = re.search(r"model name\s*: (.+)", _read("/proc/cpuinfo"))
    versions = {}
    for package in ("mercer", "torch", "numpy", "scipy", "scikit-learn", "pykeops", "gpytorch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        "versions": versions,
    }


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    ordered = torch.tensor(list(values), dtype=torch.float64)
    low, middle, high = torch.quantile(ordered, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return low, middle, high


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
