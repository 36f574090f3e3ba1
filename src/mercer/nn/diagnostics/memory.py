"""How much memory a call takes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_bytes"]


def peak_bytes(function: Callable[[], Any]) -> int:
    """The most memory that tensors held at once during a call, beyond what was there before.

    Backward passes count, on the CPU too, where torch tells no peak itself. What an operator of torch takes inside, and
    gives back before it returns, is not seen.

    Args:
        function: called once, without arguments.

    >>> peak_bytes(lambda: torch.ones(1000, 1000) + torch.ones(1000, 1000)) // 1_000_000
    12
    """
    watch = _Watch()
    with watch:
        function()
    return watch.most


class _Watch(TorchDispatchMode):
    """Counts the bytes of storages that operators return and that none of their arguments has."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = self.most = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        known = {_storage(t)._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and (storage := _storage(tensor))._cdata not in known:
                known.add(storage._cdata)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return out

    def _add(self, bytes: int) -> None:
        self.held += bytes
        self.most = max(self.most, self.held)


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()
