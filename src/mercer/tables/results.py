"""What a fit found out, as plain data: the report and `metrics.json` are made from this and nothing else."""

from dataclasses import dataclass, field

import numpy as np

from mercer.tables.columns import Column
from mercer.tables.leaks import Leak
from mercer.tables.options import FitOptions
from mercer.tables.scores import Score
from mercer.tables.splits import Split
from mercer.tables.stages import Stage

__all__ = ["TITLES", "Curve", "Effect", "FeatureFacts", "Findings", "Interval", "KernelFacts", "ModelFacts"]


TITLES = {
    "kernel": "Kernel model",
    "features": "Recursive feature machine",
    "boosting": "Gradient boosting",
    "ridge": "Linear model",
}


@dataclass(frozen=True)
class ModelFacts:
    """One of the models that are compared.

    Attributes:
        name: ``"kernel"``, ``"features"``, ``"boosting"`` or ``"ridge"``.
        title: for people; ``detail`` says how it was made.
        validation: and ``test``: its scores, the headline first.
        prediction: on the test part, in the table's units, or ``(n, n_classes)`` probabilities.
        seconds: to fit it.
    """

    name: str
    title: str
    detail: str
    validation: list[Score]
    test: list[Score]
    prediction: np.ndarray
    seconds: float


@dataclass(frozen=True)
class KernelFacts:
    """How the kernel model was made.

    Attributes:
        text: the kernel, as :func:`mercer.kernels.parse` reads it.
        candidates: name and loss of every kernel that was tried, the best first.
        is_exact: every training row has a coefficient; else ``n_centers`` of them.
        learnt_rows: on which hyperparameters were learnt, in ``n_evaluations`` of the marginal likelihood.
        lengthscales: what shares one, and its value in the feature's units, where the kernel has one a feature.
        noise: standard deviation of what the kernel cannot explain, as a share of the target's.
        solver: how the system was solved, to which relative ``residual``, in how many iterations.
        n_rows: and ``n_features``: of the training matrix.
    """

    text: str
    candidates: list[tuple[str, float]]
    is_exact: bool
    n_centers: int | None
    learnt_rows: int
    n_evaluations: int
    lengthscales: list[tuple[str, float]]
    noise: float
    solver: str
    residual: float
    n_iter: int
    n_rows: int
    n_features: int


@dataclass(frozen=True)
class FeatureFacts:
    """How the recursive feature machine was made.

    Attributes:
        text: the settings that were chosen.
        candidates: text and loss of all that were tried, the best first.
        n_feature_rows: on how many rows of a leaf the metric was learnt.
        n_leaves: and ``leaf_size``: into how many parts of at most how many rows the training part was split.
        iterations: of the metric of each leaf.
        residual: the largest of the leaves' linear systems.
        importances: each column's share of the diagonal of the metric, the largest first.
        n_rows: of the training part.
    """

    text: str
    candidates: list[tuple[str, float]]
    n_feature_rows: int
    n_leaves: int
    leaf_size: int
    iterations: list[int]
    residual: float
    importances: list[tuple[str, float]]
    n_rows: int


@dataclass(frozen=True)
class Interval:
    """Intervals of the chosen model on the test part.

    Attributes:
        level: asked for.
        coverage: reached, with standard ``error``.
        width: median width in the table's units.
        lower: and ``upper``: ``(n_test,)``.
    """

    level: float
    coverage: float
    error: float
    width: float
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True)
class Curve:
    """Validation score by number of training rows; NaN where a model was not fitted at that size."""

    score: str
    sizes: list[int]
    values: dict[str, list[float]]


@dataclass(frozen=True)
class Effect:
    """The prediction as one column changes: quartiles over rows."""

    column: str
    values: list[float] | list[str]
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    of: str


@dataclass
class Findings:
    """Everything that a report says.

    Attributes:
        options: as given.
        table: its name.
        task: ``"regression"`` or ``"classification"``.
        n_rows: and ``n_left_out``: rows in use, and rows without a target.
        columns: of the table; ``handling`` says what became of each, by name.
        target_scale: ``"log"`` or ``"plain"``.
        classes: of the target, empty for numbers.
        split: the three parts.
        models: the chosen one first.
        chosen: its name, and ``reasons``: why it and its kernel and its size, a sentence each.
        warnings: what a reader must know before believing a score.
        truth: the test part's target, numbers or positions of classes.
        ours: name of the model of mercer that is best on the validation part: ``"kernel"`` or ``"features"``.
        difference: the score of that model minus that of boosting on the test part, and its standard error.
        features: how the recursive feature machine was made, where there was time for it.
    """

    options: FitOptions
    table: str
    task: str
    n_rows: int
    n_left_out: int
    columns: list[Column]
    handling: dict[str, str]
    target_scale: str
    classes: tuple[str, ...]
    split: Split
    models: list[ModelFacts]
    chosen: str
    reasons: list[str]
    warnings: list[str]
    leaks: list[Leak]
    kernel: KernelFacts
    truth: np.ndarray
    ours: str
    difference: tuple[float, float]
    features: FeatureFacts | None = None
    interval: Interval | None = None
    curve: Curve | None = None
    importances: list[tuple[str, float]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    def model(self, name: str) -> ModelFacts:
        """The model of that name."""
        return next(model for model in self.models if model.name == name)
