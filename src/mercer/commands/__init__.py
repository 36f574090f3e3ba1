"""The commands of `mercer`, one file each: a parser, and what it runs."""

from mercer.commands import fit, kernels, lra, papers, plan, predict, run, show

COMMANDS = (fit, predict, kernels, plan, papers, show, run, lra)
from mercer.commands import digest, fit, gallery, kernels, papers, plan, predict, run, show

COMMANDS = (fit, predict, kernels, plan, papers, show, run, gallery, digest)

__all__ = ["COMMANDS"]
