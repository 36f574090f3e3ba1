"""Serves the gallery until Ctrl-C."""

import ipaddress
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mercer.errors import MercerError, MissingExtra
from mercer.gallery.site import Gallery

__all__ = ["ServeError", "is_loopback", "listen", "new_key", "only_one", "server_of"]


class ServeError(MercerError, OSError):
    """The address cannot be served; one line."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that a port that is taken is known before papers are loaded.

    Args:
        host: a name or an address.
        port: 0 takes one that is free.

    Raises:
        ServeError: it is taken, not allowed, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise ServeError(f"--host {host}: this machine has no such address ({error}).") from None
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        why = error.strerror or str(error)
        raise ServeError(f"{host}:{port} cannot be served: {why}. Choose another with --port.") from None
    return bound


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it; a name or an address, without a port.

    >>> is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Make sure that no second server works off the same queue.

    Args:
        path: of the store.

    Raises:
        ServeError: another server does.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServeError(f"Another gallery is running with {path}. End it, or use another --results.") from None
        yield


def server_of(gallery: Gallery, *, is_local: bool, key: str | None = None) -> Any:
    """A uvicorn server, whose ``run(sockets=[bound])`` serves until the process is told to end.

    Args:
        gallery: what is shown.
        is_local: only this machine reaches it.
        key: the token of those who may start work.

    Raises:
        MissingExtra: starlette or uvicorn is not installed.
    """
    try:
        import uvicorn

        from mercer.gallery.app import make_app
    except ImportError as error:
        raise MissingExtra(f"The gallery needs {error.name}: pip install 'mercer[gallery]'") from None

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await gallery.queue.hang_up()
            await super().shutdown(sockets)

    app = make_app(gallery, key=key, is_local=is_local)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    return Server(config)


def new_key() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(18)
