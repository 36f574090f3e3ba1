"""The commands ``mercer papers``, ``mercer show`` and ``mercer run``."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mercer.errors import MercerError
from mercer.papers import registry
from mercer.papers.catalog import Entry
from mercer.papers.claim import Effort, Mode, Verdict
from mercer.papers.display import display_for
from mercer.papers.paper import Paper
from mercer.papers.registry import PaperError
from mercer.papers.report import MARKS, cost, measured, seconds, summary, text_table, wants_colour
from mercer.papers.results import read_folder, results_folder
from mercer.papers.runner import run_claims
from mercer.papers.tasks import tasks_of

__all__ = ["add_parsers", "main"]


def add_parsers(subparsers: Any) -> None:
    """Add the three commands; each parser's ``handler`` takes the arguments and gives the exit code.

    Args:
        subparsers: what :meth:`argparse.ArgumentParser.add_subparsers` gave.
    """
    papers = subparsers.add_parser("papers", help="list the papers, and which of them can be measured")
    papers.add_argument("--search", metavar="TEXT", default="", help="only those in which all these words occur")
    papers.set_defaults(handler=_papers)

    show = subparsers.add_parser("show", help="show a paper, what it claims, and what came out")
    show.add_argument("paper", metavar="SLUG", help="slug, number, arXiv id, or a file pNN_slug.py")
    show.add_argument("--full", action="store_true", help="what came out with the paper's own data and scale")
    show.add_argument("--device", default="cpu", help="what came out there (default: cpu)")
    _add_results(show)
    show.set_defaults(handler=_show)

    run = subparsers.add_parser("run", help="measure what papers claim")
    run.add_argument("papers", metavar="SLUG", nargs="+", help="slugs, numbers, arXiv ids, files pNN_slug.py, or all")
    run.add_argument(
        "--full", action="store_true", help="the paper's own data and scale, instead of minutes on 2 cores"
    )
    run.add_argument("--data", metavar="PATH", type=Path, help="folder with the paper's own data")
    run.add_argument("--device", default="cpu", help="what torch calls it (default: cpu)")
    run.add_argument("--seeds", metavar="N", type=int, help="seeds a claim (default: as many as the claim asks for)")
    run.add_argument(
        "--jobs", metavar="N", type=int, default=1, help="claims at once; speed claims run alone (default: 1)"
    )
    run.add_argument("--limit", metavar="SECONDS", type=float, help="when a claim counts as hanging")
    run.add_argument("--strict", action="store_true", help="exit code 1 if a claim does not hold")
    _add_results(run)
    run.set_defaults(handler=_run)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m mercer.papers``: the three commands on their own. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mercer.papers")
    add_parsers(parser.add_subparsers(required=True, metavar="COMMAND"))
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.handler(parsed))
    except MercerError as error:
        _complain(str(error))
        return 2


def _papers(arguments: argparse.Namespace) -> int:
    found = registry.search(arguments.search)
    if not found:
        raise PaperError(f"No paper has all of {arguments.search.split()}. `mercer papers` lists them all.")
    here = registry.modules()
    space = max(20, shutil.get_terminal_size((120, 24)).columns - 52)
    rows = [
        [
            str(entry.number),
            entry.slug,
            _cut(entry.title, space),
            entry.month or "",
            "yes" if entry.number in here else "",
        ]
        for entry in found
    ]
    _print(text_table(["nr", "slug", "title", "first", "here"], rows))
    n_here = sum(entry.number in here for entry in found)
    _print(f"\n{len(found)} papers; {n_here} of them can be measured: mercer run SLUG")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    entry, paper = _meant(arguments.paper)
    _print(f"{entry.number:02d} {entry.title}\n{entry.citation}\n\n{entry.summary}")
    if paper is None:
        _print("\nIts module is not written yet, so there is nothing to measure.")
        return 0
    if paper.text:
        _print(f"\n{paper.text}")
    mode: Mode = "full" if arguments.full else "quick"
    folder = results_folder(mode, device=arguments.device, root=arguments.results)
    results, problems = read_folder(folder, entry.key)
    for claim in paper.claims.values():
        result = results.get(claim.id)
        verdict = result.verdict if result is not None else Verdict.NOT_MEASURED
        effort = claim.effort(mode)
        _print(f"\n{claim.id}{' (identity)' if claim.identity else ''}: {claim.says}")
        _print(f"  the paper   {claim.reported or 'gives no number'}{f' ({claim.where})' if claim.where else ''}")
        _print(f"  here        {MARKS[verdict]} {verdict}{f': {result.reason}' if result and result.reason else ''}")
        for quantity in claim.quantities:
            value = measured(quantity, result.measurement) if result and result.measurement else ""
            _print(f"              {quantity.text}: {f'{value}, ' if value else ''}{quantity.bound or 'not judged'}")
        if result is not None and result.measurement is not None:
            _print(f"  cost        {cost(result.measurement)}")
        elif isinstance(effort, Effort):
            _print(f"  cost        {effort.seeds} seeds, up to {seconds(effort.seconds)}")
        else:
            _print(f"              {effort}")
    for problem in problems:
        _complain(problem)
    _print(f"\nmercer run {entry.slug}{' --full' if arguments.full else ''}    results in {folder / entry.key}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    mode: Mode = "full" if arguments.full else "quick"
    folder = results_folder(mode, device=arguments.device, root=arguments.results)
    papers, broken = _papers_to_run(arguments.papers)
    tasks = tasks_of(
        papers,
        folder=folder,
        mode=mode,
        device=arguments.device,
        data=arguments.data,
        seeds=arguments.seeds,
        limit=arguments.limit,
    )
    try:
        outcomes = run_claims(tasks, display=display_for(len(tasks)), jobs=arguments.jobs)
    except KeyboardInterrupt:
        _complain("Interrupted. What was measured stands; the same command goes on from there.")
        return 130
    _print(f"{summary(outcomes, colour=wants_colour(sys.stdout.isatty()))}\nResults in {folder}")
    does_not_hold = any(outcome.verdict in (Verdict.DOES_NOT_HOLD, Verdict.PROTOCOL_ONLY) for outcome in outcomes)
    return int(broken or any(outcome.failed for outcome in outcomes) or (arguments.strict and does_not_hold))


def _papers_to_run(names: Sequence[str]) -> tuple[list[Paper], bool]:
    """The papers, and whether one of ``all`` could not be loaded; one that is named has to be there."""
    papers, broken = {}, False
    for name in names:
        if name != "all":
            entry, paper = _meant(name)
            if paper is None:
                here = ", ".join(entry.slug for entry in registry.entries() if entry.number in registry.modules())
                raise PaperError(f"The module of {entry.slug} is not written yet. Measurable are: {here or 'none'}.")
            papers[paper.entry.key] = paper
            continue
        for path in registry.modules().values():
            try:
                paper = registry.load_file(path)
            except PaperError as error:
                _complain(str(error))
                broken = True
            else:
                papers[paper.entry.key] = paper
    if not papers and not broken:
        raise PaperError("No paper has a module yet, so there is nothing to measure.")
    return list(papers.values()), broken


def _meant(name: str) -> tuple[Entry, Paper | None]:
    if name.endswith(".py"):
        paper = registry.load_file(Path(name))
        return paper.entry, paper
    entry = registry.find(name)
    return entry, registry.load(entry)


def _check(arguments: argparse.Namespace) -> None:
    """Complain about options before anything is measured."""
    for option in ("seeds", "jobs", "limit"):
        value = getattr(arguments, option)
        if value is not None and not value > 0:
            raise PaperError(f"--{option} {value:g}: it has to be more than 0.")
    if arguments.data is not None and not arguments.data.is_dir():
        raise PaperError(f"--data {arguments.data}: there is no such folder.")
    try:
        torch.empty(0, device=arguments.device)
    except (RuntimeError, AssertionError) as error:
        raise PaperError(f"--device {arguments.device}: {str(error).splitlines()[0]}") from None


def _add_results(parser: argparse.ArgumentParser) -> None:
    text = "folder of the results (default: results in your data folder)"
    parser.add_argument("--results", metavar="FOLDER", type=Path, help=text)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"mercer: {text}\n")
