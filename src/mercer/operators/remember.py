"""What was found out about points, kept as long as the tensors that hold them are neither freed nor changed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["remembered"]

Found = TypeVar("Found")
_found: WeakIdKeyDictionary = WeakIdKeyDictionary()


def remembered(key: Hashable, X: Tensor, Y: Tensor, compute: Callable[[], Found]) -> Found:
    """``compute()``, or what it gave for the same key and tensors before."""
    known: dict[Hashable, tuple[int, weakref.ref[Tensor], int, Any]] = _found.setdefault(X, {})
    entry = known.get(key)
    if entry is not None:
        version_x, other, version_y, value = entry
        if (version_x, version_y) == (X._version, Y._version) and other() is Y:
            found: Found = value
            return found
    value = compute()
    known[key] = (X._version, weakref.ref(Y), Y._version, value)
    return value
