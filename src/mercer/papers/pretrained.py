"""Encoders of transformers from the user's disk, adapted to GLUE and CIFAR in several ways: what paper 16 compares."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import f1_score, matthews_corrcoef
from torch import Tensor, nn
from torch.nn import functional as F

from mercer.data import GlueTask, load_cifar, load_glue
from mercer.errors import MissingExtra
from mercer.nn import add_adapters, add_low_rank
from mercer.nn.training import TensorBatches, train

__all__ = ["WAYS", "Bottleneck", "Task", "adapted_score", "find_tasks"]

Array = np.ndarray[Any, Any]
GLUE_FOLDERS = {"RTE": "rte", "MRPC": "mrpc", "CoLA": "cola", "STS-B": "stsb", "SST-2": "sst2"}
CIFAR_FOLDERS = {"cifar-10-batches-py": "cifar10", "cifar-100-python": "cifar100"}
LONGEST = 128  # tokens of a sentence or pair
RATES = (1e-4, 1e-3)  # each way takes the one that is better on a tenth of the training part
EPOCHS, PATIENCE, BATCH = 80, 5, 32
WAYS = ("head", "SNNK", "bottleneck", "bottleneck, small", "LoRA")


@dataclass(frozen=True)
class Task:
    """What an encoder is adapted to.

    Attributes:
        name: of the folder.
        train, test: the encoder's inputs, one row an example, and the targets last.
        inputs: what the encoder calls its inputs.
        n_outputs: of the head; one for scores.
        score: of outputs and targets, in points.
    """

    name: str
    train: list[Tensor]
    test: list[Tensor]
    inputs: tuple[str, ...]
    n_outputs: int
    score: Callable[[Array, Array], float]


class Bottleneck(nn.Module):
    """The adapter of Houlsby et al.: down, GELU, up from zero, added."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., width)`` to the same."""
        result: Tensor = x + self.up(F.gelu(self.down(x)))
        return result


