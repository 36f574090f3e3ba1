"""Measures one claim in this process: hands it seeds, takes its numbers, tables and figures."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mercer.papers.claim import Claim, Effort, Mode, NotMeasured
from mercer.papers.figures import draw_svg
from mercer.papers.measurement import Cell, Figure, Measurement, Table
from mercer.papers.shared import taken_from
from mercer.timing import machine

__all__ = ["FIRST_SEED", "Run", "measure"]

# Bounds are tuned with seeds below this one and reported with the seeds from here on.
FIRST_SEED = 1000
_FIGURE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Run:
    """What a claim's function is given: where it runs, with which seeds, and where its numbers go.

    Args:
        claim: whose quantities are recorded.
        mode: ``"quick"`` or ``"full"``.
        device: what torch calls it.
        data: folder with the paper's own data, if the user gave one.
        seeds: to be measured, in this order.
        budget: seconds after which no further seed is begun.
        on_seed: called with the number of seeds that are done, for the progress line.
        shelf: gives the folder that the claims of a paper share; None shares nothing.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        mode: Mode,
        device: str,
        data: Path | None,
        seeds: Sequence[int],
        budget: float,
        on_seed: Callable[[int], None] | None = None,
        shelf: Callable[[], Path] | None = None,
    ) -> None:
        self.claim, self.mode, self.device, self.data = claim, mode, torch.device(device), data
        self._asked, self._budget, self._on_seed = tuple(seeds), budget, on_seed
        self._shelf = shelf
        self._started = time.monotonic()
        self._begun: list[int] = []
        self._values: dict[str, list[float]] = {quantity.name: [] for quantity in claim.quantities}
        self._tables: list[Table] = []
        self._figures: list[Figure] = []
        self._notes: list[str] = []

    @property
    def is_full(self) -> bool:
        """Whether the paper's own data and scale are asked for."""
        return self.mode == "full"

    @property
    def seeds(self) -> Iterator[int]:
        """The seeds, one after the other: ``for seed in run.seeds``, with one :meth:`record` for each.

        Another one is begun only if it fits into the budget, judged by the slowest so far; the first always is.
        """
        slowest, before = 0.0, time.monotonic()
        for done, seed in enumerate(self._asked):
            if done and before - self._started + slowest > self._budget:
                self.note(f"{done} of {len(self._asked)} seeds fitted into the budget of {self._budget:g} s.")
                return
            self._begun.append(seed)
            yield seed
            now = time.monotonic()
            slowest, before = max(slowest, now - before), now
            if self._on_seed is not None:
                self._on_seed(done + 1)

    def all_seeds(self) -> tuple[int, ...]:
        """All seeds at once, for what trains them in one batch; :meth:`record` is still called once for each."""
        self._begun = list(self._asked)
        return self._asked

    def record(self, **values: float) -> None:
        """Keep the numbers of one seed: a keyword for every quantity of the claim.

        Raises:
            ValueError: names that are not the claim's, or a value that is not one number.
        """
        if values.keys() != self._values.keys():
            raise ValueError(
                f"Claim {self.claim.id!r} records {', '.join(self._values)} for every seed, but was given "
                f"{', '.join(values) or 'nothing'}."
            )
        for name, value in values.items():
            if _size(value) != 1:
                raise ValueError(f"Claim {self.claim.id!r}: {name} is one number a seed, not {_size(value)}.")
            self._values[name].append(float(value))

    def table(self, name: str, rows: Sequence[Sequence[Any]], *, columns: Sequence[str], caption: str = "") -> None:
        """Show a table on the paper's page; cells are text or numbers.

        Raises:
            ValueError: a row of another length than ``columns``.
        """
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"Table {name!r} has {len(columns)} columns, but a row with {len(row)} cells.")
        cells = tuple(tuple(_cell(value) for value in row) for row in rows)
        self._tables.append(Table(name, caption, tuple(columns), cells))

    def figure(
        self, name: str, draw: Callable[[Any], object], *, caption: str = "", width: float = 6.4, height: float = 3.6
    ) -> None:
        """Show a figure on the paper's page; without matplotlib it is left out with a note.

        Args:
            name: of its file, in small letters, digits and hyphens.
            draw: draws on the :class:`matplotlib.figure.Figure` it is given.
            caption: what is seen.
            width: in inches.
            height: in inches.

        Raises:
            ValueError: a name that no file can have, or that is taken.
        """
        if not _FIGURE.fullmatch(name) or name in (figure.name for figure in self._figures):
            raise ValueError(f"Figure {name!r}: a name of small letters, digits and hyphens that no other figure has.")
        svg = draw_svg(draw, width=width, height=height, salt=f"{self.claim.id}-{name}")
        if svg is None:
            self.note(f"The figure {name!r} needs matplotlib: pip install 'mercer[tables]'.")
        else:
            self._figures.append(Figure(name, caption, svg))

    def note(self, text: str) -> None:
        """Show a sentence about this very run beside its numbers."""
        self._notes.append(text)

    def shared(self, name: str, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Tensors that several claims of a paper need, such as the weights of a network that all look at.

        Each claim is measured in a process of its own. `mercer run` keeps these tensors in the data folder, so that the
        first claim makes them and the others read them, as long as the code, the mode, the device, the data and the
        sabotage are the same. Otherwise, as in tests, they are made.

        Args:
            name: for a file, with the seed in it: ``f"softmax-{seed}"``.
            make: what makes them; it must give the same each time.
        """
        return dict(make()) if self._shelf is None else taken_from(self._shelf(), name, make)

    def data_folder(self, contents: str) -> Path:
        """The folder of the user's ``--data``.

        Raises:
            NotMeasured: there is none; ``contents`` says what it has to hold.
        """
        if self.data is None:
            raise NotMeasured(f"it needs --data PATH, a folder with {contents}")
        return self.data

    def peak_bytes(self) -> int:
        """The most memory that this process has held so far, libraries included; on a GPU, that torch allocated there.

        Raises:
            NotMeasured: the system does not tell.
        """
        found = _peak_bytes(self.device)
        if found is None:
            raise NotMeasured("this system does not tell how much memory a process took")
        return found

    def result(self, seconds: float) -> Measurement:
        """What came together.

        Raises:
            ValueError: a seed that was begun left no numbers.
        """
        n_recorded = len(next(iter(self._values.values())))
        if not self._begun or n_recorded != len(self._begun):
            raise ValueError(
                f"Claim {self.claim.id!r} began {len(self._begun)} seeds and recorded {n_recorded}: "
                f"call run.record once in every round of `for seed in run.seeds`."
            )
        return Measurement(
            values={name: tuple(values) for name, values in self._values.items()},
            seeds=tuple(self._begun),
            seeds_asked=len(self._asked),
            seconds=seconds,
            peak_bytes=_peak_bytes(self.device),
            device=str(self.device),
            machine=machine(),
            tables=tuple(self._tables),
            figures=tuple(self._figures),
            notes=tuple(self._notes),
        )


def measure(
    claim: Claim,
    *,
    mode: Mode = "quick",
    device: str = "cpu",
    data: Path | None = None,
    seeds: int | Sequence[int] | None = None,
    on_seed: Callable[[int], None] | None = None,
    shelf: Callable[[], Path] | None = None,
) -> Measurement:
    """Measure a claim here and now; nothing is written. The verdict on it is :func:`mercer.papers.judge`'s.

    Args:
        claim: from ``paper.claims``.
        mode: ``"quick"`` or ``"full"``.
        device: what torch calls it.
        data: folder with the paper's own data.
        seeds: how many, or which. Default: as many as the claim asks for. Tune with seeds below 1000: those from 1000
            on are the ones that are reported.
        on_seed: called with the number of seeds done.
        shelf: gives the folder of what the claims of the paper share.

    Raises:
        NotMeasured: this claim is not measured in this mode, or lacks what it needs.
        ValueError: no seeds, or a claim that does not record one set of numbers for each.
    """
    effort = claim.effort(mode)
    if not isinstance(effort, Effort):
        raise NotMeasured(effort)
    if seeds is None or isinstance(seeds, int):
        seeds = range(FIRST_SEED, FIRST_SEED + (effort.seeds if seeds is None else seeds))
    if not seeds:
        raise ValueError(f"Claim {claim.id!r} needs at least one seed.")
    started = time.monotonic()
    options: dict[str, Any] = {"budget": effort.seconds, "on_seed": on_seed, "shelf": shelf}
    run = Run(claim, mode=mode, device=device, data=data, seeds=seeds, **options)
    claim.measure(run)
    return run.result(time.monotonic() - started)


def _cell(value: Any) -> Cell:
    """Numbers of numpy and torch become Python's; all else that is no number becomes text."""
    if isinstance(value, np.generic | torch.Tensor) and _size(value) == 1:
        value = value.item()
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _size(value: Any) -> int:
    return value.numel() if isinstance(value, torch.Tensor) else int(np.size(value))


def _peak_bytes(device: torch.device) -> int | None:
    """Most memory of the GPU, or of this process.

    Linux tells it in /proc: getrusage there starts with what the parent process held when this one was forked.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak)  # macOS counts bytes
