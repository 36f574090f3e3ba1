"""Mixers of sequences against each other: the Long Range Arena as one call, and language models side by side.

>>> from mercer.arena import run_arena
>>> table = run_arena(["listops"], ["sgconv", "softmax"], out="runs/lra", quick=True)  # doctest: +SKIP
>>> print(table)  # doctest: +SKIP
"""

from mercer.arena.choice import arena_settings
from mercer.arena.language import compare_language_models
from mercer.arena.language_report import LanguageReport
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
    "LanguageReport",
    "arena_settings",
    "compare_language_models",
    "run_arena",
    "tasks_in",
]
