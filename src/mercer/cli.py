"""The command `mercer` and its subcommands. An error is one line on stderr and a non-zero exit code."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn, TextIO

from mercer import __version__
from mercer.commands import COMMANDS
from mercer.errors import ApproximationWarning, MercerError

__all__ = ["main"]

_DESCRIPTION = """\
Kernel models of tables, what kernels cost, and what papers on kernels claim.

  mercer fit houses.csv --target price --out runs/houses    a model, its scores, intervals, report.html
  mercer predict runs/houses new.csv --out prices.csv       predictions with intervals
  mercer kernels                                            every kernel with its formula
  mercer plan --n 1000000 --d 2 --kernel "RBF()"            what a kernel matrix would cost on this machine
  mercer papers                                             36 papers, and which of them can be measured
  mercer run self-distillation                              measure again what a paper claims
  mercer lra --quick --tasks listops --mixers sgconv ...    train mixers on the Long Range Arena
  mercer lm --text book.txt                                 language models with different mixers, side by side
  mercer gallery                                            the papers in a browser, with a button that measures

Each command explains itself: mercer fit --help.
"""


class _Parser(argparse.ArgumentParser):
    """argparse, with an error of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help explains)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        the exit code: 0, 1 after an error of the input, 130 after Ctrl-C. Arguments that cannot be read exit with 2.
    """
    options = make_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", ApproximationWarning)
            warnings.showwarning = _show_warning
            options.run(options)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stderr.close()
        return 1
    except (MercerError, OSError, MemoryError) as error:
        line = " ".join(str(error).split()) or type(error).__name__
        print(f"mercer {options.command}: {line}", file=sys.stderr)
        return 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(prog="mercer", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"mercer {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"note: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
