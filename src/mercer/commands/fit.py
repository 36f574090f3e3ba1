"""`mercer fit`: a kernel model of a table, with a report."""

import argparse
from pathlib import Path
from typing import Any

from mercer.errors import TableError

_DESCRIPTION = """\
Choose the best kernel model of a table, and write a report.

The table is split into train, validation and test. Columns are typed and transformed by what the training part shows;
several kernels are tried; hyperparameters are learnt by marginal likelihood on some rows; the model is solved on all
of them, exactly or with centres, where time is short. A recursive feature machine, which learns how columns weigh
together, gets the seconds that are left (none where --kernel names a kernel). Ridge regression and gradient boosting
get the same features and are reported beside them, also where they win. The model is what is best on the validation
part, boosting aside. Intervals are calibrated on the
validation part and checked on the test part.
"""

_EPILOG = """\
examples:
  mercer fit houses.csv --target price
  mercer fit houses.csv --target price --time-budget 300 --ordered "condition=poor<fair<good" --drop id
  mercer fit sales.parquet --target units --time-column date        trained on the past, tested on the future
  mercer fit patients.csv --target outcome --group-column hospital  tested on hospitals that it was not trained on
  mercer fit wave.csv --target y --kernel "2*RBF() + Linear()"

what is written into --out (whole, or not at all):
  report.html    for people: one file, no network, for phone and desk, light and dark
  metrics.json   the same numbers for programs
  *.safetensors  the model, for `mercer predict` (JSON and arrays; reading it runs no code)
"""


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "fit",
        help="fit a model to a table and write a report",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("table", metavar="TABLE", type=Path, help="a .csv, .tsv, .txt (also .gz) or .parquet file")
    parser.add_argument("--target", metavar="COLUMN", required=True, help="the column to predict")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to make (default: fit-TABLE, here)")
    parser.add_argument(
        "--time-budget", metavar="SECONDS", type=float, default=120.0, help="for everything (default: 120)"
    )
    group = parser.add_argument_group("the split (default: at random)")
    group.add_argument("--time-column", metavar="COLUMN", help="train on what came first, test on what came last")
    group.add_argument("--group-column", metavar="COLUMN", help="rows with the same value stay in one part")
    group = parser.add_argument_group("columns")
    group.add_argument("--drop", metavar="COLUMN", action="append", default=[], help="leave a column out; repeatable")
    group.add_argument(
        "--categorical", metavar="COLUMN", action="append", default=[], help="its numbers are labels; repeatable"
    )
    group.add_argument(
        "--ordered",
        metavar="COLUMN=A<B<C",
        action="append",
        default=[],
        help="categories from lowest to highest; repeatable",
    )
    group.add_argument(
        "--missing", metavar="VALUE", action="append", default=[], help="stands for a missing value; repeatable"
    )
    group = parser.add_argument_group("the target")
    group.add_argument("--task", choices=("auto", "regression", "classification"), default="auto")
    group.add_argument(
        "--target-scale",
        choices=("auto", "log", "plain"),
        default="auto",
        help="auto: the log of a positive target with a long right tail",
    )
    group.add_argument("--drop-missing-target", action="store_true", help="leave out rows that have no target")
    group.add_argument("--level", metavar="SHARE", type=float, default=0.9, help="of the intervals (default: 0.9)")
    group = parser.add_argument_group("the model")
    group.add_argument("--kernel", metavar="TEXT", help='such as "2*RBF() + Linear()"; default: the best of four')
    group.add_argument("--centers", metavar="N", type=int, help="centres (Nystrom); 0: exact; default: by the budget")
    group.add_argument("--learn-rows", metavar="N", type=int, help="rows for hyperparameters; default: by the budget")
    group.add_argument("--random-state", metavar="SEED", type=int, default=0, help="(default: 0)")
    parser.add_argument("--quiet", action="store_true", help="print only the report's path")


def run(arguments: argparse.Namespace) -> None:
    """Read, fit, write; the last line printed is the path of the report."""
    from mercer.tables import FitOptions, fit_table, read_table, write_folder
    from mercer.tables.stages import Stages
    from mercer.tables.write import require_folder

    options = FitOptions(
        target=arguments.target,
        task=arguments.task,
        kernel=arguments.kernel,
        time_budget=arguments.time_budget,
        time_column=arguments.time_column,
        group_column=arguments.group_column,
        ordered=parse_ordered(arguments.ordered),
        categorical=tuple(arguments.categorical),
        drop=tuple(arguments.drop),
        missing=tuple(arguments.missing),
        drop_missing_target=arguments.drop_missing_target,
        target_scale=arguments.target_scale,
        level=arguments.level,
        n_centers=arguments.centers,
        learn_rows=arguments.learn_rows,
        random_state=arguments.random_state,
    )
    folder = arguments.out or Path(f"fit-{arguments.table.name.split('.')[0]}")
    require_folder(folder)
    stages = Stages(options.time_budget, None if arguments.quiet else print)
    size = arguments.table.stat().st_size if arguments.table.is_file() else 0
    with stages.stage("read the table", predicted=0.2 + 4e-8 * size) as stage:
        frame = read_table(arguments.table, missing=options.missing)
        stage.note = f"{frame.shape[0]:,} rows, {frame.shape[1]} columns"
    model, findings = fit_table(frame, options, name=arguments.table.name, stages=stages)
    report = write_folder(folder, model, findings)
    if not arguments.quiet:
        from mercer.tables.summary import summary

        print(summary(findings))
    print(report)


def parse_ordered(texts: list[str]) -> dict[str, tuple[str, ...]]:
    """``["size=S<M<L"]`` as ``{"size": ("S", "M", "L")}``.

    Raises:
        TableError: a text that is not of that form.
    """
    ordered = {}
    for text in texts:
        name, equals, levels = text.partition("=")
        found = tuple(level.strip() for level in levels.split("<"))
        if not (equals and name.strip() and len(found) > 1 and all(found)):
            raise TableError(f'--ordered {text!r} is not of the form COLUMN=A<B<C, such as "size=S<M<L".')
        ordered[name.strip()] = found
    return ordered
