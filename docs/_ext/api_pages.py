"""Writes docs/api: one page a public module, with every name of its ``__all__``. Nothing is listed by hand."""

import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import mercer

API = Path(__file__).parent.parent / "api"
# The rooms of operators that have a page of their own; the others are how it is made.
_ROOMS = ("mercer.operators.gpu", "mercer.operators.plans")
_MODULES = ("mercer.kernels.neural.layers",)  # deeper modules that users import from
_PARAGRAPH_TITLE = re.compile(r"^(\s*)(Cost|Source|Memory|Accuracy): ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    modules = public_modules()
    pages = {f"{name}.rst": module_page(module) for name, module in modules.items()}
    pages["index.rst"] = index_page(modules)
    write_pages(pages)
    app.connect("autodoc-process-docstring", embolden_titles)
    app.connect("autodoc-skip-member", skip_inherited_from_others)
    return {"parallel_read_safe": True}


def public_modules() -> dict[str, ModuleType]:
    """The packages, and the modules directly under mercer, that have names which no package above them has."""
    found = {}
    for info in pkgutil.walk_packages(mercer.__path__, "mercer."):
        is_public = info.ispkg or info.name.count(".") == 1 or info.name in _MODULES
        is_public = is_public and (not info.name.startswith("mercer.operators.") or info.name in _ROOMS)
        if is_public and not any(part.startswith("_") for part in info.name.split(".")):
            module = importlib.import_module(info.name)
            own = {n for n in getattr(module, "__all__", ()) if not isinstance(getattr(module, n), ModuleType)}
            above = found.get(info.name.rpartition(".")[0])
            if own - set(getattr(above, "__all__", ())):
                found[info.name] = module
    return dict(sorted(found.items()))


def module_page(module: ModuleType) -> str:
    """The reST of one module: its docstring, then every public name."""
    name = module.__name__
    described = ModuleAnalyzer.for_module(name).find_attr_docs()
    parts = [name, "=" * len(name), "", f".. automodule:: {name}", ""]
    for public in sorted(module.__all__, key=lambda n: (not n[0].isupper(), n.lower())):
        value = getattr(module, public)
        if isinstance(value, ModuleType):
            continue
        kind = "autoclass" if isinstance(value, type) else "autofunction" if callable(value) else "autodata"
        if kind == "autodata" and ("", public) not in described:
            kind = "py:data"  # autodoc would show the docstring of its type instead
        parts += [f".. {kind}:: {name}.{public}"]
        if kind == "autoclass":
            # What a public base class says is said there; what a private one says, here.
            has_public_base = any(base.__name__ in module.__all__ for base in value.__mro__[1:])
            is_error = issubclass(value, BaseException)
            parts += ["   :members:"] if not is_error else []
            parts += ["   :show-inheritance:" if is_error or has_public_base else "   :inherited-members:"]
        parts += [""]
    return "\n".join(parts)


def index_page(modules: dict[str, ModuleType]) -> str:
    """The list of the modules with the first line of each."""
    parts = ["API", "===", "", "Every public name, generated from the source.", "", ".. list-table::", ""]
    for name, module in modules.items():
        first_line = (module.__doc__ or "").strip().split("\n")[0]
        parts += [f"   * - :doc:`{name} <{name}>`", f"     - {first_line}"]
    parts += ["", ".. toctree::", "   :hidden:", "", *(f"   {name}" for name in modules), ""]
    return "\n".join(parts)


def write_pages(pages: dict[str, str]) -> None:
    """Write what has changed, so that Sphinx rebuilds only that, and remove pages of modules that are gone."""
    API.mkdir(exist_ok=True)
    for name, text in pages.items():
        path = API / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in API.glob("*.rst"):
        if path.name not in pages:
            path.unlink()


def embolden_titles(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Show the ``Cost:`` and ``Source:`` lines of the house style as paragraphs with a bold first word."""
    shown: list[str] = []
    for line in lines:
        bold = _PARAGRAPH_TITLE.sub(r"\1**\2:** ", line)
        shown += ["", bold] if bold != line else [line]
    lines[:] = shown


def skip_inherited_from_others(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out members that come from torch, scikit-learn or linear_operator: they are documented there."""
    source = getattr(getattr(obj, "fget", obj), "__module__", None)
    return True if isinstance(source, str) and not source.startswith("mercer") else None
