"""A web page over the papers: what each claims, what came out, a button that measures it again, and news by mail.

``mercer gallery`` serves it on this machine, ``mercer gallery --export DIR`` writes it as files, and ``mercer digest``
sends its news to those who subscribed. As a library::

    from mercer.gallery import Gallery, Store, make_app, shelf_of

    gallery = Gallery(shelf_of(Path("results/quick")), Store(Path("gallery.sqlite3")), url="https://kernels.example.org")
    app = make_app(gallery, key="a long secret", is_local=False)     # for any ASGI server

Results are the files of ``mercer run``, and a run is what ``mercer run`` does; the gallery keeps its queue, the history
of verdicts and the subscribers in one SQLite file.
"""

from typing import Any

from mercer.gallery.export import ExportError, export_site
from mercer.gallery.history import History, News
from mercer.gallery.mail import MailError, MailSettings, mail_settings
from mercer.gallery.shelf import Item, Shelf, shelf_of
from mercer.gallery.site import Gallery
from mercer.gallery.store import Store, StoreError, store_path
from mercer.gallery.subscribers import AddressError, Subscribers

__all__ = [
    "AddressError",
    "ExportError",
    "Gallery",
    "History",
    "Item",
    "MailError",
    "MailSettings",
    "News",
    "Shelf",
    "Store",
    "StoreError",
    "Subscribers",
    "export_site",
    "mail_settings",
    "make_app",
    "shelf_of",
    "store_path",
]


def make_app(gallery: Gallery, **settings: Any) -> Any:
    """The gallery as an ASGI application; arguments are those of :func:`mercer.gallery.app.make_app`.

    Raises:
        MissingExtra: starlette is not installed.
    """
    from mercer.errors import MissingExtra

    try:
        from mercer.gallery import app
    except ImportError as error:
        raise MissingExtra(f"The gallery needs {error.name}: pip install 'mercer[gallery]'") from None
    return app.make_app(gallery, **settings)
