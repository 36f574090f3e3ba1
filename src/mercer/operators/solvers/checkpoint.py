"""A file from which a long solve goes on after Ctrl-C, a crash or a power cut."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.operators.solvers.system import System
from mercer.store import load_state, save_state

__all__ = ["Checkpoint"]

_SECONDS = 30.0  # between two saves
_KIND, _VERSION = "conjugate gradients", 1
_SAME = 1e-9  # relative difference of two products with the same matrix: round-off of other tiles or threads is 1e-13


class Checkpoint:
    """Saves the state of a solve about every 30 seconds, and when it is interrupted by Ctrl-C.

    Use it as a context around the iteration, which calls :meth:`note` wherever its state is whole.

    Args:
        path: the file; written whole or not at all.
        system: what is solved. One product of it with a fixed random vector tells it from others.
        B: ``(n, t)`` right-hand sides.
        rtol: as asked for.
    """

    def __init__(self, path: str | os.PathLike[str], system: System, B: Tensor, rtol: float) -> None:
        self.path = Path(path)
        self.system = {
            "matrix": f"{system.n} x {system.n}, {system.A.dtype}",
            "right-hand sides": [B.shape[1], _digest(B)],
            "noise": _digest(system.noise),
            "rtol": rtol,
        }
        probe = torch.randn(system.n, 1, dtype=torch.float64, generator=generator(0)).to(system.device)
        self.probe = system.product(probe)
        self.saved_at = time.monotonic()
        self._last: tuple[dict[str, Tensor], dict[str, Any], list[int]] | None = None

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What :meth:`note` was given before the interruption; None where there is no file.

        Raises:
            ValueError: the file is that of another system.
            FileFormatError: it is damaged, or no checkpoint.
        """
        try:
            tensors, meta = load_state(self.path, kind=_KIND, version=_VERSION)
        except FileNotFoundError:
            return None
        probe = tensors.pop("probe").to(self.probe.device)
        differs = [name for name, value in self.system.items() if meta["system"].get(name) != value]
        if not differs and float((probe - self.probe).norm()) > _SAME * float(self.probe.norm()):
            differs = ["values of the matrix"]
        if differs:
            raise ValueError(
                f"solve: {self.path} is the checkpoint of another system: the {' and the '.join(differs)} differ. "
                f"Give another path, or delete the file."
            )
        return {name: tensor.to(self.probe.device) for name, tensor in tensors.items()}, meta["state"]

    def note(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Remember a state that is whole (the tensors are not copied), and save it if that is due."""
        self._last = tensors, state, _versions(tensors)
        if time.monotonic() - self.saved_at >= _SECONDS:
            self.save()

    def save(self) -> None:
        """Write the last state noted, unless its tensors have changed since."""
        if self._last is None or _versions(self._last[0]) != self._last[2]:
            return
        tensors, state, _ = self._last
        meta = {"kind": _KIND, "version": _VERSION, "system": self.system, "state": state}
        save_state(self.path, tensors={**tensors, "probe": self.probe}, meta=meta)
        self.saved_at = time.monotonic()

    def remove(self) -> None:
        """Delete the file, if there is one."""
        with suppress(FileNotFoundError):
            self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.save()


def _versions(tensors: dict[str, Tensor]) -> list[int]:
    """torch's counters of changes in place: an interrupt in the middle of an update shows."""
    return [tensor._version for tensor in tensors.values()]


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
