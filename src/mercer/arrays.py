"""Arrays in and out: anything that holds numbers becomes a tensor, and answers go back in the caller's kind."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["as_tensor", "broadcast_shapes", "check_finite", "generator", "like"]


def as_tensor(X: Any, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Tensor:
    """A floating-point tensor of the numbers in ``X``.

    Shares memory with ``X`` where the numbers need no conversion (a read-only array is copied: torch knows no read-only
    tensors). Half, single, double and complex types are kept; integers and booleans take torch's default type.

    Args:
        X: tensor, ndarray, pandas DataFrame or Series, number, or nested list. Missing values (pandas NA) become NaN.
        dtype: convert to this type.
        device: move there; None leaves a tensor where it is.

    Raises:
        TypeError: ``X`` holds something that is not a number; the message names the column.

    >>> as_tensor([[1, 2], [3, 4]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    tensor = X if isinstance(X, Tensor) else _from_numpy(_numbers(X), dtype)
    if dtype is None and not (tensor.is_floating_point() or tensor.is_complex()):
        dtype = torch.get_default_dtype()
    return tensor.to(device=device, dtype=dtype)


def like(result: Tensor, example: Any) -> Any:
    """``result`` in the kind of ``example``: a tensor of the same device and type for a tensor, else an ndarray.

    An ndarray keeps the type of ``result`` (bfloat16, which NumPy lacks, becomes float32). A tensor of integers as the
    example decides the device only.
    """
    if isinstance(example, Tensor):
        follows = example.is_floating_point() and result.is_floating_point()
        return result.to(device=example.device, dtype=example.dtype if follows else result.dtype)
    result = result.detach().cpu()
    return (result.float() if result.dtype == torch.bfloat16 else result).numpy()


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """The shape that tensors of these shapes have once they are broadcast against each other.

    torch's function of this name takes 0.1 to 1 ms a call, and the first call imports 500 modules, for 3 s.

    Raises:
        RuntimeError: the shapes do not broadcast.

    >>> broadcast_shapes((2,), (3, 1), ())
    torch.Size([3, 2])
    """
    result = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for axis, length in enumerate(shape, len(result) - len(shape)):
            if result[axis] == 1:
                result[axis] = length
            elif length not in (1, result[axis]):
                raise RuntimeError(f"The shapes {', '.join(str(tuple(s)) for s in shapes)} do not broadcast.")
    return torch.Size(result)


def check_finite(X: Tensor, name: str) -> None:
    """Raise ``ValueError`` if ``X`` holds NaN or infinity, saying how many, which, and where the first stands."""
    finite = torch.isfinite(X)
    if bool(finite.all()):
        return
    bad = (~finite).nonzero()
    kinds = [word for word, found in (("NaN", torch.isnan(X).any()), ("infinity", torch.isinf(X).any())) if found]
    where = ", ".join(
        f"{axis} {int(i)}" for axis, i in zip(("row", "column", "axis 2", "axis 3"), bad[0], strict=False)
    )
    raise ValueError(
        f"{name} contains {' and '.join(kinds)}: {len(bad)} of {X.numel()} values, the first at {where} "
        f"(counted from 0). Drop these rows, or fill them in (sklearn.impute.SimpleImputer)."
    )


def generator(random_state: Any, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of our own; torch's global one is never touched.

    Args:
        random_state: an int (the same draws every time), a ``torch.Generator`` (returned as it is), a NumPy
            ``Generator`` or ``RandomState`` (one draw from it is the seed), or None (a fresh seed from the system).
        device: where it draws. For the same draw on every device, draw on the CPU and move the result.

    Raises:
        TypeError: none of these.
        ValueError: a negative int.
    """
    if isinstance(random_state, torch.Generator):
        return random_state
    own = torch.Generator(device=device)
    if random_state is None:
        own.seed()
    elif isinstance(random_state, Integral) and not isinstance(random_state, bool):
        if random_state < 0:
            raise ValueError(f"random_state must be 0 or more, not {random_state}.")
        own.manual_seed(int(random_state))
    elif isinstance(random_state, np.random.Generator):
        own.manual_seed(int(random_state.integers(2**63)))
    elif isinstance(random_state, np.random.RandomState):
        own.manual_seed(int(random_state.randint(2**31 - 1)))
    else:
        raise TypeError(
            f"random_state must be an int, a torch or NumPy generator, or None, not {type(random_state).__name__}."
        )
    return own


def _numbers(X: Any) -> NDArray[Any]:
    """``X`` as an ndarray of numbers."""
    if hasattr(X, "dtypes") and hasattr(X, "columns"):
        return _frame_numbers(X)
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise TypeError("X is a sparse matrix, which is not accepted here. Give X.toarray(), if it fits in memory.")
    if isinstance(X, (list, tuple)) and any(isinstance(x, Tensor) for x in X):
        return np.stack([_numbers(x.detach().cpu() if isinstance(x, Tensor) else x) for x in X])
    array = np.asarray(X)
    if array.dtype.kind in "fciub":
        return array
    if array.dtype.kind != "O":
        example = repr(str(array.flat[0])) if array.size else "nothing"
        raise TypeError(f"X must hold numbers, but is {array.dtype} (such as {example}). {_ENCODE}")
    return _object_numbers(array)


_ENCODE = "Encode such columns first, for example with sklearn.preprocessing.OneHotEncoder, or use `mercer fit`."


def _frame_numbers(frame: Any) -> NDArray[Any]:
    """The columns of a pandas DataFrame side by side, in their common floating-point type."""
    columns = []
    for position, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        column = frame.iloc[:, position]
        kind = getattr(dtype, "kind", "O")
        if kind not in "fciub" or str(dtype) == "category":
            example = repr(column.iloc[0]) if len(column) else "nothing"
            raise TypeError(f"column {name!r} must hold numbers, but is {dtype} (such as {example}). {_ENCODE}")
        # Nullable types (Int64, Float32, boolean) know NA; as floats it is NaN.
        is_nullable = not isinstance(dtype, np.dtype)
        columns.append(column.to_numpy(dtype=np.float64, na_value=np.nan) if is_nullable else column.to_numpy())
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


def _object_numbers(array: NDArray[Any]) -> NDArray[Any]:
    """An array of Python objects as float64, if every one of them is a number (None and pandas NA are NaN)."""
    result = np.empty(array.shape, dtype=np.float64)
    for index, value in np.ndenumerate(array):
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError
            result[index] = np.nan if value is None or type(value).__name__ == "NAType" else value
        except (TypeError, ValueError):
            where = f"column {index[-1]}, row {index[0]}" if array.ndim > 1 else f"position {index[0] if index else 0}"
            raise TypeError(f"X must hold numbers, but {where} (counted from 0) holds {value!r}. {_ENCODE}") from None
    return result


def _from_numpy(array: NDArray[Any], dtype: torch.dtype | None) -> Tensor:
    """A tensor over the array's memory where torch can, else over a copy."""
    if array.dtype.kind in "iub" and dtype is None:
        # One conversion instead of two, and NumPy has unsigned types that torch cannot compute with.
        array = array.astype(np.float32 if torch.get_default_dtype() == torch.float32 else np.float64)
    elif array.dtype.kind == "u" or array.dtype.itemsize > 16 or array.dtype == np.longdouble:
        array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)
