"""`mercer lra`: train mixers on the Long Range Arena and fill the papers' table."""

import argparse
import sys
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Train networks that differ in their mixer on tasks of the Long Range Arena, and print the papers' table: a row a mixer,
a column a task. With --quick the tasks are small versions that need no files and take minutes; with --data they are the
arena's own. After every epoch a checkpoint is written: interrupted or killed, the same command goes on from there.

  mercer lra --quick --tasks listops image --mixers sgconv transnormer softmax --out runs/lra
  mercer lra --data lra_release --tasks all --mixers sgconv s4d --device cuda --out runs/full
"""


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "lra",
        help="train mixers on the Long Range Arena",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--tasks", metavar="TASK", nargs="+", required=True, help="listops, text, ...; or all that there are"
    )
    parser.add_argument("--mixers", metavar="NAME", nargs="+", required=True, help="sgconv, s4d, softmax, ...")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="results, table and checkpoints")
    parser.add_argument("--quick", action="store_true", help="small versions of the tasks, which need no files")
    parser.add_argument("--data", metavar="PATH", type=Path, help="folder with a folder of each task's files")
    parser.add_argument("--seeds", metavar="N", type=int, default=1, help="trainings of each cell (default: 1)")
    parser.add_argument("--epochs", metavar="N", type=int, help="in place of those of the settings")
    parser.add_argument("--limit", metavar="ROWS", type=int, help="at most so many rows of each part")
    parser.add_argument("--device", default="cpu", help="as torch calls it (default: cpu)")


def run(arguments: argparse.Namespace) -> None:
    """Train what is missing, and print the table."""
    from mercer.arena import run_arena, tasks_in
    from mercer.data import LRA_TASKS
    from mercer.errors import MercerError

    tasks = arguments.tasks
    if tasks == ["all"]:
        tasks = list(LRA_TASKS) if arguments.data is None else tasks_in(arguments.data)
    options = {
        name: getattr(arguments, name) for name in ("out", "quick", "data", "seeds", "epochs", "limit", "device")
    }
    try:
        table = run_arena(tasks, arguments.mixers, report=_print, **options)
    except ValueError as error:
        raise MercerError(str(error)) from None
    except KeyboardInterrupt:
        print("interrupted; what was trained stands, and the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
    print(f"\n{table}\n\nResults in {arguments.out}")


def _print(record: dict[str, Any]) -> None:
    print(
        f"{record['task']}, {record['mixer']}, seed {record['seed']}: {100.0 * record['accuracy']:.1f} % of "
        f"{record['test_rows']} right, {record['seconds']:.0f} s",
        flush=True,
    )
