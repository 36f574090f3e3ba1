"""The Long Range Arena as one call: train any mixers on any of its tasks, and fill the papers' table.

>>> from mercer.arena import run_arena
>>> table = run_arena(["listops"], ["sgconv", "softmax"], out="runs/lra", quick=True)  # doctest: +SKIP
>>> print(table)  # doctest: +SKIP
"""

from mercer.arena.choice import arena_settings
from mercer.arena.network import ArenaNetwork
from mercer.arena.run import run_arena, tasks_in
from mercer.arena.settings import ArenaSettings
from mercer.arena.table import REPORTED, REPORTED_AVERAGES, ArenaTable

__all__ = [
    "REPORTED",
    "REPORTED_AVERAGES",
    "ArenaNetwork",
    "ArenaSettings",
    "ArenaTable",
    "arena_settings",
    "run_arena",
    "tasks_in",
]
