"""TransNormer: blocks below, normed linear attention above."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from torch import nn

from mercer.nn.attention.diag_attention import DiagAttention
from mercer.nn.attention.norm_attention import NormAttention
from mercer.nn.attention.positions import Positions
from mercer.nn.models.registry import register_model
from mercer.nn.models.sequence_network import SequenceNetwork

__all__ = ["TransNormer", "transnormer_mixers"]

Variant = Literal["T1", "T2"]


class TransNormer(SequenceNetwork):
    r"""A sequence network in time linear in the length, whose memory in generation does not grow.

    The lower half of its layers are :class:`mercer.nn.DiagAttention`, which looks at a block only, so that attention is
    not spread thin; the upper half are :class:`mercer.nn.NormAttention`, which looks at everything and has bounded
    gradients. Each is followed by a :class:`mercer.nn.GatedMLP`; norms are :class:`mercer.nn.SRMSNorm`, also on the
    embedding and at the end.

    Args:
        vocabulary: number of tokens. Inputs are then tokens and outputs are logits.
        d_input: columns of the input instead, for series; outputs are rows of ``width``.
        variant: ``"T2"``, ``1 + elu`` and softmax in the blocks; ``"T1"``, ``elu`` and relu.
        layers: how many.
        width: d.
        heads: they divide the width, and heads of an even size.
        block: w, rows of a block.
        causal: rows see themselves and what is before; False for classifiers and encoders.
        order: instead of the halves, ``"diag"`` or ``"norm"`` for each layer.
        hidden: of the gated layers; None is ``8 width / 3``.
        dropout: in training.
        positions: as of :class:`mercer.nn.NormAttention`.

    Raises:
        ValueError: not exactly one of vocabulary and d_input, an unknown variant, an order of another length, or what
            its layers refuse.

    Source: Qin et al. 2022 (arXiv 2210.10340). The paper's language model adds sinusoidal absolute positions of its
    framework, which are left out here: rotations tell places already.

    >>> model = TransNormer(103, layers=4, width=64, heads=4, block=32)
    >>> [type(block.mixer).__name__ for block in model.blocks]
    ['DiagAttention', 'DiagAttention', 'NormAttention', 'NormAttention']
    >>> model(torch.zeros(2, 50, dtype=torch.long)).shape
    torch.Size([2, 50, 103])
    >>> model.generate(torch.tensor([1, 2, 3]), 5).shape
    torch.Size([5])
    """

    def __init__(
        self,
        vocabulary: int | None = None,
        *,
        d_input: int | None = None,
        variant: Variant = "T2",
        layers: int = 6,
        width: int = 512,
        heads: int = 8,
        block: int = 64,
        causal: bool = True,
        order: Sequence[str] | None = None,
        hidden: int | None = None,
        dropout: float = 0.0,
        positions: Positions = "lrpe",
    ) -> None:
        order = ["diag"] * (layers // 2) + ["norm"] * (layers - layers // 2) if order is None else list(order)
        if len(order) != layers:
            raise ValueError(f"TransNormer(layers={layers}): order has {len(order)} entries; give one a layer.")
        mixers = transnormer_mixers(
            order, width, heads, variant=variant, block=block, causal=causal, positions=positions
        )
        super().__init__(
            mixers, width, vocabulary=vocabulary, d_input=d_input, hidden=hidden, norm="srms", dropout=dropout
        )


def transnormer_mixers(
    order: Sequence[str], width: int, heads: int, *, variant: Variant, block: int, causal: bool, positions: Positions
) -> list[nn.Module]:
    """The attentions of a TransNormer, a layer each: ``"diag"`` or ``"norm"``.

    Raises:
        ValueError: another name, or an unknown variant.
    """
    if variant not in ("T1", "T2"):
        raise ValueError(f'TransNormer(variant={variant!r}): choose "T1" or "T2".')
    is_t1 = variant == "T1"
    build: dict[str, Callable[..., nn.Module]] = {
        "diag": partial(DiagAttention, block=block, score="relu" if is_t1 else "softmax"),
        "norm": partial(NormAttention, activation="elu" if is_t1 else "1+elu"),
    }
    unknown = next((kind for kind in order if kind not in build), None)
    if unknown is not None:
        raise ValueError(f'TransNormer(order=...): a layer is "diag" or "norm", not {unknown!r}.')
    return [build[kind](width, heads, causal=causal, positions=positions) for kind in order]


register_model("transnormer_t1", partial(TransNormer, variant="T1"))
register_model("transnormer_t2", partial(TransNormer, variant="T2"))
