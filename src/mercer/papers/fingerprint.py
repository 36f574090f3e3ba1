"""What a result depends on, as one hash: a claim is measured again when, and only when, that has changed.

The hash covers the paper's module, every module of mercer that it reaches through imports, mercer's version and the
configuration. Comments and docstrings do not count. ``from mercer.learn import KernelRidge`` leads to the file of
KernelRidge and on from there, so a new estimator beside it changes nothing. A paper that imports a whole package
depends on all of it; inside mercer a whole package is only imported to look up a name that the caller gave.
"""

import ast
import hashlib
import io
import json
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import mercer

__all__ = ["fingerprint", "reached"]

_SOURCE = Path(mercer.__file__).parent.parent
_PACKAGE = "mercer"
_NOT_FOLLOWED = "mercer.papers"  # the way of measuring is not what is measured; its format has a version of its own


def fingerprint(paper: Path, *, claim: str, configuration: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that change when the result may.

    Args:
        paper: file of the paper's module.
        claim: its id.
        configuration: mode, seeds, device, data: what JSON can hold.
    """
    digest = hashlib.sha256(json.dumps([mercer.__version__, claim, configuration], sort_keys=True).encode())
    for path in [paper, *reached(paper)]:
        digest.update(_contents(path, path.stat().st_mtime_ns))
    return digest.hexdigest()[:16]


def reached(paper: Path) -> list[Path]:
    """The files of mercer that a module uses, directly or not, sorted; ``mercer.papers`` itself left out."""
    found: set[Path] = set()
    waiting = [paper]
    while waiting:
        path = waiting.pop()
        for used in _uses(path, path.stat().st_mtime_ns):
            is_whole_package = used.name == "__init__.py" and used.parent.parent.name == _PACKAGE and path != paper
            if used not in found and not is_whole_package:
                found.add(used)
                waiting.append(used)
    return sorted(found)


@cache
def _contents(path: Path, changed: int) -> bytes:
    """The lines without docstrings and comments; the same in every version of Python."""
    text = path.read_text(encoding="utf-8")
    lines: list[str | None] = list(text.splitlines())
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = token.line[:column].rstrip() or None
    for node in ast.walk(_parse(path, changed)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if first is not None and ast.get_docstring(node, clean=False) is not None:
                lines[first.lineno - 1 : first.end_lineno] = [None] * len(lines[first.lineno - 1 : first.end_lineno])
    return "\n".join(line for line in lines if line is not None).encode()


@cache
def _uses(path: Path, changed: int) -> frozenset[Path]:
    """Files of mercer that this one imports, at its top or inside a function."""
    imports = _imports(_parse(path, changed), and_types=path.name == "__init__.py")
    modules = {module for name, part in imports for module in _resolve(name, part)}
    return frozenset(file for module in modules if (file := _file(module)) is not None)


def _imports(tree: ast.AST, *, and_types: bool) -> Iterator[tuple[str, str | None]]:
    """Module and, for ``from module import part``, the part; only mercer's.

    What is imported for types alone counts in the list of a package, where ``mercer.lazy`` imports it when asked.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            pairs: list[tuple[str, str | None]] = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            pairs = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not and_types:
            continue
        else:
            pairs = list(_imports(node, and_types=and_types))
        yield from (pair for pair in pairs if pair[0].split(".")[0] == _PACKAGE)


def _resolve(module: str, part: str | None) -> Iterator[str]:
    """The modules in which an import ends: through the lists of packages to where the name is defined."""
    if f"{module}.".startswith(f"{_NOT_FOLLOWED}."):
        return
    if module == _PACKAGE and part is None:
        for path in sorted((_SOURCE / _PACKAGE).rglob("*.py")):
            yield ".".join(path.relative_to(_SOURCE).with_suffix("").parts).removesuffix(".__init__")
    elif part is not None and _file(f"{module}.{part}") is not None:
        yield from _resolve(f"{module}.{part}", None)
    else:
        file = _file(module)
        if file is None:
            return
        passed_on = _reexports(file, file.stat().st_mtime_ns) if file.name == "__init__.py" else {}
        if part in passed_on:
            yield from _resolve(*passed_on[part])
        else:
            yield module


@cache
def _reexports(file: Path, changed: int) -> dict[str | None, tuple[str, str]]:
    """What a package's ``__init__`` imports to pass on: name, and whence it comes."""
    body = _parse(file, changed).body
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for block in body
        for node in (block.body if isinstance(block, ast.If) else [block])
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


@cache
def _file(module: str) -> Path | None:
    if f"{module}.".startswith(f"{_NOT_FOLLOWED}."):
        return None
    path = _SOURCE.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _parse(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
