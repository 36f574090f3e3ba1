"""Mixers of sequences by name, so that a whole network differs from another by one argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from mercer.nn.attention.diag_attention import DiagAttention, SoftmaxAttention
from mercer.nn.attention.norm_attention import LinearAttention, NormAttention
from mercer.nn.attention.softmax_free import SoftmaxFreeAttention
from mercer.nn.convolution import ButterflyConv, H3Conv, LongConv, LongConvKernel, SGConv
from mercer.nn.models.transnormer import transnormer_mixers

__all__ = ["MIXERS", "Mixer", "build_mixers"]

Mixer = str | Callable[..., nn.Module]


def _attentions() -> dict[str, Callable[..., nn.Module]]:
    """Looked up at every call, so that what has taken the place of a class counts (:mod:`mercer.papers.sabotage`)."""
    return {
        "softmax": SoftmaxAttention,
        "linear": LinearAttention,
        "norm": NormAttention,
        "diag": DiagAttention,
        "soft": SoftmaxFreeAttention,
    }


def _free_taps(channels: int, length: int, **options: Any) -> LongConvKernel:
    """What a squashed kernel is compared with."""
    return LongConvKernel(channels, length, squash=None, **options)


def _convolutions() -> dict[str, Callable[..., nn.Module]]:
    return {
        "long_conv": LongConv,
        "free_conv": partial(LongConv, kernel=_free_taps),
        "sgconv": SGConv,
        "s4d": partial(LongConv, kernel="s4d"),
        "h3": H3Conv,
        "butterfly": ButterflyConv,
    }


MIXERS = ("transnormer", *_attentions(), *_convolutions())


def build_mixers(
    mixer: Mixer,
    layers: int,
    width: int,
    *,
    causal: bool,
    heads: int,
    block: int,
    length: int | None,
    options: dict[str, Any],
) -> list[nn.Module]:
    """The mixers of a network, one a layer.

    ================ ===================================================== ====================
    name             each layer                                            forms
    ================ ===================================================== ====================
    ``transnormer``  blocks in the lower half, normed linear attention     causal, two-sided
                     above
    ``softmax``      softmax attention                                     causal, two-sided
    ``linear``       linear attention with its denominator                 causal, two-sided
    ``norm``         :class:`mercer.nn.NormAttention`                      causal, two-sided
    ``diag``         :class:`mercer.nn.DiagAttention`                      causal, two-sided
    ``soft``         :class:`mercer.nn.SoftmaxFreeAttention`               two-sided
    ``long_conv``    :class:`mercer.nn.LongConv`                           causal, two-sided
    ``free_conv``    the same with taps that nothing regularises           causal, two-sided
    ``sgconv``       :class:`mercer.nn.SGConv`, structured kernels         causal, two-sided
    ``s4d``          ``LongConv(kernel="s4d")``, damped waves              causal, two-sided
    ``h3``           :class:`mercer.nn.H3Conv`                             causal
    ``butterfly``    :class:`mercer.nn.ButterflyConv`                      two-sided
    ================ ===================================================== ====================

    Args:
        mixer: a name, or a function of the width, which is given ``options`` only (a class its ``length`` too).
        layers, width: of the network.
        causal: which form; functions decide that for themselves.
        heads, block: of attentions.
        length: of convolutions, which need it.
        options: more of what the class takes.

    Raises:
        ValueError: an unknown name, a form that there is not, no length for convolutions, or what the class refuses.
    """
    if callable(mixer):
        if isinstance(mixer, type) and length is not None and "length" in inspect.signature(mixer).parameters:
            options = {"length": length, **options}
        return [mixer(width, **options) for _ in range(layers)]
    if mixer == "transnormer":
        order = ["diag"] * (layers // 2) + ["norm"] * (layers - layers // 2)
        settings: dict[str, Any] = {"variant": "T2", "causal": causal, "positions": "lrpe", "block": block}
        return transnormer_mixers(order, width, heads, **{**settings, **options})
    attentions, convolutions = _attentions(), _convolutions()
    if mixer in attentions:
        own: dict[str, Any] = {"block": block} if mixer == "diag" else {}
        build = partial(attentions[mixer], heads=heads, causal=causal, **own)
    elif mixer in convolutions:
        if length is None:
            raise ValueError(f"mixer={mixer!r}: give length, that of the longest sequence.")
        if mixer == "h3" and not causal:
            raise ValueError(
                "mixer='h3' has a causal form only. Take 'long_conv', whose two-sided form sees both ways."
            )
        form: dict[str, Any] = {} if mixer == "h3" else {"causal": causal}
        build = partial(convolutions[mixer], length=length, **form)
    else:
        raise ValueError(f"mixer={mixer!r}: choose one of {', '.join(MIXERS)}, or give a function of the width.")
    try:
        inspect.signature(build).bind(width, **options)
    except TypeError as error:
        raise ValueError(f"mixer={mixer!r} takes no such option: {error}.") from None
    return [build(width, **options) for _ in range(layers)]
