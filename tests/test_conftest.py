"""The safety net itself: what conftest promises must be able to fail a test."""

import socket

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
