"""The Long Range Arena as one call: train any mixers on any of its tasks, and fill the papers' table.

>>> from mercer.arena import run_arena
>>> table = run_arena(["listops"], ["sgconv", "softmax"], out="runs/lra", quick=True)  # doctest: +SKIP
>>> print(table)  # doctest: +SKIP
"""

from mercer.arena.network import ArenaNetwork
from mercer.arena.run import run_arena, tasks_in
from mercer.arena.settings import ArenaSettings, arena_settings
from mercer.arena.table import REPORTED, ArenaTable

__all__ = ["REPORTED", "ArenaNetwork", "ArenaSettings", "ArenaTable", "arena_settings", "run_arena", "tasks_in"]
