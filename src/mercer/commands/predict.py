"""`mercer predict`: what a saved model says about new rows."""

import argparse
import sys
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Predict the rows of a table with a model that `mercer fit` has made.

The table needs the columns that the model was fitted on, by name, in any order; more columns are ignored. Values may be
missing, and categories may be new (those rows are counted on stderr). One row comes out a row in, in order:
  prediction, lower, upper     for a number (the interval's level is the one asked for in `mercer fit`)
  prediction, p_CLASS, ...     for a class, with the probability of each
"""


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "predict",
        help="predict new rows with a saved model",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("folder", metavar="DIR", type=Path, help="what `mercer fit --out` made")
    parser.add_argument("table", metavar="TABLE", type=Path, help="a CSV or Parquet file")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="a .csv or .parquet file to write")


def run(arguments: argparse.Namespace) -> None:
    """Load, read, predict, write; the last line printed is the file's path."""
    from mercer.tables import TableModel, read_table, write_predictions
    from mercer.tables.write import require_predictions_file

    require_predictions_file(arguments.out)
    model = TableModel.load(arguments.folder)
    frame = read_table(arguments.table, missing=model.features.missing)
    predictions = model.predict(frame)
    for name, count in model.features.unseen(frame).items():
        print(f"note: {count:,} rows have a value of {name!r} that training did not have", file=sys.stderr)
    write_predictions(predictions, arguments.out)
    print(arguments.out)
