"""Weights from files: safetensors, or torch's own format without running what is in it."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mercer.errors import FileFormatError

__all__ = ["fit_weights", "load_checkpoint", "read_weights"]

# Where training scripts (timm's among them) put the weights of a network in what they save.
_PLACES = ("state_dict", "model_state_dict", "model", "module")
_SHOWN = 5


def load_checkpoint(
    model: nn.Module, path: str | os.PathLike[str], *, strict: bool = True, prefer_average: bool = False
) -> nn.Module:
    """Put the weights of a file into a model, in place.

    Args:
        model: a network; official parameter names are ours, so official files load as they are.
        path: a safetensors file, or one of ``torch.save``: of a ``state_dict``, or of a dict with one in it, as
            training scripts write. Nothing in it is run.
        strict: names have to be the same on both sides. Else what fits is loaded; shapes have to fit in any case.
        prefer_average: take the averaged weights (``state_dict_ema``) where the file has both.

    Returns:
        The model.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it holds no weights, or those of another model; the message has the names.

    >>> from mercer.nn.models import create_model
    >>> load_checkpoint(create_model("soft_tiny"), "soft_tiny.pth")  # doctest: +SKIP
    """
    return fit_weights(model, read_weights(path, prefer_average=prefer_average), path, strict=strict)


def fit_weights(
    model: nn.Module, given: dict[str, Tensor], path: str | os.PathLike[str], *, strict: bool = True
) -> nn.Module:
    """:func:`load_checkpoint` of weights that have been read."""
    own = model.state_dict()
    shapes = [
        f"{name} is {tuple(given[name].shape)} there and {tuple(own[name].shape)} here"
        for name in own.keys() & given.keys()
        if given[name].shape != own[name].shape
    ]
    missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if shapes or (strict and (missing or unexpected)) or not own.keys() & given.keys():
        parts = [("other shapes", sorted(shapes)), ("not in the file", missing), ("only in the file", unexpected)]
        listed = "; ".join(f"{what}: {_some(names)}" for what, names in parts if names)
        raise FileFormatError(f"{path} does not hold the weights of this {type(model).__name__}: {listed}.")
    model.load_state_dict(given, strict=strict)
    return model


def read_weights(path: str | os.PathLike[str], *, prefer_average: bool = False) -> dict[str, Tensor]:
    """The weights in a file, by name, on the CPU; see :func:`load_checkpoint`.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it holds none, or cannot be read without running what is in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    found = _read(path)
    places = ("state_dict_ema", *_PLACES) if prefer_average else _PLACES
    for place in places:
        if isinstance(found, dict) and isinstance(found.get(place), dict):
            found = found[place]
            break
    weights = {str(k): v for k, v in found.items() if isinstance(v, Tensor)} if isinstance(found, dict) else {}
    if not weights:
        raise FileFormatError(f"{path} holds no tensors by name, so no weights of a network.")
    if all(name.startswith("module.") for name in weights):  # of a network that was trained on several GPUs
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise FileFormatError(f"{path} is no safetensors file, or is damaged: {error}") from None
    try:
        # A Namespace holds the arguments of the training script; unpickling one sets attributes and runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise FileFormatError(
            f"{path} cannot be read as weights: {error}. Files that only load by running code are not read: save the "
            f"state_dict of the model as safetensors where you trust the file."
        ) from None


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
