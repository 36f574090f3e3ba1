"""How each mixer is trained on each task of the arena: as its paper says, by a stated default, or small."""

from __future__ import annotations

from dataclasses import replace

from mercer.arena.published import long_conv_settings, sgconv_settings, transnormer_settings
from mercer.arena.settings import ArenaSettings
from mercer.arguments import check_whole
from mercer.data import LRA_TASKS
from mercer.nn.models import MIXERS

__all__ = ["arena_settings"]

_CONVOLUTIONS = ("long_conv", "free_conv", "sgconv", "s4d", "butterfly")
_QUICK_EPOCHS = {"listops": 5, "text": 5, "retrieval": 4, "image": 8, "pathfinder": 3, "pathx": 2}


def arena_settings(task: str, mixer: str, *, quick: bool, epochs: int | None = None) -> ArenaSettings:
    """The settings of a mixer on a task.

    In full ``sgconv``, ``long_conv`` and ``transnormer`` have those of their papers, and ``free_conv`` those of
    ``long_conv`` without the threshold. All others have no paper's: convolutions the sizes and
    rates of SGConv; attentions its sizes too, but a layer norm, a gated layer after each, and rates of 1e-3. The quick
    ones are 2 layers of width 32 for every mixer.

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
    check_whole("epochs", epochs, or_none=True)
    found = _quick(task, mixer) if quick else _full(task, mixer)
    if epochs is not None:
        found = replace(found, epochs=int(epochs))
    return replace(found, warmup=min(found.warmup, found.epochs - 1))


def _quick(task: str, mixer: str) -> ArenaSettings:
    options = {"kernel_dim": 16} if mixer == "sgconv" else {}
    found = ArenaSettings(2, 32, 32, _QUICK_EPOCHS[task], heads=2, block=32, options=options)
    return found if mixer in _CONVOLUTIONS else _of_an_attention(found, 3e-3)


def _full(task: str, mixer: str) -> ArenaSettings:
    if mixer == "transnormer":
        return transnormer_settings(task)
    if mixer in ("long_conv", "free_conv"):
        return long_conv_settings(task, squash=mixer == "long_conv")
    found = sgconv_settings(task, kernel=mixer == "sgconv")
    return found if mixer in _CONVOLUTIONS else _of_an_attention(found, 1e-3)


def _of_an_attention(found: ArenaSettings, rate: float) -> ArenaSettings:
    return replace(found, norm="layer", prenorm=True, pool="mean", gated=True, learning_rate=rate)
