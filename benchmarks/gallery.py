"""How fast the gallery's front page answers 10 readers while a run is under way.

Run it alone: ``python -m benchmarks.gallery``. The server is a process of its own with the results of the repository,
from which those of one paper were taken, so that its run measures; the readers are threads here, each of which opens
the front page, searches by meaning and filters, five times a second. Whole answers are timed, from the request to the
last byte.
"""

import argparse
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
PATHS = ("/", "/?part=list&q=attention+of+tokens", "/?part=list&sort=trending&verdict=fails")
PAPER = "19-gp-hm-pde"


def main() -> None:
    """Start, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0, help="of reading, without a run and with one")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between a reader's requests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "results" / "quick"
        shutil.copytree(ROOT / "results" / "quick", copy, ignore=shutil.ignore_patterns("broken", PAPER))
        server, port = _start(Path(folder))
        try:
            for path in PATHS:
                _get(port, path)
            print(f"{options.readers} readers, {os.cpu_count()} cores; milliseconds until the last byte")
            print(f"{'':<28}{'answers':>9}{'median':>9}{'95 %':>9}{'99 %':>9}{'worst':>9}")
            _show("nothing else under way", port, options)
            state = _run(port)
            _show(f"a run of {PAPER}", port, options)
            assert state(), "the run ended before the readers did: read for fewer seconds"
        finally:
            server.terminate()
            server.wait()


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mercer.cli", "gallery", "--port", str(port), "--results", str(folder / "results")]
    server = subprocess.Popen(
        command, env=os.environ | {"MERCER_DATA_DIR": str(folder / "data")}, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    assert b"The gallery is at" in server.stdout.readline()
    return server, port


def _show(what: str, port: int, options: argparse.Namespace) -> None:
    times: list[float] = []
    end = time.monotonic() + options.seconds
    readers = [
        threading.Thread(target=_read, args=(port, end, options.pause, times, i)) for i in range(options.readers)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    ordered = sorted(1e3 * seconds for seconds in times)
    shares = [median(ordered), *(ordered[int(share * (len(ordered) - 1))] for share in (0.95, 0.99)), ordered[-1]]
    print(f"{what:<28}{len(ordered):>9}" + "".join(f"{value:>9.1f}" for value in shares), flush=True)


def _read(port: int, end: float, pause: float, times: list[float], number: int) -> None:
    time.sleep(pause * number / 10.0)
    while time.monotonic() < end:
        for path in PATHS:
            begin = time.perf_counter()
            _get(port, path)
            times.append(time.perf_counter() - begin)
            time.sleep(pause)


def _get(port: int, path: str, *, method: str = "GET", body: str = "", cookie: str = "") -> tuple[str, str]:
    """The text of an answer and the cookie it sets."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    kinds = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json, text/html"}
    connection.request(method, path, body=body or None, headers={"Cookie": cookie, **kinds})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, (path, answer.status, text)
    return text, (answer.headers["set-cookie"] or "").split(";")[0]


def _run(port: int) -> Callable[[], bool]:
    """Start a run, wait until a claim is measured, and give a function that says whether it is still under way."""
    page, cookie = _get(port, f"/papers/{PAPER}")
    token = re.search(r'name="csrf" value="(\w+)"', page)
    assert token is not None
    _get(port, f"/papers/{PAPER}/run", method="POST", body=f"csrf={token[1]}", cookie=cookie)

    def is_measuring() -> bool:
        return 'class="running"' in _get(port, f"/papers/{PAPER}")[0]

    while not is_measuring():
        time.sleep(0.2)
    return is_measuring


if __name__ == "__main__":
    main()
