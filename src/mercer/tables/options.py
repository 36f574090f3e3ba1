"""What a user may say to `mercer fit`, checked once and early."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mercer.errors import TableError

__all__ = ["FitOptions"]

TASKS = ("auto", "regression", "classification")
TARGET_SCALES = ("auto", "log", "plain")


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How to make a model of a table. Everything but ``target`` has a default an expert would choose.

    Attributes:
        target: the column to predict.
        task: ``"regression"``, ``"classification"``, or ``"auto"``: numbers with more than two values are regression.
        kernel: in the grammar of :func:`mercer.kernels.parse`; None chooses one on the validation part. Columns are
            named as in the table, ``Matern().on(["carat"])``.
        time_budget: seconds to spend, baselines and plots included.
        time_column: split in time by this column: train on what came first, test on what came last.
        group_column: split by this column: rows with the same value stay in the same part.
        ordered: categories from lowest to highest, by column.
        categorical: columns whose numbers are only labels.
        drop: columns to leave out.
        missing: values that stand for a missing one, beside empty cells and ``NA``.
        drop_missing_target: leave out rows without a target instead of raising.
        target_scale: ``"log"``, ``"plain"``, or ``"auto"``: the log of a positive target with a long right tail.
        level: how often an interval is to hold the truth.
        n_centers: None decides between exact and centres by the budget; 0 forces exact.
        learn_rows: rows on which the hyperparameters are learnt; None decides by the budget.
        random_state: seed of the split and of everything else that is random.

    Raises:
        TableError: a value that makes no sense.

    >>> FitOptions(target="price", level=90)
    Traceback (most recent call last):
    mercer.errors.TableError: level is 90, but is a share: above 0 and below 1, such as 0.9.
    """

    target: str
    task: str = "auto"
    kernel: str | None = None
    time_budget: float = 120.0
    time_column: str | None = None
    group_column: str | None = None
    ordered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    categorical: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    drop_missing_target: bool = False
    target_scale: str = "auto"
    level: float = 0.9
    n_centers: int | None = None
    learn_rows: int | None = None
    random_state: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise TableError(f"level is {self.level:g}, but is a share: above 0 and below 1, such as 0.9.")
        if not self.time_budget > 0.0:
            raise TableError(f"time_budget is {self.time_budget:g} seconds, but must be above 0.")
        if self.task not in TASKS:
            raise TableError(f"task is {self.task!r}, but must be one of {', '.join(TASKS)}.")
        if self.target_scale not in TARGET_SCALES:
            raise TableError(f"target_scale is {self.target_scale!r}, but must be one of {', '.join(TARGET_SCALES)}.")
        if self.time_column is not None and self.group_column is not None:
            raise TableError("Both a time column and a group column are given, but a table is split by one of them.")
        for name in ("n_centers", "learn_rows"):
            count = getattr(self, name)
            if count is not None and count < 0:
                raise TableError(f"{name} is {count}, but is a number of rows.")
        if self.target in self.drop:
            raise TableError(f"Column {self.target!r} is the target and cannot be left out too.")

    def as_json(self) -> dict[str, Any]:
        """As JSON can hold it, for `metrics.json`."""
        return asdict(self) | {"ordered": {name: list(levels) for name, levels in self.ordered.items()}}
