"""Layers give in ONNX what they give here. All are parts of one graph, for the exporter takes seconds to begin."""

from functools import partial

import pytest
import torch
from torch import nn

from mercer.nn import (
    BundledNetwork,
    ButterflyConv,
    DiagAttention,
    H3Conv,
    LongConv,
    MonarchFFT,
    NormAttention,
    SGConvKernel,
    SNNKAdapter,
    SNNKLinear,
    SoftmaxFreeAttention,
)
from mercer.nn.models import LanguageModel, SequenceModel, SNNKTransformerBlock, SoftSize, SoftTransformer

WIDTH = 8


def folded_classifier():
    """Long convolutions without Fourier transforms, of which the format knows little."""
    model = SequenceModel(WIDTH, 3, layer="sgconv", length=40, kernel_dim=4, layers=2, width=WIDTH, norm="batch").eval()
    for block in model.blocks:
        block.mixer = block.mixer.fold()
    return model


def two_sided():
    return LongConv(WIDTH, 40, kernel=partial(SGConvKernel, kernel_dim=4), causal=False).eval().fold()


def folded_h3():
    """Both of its convolutions as grouped ones."""
    return H3Conv(WIDTH, 40, head_dim=2).eval().fold()


class Images(nn.Module):
    """A whole network of images, the smallest that there is, on an outer product of the rows."""

    def __init__(self):
        super().__init__()
        size = SoftSize((1, 1, 1, 1), (4, 4, 4, 4), (1, 1, 1, 1))
        self.network = SoftTransformer(size, 3, in_chans=1).set_n_iter(2)

    def forward(self, x):
        return self.network((x[:, :32] @ x[:, -32:].mT).unsqueeze(1))


class Filtered(nn.Module):
    """There and back by matrices, with half of the frequencies."""

    def __init__(self):
        super().__init__()
        self.there, self.back = MonarchFFT(60), MonarchFFT(60, inverse=True)

    def forward(self, x):
        re, im = (part[..., :30] for part in self.there.planes(x.mT))
        return self.back.planes(*(nn.functional.pad(part, (0, 30)) for part in (re, im)))[0]


class Tokens(nn.Module):
    """A language model, of blocks with softmax below and normed attention above."""

    def __init__(self):
        super().__init__()
        self.network = LanguageModel(WIDTH, layers=2, width=WIDTH, heads=2, block=16)

    def forward(self, x):
        return self.network(x.argmax(-1))


PARTS = {
    "language model": Tokens,
    "norm attention with gates and decay": partial(
        NormAttention, WIDTH, 2, activation="swish", gate=True, decay=True, positions="rope"
    ),
    "diag attention, window": partial(DiagAttention, WIDTH, 2, block=16, score="relu", window=True, causal=False),
    "butterfly": partial(ButterflyConv, WIDTH, 40, random_state=0),
    "butterfly of other matrices": partial(
        ButterflyConv, WIDTH, 40, size=85, additive=True, separate=False, learn_inverse=False, random_state=0
    ),
    "transform": Filtered,
    "two-sided convolution": two_sided,
    # Each step of Newton is a part of the graph: two leave a residual, of which a warning tells, in both alike.
    "softmax-free attention": partial(SoftmaxFreeAttention, WIDTH, 2, landmarks=4, n_iter=2),
    "pyramid of images": Images,
    "classifier of long convolutions": folded_classifier,
    "h3": folded_h3,
    "hadamard features": partial(SNNKLinear, WIDTH, 5, 20, method="hadamard", offset=-1.0, bias=False),
    "both sides": partial(SNNKLinear, WIDTH, 5, 8, activation="sin", split="both", gaussian_scale=0.02, length=1.0),
    "adapter": partial(SNNKAdapter, WIDTH, 4, bottleneck=3, activation="cos", gaussian_scale=0.01),
    "bundled": partial(BundledNetwork, WIDTH, 5, layers=(8, 7)),
    "transformer block": partial(SNNKTransformerBlock, WIDTH, 2, n_features=8, adapter_features=2),
}


class All(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(make() for make in PARTS.values())

    def forward(self, x):
        return tuple(part(x) for part in self.parts)


@pytest.mark.slow(reason="the exporter traces, decomposes and optimises")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch's exporter
@pytest.mark.filterwarnings("ignore:SoftmaxFreeAttention. Newton:mercer.errors.ApproximationWarning")
def test_every_part_gives_the_same_in_onnx(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model, x = All().eval(), torch.randn(2, 40, WIDTH)
    for parameter in model.parameters():  # adapters begin as the identity, which would hide their features
        if not bool(parameter.detach().any()):
            nn.init.normal_(parameter, std=0.3)
    # Not optimised: that takes a third of the time, and is the exporter's own.
    torch.onnx.export(model, (x,), tmp_path / "all.onnx", dynamo=True, verbose=False, optimize=False)
    session = runtime.InferenceSession(tmp_path / "all.onnx")
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    for name, ours, theirs in zip(PARTS, model(x), found, strict=True):
        error = (torch.from_numpy(theirs) - ours.detach()).abs().max() / ours.detach().abs().max()
        assert float(error) < 1e-5, name


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch's exporter
def test_what_onnx_does_not_know_is_told(tmp_path):
    pytest.importorskip("onnxscript")
    layer = SoftmaxFreeAttention(WIDTH, 2, landmarks=4, solver="cholesky").eval()
    with pytest.raises(torch.onnx.errors.OnnxExporterError, match="Use 'newton' with n_iter=20"):
        torch.onnx.export(layer, (torch.randn(2, 40, WIDTH),), tmp_path / "one.onnx", dynamo=True, verbose=False)
