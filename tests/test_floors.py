"""Imports run downward only, and what is heavy or optional is imported where it is used."""

import ast
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "mercer"
GROUND = {"arguments", "arrays", "config", "errors", "progress", "timing", "store", "plots", "lazy"}
# From the ground up; what stands on one line does not import from its neighbour.
FLOORS = [
    GROUND,
    {"operators"},
    {"kernels"},
    {"testing"},
    {"nn", "metrics"},
    {"learn", "data"},
    {"arena"},
    {"papers", "tables"},
    {"gallery"},
    {"commands"},
    {"cli"},
]
LIGHT = {"torch", "numpy", "linear_operator", "mercer"}
GENERATED = {"operators/gpu/functions.py"}  # imported by generated kernels only, so it needs what they need
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def _part(path):
    """Which part of mercer a file belongs to: ``operators``, ``store``, ..."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


PARTS = sorted({_part(path) for path in FILES})


@cache
def _tree(path):
    return ast.parse(path.read_text())


def _beyond(part, allowed, **which):
    """What the files of a part import beyond what is allowed, with the file."""
    return [
        (path.relative_to(SOURCE).as_posix(), name)
        for path in FILES
        if _part(path) == part
        for name in _imports(_tree(path), **which)
        if not allowed(path, name)
    ]


def _imports(tree, *, only_at_import):
    """Full names of what is imported; ``if TYPE_CHECKING:`` does not count, and functions only if asked."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        elif not (only_at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            yield from _imports(node, only_at_import=only_at_import)


@pytest.mark.parametrize("part", PARTS)
def test_imports_run_downward_only(part):
    floor = next((height for height, parts in enumerate(FLOORS) if part in parts), None)
    assert floor is not None, f"{part} is new: put it on its floor in FLOORS"
    allowed = set().union(*FLOORS[:floor], {part}, GROUND if floor == 0 else set(), {"__version__"})

    def is_allowed(path, name):
        return not name.startswith("mercer.") or name.split(".")[1] in allowed

    assert _beyond(part, is_allowed, only_at_import=False) == []


@pytest.mark.parametrize("part", [p for p in PARTS if p in GROUND | {"operators", "kernels"}])
def test_the_lower_floors_load_nothing_heavy(part):
    def is_allowed(path, name):
        generated = path.relative_to(SOURCE).as_posix() in GENERATED
        return name.split(".")[0] in LIGHT | ({"triton"} if generated else set()) | sys.stdlib_module_names

    assert _beyond(part, is_allowed, only_at_import=True) == []


def test_the_core_has_at_most_six_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) <= 6


def test_every_version_is_pinned_once():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert len({line.split("==")[0].lower() for line in lines}) == len(lines)
    assert "torch==2.13.0" in lines
