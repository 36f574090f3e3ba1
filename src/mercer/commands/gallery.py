"""`mercer gallery`: the papers and what came out, in a browser."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_DESCRIPTION = """\
Serve a page with all papers, what each claims and what came out; a button measures the claims of a paper again. Only
this machine can reach it, unless --host says otherwise; then it takes a token, which is printed, to start a run.
With --export, write a static site instead.
"""

_EPILOG = """\
examples:
  mercer gallery --results results         what came out for those who wrote mercer (in a copy of its repository)
  mercer gallery                           what `mercer run` measured on this machine
  mercer gallery --export site             the same as files
  mercer gallery --host 0.0.0.0 --url https://kernels.example.org

environment:
  MERCER_SMTP_HOST, _PORT, _USER, _PASSWORD, _FROM    how mail is sent; without a host, nobody can subscribe
  MERCER_GALLERY_URL      the address under which readers find the gallery, as --url
  MERCER_GALLERY_TOKEN    the token that starts runs with another --host (default: a new one at each start)
"""

PORT = 8036


def add_to(commands: Any) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "gallery",
        help="show the papers and what came out in a browser",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("papers", metavar="FILE", nargs="*", type=Path, help="papers of your own, pNN_slug.py")
    text = "folder of the results (default: results in your data folder)"
    parser.add_argument("--results", metavar="FOLDER", type=Path, help=text)
    parser.add_argument("--host", default="127.0.0.1", help="address to serve (default: 127.0.0.1, this machine only)")
    parser.add_argument("--port", type=int, default=PORT, help=f"0 takes a free one (default: {PORT})")
    parser.add_argument("--url", help="address under which readers find it, for mail and the feed")
    parser.add_argument("--export", metavar="DIR", type=Path, help="write a static site into this folder")


def run(arguments: argparse.Namespace) -> None:
    """Serve or export."""
    from mercer.gallery import History, Store, export_site, shelf_of, store_path
    from mercer.papers.results import results_folder

    folder, path = results_folder("quick", root=arguments.results), store_path(arguments.results)
    url = public_url(arguments.url)
    if arguments.export is None:
        _serve(arguments, folder, path, url)
        return
    store = Store(path)
    try:
        shelf, history = shelf_of(folder, arguments.papers), History(store)
        history.note(shelf)
        n_files = export_site(shelf, history, arguments.export, url=url or "")
        _tell_problems(shelf)
    finally:
        store.close()
    print(f"{n_files} files in {arguments.export}; open {arguments.export / 'index.html'}")


def public_url(given: str | None) -> str | None:
    """The address that readers use, without a slash at its end; None if nobody has said it.

    Raises:
        MercerError: it is no http address.
    """
    from mercer.errors import MercerError

    url = (given or os.environ.get("MERCER_GALLERY_URL") or "").strip().rstrip("/")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and parts.hostname and not any(c in url for c in " <>\"'?#")
    except ValueError:
        is_right = False
    if not is_right:
        raise MercerError(
            f"--url {url}: it has to begin with http:// or https://, such as https://kernels.example.org."
        )
    return url


def _serve(arguments: argparse.Namespace, folder: Path, path: Path, url: str | None) -> None:
    from mercer.errors import MercerError
    from mercer.gallery import Gallery, Store, mail_settings, shelf_of
    from mercer.gallery.serve import is_loopback, listen, new_key, only_one, server_of

    if not 0 <= arguments.port < 65536:
        raise MercerError(f"--port {arguments.port}: a port is a number from 0 to 65535.")
    mail = mail_settings()
    # Behind a web server of this machine, which --url tells of, the gallery is not local either.
    is_local = is_loopback(arguments.host) and (url is None or is_loopback(urlsplit(url).hostname or ""))
    key = None if is_local else os.environ.get("MERCER_GALLERY_TOKEN") or new_key()
    with listen(arguments.host, arguments.port) as bound, only_one(path):
        store = Store(path)
        try:
            print("Reading the papers ...", file=sys.stderr, flush=True)
            host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
            here = f"http://{host}:{bound.getsockname()[1]}"
            gallery = Gallery(shelf_of(folder, arguments.papers), store, url=url or here, mail=mail)
            _tell_problems(gallery.shelf)
            server = server_of(gallery, is_local=is_local, key=key)
            print(f"The gallery is at {here}{f'/?token={key}' if key else ''}    results in {folder}")
            print("Ctrl-C ends it." + ("" if mail else " Without MERCER_SMTP_HOST nobody can subscribe."), flush=True)
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            print("ended; a run that was under way goes on the next time", file=sys.stderr)
        finally:
            store.close()


def _tell_problems(shelf: Any) -> None:
    for item in shelf.items:
        for problem in item.problems:
            print(f"note: {problem}", file=sys.stderr)
