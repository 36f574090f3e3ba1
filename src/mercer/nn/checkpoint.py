"""The state of a training in one safe file: weights, best weights, optimiser, history."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mercer import store
from mercer.errors import FileFormatError

__all__ = ["load_checkpoint", "load_weights", "save_checkpoint"]

KIND, VERSION = "training", 1


def save_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: Mapping[str, Tensor] | None,
    history: Mapping[str, Any],
) -> None:
    """Write a training to a file, whole or not at all."""
    state = optimizer.state_dict()
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in (best or {}).items()}
    plain: dict[str, dict[str, Any]] = {}
    for i, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{i}.{name}"] = value
            else:
                plain.setdefault(str(i), {})[name] = value
    meta = {"kind": KIND, "version": VERSION, "history": dict(history), "plain": plain, "groups": state["param_groups"]}
    store.save_state(path, tensors=tensors, meta=meta)


def load_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor] | None,
) -> dict[str, Any]:
    """Put model, optimiser and best weights back, in place; returns the history.

    Raises:
        FileFormatError: the file is damaged, or of a model with other weights.
    """
    tensors, meta = store.load_state(path, kind=KIND, version=VERSION)
    load_weights(model, _below(tensors, "model."), path)
    if best is not None:
        best.update(_below(tensors, "best."))
    state: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in meta["plain"].items()}
    for name, value in _below(tensors, "optimizer.").items():
        i, _, key = name.partition(".")
        state.setdefault(int(i), {})[key] = value
    # The learning rates and the like of the caller's optimiser are replaced by those at the interruption.
    optimizer.load_state_dict({"state": state, "param_groups": meta["groups"]})
    history: dict[str, Any] = meta["history"]
    return history


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Put weights from a file into a model.

    Raises:
        FileFormatError: names or shapes do not fit.
    """
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise FileFormatError(f"{path} was written for another model. Remove it to begin anew. {error}") from None


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
