"""Bytes that are held at once, counted by hand."""

import torch

from mercer.nn.diagnostics import peak_bytes


def test_what_is_held_at_once_counts_and_what_was_there_does_not():
    there = torch.ones(1000)

    def call():
        first = there * 2.0
        second = first + 1.0
        del first
        third = second.view(10, 100)  # no new memory
        third.add_(1.0)  # nor here
        return third * 2.0

    assert peak_bytes(call) == 8000
    assert peak_bytes(lambda: there.view(10, 100)) == 0


def test_backward_passes_count():
    x = torch.randn(500, 8, requires_grad=True)
    square = 4 * 500 * 500
    forward = peak_bytes(lambda: (x @ x.mT).exp())
    both = peak_bytes(lambda: (x @ x.mT).exp().square().sum().backward())
    assert forward == 2 * square
    assert both >= 3 * square
