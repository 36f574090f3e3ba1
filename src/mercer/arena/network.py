"""The network of the arena: from tokens, pixels or pairs of texts to classes."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mercer.arena.settings import ArenaSettings
from mercer.data import LongRangeTask
from mercer.nn import GatedMLP, LongConvKernel, parameter_groups
from mercer.nn.models import SequenceModel
from mercer.nn.models.mixers import Mixer, build_mixers
from mercer.nn.seeding import seeded

__all__ = ["ArenaNetwork"]


class ArenaNetwork(nn.Module):
    """A :class:`mercer.nn.models.SequenceModel` that takes the inputs of a task as they are.

    Tokens are embedded and their padding is seen by nothing; pixels are numbers from -1 to 1; of two texts the features
    a and b are made by one network, and ``[a, b, a b, a - b]`` tells the class, as in the official code.

    Args:
        task: what it is for; decides the shapes.
        mixer: by name.
        settings: sizes.
        random_state: of all weights.

    >>> from mercer.arena import arena_settings
    >>> from mercer.data import small_lra
    >>> task = small_lra("image", limit=4)
    >>> network = ArenaNetwork(task, "sgconv", arena_settings("image", "sgconv", quick=True))
    >>> network(torch.from_numpy(task.train.inputs)).shape
    torch.Size([4, 10])
    """

    def __init__(self, task: LongRangeTask, mixer: str, settings: ArenaSettings, *, random_state: Any = None) -> None:
        super().__init__()
        self.is_pixels, self.is_pair = task.is_pixels, task.train.inputs.ndim == 3
        width, pool = settings.width, settings.pool
        assert pool in ("mean", "last")
        with seeded(random_state):
            self.model = SequenceModel(
                1 if task.is_pixels else task.vocabulary,
                task.n_classes,
                layer=_layer(mixer, task.length, settings),
                layers=settings.layers,
                width=width,
                heads=settings.heads,
                block=settings.block,
                length=task.length,
                norm=settings.norm,
                prenorm=settings.prenorm,
                pool=pool,  # type: ignore[arg-type]
                tokens=not task.is_pixels,
                feedforward=partial(GatedMLP, hidden=settings.hidden) if settings.gated else None,
                dropout=settings.dropout,
                tie_dropout=settings.tie_dropout,
            )
            if self.is_pair:
                self.model.decoder = nn.Sequential(
                    nn.Linear(4 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, task.n_classes)
                )

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of inputs ``(B, length)``, or ``(B, 2, length)``, as the task has them."""
        if self.is_pixels:
            rows: Tensor = self.model((x.to(next(self.parameters()).dtype) / 127.5 - 1.0).unsqueeze(-1))
            return rows
        tokens = x.long()
        if not self.is_pair:
            rows = self.model(tokens, lengths=_lengths(tokens))
            return rows
        tokens = tokens.flatten(0, 1)
        a, b = self.model.features(tokens, lengths=_lengths(tokens)).unflatten(0, (-1, 2)).unbind(1)
        rows = self.model.decoder(torch.cat([a, b, a * b, a - b], -1))
        return rows

    def parameter_groups(self) -> list[dict[str, Any]]:
        """As of the model in it."""
        return parameter_groups(self)


def _layer(mixer: str, length: int, settings: ArenaSettings) -> Mixer:
    """A long convolution with its own heads, dropout and kernel, which a network gives to no mixer; others by name."""
    if mixer not in ("long_conv", "free_conv", "sgconv", "s4d"):
        return mixer
    options = {"dropout": settings.dropout, "tie_dropout": settings.tie_dropout, **settings.options}
    if settings.kernel:
        options["kernel"] = partial(LongConvKernel, **settings.kernel)

    def build(width: int) -> nn.Module:
        sizes: dict[str, Any] = {"causal": False, "heads": 1, "block": settings.block, "length": length}
        return build_mixers(mixer, 1, width, options=options, **sizes)[0]

    return build


def _lengths(tokens: Tensor) -> Tensor:
    """How many are no padding; a sequence of nothing is taken to have one."""
    return (tokens != 0).sum(-1).clamp(min=1)
