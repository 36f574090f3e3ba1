"""What estimators are given: numpy, pandas, scipy sparse or torch in; tensors inside; the caller's kind out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import _check_sample_weight, _check_y, validate_data
from torch import Tensor

from mercer.arrays import as_tensor, check_finite, like
from mercer.config import require_memory
from mercer.errors import ShapeError

__all__ = [
    "Given",
    "as_given",
    "as_points",
    "as_targets",
    "as_weights",
    "check_data",
    "copy_columns",
    "densify",
    "estimator_columns",
    "is_sparse",
    "take",
    "weighted_mean",
]

_FLOATS = [np.float64, np.float32]  # these are kept; the first stands in for all else
_NO_TARGETS = object()  # None is a target that somebody forgot


@dataclass(frozen=True)
class Given:
    """Points as an estimator got them, checked.

    Attributes:
        points: tensor ``(n, d)``, a scipy CSR matrix, or (for kernels of other things than vectors) an object array.
        example: what the caller gave, so that answers go back in its kind.
    """

    points: Any
    example: Any

    def __len__(self) -> int:
        return int(self.points.shape[0])

    @property
    def is_sparse(self) -> bool:
        """Whether the points are a scipy matrix."""
        return is_sparse(self.points)

    @property
    def device(self) -> torch.device:
        """Where the points are."""
        return self.points.device if isinstance(self.points, Tensor) else torch.device("cpu")

    def points_on(self, device: torch.device) -> Any:
        """The points on a device; a scipy matrix as it is."""
        return self.points.to(device) if isinstance(self.points, Tensor) else self.points

    def keep(self, *, copy: bool = False) -> Any:
        """The points as a fitted attribute: a tensor if tensors were given, else an array or a CSR matrix."""
        if not isinstance(self.points, Tensor):
            return self.points.copy() if copy else self.points
        points = self.points.clone() if copy else self.points
        return points if isinstance(self.example, Tensor) else points.numpy()

    def coefficients(self, values: Tensor) -> Any:
        """Numbers (coefficients, labels) as a fitted attribute: a tensor if tensors were given, else an array."""
        return as_given(values, isinstance(self.example, Tensor))

    def answer(self, values: Tensor) -> Any:
        """Predictions in the kind and the floating-point type of what was given."""
        if isinstance(self.example, Tensor):
            return like(values, self.example)
        is_single = str(self.points.dtype).removeprefix("torch.") == "float32"
        return values.cpu().numpy().astype(np.float32 if is_single else np.float64, copy=False)


def check_data(
    estimator: Any,
    X: Any,
    y: Any = _NO_TARGETS,
    *,
    reset: bool,
    accept_sparse: bool = False,
    multi_output: bool = False,
    y_numeric: bool = False,
) -> Any:
    """Checked data: ``Given``, or ``(Given, y)`` where a y is passed; sets or compares ``n_features_in_`` and names.

    float32 and float64 are kept, half types of tensors too; all else becomes float64.

    Args:
        estimator: whose data it is.
        X: array, table, tensor, or scipy sparse matrix where accepted.
        y: the targets, ``(n,)`` or ``(n, t)``; left out for points alone. None is a missing y, which raises.
        reset: True in ``fit``.
        accept_sparse: whether a scipy matrix may be given.
        multi_output: whether y may have columns.
        y_numeric: whether y must hold numbers; classes need not.

    Raises:
        ValueError: NaN, infinities, wrong shapes, other columns than at fit, a missing y; scikit-learn's messages.
    """
    if len(getattr(X, "shape", ())) > 2:
        raise ShapeError(
            f"Expected 2D array, got {len(X.shape)}D array instead: X has shape {tuple(X.shape)}, but must be (n, d). "
            f"Give rows, X.reshape(len(X), -1); kernels of images are told what they are by shape= and channels=."
        )
    has_targets = y is not _NO_TARGETS
    y = like(y, None) if isinstance(y, Tensor) else y
    kinds = {"multi_output": multi_output, "y_numeric": y_numeric}
    if isinstance(X, Tensor):
        given = _check_tensor(estimator, X, reset=reset)
        return (given, _check_targets(estimator, X, y, **kinds)) if has_targets else given
    options: dict[str, Any] = {"dtype": _FLOATS, "accept_sparse": "csr" if accept_sparse else False}
    if not has_targets:
        points = validate_data(estimator, X, reset=reset, **options)
        return Given(points if is_sparse(points) else as_tensor(points), X)
    points, targets = validate_data(estimator, X, y, reset=reset, **options, **kinds)
    return Given(points if is_sparse(points) else as_tensor(points), X), targets


def _check_targets(estimator: Any, X: Tensor, y: Any, *, multi_output: bool, y_numeric: bool) -> Any:
    """Targets that came with a tensor, as scikit-learn checks them beside an array."""
    if y is None:
        validate_data(estimator, np.zeros((1, 1)), None, reset=False, skip_check_array=True)  # raises
    if y_numeric:
        check_finite(as_tensor(y, dtype=torch.float64), "y")  # says where
    targets = _check_y(y, multi_output=multi_output, y_numeric=y_numeric, estimator=estimator)
    if len(targets) != len(X):
        raise ShapeError(
            f"Found input variables with inconsistent numbers of samples: X has {len(X)}, y has {len(targets)}."
        )
    return targets


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


def as_targets(y: Any, device: torch.device | None = None) -> tuple[Tensor, bool]:
    """Targets in float64, ``(n, t)``, and whether they were given as ``(n,)``; None leaves a tensor where it is."""
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
    return None if bool((weights == 1).all()) else weights


def weighted_mean(Y: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of each target over the rows, ``(n, t) -> (t,)``; weights as :func:`as_weights` gives them."""
    return Y.mean(0) if weights is None else weights @ Y / weights.sum()


def is_sparse(points: Any) -> bool:
    """Whether the points are a scipy matrix."""
    return bool(sparse.issparse(points))


def densify(points: Any, *, why: str) -> Tensor:
    """A sparse matrix as a tensor, if the memory budget allows; a tensor as it is.

    Raises:
        MemoryBudgetError: it would not fit.
    """
    if not is_sparse(points):
        return torch.as_tensor(points)
    n, d = points.shape
    require_memory(
        n * d * points.dtype.itemsize,
        asked=f"A dense copy of the sparse X, {n} x {d}, for {why},",
        instead="Use a linear or polynomial kernel, which work on the sparse matrix, or reduce X first "
        "(sklearn.decomposition.TruncatedSVD).",
    )
    return torch.from_numpy(points.toarray())


def as_given(values: Tensor, as_tensors: bool) -> Any:
    """Numbers as a fitted attribute: a tensor where tensors were given, else an array."""
    return values if as_tensors else values.cpu().numpy()


def as_points(kept: Any) -> Any:
    """What :meth:`Given.keep` gave, as kernels take it again: a tensor or a sparse matrix."""
    return kept if is_sparse(kept) else as_tensor(kept)


def take(points: Any, rows: Tensor) -> Any:
    """Some rows of a tensor or of a sparse matrix."""
    return points[rows.cpu().numpy()] if is_sparse(points) else points[rows.to(points.device)]


def copy_columns(source: Any, target: Any) -> None:
    """What one estimator has seen of columns at fit, their number and names, as an attribute of another."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(source, name):
            setattr(target, name, getattr(source, name))


def estimator_columns(estimator: Any) -> list[str] | None:
    """The column names seen at fit, or None."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else list(names)
