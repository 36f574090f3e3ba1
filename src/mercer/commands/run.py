"""`mercer run`: measure what research papers claim."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mercer.papers import Paper
    from mercer.papers.claim import Mode

_DESCRIPTION = """\
Measure the claims of papers, each in its own process, and say which hold. What has not changed since the last time is
not measured again; interrupted, the same command goes on. Exit code: 0; 1 if a claim crashed or hung, or, with
--strict, does not hold; 130 after Ctrl-C.
"""


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "run",
        help="measure what research papers claim",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("papers", metavar="SLUG", nargs="+", help="slug, number, arXiv id, a file pNN_slug.py; or all")
    parser.add_argument("--full", action="store_true", help="the paper's own data and scale; default: 2 cores, minutes")
    parser.add_argument("--data", metavar="PATH", type=Path, help="folder with the paper's own data")
    parser.add_argument("--device", default="cpu", help="as torch calls it (default: cpu)")
    parser.add_argument(
        "--seeds", metavar="N", type=int, help="seeds of every claim (default: what the claim asks for)"
    )
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="claims at once; speed claims run alone")
    parser.add_argument("--limit", metavar="SECONDS", type=float, help="when a claim counts as hanging")
    parser.add_argument(
        "--broken", action="store_true", help="break each method as its paper says; exit code 1 unless its claims fall"
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a claim does not hold")
    text = "folder of the results (default: results in your data folder)"
    parser.add_argument("--results", metavar="FOLDER", type=Path, help=text)


def run(arguments: argparse.Namespace) -> None:
    """Measure, and print the verdicts."""
    from mercer.papers.claim import Verdict
    from mercer.papers.display import display_for
    from mercer.papers.report import summary, wants_colour
    from mercer.papers.results import results_folder
    from mercer.papers.runner import run_claims
    from mercer.papers.tasks import tasks_of

    _check(arguments)
    mode: Mode = "full" if arguments.full else "quick"
    folder = results_folder(mode, device=arguments.device, root=arguments.results)
    papers, is_unloaded = _papers(arguments.papers)
    chosen = {"device": arguments.device, "data": arguments.data, "seeds": arguments.seeds, "limit": arguments.limit}
    tasks = tasks_of(papers, folder=folder, mode=mode, broken=arguments.broken, **chosen)
    try:
        outcomes = run_claims(tasks, display=display_for(len(tasks)), jobs=arguments.jobs)
    except KeyboardInterrupt:
        print("interrupted; what was measured stands, and the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
    print(f"{summary(outcomes, colour=wants_colour(sys.stdout.isatty()))}\nResults in {folder}")
    if arguments.broken:
        is_wrong = any(outcome.verdict is not Verdict.DOES_NOT_HOLD for outcome in outcomes)
    else:
        short = (Verdict.DOES_NOT_HOLD, Verdict.PROTOCOL_ONLY)
        is_wrong = arguments.strict and any(outcome.verdict in short for outcome in outcomes)
    if is_wrong or is_unloaded or any(outcome.failed for outcome in outcomes):
        raise SystemExit(1)


def _papers(names: "Sequence[str]") -> tuple[list["Paper"], bool]:
    """The papers, each once, and whether one of ``all`` could not be loaded; one that is named has to be there."""
    from mercer.papers import registry

    papers, is_unloaded = {}, False
    for name in names:
        if name != "all":
            entry, paper = registry.meant(name)
            if paper is None:
                here = [entry.slug for entry in registry.entries() if entry.number in registry.modules()]
                raise registry.PaperError(
                    f"The module of {entry.slug} is not written yet. Measurable are: {', '.join(here) or 'none'}."
                )
            papers[paper.entry.key] = paper
            continue
        for path in registry.modules().values():
            try:
                paper = registry.load_file(path)
            except registry.PaperError as error:
                print(f"note: {error}", file=sys.stderr)
                is_unloaded = True
            else:
                papers[paper.entry.key] = paper
    return list(papers.values()), is_unloaded


def _check(arguments: argparse.Namespace) -> None:
    """Complain about options before anything is measured."""
    from mercer.arguments import check_device
    from mercer.errors import MercerError

    for option in ("seeds", "jobs", "limit"):
        value = getattr(arguments, option)
        if value is not None and not value > 0:
            raise MercerError(f"--{option} {value:g}: it has to be more than 0.")
    if arguments.data is not None and not arguments.data.is_dir():
        raise MercerError(f"--data {arguments.data}: there is no such folder.")
    try:
        check_device(arguments.device)
    except ValueError as error:
        raise MercerError(f"--{error}") from None
