"""The commands of `mercer`, one file each: a parser, and what it runs."""

from typing import Any

from mercer.commands import digest, fit, gallery, kernels, lra, papers, plan, predict, run, show

COMMANDS: tuple[Any, ...] = (fit, predict, kernels, plan, papers, show, run, lra, gallery, digest)

__all__ = ["COMMANDS"]
