"""Networks of long convolutions at another sampling rate than they were trained at."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from mercer.nn.convolution.layer import LongConv
from mercer.nn.convolution.replaced import replaced

__all__ = ["at_rate"]

Network = TypeVar("Network", bound=nn.Module)


def at_rate(network: Network, factor: float) -> Network:
    """A copy of a network, each :class:`mercer.nn.LongConv` of which is at ``factor`` times its sampling rate.

    What was trained on signals of one rate so runs on signals of another, without training: see
    :meth:`LongConv.at_rate`. Whatever else looks along the sequence stays as it is, so this is for networks whose only
    mixers are long convolutions, such as ``SequenceModel(layer="sgconv")`` with ``pool="mean"``.

    Args:
        network: a layer, or a network of them.
        factor: 2 for twice the rate, 0.5 for half of it.

    Raises:
        ValueError: no long convolution in it, or a factor that a kernel cannot have.

    Source: Li et al., SGConv (ICLR 2023), whose ``init_scale`` this generalises; the test on other rates is S4's.

    >>> import torch
    >>> from mercer.nn.models import SequenceModel
    >>> model = SequenceModel(1, 3, layer="s4d", length=64, layers=2, width=8).eval()
    >>> at_rate(model, 2)(torch.randn(1, 128, 1)).shape
    torch.Size([1, 3])
    """
    made: Any = replaced(network, LongConv, lambda layer: layer.at_rate(factor))
    return made  # type: ignore[no-any-return]
