"""One round of a self-distilled network, and the folder where rounds are kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from mercer import store
from mercer.errors import FileFormatError
from mercer.nn.checkpoint import load_weights
from mercer.nn.training import reproducible

__all__ = ["DistilledRound", "RoundFolder"]

_KIND, _VERSION = "distilled round", 1


@dataclass(frozen=True)
class DistilledRound:
    """One round of :func:`self_distill`.

    Attributes:
        model: trained, in evaluation mode.
        alpha: the weight of the labels.
        proposal: the best weight before it was clipped; NaN where none was looked for.
        valid_loss: on the validation data; NaN without.
        n_trainings: how many trainings the round took: 0 where an earlier network is the answer already.
        seconds: wall time.
    """

    model: nn.Module = field(repr=False)
    alpha: float
    proposal: float
    valid_loss: float
    n_trainings: int
    seconds: float


@dataclass(frozen=True)
class RoundFolder:
    """Rounds in files, so that an interrupted run goes on where it was.

    Args:
        path: the folder.
        settings: what JSON can hold; rounds that were made with other ones are not taken.
    """

    path: Path
    settings: dict[str, Any]

    def file(self, number: int) -> Path:
        """Of a round, counted from 1."""
        return self.path / f"round-{number:02d}.safetensors"

    def checkpoint(self, number: int, which: str) -> Path:
        """Of a training that is not done yet."""
        return self.path / f"round-{number:02d}-{which}.safetensors"

    def save(self, number: int, done: DistilledRound) -> None:
        """Keep a round, and give up the checkpoints of its trainings."""
        numbers = {k: v for k, v in vars(done).items() if k != "model" and not math.isnan(v)}
        meta = {"kind": _KIND, "version": _VERSION, "settings": self.settings, "numbers": numbers}
        store.save_state(self.file(number), tensors=done.model.state_dict(), meta=meta)
        for left in self.path.glob(f"round-{number:02d}-*.safetensors"):
            left.unlink()

    def load(self, number: int, make_model: Callable[[], nn.Module]) -> DistilledRound | None:
        """A round that was kept, or None.

        Raises:
            FileFormatError: the file is damaged or of another run.
        """
        path = self.file(number)
        if not path.exists():
            return None
        tensors, meta = store.load_state(path, kind=_KIND, version=_VERSION)
        changed = [name for name, value in self.settings.items() if meta["settings"].get(name) != value]
        if changed:
            raise FileFormatError(
                f"{path} is of another run: {', '.join(changed)} differ. Give another folder, or remove this one to "
                f"begin anew."
            )
        with reproducible(0):
            model = make_model()
        load_weights(model, tensors, path)
        numbers = meta["numbers"]
        return DistilledRound(
            model=model.eval(),
            alpha=numbers["alpha"],
            proposal=numbers.get("proposal", math.nan),
            valid_loss=numbers.get("valid_loss", math.nan),
            n_trainings=numbers["n_trainings"],
            seconds=numbers["seconds"],
        )
