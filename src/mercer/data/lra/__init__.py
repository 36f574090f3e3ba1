"""The Long Range Arena: six tasks with sequences of thousands of numbers, read from files or generated."""

from mercer.data.lra.listops import LISTOPS_TOKENS, ListOps, encode_listops, make_listops, save_listops
from mercer.data.lra.load import LRA_TASKS, load_lra
from mercer.data.lra.pathfinder import make_pathfinder
from mercer.data.lra.small import SMALL_LRA, small_lra
from mercer.data.lra.task import LongRangeTask, Split

__all__ = [
    "LISTOPS_TOKENS",
    "LRA_TASKS",
    "SMALL_LRA",
    "ListOps",
    "LongRangeTask",
    "Split",
    "encode_listops",
    "load_lra",
    "make_listops",
    "make_pathfinder",
    "save_listops",
    "small_lra",
]
