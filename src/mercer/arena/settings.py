"""What says how a network of the arena is built and trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = ["ArenaSettings"]


@dataclass(frozen=True)
class ArenaSettings:
    """Sizes of a network and of its training.

    Attributes:
        layers, width: of the network.
        batch_size: sequences of a batch.
        epochs, warmup: passes over the rows, and those whose learning rates rise; then they fall like half a cosine.
        learning_rate, weight_decay: of AdamW; kernels have their own rate and no decay.
        heads, block: of attentions.
        norm, prenorm, pool, dropout, tie_dropout: as of :class:`mercer.nn.models.SequenceModel`; long convolutions drop
            as much before their map of channels too.
        gated, hidden: whether a :class:`mercer.nn.GatedMLP` follows each mixer, and its hidden width.
        accumulate: batches of a step.
        options: of the mixer.
        kernel: of the :class:`mercer.nn.LongConvKernel` of a ``long_conv`` or ``free_conv``.
    """

    layers: int
    width: int
    batch_size: int
    epochs: int
    learning_rate: float = 0.01
    weight_decay: float = 0.05
    warmup: int = 1
    heads: int = 4
    block: int = 64
    norm: str = "batch"
    prenorm: bool = True
    pool: str = "mean"
    dropout: float = 0.0
    gated: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    # Of later versions; see as_dict.
    tie_dropout: bool = False
    hidden: int | None = None
    accumulate: int = 1
    kernel: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON; without those of later versions that are not in use, so that older results are found."""
        plain = {f.name: f.default for f in fields(self) if f.name in ("tie_dropout", "hidden", "accumulate")}
        unused: dict[str, Any] = {"kernel": {}, **plain}
        return {name: value for name, value in asdict(self).items() if name not in unused or value != unused[name]}
