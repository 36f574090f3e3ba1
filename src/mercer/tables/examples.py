"""The worked examples of `make run` and `make flights`: ``python -m mercer.tables.examples diamonds|flights``."""

import argparse
import os
import sys
from pathlib import Path

from mercer.data import Bunch, diamonds, flights
from mercer.errors import MercerError
from mercer.tables.fit import fit_table
from mercer.tables.options import FitOptions
from mercer.tables.stages import Stages
from mercer.tables.summary import summary
from mercer.tables.write import require_folder, write_folder

__all__ = ["main"]

# Seconds: diamonds within 4 minutes on 2 cores, flights within 8, both with room for imports and the report.
_LEARN_ROWS = 2000  # with fewer, neither example reaches boosting; more rows gain little
_EXAMPLES = {"diamonds": (diamonds, 200.0), "flights": (flights, 420.0)}


def run_example(name: str, *, folder: Path, time_budget: float) -> Path:
    """Fit one of the examples, write its folder, and give the path of the report."""
    require_folder(folder)
    stages = Stages(time_budget, print)
    with stages.stage("load the table", predicted=2.0) as stage:
        bunch: Bunch = _EXAMPLES[name][0]()
        stage.note = f"{bunch.frame.shape[0]:,} rows, {bunch.frame.shape[1]} columns"
    # The first example is there to show that an exact model of every row is possible; the second, that centres are.
    options = FitOptions(
        target=bunch.target,
        ordered=bunch.ordered,
        time_budget=time_budget,
        n_centers=0 if name == "diamonds" else None,
        learn_rows=_LEARN_ROWS,
    )
    model, findings = fit_table(bunch.frame, options, name=name, stages=stages)
    source: tuple[str, ...] = (bunch.description, f"Source: {bunch.source}. Licence: {bunch.licence}.")
    if name == "flights":
        source += (
            "Test flights were drawn at random, so others of the same day are in the training part and tell of its "
            "weather. To be tested on days that are still to come: --time-column scheduled.",
        )
    report = write_folder(folder, model, findings, source=source)
    print(summary(findings))
    return report


def main() -> int:
    """Run the example named on the command line; the path of the report is printed last."""
    parser = argparse.ArgumentParser(prog="python -m mercer.tables.examples", description=__doc__)
    parser.add_argument("name", choices=sorted(_EXAMPLES))
    parser.add_argument("--out", type=Path, help="folder to make (default: runs/NAME)")
    parser.add_argument("--time-budget", type=float, metavar="SECONDS")
    arguments = parser.parse_args()
    try:
        print(
            run_example(
                arguments.name,
                folder=arguments.out or Path("runs") / arguments.name,
                time_budget=arguments.time_budget or _EXAMPLES[arguments.name][1],
            )
        )
    except (MercerError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.environ.setdefault("MERCER_PROGRESS", "1")
    sys.exit(main())
