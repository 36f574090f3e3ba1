"""Train every mixer on every task, take up what was interrupted, and keep what came out."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mercer import store
from mercer.arena.choice import arena_settings
from mercer.arena.network import ArenaNetwork
from mercer.arena.settings import ArenaSettings
from mercer.arena.table import ArenaTable
from mercer.arguments import check_device, check_whole
from mercer.data import LRA_TASKS, LongRangeTask, Split, load_lra, small_lra
from mercer.errors import FileFormatError
from mercer.nn.training import CosineDecay, TensorBatches, evaluate, train
from mercer.timing import machine

__all__ = ["run_arena", "tasks_in"]

_AT_ONCE = 100  # sequences that are evaluated at once
_DATA, _VERSION = "small task of the arena", 1


def run_arena(
    tasks: Sequence[str],
    mixers: Sequence[str],
    *,
    out: str | os.PathLike[str],
    quick: bool = False,
    data: str | os.PathLike[str] | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    limit: int | None = None,
    device: str = "cpu",
    report: Callable[[dict[str, Any]], None] | None = None,
) -> ArenaTable:
    """Accuracies of mixers on tasks of the Long Range Arena, as a table; interrupted, the same call goes on.

    Each cell is a training of its own with a progress line, from a checkpoint after every epoch. The weights of the
    least validation loss are kept, and tested once.

    Args:
        tasks: of ``mercer.data.LRA_TASKS``.
        mixers: of ``mercer.nn.models.MIXERS``, such as "sgconv", "s4d", "long_conv", "transnormer", "softmax", "soft".
        out: a folder for ``results.jsonl``, a line a training; ``table.md`` and ``table.json``; and for checkpoints and
            generated data, which it needs only while it runs.
        quick: small versions (:func:`mercer.data.small_lra`), which need no files; minutes instead of days.
        data: the folder with the tasks' files, each task in a folder of its name (:func:`mercer.data.load_lra`).
        seeds: trainings of each cell, with seeds 0, 1, ...
        epochs: in place of those of the settings.
        limit: at most so many rows of each part.
        device: where it trains.
        report: called with each result when it is there.

    Raises:
        ValueError: neither or both of quick and data; an unknown task, mixer or device, or one that this machine has
            not; a number below 1.
        FileNotFoundError: a task's files are not there.
        NotConverged: a loss became NaN; the message names the cell.
        FileFormatError: a checkpoint or a file of generated data in ``out`` is damaged; the message names it.
    """
    if quick == (data is not None):
        raise ValueError("run_arena: give quick=True for the small versions, or data= with the files of the arena.")
    if not tasks or not mixers:
        raise ValueError(f"run_arena: at least one task and mixer; got {tasks} and {mixers}.")
    check_whole("run_arena: seeds", seeds)
    check_whole("run_arena: limit", limit, or_none=True)
    check_device(device)
    folder, results = Path(out), store.ResultStore(Path(out) / "results.jsonl")
    chosen = {
        (task, mixer): arena_settings(task, mixer, quick=quick, epochs=epochs) for task in tasks for mixer in mixers
    }
    found = []
    for task in tasks:
        loaded: LongRangeTask | None = None
        for mixer in mixers:
            for seed in range(seeds):
                settings = chosen[task, mixer]
                key = {"task": task, "mixer": mixer, "seed": seed, "size": "quick" if quick else "full", "limit": limit}
                # As JSON has it, so that what is read again is equal.
                key["settings"] = json.loads(json.dumps(settings.as_dict()))
                record = results.find(**key)
                if record is None:
                    if loaded is None:
                        loaded = _small(folder, task, limit) if data is None else _load(Path(data), task, limit)
                    record = key | _measure(folder, loaded, mixer, settings, key, device)
                    results.append(record)
                    _checkpoint(folder, key).unlink(missing_ok=True)
                    if report is not None:
                        report(record)
                found.append(record)
    table = ArenaTable(found)
    table.write(folder)
    return table


def tasks_in(data: str | os.PathLike[str]) -> list[str]:
    """The tasks whose files are in a folder, each in a folder of its name.

    Raises:
        FileNotFoundError: there is none.
    """
    found = [task for task in LRA_TASKS if (Path(data) / task).is_dir()]
    if not found:
        raise FileNotFoundError(f"{data} has no folder of a task: {', '.join(LRA_TASKS)}.")
    return found


def _measure(
    folder: Path, task: LongRangeTask, mixer: str, settings: ArenaSettings, key: dict[str, Any], device: str
) -> dict[str, Any]:
    network = ArenaNetwork(task, mixer, settings, random_state=key["seed"]).to(device)
    adam = partial(torch.optim.AdamW, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    decay = CosineDecay(adam, n_epochs=settings.epochs, warmup=settings.warmup)
    with _begin_anew("the training"):
        history = train(
            network,
            _batches(task.train, settings.batch_size, shuffle=True),
            loss=_loss,
            n_epochs=settings.epochs,
            optimizer=decay,
            valid_loader=_batches(task.valid, _AT_ONCE, shuffle=False),
            callbacks=[decay.after_epoch],
            checkpoint=_checkpoint(folder, key),
            random_state=key["seed"],
            accumulate=settings.accumulate,
            description=f"{task.name}, {mixer}",
        )
    return {
        "accuracy": evaluate(network, _batches(task.test, _AT_ONCE, shuffle=False), _accuracy),
        "guessing": float(torch.from_numpy(task.test.targets).bincount().max()) / len(task.test.targets),
        "train_rows": len(task.train.targets),
        "test_rows": len(task.test.targets),
        "length": task.length,
        "parameters": sum(p.numel() for p in network.parameters()),
        "best_epoch": history.best_epoch,
        "losses": history.losses,
        "valid_losses": history.valid_losses,
        "seconds": history.seconds,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
    }


@contextmanager
def _begin_anew(what: str) -> Iterator[None]:
    """Say of a file of ours that cannot be read that it can be done without."""
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{error} Or delete that file: {what} then begins anew.") from None


def _checkpoint(folder: Path, key: dict[str, Any]) -> Path:
    """A file of its own for each cell; other settings are another cell."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    return folder / "checkpoints" / f"{key['task']}-{key['mixer']}-{key['seed']}-{digest}.safetensors"


