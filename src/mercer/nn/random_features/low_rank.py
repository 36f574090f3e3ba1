"""Low-rank updates of linear layers (LoRA): the rival of small adapters, put in and taken out like them."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import linear

from mercer.nn.random_features.places import put_module

__all__ = ["LowRankLinear", "add_low_rank"]


class LowRankLinear(nn.Module):
    r"""A frozen linear layer and a learnt update of low rank, which begins as nothing.

    .. math:: y = W x + b + \frac{\alpha}{r} B A x

    Args:
        linear: the layer; it is kept as it is, and not trained.
        rank: r.
        alpha: None is the rank, so that the factor is 1.

    Raises:
        ValueError: a rank below 1.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (ICLR 2022).

    >>> layer = LowRankLinear(torch.nn.Linear(8, 6), rank=2)
    >>> sum(p.numel() for p in layer.parameters() if p.requires_grad)
    28
    """

    def __init__(self, linear: nn.Linear, *, rank: int = 1, alpha: float | None = None) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"LowRankLinear(rank={rank}): it must be >= 1.")
        self.linear, self.rank = linear, rank
        self.factor = 1.0 if alpha is None else alpha / rank
        self.down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5.0))
        linear.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d) -> (..., o)``."""
        found: Tensor = self.linear(x) + self.factor * linear(linear(x, self.down), self.up)
        return found


def add_low_rank(
    model: nn.Module, where: Callable[[str, nn.Module], bool], *, rank: int = 1, alpha: float | None = None
) -> list[str]:
    """Freeze a model and give some of its linear layers a :class:`LowRankLinear` in their place.

    Args:
        model: trained; it is changed in place, and computes what it did until the updates are trained.
        where: says of a name and a linear layer whether it gets one.
        rank, alpha: of each.

    Returns:
        The names of those layers.

    Raises:
        ValueError: no linear layer was chosen.

    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> add_low_rank(model, lambda name, layer: name == "0")
    ['0']
    """
    model.requires_grad_(False)
    chosen = [name for name, m in model.named_modules() if name and isinstance(m, nn.Linear) and where(name, m)]
    if not chosen:
        raise ValueError("add_low_rank: where(name, layer) chose no linear layer of the model.")
    for name in chosen:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        put_module(model, name, LowRankLinear(layer, rank=rank, alpha=alpha).train(model.training))
    return chosen
