"""What holds for every test: fixed seeds, new memory filled with NaN, no network, no settings left behind."""

import gc
import os
import socket
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

# torch and mercer are imported where they are used: the process that hands the tests to the workers needs neither,
# and they wait for it.

# Triton reads this when it is imported, which no test may do before: without a GPU its kernels run in the interpreter.
os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: to look through it for garbage takes a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        if "triton.runtime.interpreter" in sys.modules:
            _find_builtins_once(sys.modules["triton.runtime.interpreter"])


def _find_builtins_once(interpreter: Any) -> None:
    """Triton's interpreter looks for the builtins of its language in every call of a function: 2 ms each time."""
    names: dict[object, list[str]] = {}

    def patch_builtin(package: Any, builder: object, scope: object) -> None:
        if package not in names:
            members = interpreter.inspect.getmembers(package)
            names[package] = [name for name, member in members if interpreter.tl.core.is_builtin(member)]
        for name in names[package]:
            member = getattr(package, name)
            if interpreter.tl.core.is_builtin(member):  # an outer call has patched it otherwise
                interpreter._patch_attr(package, name, member, builder, scope)

    interpreter._patch_builtin = patch_builtin


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


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A worker tells of a test once: each of its six messages costs both processes 0.2 ms."""
    if not hasattr(item.config, "workerinput"):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if is_worth_telling(report):
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def is_worth_telling(report: pytest.TestReport) -> bool:
    """Whether anybody asks for a report: what came out of a test, what is wrong before or after it, what is slow."""
    return report.when == "call" or not report.passed or report.duration > 0.1


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every test starts from the same seeds and settings, in whatever order the tests run.

    Plans are chosen from the default rates, not from what was measured on this machine.

    ``torch.empty`` gives NaN, so that a result which reads memory nobody wrote is NaN and not right by luck. torch
    fills new memory only while deterministic algorithms are on. Debug mode "warn" keeps those operations usable that
    have no deterministic form.

    One fixture, not one for each: an empty one costs 0.1 ms a test.
    """
    import numpy as np
    import torch

    from mercer import config
    from mercer.operators.machine import calibration

    torch.default_generator.manual_seed(0)  # torch.manual_seed notes a stack for each kind of device, 3 ms a test
    np.random.seed(0)
    for name in ("MERCER_MEMORY_BUDGET", "MERCER_PROGRESS", "MERCER_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    missing = tmp_path_factory.getbasetemp() / f"{uuid.uuid4()}.json"
    monkeypatch.setattr(calibration, "calibration_path", lambda: missing)
    calibration.load.cache_clear()
    dtype = torch.get_default_dtype()
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms imports torch's compiler, 4 s a worker
    yield
    torch.set_deterministic_debug_mode("default")
    torch.set_default_dtype(dtype)
    config.set_memory_budget(None)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """A test that connects to another machine fails. Sockets of this machine (joblib's workers) stay open."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address}: tests need no network")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_locally)
        yield


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
