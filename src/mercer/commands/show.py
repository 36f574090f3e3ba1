"""`mercer show`: one research paper, what it claims, and what came out."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mercer.papers.claim import Claim, Mode
    from mercer.papers.results import Result


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("show", help="show a research paper, its claims, and what came out")
    parser.set_defaults(run=run)
    parser.add_argument("paper", metavar="SLUG", help="slug, number, arXiv id, or a file pNN_slug.py")
    parser.add_argument("--full", action="store_true", help="what came out with the paper's own data and scale")
    parser.add_argument("--device", default="cpu", help="what came out there (default: cpu)")
    text = "folder of the results (default: results in your data folder)"
    parser.add_argument("--results", metavar="FOLDER", type=Path, help=text)


def run(arguments: argparse.Namespace) -> None:
    """Print the paper."""
    from mercer.papers import registry
    from mercer.papers.results import read_folder, results_folder

    entry, paper = registry.meant(arguments.paper)
    print(
        "\n".join(part for part in (f"{entry.number:02d} {entry.title}", entry.citation, f"\n{entry.summary}") if part)
    )
    if paper is None:
        print("\nIts module is not written yet, so there is nothing to measure.")
        return
    if paper.text:
        print(f"\n{paper.text}")
    mode: Mode = "full" if arguments.full else "quick"
    folder = results_folder(mode, device=arguments.device, root=arguments.results)
    results, problems = read_folder(folder, entry.key, paper.claims)
    for claim in paper.claims.values():
        _print_claim(claim, results.get(claim.id), mode)
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    print(f"\nmercer run {entry.slug}{' --full' if arguments.full else ''}    results in {folder / entry.key}")


def _print_claim(claim: "Claim", result: "Result | None", mode: "Mode") -> None:
    from mercer.papers.claim import Effort, Verdict
    from mercer.papers.report import MARKS, cost, measured, seconds

    verdict = result.verdict if result is not None else Verdict.NOT_MEASURED
    reason = f": {result.reason}" if result is not None and result.reason else ""
    measurement = result.measurement if result is not None else None
    print(f"\n{claim.id}{' (identity)' if claim.identity else ''}: {claim.says}")
    print(f"  the paper   {claim.reported or 'no number'}{f' ({claim.where})' if claim.where else ''}")
    print(f"  here        {MARKS[verdict]} {verdict}{reason}")
    for quantity in claim.quantities:
        value = f"{measured(quantity, measurement)}, " if measurement is not None else ""
        print(f"              {quantity.text}: {value}{quantity.bound or 'not judged'}")
    effort = claim.effort(mode)
    if measurement is not None:
        print(f"  cost        {cost(measurement)}")
    elif isinstance(effort, Effort):
        print(f"  cost        {effort.seeds} seed{'s' * (effort.seeds != 1)}, up to {seconds(effort.seconds)}")
    else:
        print(f"  {mode:<11} {effort}")
