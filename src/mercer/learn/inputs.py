"""What estimators are given: numpy, pandas, scipy sparse or torch in; tensors inside; the caller's kind out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import _check_sample_weight, validate_data
from torch import Tensor

from mercer.arrays import as_tensor, check_finite, like
from mercer.config import require_memory
from mercer.errors import ShapeError

__all__ = [
    "Given",
    "as_targets",
    "as_weights",
    "check_points",
    "check_training",
    "densify",
    "estimator_columns",
    "take",
]

_FLOATS = [np.float64, np.float32]  # these are kept; the first stands in for all else


@dataclass(frozen=True)
class Given:
    """Points as an estimator got them, checked.

    Attributes:
        points: tensor ``(n, d)``, a scipy CSR matrix, or (for kernels of other things than vectors) an array of objects.
        example: what the caller gave, so that answers go back in its kind.
    """

    points: Any
    example: Any

    def __len__(self) -> int:
        return int(self.points.shape[0])

    @property
    def is_sparse(self) -> bool:
        """Whether the points are a scipy matrix."""
        return sparse.issparse(self.points)

    @property
    def device(self) -> torch.device:
        """Where the points are."""
        return self.points.device if isinstance(self.points, Tensor) else torch.device("cpu")

    def keep(self, *, copy: bool = False) -> Any:
        """The points as a fitted attribute: a tensor if tensors were given, else an array or a CSR matrix."""
        if not isinstance(self.points, Tensor):
            return self.points.copy() if copy else self.points
        points = self.points.clone() if copy else self.points
        return points if isinstance(self.example, Tensor) else points.numpy()

    def coefficients(self, values: Tensor) -> Any:
        """float64 coefficients as a fitted attribute: a tensor if tensors were given, else an array."""
        return values if isinstance(self.example, Tensor) else values.cpu().numpy()

    def answer(self, values: Tensor) -> Any:
        """Predictions in the kind and the floating-point type of what was given."""
        if isinstance(self.example, Tensor):
            return like(values, self.example)
        is_single = str(self.points.dtype).removeprefix("torch.") == "float32"
        return values.cpu().numpy().astype(np.float32 if is_single else np.float64, copy=False)


def check_points(estimator: Any, X: Any, *, reset: bool = False, accept_sparse: bool = False) -> Given:
    """Checked points, against ``n_features_in_`` and the names of the columns at fit, or setting them.

    float32 and float64 are kept, half types of tensors too; all else becomes float64.

    Args:
        estimator: whose data it is.
        X: array, table, tensor, or scipy sparse matrix where accepted.
        reset: True in ``fit``.
        accept_sparse: whether a scipy matrix may be given.

    Raises:
        ValueError: NaN, infinities, wrong shapes, or other columns than at fit; scikit-learn's messages.
    """
    if isinstance(X, Tensor):
        return _check_tensor(estimator, X, reset=reset)
    points = validate_data(estimator, X, reset=reset, dtype=_FLOATS, accept_sparse="csr" if accept_sparse else False)
    return Given(points if sparse.issparse(points) else as_tensor(points), X)


def check_training(
    estimator: Any, X: Any, y: Any, *, accept_sparse: bool = False, numeric: bool = True
) -> tuple[Given, Any]:
    """Checked points and targets of ``fit``; as :func:`check_points`.

    Args:
        y: ``(n,)`` or, where ``numeric``, ``(n, t)``; classes need not be numbers.

    Raises:
        ValueError: also a missing y, NaN or infinity in it, or another number of rows.
    """
    if isinstance(X, Tensor):
        given = _check_tensor(estimator, X, reset=True)
        if y is None:
            validate_data(estimator, np.zeros((1, 1)), None, reset=False, skip_check_array=True)
        targets = _plain(y)
        if len(targets) != len(X):
            raise ShapeError(
                f"Found input variables with inconsistent numbers of samples: X has {len(X)} rows, y has {len(targets)}."
            )
        if numeric:
            check_finite(as_tensor(targets, dtype=torch.float64), "y")
        return given, targets
    points, targets = validate_data(
        estimator,
        X,
        _plain(y),
        reset=True,
        dtype=_FLOATS,
        accept_sparse="csr" if accept_sparse else False,
        multi_output=numeric,
        y_numeric=numeric,
    )
    return Given(points if sparse.issparse(points) else as_tensor(points), X), targets


def _check_tensor(estimator: Any, X: Tensor, *, reset: bool) -> Given:
    if X.dim() != 2:
        raise ShapeError(
            f"Expected 2D array, got {X.dim()}D array instead: X must be (n, d). Use X.reshape(-1, 1) for one column."
        )
    if X.is_complex():
        raise ValueError("Complex data not supported: give real numbers.")
    if 0 in X.shape:
        raise ShapeError(f"Found array with shape {tuple(X.shape)}: at least one row and one column are needed.")
    points = as_tensor(X.detach(), dtype=None if X.is_floating_point() else torch.float64)
    check_finite(points, "X")
    validate_data(estimator, points, reset=reset, skip_check_array=True)
    return Given(points, X)


def _plain(y: Any) -> Any:
    return y.detach().cpu().numpy() if isinstance(y, Tensor) else y


def as_targets(y: Any, device: torch.device) -> tuple[Tensor, bool]:
    """Targets in float64, ``(n, t)``, and whether they were given as ``(n,)``."""
    values = as_tensor(y, dtype=torch.float64, device=device)
    return (values.unsqueeze(-1), True) if values.dim() == 1 else (values, False)


def as_weights(sample_weight: Any, given: Given) -> Tensor | None:
    """Weights of the rows in float64, ``(n,)``; None when all are equal to 1.

    Raises:
        ValueError: negative or infinite weights, all of them zero, or another number of them than rows.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Tensor):
        sample_weight = sample_weight.detach().cpu().numpy()
    rows = np.empty((len(given), 1))
    weights = as_tensor(_check_sample_weight(sample_weight, rows, dtype=np.float64), device=given.device)
    if bool((weights < 0).any()):
        raise ValueError(f"sample_weight must not be negative, but {int((weights < 0).sum())} of {len(weights)} are.")
    if not bool((weights > 0).any()):
        raise ValueError("sample_weight is zero for every row: there is nothing to learn from.")
    return None if bool((weights == 1).all()) else weights


def densify(points: Any, *, why: str) -> Tensor:
    """A sparse matrix as a tensor, if the memory budget allows; a tensor as it is.

    Raises:
        MemoryBudgetError: it would not fit.
    """
    if not sparse.issparse(points):
        return torch.as_tensor(points)
    n, d = points.shape
    require_memory(
        n * d * points.dtype.itemsize,
        asked=f"A dense copy of the sparse X, {n} x {d}, for {why},",
        instead="Use a linear or polynomial kernel, which work on the sparse matrix, or reduce X first "
        "(sklearn.decomposition.TruncatedSVD).",
    )
    return torch.from_numpy(points.toarray())


def take(points: Any, rows: Tensor) -> Any:
    """Some rows of a tensor or of a sparse matrix."""
    return points[rows.cpu().numpy()] if sparse.issparse(points) else points[rows.to(points.device)]


def estimator_columns(estimator: Any) -> list[str] | None:
    """The column names seen at fit, or None."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else list(names)