class Pretrained(nn.Module):
    """An encoder and a new head on what it says of the first token."""

    def __init__(self, encoder: nn.Module, task: Task) -> None:
        super().__init__()
        self.encoder, self.names = encoder, task.inputs
        config: Any = encoder.config
        self.side = config.image_size if "pixel_values" in task.inputs else None
        self.head = nn.Linear(config.hidden_size, task.n_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits, or a score, of a batch."""
        if self.side is not None:
            images = inputs[0].float().permute(0, 3, 1, 2) / 127.5 - 1.0
            inputs = (F.interpolate(images, size=(self.side, self.side), mode="bilinear"),)
        out = self.encoder(**dict(zip(self.names, inputs, strict=True)))
        pooled = getattr(out, "pooler_output", None)  # of images checkpoints have none
        logits: Tensor = self.head(out.last_hidden_state[:, 0] if pooled is None or self.side is not None else pooled)
        return logits


def find_tasks(folder: Path) -> Iterator[tuple[Path, Task]]:
    """The encoder's folder and the task, for each task that there are files of.

    Args:
        folder: with ``bert`` (a model and its tokenizer, as transformers saves them) and folders of GLUE, or ``vit``
            and folders of CIFAR, as they are distributed.

    Raises:
        MissingExtra: transformers is not installed.
    """
    bert, vit = folder / "bert", folder / "vit"
    for name, task in GLUE_FOLDERS.items() if bert.is_dir() else ():
        if (folder / name).is_dir():
            yield bert, _of_sentences(load_glue(folder / name, task), bert)
    for name, kind in CIFAR_FOLDERS.items() if vit.is_dir() else ():
        if (folder / name).is_dir():
            found = load_cifar(folder / name, kind)  # type: ignore[arg-type]  # one of the two names
            train, test = ([torch.from_numpy(array) for array in part] for part in (found.train, found.test))
            yield vit, Task(name, train, test, ("pixel_values",), found.n_classes, _accuracy)


def adapted_score(encoder: Path, task: Task, way: str, *, device: torch.device, seed: int) -> tuple[float, int]:
    """The test score in points of an encoder that was adapted in one of ``WAYS``, and how many numbers beside the head.

    A tenth of the training part chooses the rate and the epoch. SNNKs have 8 features for texts and 64 for images, as
    in the official scripts; bottlenecks are 24 wide, or as wide as takes the numbers of the SNNKs; LoRA has rank 1 on
    queries and values.
    """
    n = len(task.train[0])
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    held, rest = order.split([max(1, n // 10), n - max(1, n // 10)])
    fit, chosen = ([part[rows] for part in task.train] for rows in (rest, held))
    loss = _square_loss if task.n_outputs == 1 else _class_loss
    whole = _transformers().AutoModel.from_pretrained(encoder, local_files_only=True)
    best: tuple[float, Pretrained] | None = None
    for rate in RATES:
        torch.manual_seed(seed)
        model = Pretrained(copy.deepcopy(whole), task)
        _adapt(model.encoder, way, is_image=model.side is not None, seed=seed)
        model.to(device)
        history = train(
            model,
            TensorBatches(fit, BATCH),
            loss=loss,
            n_epochs=EPOCHS,
            optimizer=partial(_adam, rate=rate),
            valid_loader=TensorBatches(chosen, BATCH, shuffle=False),
            patience=PATIENCE,
            random_state=seed,
            description=f"{task.name}, {way}",
        )
        least = min(history.valid_losses)
        if best is None or least < best[0]:
            best = least, model
    assert best is not None
    model = best[1]
    trained = sum(p.numel() for p in model.encoder.parameters() if p.requires_grad)
    with torch.no_grad():
        batches = TensorBatches(task.test, BATCH, shuffle=False)
        outputs = torch.cat([model(*(t.to(device) for t in batch[:-1])).cpu() for batch in batches])
    return 100.0 * task.score(outputs.double().numpy(), task.test[-1].numpy()), trained


def _adapt(encoder: nn.Module, way: str, *, is_image: bool, seed: int) -> None:
    if way == "head":
        encoder.requires_grad_(False)
    elif way == "LoRA":
        add_low_rank(encoder, lambda name, _: name.rpartition(".")[2] in ("query", "value", "q_proj", "v_proj"))
    else:
        features = 64 if is_image else 8
        report = add_adapters(encoder, n_features=features, random_state=1000 * seed)
        if way != "SNNK":
            width = report.adapters[report.names[0]].width
            # 2 width narrow + narrow + width numbers, against width features + width.
            narrow = 24 if way == "bottleneck" else max(1, width * features // (2 * width + 1))
            for name in report.names:
                encoder.get_submodule(name).adapter = Bottleneck(width, narrow)


def _of_sentences(task: GlueTask, bert: Path) -> Task:
    tokenizer = _transformers().AutoTokenizer.from_pretrained(bert, local_files_only=True)
    options: dict[str, Any] = {"padding": True, "truncation": True, "max_length": LONGEST, "return_tensors": "pt"}
    rows_of: list[list[Tensor]] = []
    for part in (task.train, task.valid):
        found = tokenizer(part.first, *([] if part.second is None else [part.second]), **options)
        targets = torch.from_numpy(part.targets)
        rows_of.append([*found.values(), targets if task.classes else targets.float()])
    train_rows, test_rows = rows_of
    return Task(task.name, train_rows, test_rows, tuple(found), len(task.classes) or 1, _SCORES[task.metric])


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra("transformers reads pretrained encoders: pip install transformers") from error


def _adam(parameters: Any, rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=rate, weight_decay=0.01)


def _class_loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    return F.cross_entropy(model(*batch[:-1]), batch[-1])


def _square_loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    return F.mse_loss(model(*batch[:-1]).squeeze(-1), batch[-1])


def _accuracy(outputs: Array, targets: Array) -> float:
    return float(np.mean(outputs.argmax(1) == targets))


def _pearson(outputs: Array, targets: Array) -> float:
    return float(np.corrcoef(outputs[:, 0], targets)[0, 1])


_SCORES: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": lambda outputs, targets: float(f1_score(targets, outputs.argmax(1))),
    "matthews": lambda outputs, targets: float(matthews_corrcoef(targets, outputs.argmax(1))),
    "pearson": _pearson,
}
