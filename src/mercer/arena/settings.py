"""How each task of the arena is trained: the papers' sizes, and small ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mercer.data import LRA_TASKS
from mercer.nn.models import MIXERS

__all__ = ["ArenaSettings", "arena_settings"]

CONVOLUTIONS = ("long_conv", "free_conv", "sgconv", "s4d", "butterfly")


@dataclass(frozen=True)
class ArenaSettings:
    """Sizes of a network and of its training.

    Attributes:
        layers, width: of the network.
        heads, block: of attentions.
        norm, prenorm, pool, dropout: as of :class:`mercer.nn.models.SequenceModel`.
        gated: whether a :class:`mercer.nn.GatedMLP` follows each mixer.
        batch_size: sequences of a step.
        epochs, warmup: passes over the rows, and those whose learning rates rise; then they fall like half a cosine.
        learning_rate, weight_decay: of AdamW; kernels have their own rate and no decay.
        options: of the mixer.
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

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return asdict(self)


# The official configurations of SGConv (ctlllll/SGConv, configs/experiment/lra/gconv-lra-*.yaml), whose batches are
# those of all its GPUs together here.
_FULL = {
    "listops": ArenaSettings(8, 128, 50, 40, prenorm=False, options={"kernel_dim": 1}),
    "text": ArenaSettings(6, 256, 16, 32, options={"kernel_dim": 2}),
    "retrieval": ArenaSettings(6, 256, 64, 20, options={"kernel_dim": 1}),
    "image": ArenaSettings(
        6, 512, 50, 200, norm="layer", prenorm=False, dropout=0.2, options={"kernel_dim": 32, "decay": 1.0}
    ),
    "pathfinder": ArenaSettings(6, 256, 64, 200, 0.004, 0.03, pool="last", dropout=0.2, options={"kernel_dim": 32}),
    "pathx": ArenaSettings(
        6, 256, 64, 50, 0.004, 0.03, options={"kernel_dim": 64, "init_scale": 1, "init": "cosine", "decay": (1.0, 3.0)}
    ),
}
_QUICK_EPOCHS = {"listops": 5, "text": 5, "retrieval": 4, "image": 8, "pathfinder": 3, "pathx": 2}


def arena_settings(task: str, mixer: str, *, quick: bool, epochs: int | None = None) -> ArenaSettings:
    """The settings of a mixer on a task.

    In full those are the official ones of SGConv, whose options no other kernel gets. Attentions have a layer norm, a
    gated layer after each, and rates of 1e-3: no paper's settings, for the papers that they come from do not say them
    all. The quick ones are 2 layers of width 32 for every mixer.

    Args:
        task: one of ``mercer.data.LRA_TASKS``.
        mixer: one of ``mercer.nn.models.MIXERS`` that has a two-sided form.
        quick: small or full.
        epochs: others than the settings' own.

    Raises:
        ValueError: an unknown task or mixer, or one that this task cannot be given to.

    >>> arena_settings("image", "sgconv", quick=False).width
    512
    """
    if task not in LRA_TASKS:
        raise ValueError(f"the arena has no task {task!r}; choose from: {', '.join(LRA_TASKS)}.")
    if mixer not in MIXERS or mixer == "h3":
        known = ", ".join(name for name in MIXERS if name != "h3")
        raise ValueError(f"the arena takes no mixer {mixer!r}: it has to be two-sided, one of {known}.")
    if mixer == "butterfly" and task in ("listops", "text", "retrieval"):
        raise ValueError(f"mixer 'butterfly' cannot leave out the padding of {task}: give it images only.")
    if epochs is not None and epochs < 1:
        raise ValueError(f"epochs={epochs}: it must be >= 1.")
    if quick:
        found = ArenaSettings(2, 32, 32, _QUICK_EPOCHS[task], heads=2, block=32)
        found = replace(found, options={"kernel_dim": 16} if mixer == "sgconv" else {})
    else:
        found = _FULL[task] if mixer == "sgconv" else replace(_FULL[task], options={})
    if mixer not in CONVOLUTIONS:
        rate = 3e-3 if quick else 1e-3
        found = replace(found, norm="layer", prenorm=True, pool="mean", gated=True, learning_rate=rate)
    if epochs is not None:
        found = replace(found, epochs=epochs)
    return replace(found, warmup=min(found.warmup, found.epochs - 1))
