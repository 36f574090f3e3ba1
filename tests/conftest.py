"""What holds for every test: fixed seeds, new memory filled with NaN, no network, no settings left behind."""

import os
import socket
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mercer import config
from mercer.operators.machine import calibration

# Triton reads this when it is imported, which no test may do before: without a GPU its kernels run in the interpreter.
os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Every second worker reads the files from the last to the first.

    So each rewrites the assertions of half of them, and finds the others rewritten. The order of tests is not changed:
    pytest-randomly sorts them, by their names and its seed.
    """
    report = yield
    is_second = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2 == 1
    if (
        is_second
        and isinstance(collector, pytest.Directory)
        and collector.config.getoption("randomly_reorganize", False)
    ):
        report.result.reverse()
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker ends alone with one; else the order stays random."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts from the same seeds and settings, in whatever order the tests run."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed notes a stack for each kind of device, 3 ms a test
    np.random.seed(0)
    for name in ("MERCER_MEMORY_BUDGET", "MERCER_PROGRESS", "MERCER_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)
    config.set_memory_budget(None)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def _typical_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Plans are chosen from the default rates, not from what was measured on this machine."""
    missing = tmp_path_factory.getbasetemp() / f"{uuid.uuid4()}.json"
    monkeypatch.setattr("mercer.operators.machine.calibration.calibration_path", lambda: missing)
    calibration.load.cache_clear()


@pytest.fixture(autouse=True)
def _new_memory_is_nan() -> Iterator[None]:
    """``torch.empty`` gives NaN, so that a result which reads memory nobody wrote is NaN and not right by luck.

    torch fills new memory only while deterministic algorithms are on. ``warn_only`` keeps those operations usable that
    have no deterministic form.
    """
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms imports torch's compiler, 4 s a worker
    yield
    torch.set_deterministic_debug_mode("default")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that connects to another machine fails. Sockets of this machine (joblib's workers) stay open."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address}: tests need no network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Run ``mercer`` with arguments in this process; gives exit code, output and complaints."""
    from mercer.cli import main

    def command(*arguments: object) -> tuple[Any, str, str]:
        try:
            code: Any = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command
