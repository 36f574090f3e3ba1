"""The commands of `mercer`, one file each: a parser, and what it runs."""

from typing import Any

from mercer.commands import digest, fit, gallery, kernels, lm, lra, papers, plan, predict, run, show

COMMANDS: tuple[Any, ...] = (fit, predict, kernels, plan, papers, show, run, lra, lm, gallery, digest)

__all__ = ["COMMANDS"]
