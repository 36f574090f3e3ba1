"""The commands of `mercer`, one file each: a parser, and what it runs."""

from mercer.commands import fit, kernels, papers, plan, predict, run, show

COMMANDS = (fit, predict, kernels, plan, papers, show, run)

__all__ = ["COMMANDS"]
