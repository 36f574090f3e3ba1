"""Writes docs/papers: a page for every paper, from its module and from what ``make claims`` measured last."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from mercer.papers.pages import write_pages

DOCS = Path(__file__).parent.parent


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    for problem in write_pages(DOCS / "papers", results=DOCS.parent / "results" / "quick"):
        logging.getLogger(__name__).warning(problem)
    return {"parallel_read_safe": True}
