"""The commands of `mercer`, one file each: a parser, and what it runs."""

from mercer.commands import fit, kernels, plan, predict

COMMANDS = (fit, predict, kernels, plan)

__all__ = ["COMMANDS"]
