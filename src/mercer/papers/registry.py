"""Finds the papers: modules by their name, metadata in the catalog, and what a user may have meant."""

import difflib
import importlib
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from mercer.errors import MercerError
from mercer.papers.catalog import Entry, catalog
from mercer.papers.paper import Paper

__all__ = ["PaperError", "entries", "find", "load", "load_file", "meant", "modules", "search"]

_MODULE = re.compile(r"p(\d\d)_(\w+)\.py")


class PaperError(MercerError, ValueError):
    """A paper that is not there, or a module that is not one."""


def modules() -> dict[int, Path]:
    """The files ``pNN_slug.py`` beside this one, by number."""
    found = [(match, path) for path in Path(__file__).parent.glob("p*.py") if (match := _MODULE.fullmatch(path.name))]
    return {int(match[1]): path for match, path in sorted(found, key=lambda pair: pair[1].name)}


def entries() -> list[Entry]:
    """All papers of the catalog, in the order of their numbers."""
    return list(catalog().values())


def find(text: str) -> Entry:
    """The paper that is meant by a slug, a number, ``22-self-distillation`` or an arXiv id.

    Raises:
        PaperError: none; the message names the nearest.

    >>> find("22").slug
    'self-distillation'
    """
    wanted = text.strip().lower().removeprefix("arxiv:").replace("_", "-")
    names: dict[str, Entry] = {}
    for entry in entries():
        names |= dict.fromkeys((entry.slug, entry.key, str(entry.number), f"{entry.number:02d}"), entry)
        names |= {entry.arxiv: entry} if entry.arxiv else {}
    if wanted in names:
        return names[wanted]
    slugs = [entry.slug for entry in entries()]
    near = difflib.get_close_matches(wanted, slugs, n=3, cutoff=0.6)
    near += [entry.slug for entry in search(wanted) if entry.slug not in near] if wanted else []
    meant = f"Did you mean {' or '.join(near[:3])}?" if near else "`mercer papers` lists them all."
    raise PaperError(f"There is no paper {text!r}. {meant}")


def search(text: str) -> list[Entry]:
    """Papers in which every word of ``text`` occurs: in title, slug, authors, tags, arXiv id or summary."""
    words = text.lower().split()
    return [entry for entry in entries() if all(word in _everything(entry) for word in words)]


def load(entry: Entry) -> Paper | None:
    """The paper's module, or None if it is not written yet.

    Raises:
        PaperError: the module does not fit its name.
    """
    path = modules().get(entry.number)
    return None if path is None else load_file(path)


def meant(text: str) -> tuple[Entry, Paper | None]:
    """What a user means on the command line: a paper of the catalog, as in :func:`find`, or a file of their own.

    Raises:
        PaperError: there is none, or its module is not as it should be.
    """
    if text.endswith(".py"):
        paper = load_file(Path(text))
        return paper.entry, paper
    entry = find(text)
    return entry, load(entry)


@cache
def load_file(path: Path) -> Paper:
    """The paper in a file: one of ours, or a user's own.

    Raises:
        PaperError: the file is not there or cannot be imported, is not named ``pNN_slug.py``, or makes no ``paper`` of
            that number and slug.
    """
    match = _MODULE.fullmatch(path.name)
    if match is None:
        raise PaperError(f"{path}: a paper's file is named pNN_slug.py, such as p22_self_distillation.py.")
    if not path.is_file():
        raise PaperError(f"{path}: there is no such file.")
    try:
        module = _import(path.resolve())
    except Exception as error:
        raise PaperError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    paper = getattr(module, "paper", None)
    if not isinstance(paper, Paper):
        raise PaperError(f"{path} makes no `paper = Paper(...)`.")
    if (paper.entry.number, paper.entry.slug) != (int(match[1]), match[2].replace("_", "-")):
        raise PaperError(f"{path} holds paper {paper.entry.key}: file name, number and slug have to agree.")
    paper.locate(path.resolve(), module.__doc__ or "")
    return paper


def _import(path: Path) -> ModuleType:
    if path.parent == Path(__file__).resolve().parent:
        return importlib.import_module(f"{__package__}.{path.stem}")
    spec = importlib.util.spec_from_file_location(f"mercer_paper_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__mercer_paper__ = True  # type: ignore[attr-defined]
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _everything(entry: Entry) -> str:
    parts = [entry.key, entry.slug.replace("-", " "), entry.title, entry.summary, entry.arxiv or ""]
    return " ".join([*parts, *entry.authors, *entry.tags]).lower()
