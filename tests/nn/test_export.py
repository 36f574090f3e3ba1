"""Layers and models are exported for a batch of any size."""

from functools import partial

import pytest
import torch
from torch.export import Dim

from mercer.nn import DiagAttention, LinearAttention, NormAttention, SGConv, SoftmaxAttention, SoftmaxFreeAttention
from mercer.nn.models import LanguageModel, SequenceModel, SoftSize, SoftTransformer

ROWS = partial(torch.randn, 3, 23, 16)
TOKENS = partial(torch.randint, 9, (3, 24))
TINY = {"width": 16, "layers": 1, "length": 32}
LAYERS = {
    "norm": partial(NormAttention, 16, 4),
    "norm, two-sided": partial(NormAttention, 16, 4, causal=False),
    "norm, decay": partial(NormAttention, 16, 4, decay=0.9, gate=True, activation="swish"),
    "linear": partial(LinearAttention, 16, 4),
    "diag": partial(DiagAttention, 16, 4, block=8),
    "diag, window": partial(DiagAttention, 16, 4, block=8, score="relu", window=True, causal=False),
    "softmax": partial(SoftmaxAttention, 16, 4),
    "soft": partial(SoftmaxFreeAttention, 16, 4, landmarks=5, n_iter=20),
    "sgconv": partial(SGConv, 16, 32),
}
MIXERS = ("softmax", "transnormer", "norm", "linear", "diag")
CASES = {
    **{name: (make, ROWS) for name, make in LAYERS.items()},
    **{f"language, {name}": (partial(LanguageModel, 9, mixer=name, block=8, **TINY), TOKENS) for name in MIXERS},
    "sequence, soft": (partial(SequenceModel, 16, 4, layer="soft", n_iter=20, **TINY), ROWS),
    "sequence, norm": (partial(SequenceModel, 16, 4, layer="norm", **TINY), ROWS),
    "images": (
        lambda: SoftTransformer(SoftSize((1, 1, 1, 1), (32, 64, 64, 64), (1, 2, 2, 2)), num_classes=4).set_n_iter(12),
        partial(torch.randn, 3, 3, 64, 64),
    ),
}


@pytest.mark.slow(reason="the exporter traces")
@pytest.mark.filterwarnings("ignore:SoftmaxFreeAttention. Newton:mercer.errors.ApproximationWarning")
@pytest.mark.parametrize(("make", "draw"), CASES.values(), ids=CASES)
def test_an_exported_program_takes_any_batch(make, draw):
    model, x = make().eval(), draw()
    program = torch.export.export(model, (x,), dynamic_shapes=({0: Dim("batch", min=2, max=64)},))
    other = torch.cat([x, x.flip(0)])[:5]
    torch.testing.assert_close(program.module()(other), model(other), rtol=0.0, atol=1e-5)