def _small(folder: Path, task: str, limit: int | None) -> LongRangeTask:
    """The small version, kept in a file: images take a minute to draw."""
    path = folder / "data" / f"{task}{'' if limit is None else f'-{limit}'}.safetensors"
    parts = ("train", "valid", "test")
    if path.exists():
        with _begin_anew("the drawing"):
            tensors, meta = store.load_state(path, kind=_DATA, version=_VERSION)
        train_part, valid, test = (
            Split(tensors[f"{part}.inputs"].numpy(), tensors[f"{part}.targets"].numpy()) for part in parts
        )
        return LongRangeTask(task, train_part, valid, test, **meta["about"])
    made = small_lra(task, limit=limit)
    about = {name: getattr(made, name) for name in ("n_classes", "vocabulary", "length", "is_pixels")}
    arrays = {f"{part}.{name}": getattr(getattr(made, part), name) for part in parts for name in Split._fields}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    store.save_state(path, tensors=tensors, meta={"kind": _DATA, "version": _VERSION, "about": about})
    return made


def _load(folder: Path, task: str, limit: int | None) -> LongRangeTask:
    return load_lra(folder / task, task, limit=limit)


def _batches(split: Split, size: int, *, shuffle: bool) -> TensorBatches:
    return TensorBatches([torch.from_numpy(split.inputs), torch.from_numpy(split.targets)], size, shuffle=shuffle)


def _loss(network: nn.Module, batch: Any) -> Tensor:
    return nn.functional.cross_entropy(network(batch[0]), batch[1])


def _accuracy(network: nn.Module, batch: Any) -> Tensor:
    right: Tensor = network(batch[0]).argmax(-1) == batch[1]
    return right.double().mean()
