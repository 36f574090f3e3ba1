"""Layers are built on the device without numbers, to be filled later."""

from functools import partial

import pytest
import torch

from mercer.nn import (
    ButterflyConv,
    H3Conv,
    LongConv,
    NormAttention,
    SGConv,
    SNNKAdapter,
    SNNKLinear,
    SoftmaxFreeAttention,
)

SEEDED = {
    "dense": partial(LongConv, 4, 30),
    "s4d": partial(LongConv, 4, 30, kernel="s4d"),
    "sgconv": partial(SGConv, 4, 30),
    "h3": partial(H3Conv, 4, 30, head_dim=2),
    "butterfly": partial(ButterflyConv, 4, 30),
    "butterfly, additive": partial(ButterflyConv, 4, 30, additive=True),
    "kernel layer": partial(SNNKLinear, 4, 4, 6),
    "hadamard": partial(SNNKLinear, 4, 4, 6, method="hadamard"),
}
UNSEEDED = {
    "adapter": partial(SNNKAdapter, 4, 2),
    "norm": partial(NormAttention, 4, 2),
    "soft": partial(SoftmaxFreeAttention, 4, 2, landmarks=3),
}


CASES = SEEDED | UNSEEDED | {f"{name}, seeded": partial(make, random_state=0) for name, make in SEEDED.items()}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_a_layer_without_numbers_takes_those_of_another(make):
    with torch.device("meta"):
        empty = make()
    assert {t.device.type for t in (*empty.parameters(), *empty.buffers())} == {"meta"}
    expected = make().eval()
    filled = empty.to_empty(device="cpu").eval()
    filled.load_state_dict(expected.state_dict())
    x = torch.randn(2, 9, 4)
    torch.testing.assert_close(filled(x), expected(x))
