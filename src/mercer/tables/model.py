"""The model that is saved: transforms, the chosen predictor, intervals or probabilities; JSON and safetensors only."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mercer.errors import FileFormatError, TableError
from mercer.learn import (
    KernelRidge,
    KernelRidgeClassifier,
    RecursiveFeatureMachine,
    RecursiveFeatureMachineClassifier,
)
from mercer.store import load_state, save_state
from mercer.tables.baselines import LinearModel
from mercer.tables.features import Features
from mercer.tables.probabilities import Probabilities
from mercer.tables.target import ClassTarget, NumberTarget

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableModel"]

VERSION = 1
KIND = "TableModel"
TABLE_FILE, KERNEL_FILE = "model.safetensors", "kernel.safetensors"
KernelPredictor = KernelRidge | KernelRidgeClassifier | RecursiveFeatureMachine | RecursiveFeatureMachineClassifier
_KERNEL_PREDICTORS: dict[str, type[KernelPredictor]] = {
    kind.__name__: kind
    for kind in (KernelRidge, KernelRidgeClassifier, RecursiveFeatureMachine, RecursiveFeatureMachineClassifier)
}


@dataclass
class TableModel:
    """A fitted model of a table.

    Attributes:
        target_name: the column that it predicts.
        target: its scale, or its classes.
        features: the transforms.
        predictor: the kernel model, the recursive feature machine or the linear model, whichever was best.
        radius: half the width of an interval in the model's units; None for classes.
        level: how often an interval is to hold the truth.
        probabilities: from the predictor's values to probabilities; None for numbers.
    """

    target_name: str
    target: NumberTarget | ClassTarget
    features: Features
    predictor: KernelPredictor | LinearModel
    level: float
    radius: float | None = None
    probabilities: Probabilities | None = None

    def predict(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """One row a row of ``frame``, in order.

        Args:
            frame: a table with the columns that the model was fitted on, by name; more are ignored. Values may be
                missing, and categories may be new.

        Returns:
            columns ``prediction``, ``lower``, ``upper``; or ``prediction`` and ``p_CLASS`` a class.

        Raises:
            TableError: a column is missing, or holds text where numbers should be.
        """
        import pandas as pd

        if len(frame) == 0:
            raise TableError("The table has no rows to predict.")
        values = raw_prediction(self.predictor, self.features.apply(frame).astype(np.float32))
        if isinstance(self.target, NumberTarget):
            assert self.radius is not None
            shifts = {"prediction": 0.0, "lower": -self.radius, "upper": self.radius}
            return pd.DataFrame({name: self.target.backward(values[:, 0] + shift) for name, shift in shifts.items()})
        assert self.probabilities is not None
        shares = self.probabilities(values)
        classes = np.array(self.target.classes, dtype=object)
        columns = {"prediction": classes[shares.argmax(axis=1)]}
        return pd.DataFrame(columns | {f"p_{name}": shares[:, place] for place, name in enumerate(classes)})

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, and ``kernel.safetensors`` unless the predictor is the linear model."""
        from mercer import __version__

        tensors = {}
        if isinstance(self.predictor, LinearModel):
            tensors["coefficients"] = torch.from_numpy(self.predictor.coefficients)
            tensors["intercept"] = torch.from_numpy(self.predictor.intercept)
            kind = "linear"
        else:
            self.predictor.save(folder / KERNEL_FILE)
            kind = type(self.predictor).__name__
        if self.probabilities is not None:
            tensors["slopes"] = torch.from_numpy(self.probabilities.slopes)
            tensors["offsets"] = torch.from_numpy(self.probabilities.offsets)
        meta = {
            "kind": KIND,
            "version": VERSION,
            "mercer": __version__,
            "target_name": self.target_name,
            "target": self.target.state(),
            "features": self.features.state(),
            "predictor": kind,
            "penalty": self.predictor.penalty if isinstance(self.predictor, LinearModel) else None,
            "level": self.level,
            "radius": self.radius,
        }
        save_state(folder / TABLE_FILE, tensors=tensors, meta=meta)

    @classmethod
    def load(cls, folder: Path) -> "TableModel":
        """The model that ``mercer fit --out`` wrote into a folder. Reading runs no code from it.

        Raises:
            TableError: the folder has no model in it.
            FileFormatError: a file is damaged, or written by a newer mercer.
        """
        if not (folder / TABLE_FILE).is_file():
            raise TableError(f"{folder} has no model in it; give the folder that `mercer fit --out` made.")
        tensors, meta = load_state(folder / TABLE_FILE, kind=KIND, version=VERSION)
        predictor: KernelPredictor | LinearModel
        if meta["predictor"] == "linear":
            predictor = LinearModel(tensors["coefficients"].numpy(), tensors["intercept"].numpy(), meta["penalty"])
        elif meta["predictor"] in _KERNEL_PREDICTORS:
            if not (folder / KERNEL_FILE).is_file():
                raise FileFormatError(f"{folder} lacks {KERNEL_FILE}; copy the whole folder that `mercer fit` made.")
            predictor = _KERNEL_PREDICTORS[meta["predictor"]].load(folder / KERNEL_FILE)
        else:
            raise FileFormatError(f"{folder} has a predictor {meta['predictor']!r}, unknown here. Update mercer.")
        is_class = "classes" in meta["target"]
        probabilities = Probabilities(tensors["slopes"].numpy(), tensors["offsets"].numpy()) if is_class else None
        return cls(
            target_name=meta["target_name"],
            target=ClassTarget(tuple(meta["target"]["classes"])) if is_class else NumberTarget(**meta["target"]),
            features=Features.from_state(meta["features"]),
            predictor=predictor,
            level=meta["level"],
            radius=meta["radius"],
            probabilities=probabilities,
        )


def raw_prediction(predictor: Any, X: np.ndarray) -> np.ndarray:
    """``(n, t)``: numbers in the model's units, or one value a class."""
    if isinstance(predictor, KernelRidgeClassifier | RecursiveFeatureMachineClassifier):
        values = np.asarray(predictor.decision_function(X), dtype=np.float64)
        return np.stack([-values, values], axis=1) if values.ndim == 1 else values
    values = np.asarray(predictor.predict(X), dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values
