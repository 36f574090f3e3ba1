"""The safety net itself: what conftest promises must be able to fail a test."""

import socket
from pathlib import Path

import pytest
import torch


def test_new_memory_is_nan():
    assert torch.empty(5).isnan().all()
    assert torch.empty(5, dtype=torch.float64).isnan().all()


def test_reaching_another_machine_fails():
    with socket.socket() as outside, pytest.raises(RuntimeError, match="tests need no network"):
        outside.connect(("192.0.2.1", 80))


@pytest.mark.parametrize("repeat", [1, 2])
def test_every_test_starts_from_the_same_seed(repeat):
    first = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(first, torch.rand(1))


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
@pytest.mark.parametrize("outcome", ["passed", "failed", "skipped"])
@pytest.mark.parametrize("duration", [0.001, 5.0])
def test_workers_tell_of_all_but_quick_setups_and_teardowns_that_pass(request, when, outcome, duration):
    path = str(Path(__file__).with_name("conftest.py"))
    conftest = next(p for p in request.config.pluginmanager.get_plugins() if getattr(p, "__file__", None) == path)
    report = pytest.TestReport("test", ("file", 1, "test"), {}, outcome, None, when, duration=duration)
    silent = when != "call" and outcome == "passed" and duration < 0.1
    assert conftest.is_worth_telling(report) is not silent
