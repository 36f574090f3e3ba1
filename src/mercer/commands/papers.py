"""`mercer papers`: the research papers, and which of them can be measured here."""

import argparse
import shutil
from typing import Any


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser("papers", help="list the research papers whose claims can be measured")
    parser.set_defaults(run=run)
    parser.add_argument("--search", metavar="TEXT", default="", help="only those in which all these words occur")


def run(arguments: argparse.Namespace) -> None:
    """Print the list."""
    from mercer.papers import registry
    from mercer.papers.report import text_table

    found = registry.search(arguments.search)
    if not found:
        raise registry.PaperError(
            f"No paper has all the words of {arguments.search!r}. `mercer papers` lists them all."
        )
    here = registry.modules()
    width = max(20, shutil.get_terminal_size((120, 24)).columns - 52)
    rows = [
        [str(e.number), e.slug, _cut(e.title, width), e.month or "", "yes" if e.number in here else ""] for e in found
    ]
    print(text_table(["nr", "slug", "title", "first", "here"], rows))
    n_here = sum(entry.number in here for entry in found)
    print(f"\n{len(found)} paper{'s' * (len(found) != 1)}, {n_here} with claims that can be measured: mercer run SLUG")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
