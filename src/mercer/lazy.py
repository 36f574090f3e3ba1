"""Packages whose names are imported on first use, so that asking for one does not pay for all."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["on_first_use"]


def on_first_use(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` (PEP 562) of a package whose ``__init__`` imports its names for types alone.

    Where each name is defined stands once, in the imports under ``if TYPE_CHECKING:``, which type checkers, editors
    and ``mercer.papers`` read too. A name that is also the name of a file of the package cannot be among them: once
    that file is imported, Python has the file under this name.

    Args:
        package: its ``__name__``.

    >>> get, names = on_first_use("mercer.learn")
    >>> get("KernelRidge"), "KernelRidge" in names()
    (<class 'mercer.learn.kernel_ridge.KernelRidge'>, True)
    """
    module = sys.modules[package]
    homes = {
        alias.asname or alias.name: node.module
        for block in ast.parse(inspect.getsource(module)).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(module, name, value)
        return value

    return get, lambda: sorted({*vars(module), *homes})
