"""Networks of long convolutions made of torch's grouped convolutions, for export."""

from __future__ import annotations

from torch import nn

from mercer.nn.convolution.h3 import H3Conv
from mercer.nn.convolution.layer import LongConv
from mercer.nn.convolution.layer_2d import LongConv2d
from mercer.nn.convolution.replaced import replaced

__all__ = ["fold"]


def fold(network: nn.Module) -> nn.Module:
    """A copy of a network, each long convolution of which is folded: its kernel fixed, without a Fourier transform.

    For ONNX and runtimes that know no transforms; the copy is for evaluation. See :meth:`mercer.nn.LongConv.fold`,
    which also takes a length.

    Args:
        network: a :class:`mercer.nn.LongConv`, :class:`mercer.nn.LongConv2d` or :class:`mercer.nn.H3Conv`, or a network
            of them.

    Raises:
        ValueError: none of them in it, or one that cannot be folded without a length.

    >>> import torch
    >>> from mercer.nn.models import SequenceModel
    >>> model = SequenceModel(1, 3, layer="sgconv", length=64, layers=2, width=8).eval()
    >>> x = torch.randn(2, 64, 1)
    >>> torch.allclose(fold(model)(x), model(x), atol=1e-5)
    True
    """
    return replaced(network, (LongConv, H3Conv, LongConv2d), lambda layer: layer.fold()).eval()
