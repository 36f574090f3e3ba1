"""What a student is trained to: the labels and the outputs of a frozen teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError

__all__ = ["DistillationLoss", "TaughtLoss"]


@dataclass(frozen=True)
class DistillationLoss:
    """The loss of a network against labels; with :meth:`taught` against a teacher too.

    Args:
        kind: "brier", "mse" or "cross_entropy".
        temperature: of the teacher's term of "cross_entropy".

    Raises:
        ValueError: another kind, or a temperature that is not positive or has no effect.
    """

    kind: Literal["brier", "mse", "cross_entropy"]
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("brier", "mse", "cross_entropy"):
            raise ValueError(f"loss must be 'brier', 'mse' or 'cross_entropy', not {self.kind!r}.")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}.")
        if self.temperature != 1.0 and self.kind != "cross_entropy":
            raise ValueError(f"temperature softens 'cross_entropy' only; loss={self.kind!r} has none.")

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """Against the labels alone: the mean over the batch."""
        x, y = batch
        raw = model(x)
        return self._labels(raw, y)

    def taught(self, teacher: nn.Module | None, weight: float) -> TaughtLoss:
        """``weight`` times the loss against labels, the rest against the outputs of ``teacher``."""
        return TaughtLoss(self, teacher, weight)

    def outputs(self, raw: Tensor) -> Tensor:
        """What is compared with :meth:`target`: probabilities, or for "mse" the outputs themselves."""
        return raw if self.kind == "mse" else raw.softmax(-1)

    def target(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Labels in the shape of the outputs: one-hot where they are classes.

        Raises:
            ShapeError: they do not fit.
        """
        if self.kind != "mse" and y.dim() == outputs.dim() - 1 and not y.is_floating_point():
            if int(y.max()) >= outputs.shape[-1]:
                raise ShapeError(
                    f"class {int(y.max())} has no output: the network has {outputs.shape[-1]}, from class 0 on."
                )
            return nn.functional.one_hot(y.long(), outputs.shape[-1]).to(outputs.dtype)
        if self.kind == "mse" and y.dim() == outputs.dim() - 1 and outputs.shape[-1] == 1:
            y = y.unsqueeze(-1)
        if y.shape != outputs.shape:
            raise ShapeError(f"the labels have shape {tuple(y.shape)}, the network's outputs {tuple(outputs.shape)}.")
        return y.to(outputs.dtype)

    def _labels(self, raw: Tensor, y: Tensor) -> Tensor:
        return self._distance(raw, self.target(y, raw), 1.0)

    def _distance(self, raw: Tensor, target: Tensor, temperature: float) -> Tensor:
        """The mean over the batch of the loss of outputs ``raw`` against probabilities or numbers."""
        if self.kind == "cross_entropy":
            each = -(target * (raw / temperature).log_softmax(-1)).sum(-1) * temperature**2
        else:
            each = (self.outputs(raw) - target).square().sum(-1)
        return each.mean()


class TaughtLoss:
    """``loss(model, batch)`` of a student.

    The teacher is no part of the student, so ``student.train()`` leaves it alone, and no gradient goes into it.
    """

    def __init__(self, loss: DistillationLoss, teacher: nn.Module | None, weight: float) -> None:
        self.loss, self.teacher, self.weight = loss, teacher, weight

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """The mixture."""
        x, y = batch
        raw = model(x)
        loss = self.loss
        if self.teacher is None or self.weight == 1.0:
            return loss._labels(raw, y)
        self.teacher.eval()
        with torch.no_grad():
            taught = self.teacher(x)
            taught = taught if loss.kind == "mse" else (taught / loss.temperature).softmax(-1)
        distance = loss._distance(raw, taught, loss.temperature)
        if self.weight == 0.0:
            return distance
        return self.weight * loss._labels(raw, y) + (1.0 - self.weight) * distance
