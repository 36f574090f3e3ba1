import socket

import pytest

from mercer import gallery
from mercer.commands import gallery as command
from mercer.gallery import serve as serve_module
from mercer.gallery.store import store_path


@pytest.fixture
def run(monkeypatch, command, shelf):
    """Run a command with the dice only; gives exit code, output and complaints."""
    monkeypatch.setattr(gallery, "shelf_of", lambda folder, own=(): shelf)
    for name in ("HOST", "PORT", "USER", "FROM"):
        monkeypatch.delenv(f"MERCER_SMTP_{name}", raising=False)
    monkeypatch.delenv("MERCER_GALLERY_URL", raising=False)

    return command


def test_export_writes_a_site_and_says_where(run, tmp_path):
    code, out, err = run("gallery", "--export", tmp_path / "site", "--url", "https://kernels.example.org/")
    assert (code, err) == (0, "")
    assert out.endswith(f"open {tmp_path / 'site' / 'index.html'}\n")
    assert 'href="https://kernels.example.org/papers/91-dice.html"' in (tmp_path / "site" / "feed.xml").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "--port 70000: a port is a number from 0 to 65535."),
        (["--host", "256.0.0.1"], "--host 256.0.0.1: this machine has no such address"),
        (["--host", "192.0.2.1", "--port", "0"], "192.0.2.1:0 cannot be served: Cannot assign requested address"),
        (["--url", "kernels.example.org"], "it has to begin with http:// or https://"),
        (["--url", "http://[x"], "it has to begin with http:// or https://"),
        (["--export", "/proc/x"], "cannot be written"),
    ],
)
def test_a_wrong_option_is_one_line(run, arguments, says):
    code, out, err = run("gallery", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("mercer gallery: ")
    assert says in err
    assert len(err.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line_before_anything_is_loaded(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("gallery", "--port", port)
    assert code == 1
    assert (
        err
        == f"mercer gallery: 127.0.0.1:{port} cannot be served: Address already in use. Choose another with --port.\n"
    )


def test_two_servers_do_not_share_a_queue(run, tmp_path):
    with serve_module.only_one(store_path(None)):
        code, _, err = run("gallery", "--port", 0)
    assert code == 1
    assert err.startswith("mercer gallery: Another gallery is running with ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "is_local"),
    [
        ([], True),
        (["--host", "0.0.0.0"], False),
        (["--url", "https://kernels.example.org"], False),  # a web server in front of it
        (["--url", "http://localhost:8036"], True),
    ],
)
def test_serving_tells_its_address_and_elsewhere_its_token(run, monkeypatch, options, is_local):
    served = {}

    class Server:
        def __init__(self, gallery, *, is_local, key):
            served.update(is_local=is_local, key=key, url=gallery.url)

        def run(self, sockets):
            assert sockets[0].getsockname()[1] > 0
            raise KeyboardInterrupt

    monkeypatch.setattr(serve_module, "server_of", Server)
    code, out, err = run("gallery", *options, "--port", 0)
    assert code == 0
    assert err.endswith("ended; a run that was under way goes on the next time\n")
    assert served["is_local"] is is_local
    assert (served["key"] is None) is is_local
    assert "--url" in options or served["url"] in out
    assert served["key"] is None or f"/?token={served['key']}" in out


def test_a_damaged_store_is_one_line(run, tmp_path):
    path = store_path(None)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no database " * 100)
    code, _, err = run("digest", "--dry-run")
    assert code == 1
    assert "is damaged" in err
    assert len(err.splitlines()) == 1


def test_digest_shows_what_it_would_send(run, shelf, put_results):
    put_results(shelf)
    code, out, err = run("digest", "--dry-run", "--since", "2020-01-01")
    assert (code, err) == (0, "")
    assert out.startswith("To: nobody has subscribed\nSubject: Kernel papers, measured again: 1 new paper\n")
    assert "http://127.0.0.1:8036/papers/91-dice" in out
    code, out, _ = run("digest", "--dry-run", "--since", "2099-01-01")
    assert "nothing new, so no mail" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "MERCER_SMTP_HOST is not set, so no mail can be sent. --dry-run shows what would be."),
        (["--since", "yesterday", "--dry-run"], "--since yesterday: a day looks like 2026-11-20."),
    ],
)
def test_digest_says_what_it_lacks(run, arguments, says):
    code, out, err = run("digest", *arguments)
    assert (code, out, err) == (1, "", f"mercer digest: {says}\n")


def test_digest_sends_and_counts(run, store, mailbox, monkeypatch):
    monkeypatch.setenv("MERCER_SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("MERCER_SMTP_PORT", str(mailbox.port))
    monkeypatch.setenv("MERCER_SMTP_FROM", "gallery@example.org")
    subscribers = gallery.Subscribers(store)
    for address in ("ada@example.org", "refused@example.org"):
        subscribers.confirm(subscribers.ask(address).token)
    code, out, err = run("digest", "--since", "2020-01-01")
    assert code == 1
    assert out == "1 told, 0 had nothing new to hear, 1 refused.\n"
    assert err == "note: refused: refused@example.org: 550 no such person here\n"
    subscribers.remove(next(s.token for s in subscribers.confirmed() if s.address == "refused@example.org"))
    code, out, _ = run("digest", "--since", "2020-01-01")
    assert (code, out) == (0, "1 told, 0 had nothing new to hear, 0 refused.\n")


def test_the_help_names_the_gallery(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "mercer gallery" in out
    assert command.PORT == 8036
