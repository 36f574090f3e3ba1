"""Writes the gallery as a static site, which any web server, or none, can show."""

import json
from contextlib import suppress
from pathlib import Path

from mercer.errors import MercerError
from mercer.gallery.feed import feed
from mercer.gallery.front import Query
from mercer.gallery.history import History
from mercer.gallery.links import Links
from mercer.gallery.pages import ASSETS, Pages, asset
from mercer.gallery.pictures import for_screens
from mercer.gallery.shelf import Shelf
from mercer.store import write_atomic

__all__ = ["ExportError", "export_site"]

_MARKER = ".mercer-gallery"  # lists our files, so that those of pages that are gone can be removed


class ExportError(MercerError, OSError):
    """The folder holds something else, or cannot be written."""


def export_site(shelf: Shelf, history: History, folder: Path, *, url: str = "") -> int:
    """Write all pages, figures and the feed; gives the number of files.

    Each file is written whole. Files of an earlier export that are no longer needed are removed, others are not
    touched. Words are searched in the browser; search by meaning needs the server.

    Args:
        shelf: what there is to show.
        history: what came out before.
        folder: made if it is not there; must be empty or an earlier export.
        url: where the site will lie, for the feed; empty for links relative to it.

    Raises:
        ExportError: the folder holds something else, or cannot be written.
    """
    before = _earlier(folder)
    files = _files(shelf, history, url)
    try:
        # First what is ours, before or now, so that an export that is interrupted can be repeated.
        write_atomic(folder / _MARKER, json.dumps(sorted(before | set(files))))
        for name, data in files.items():
            write_atomic(folder / name, data)
        write_atomic(folder / _MARKER, json.dumps(sorted(files)))
    except OSError as error:
        raise ExportError(f"{error.filename or folder} cannot be written: {error.strerror or error}.") from None
    for name in before - set(files):
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()):
            with suppress(OSError):
                path.unlink()
    return len(files)


def _earlier(folder: Path) -> set[str]:
    """Files of an earlier export."""
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"--export {folder}: this is a file. Give the name of a folder.")
    marker = folder / _MARKER
    if not marker.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ExportError(f"--export {folder}: the folder holds something else. Give an empty or a new one.")
        return set()
    try:
        names = json.loads(marker.read_bytes())
    except (ValueError, OSError):
        names = []
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _files(shelf: Shelf, history: History, url: str) -> dict[str, bytes | str]:
    pages, top, below = Pages(shelf, history), Links(root="", is_static=True), Links(root="../", is_static=True)
    files: dict[str, bytes | str] = {f"assets/{name}": asset(name) for name in ASSETS}
    files["index.html"] = pages.front(Query(), top)
    files["feed.xml"] = feed(shelf, history, base=f"{url.rstrip('/')}/" if url else "", links=top)
    for item in shelf.items:
        files[top.paper(item.entry.key)] = pages.paper(item, below, outdated=shelf.outdated(item))
        for claim, figure in item.figures:
            files[top.figure(item.entry.key, claim, figure.name)] = for_screens(figure.svg)
    return files
