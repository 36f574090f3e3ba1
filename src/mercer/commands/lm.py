"""`mercer lm`: language models of a text that differ in the mixer only, side by side."""

import argparse
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Train small language models of characters that have equally many parameters and differ in their mixer, and compare how
well they predict the last tenth of the text, and how fast they are. Takes some minutes on two cores.

  mercer lm                                                      Python's own documentation, four mixers
  mercer lm --text book.txt --mixers softmax sgconv --steps 1000 --out runs/book
"""


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "lm",
        help="compare language models of a text",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    mixers = ["softmax", "transnormer", "long_conv", "sgconv"]
    parser.add_argument("--text", metavar="FILE", type=Path, help="UTF-8 text (default: Python's documentation)")
    parser.add_argument(
        "--mixers", metavar="NAME", nargs="+", default=mixers, help=f"default: {' '.join(mixers)}; also h3, s4d, ..."
    )
    parser.add_argument("--parameters", metavar="N", type=int, default=200_000, help="of each (default: 200000)")
    parser.add_argument("--steps", metavar="N", type=int, default=300, help="of training (default: 300)")
    parser.add_argument("--length", metavar="N", type=int, default=128, help="characters of a window (default: 128)")
    parser.add_argument("--seeds", metavar="N", type=int, default=1, help="trainings of each mixer (default: 1)")
    parser.add_argument("--device", default="cpu", help="as torch calls it (default: cpu)")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="table.md, results.json and plot.png")


def run(arguments: argparse.Namespace) -> None:
    """Train, time and print the table."""
    from mercer.arena import compare_language_models
    from mercer.data import text_file
    from mercer.errors import MercerError

    options = {name: getattr(arguments, name) for name in ("parameters", "steps", "length", "seeds", "device")}
    try:
        text = None if arguments.text is None else text_file(arguments.text)
        found = compare_language_models(text, arguments.mixers, prompts=[arguments.length], report=_print, **options)
    except ValueError as error:
        raise MercerError(str(error)) from None
    print(f"\n{found}")
    if arguments.out is not None:
        found.write(arguments.out)
        print(f"\nResults in {arguments.out}")


def _print(row: dict[str, Any]) -> None:
    print(f"{row['mixer']}: perplexity {row['perplexity']:.2f}, {sum(row['training_seconds']):.0f} s", flush=True)
