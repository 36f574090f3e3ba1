"""What the docs show is run: code of README and guide pages, and the examples in docstrings."""

import contextlib
import doctest
import importlib
import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import mercer

with contextlib.suppress(ImportError):
    import gpytorch  # noqa: F401  # where pykeops is installed its import prints a line, which no example expects

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
MODULES = sorted(
    [
        "mercer",
        *(info.name for info in pkgutil.walk_packages(mercer.__path__, "mercer.") if "__main__" not in info.name),
    ]
)
CODE = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _run_examples(text, name, names):
    test = doctest.DocTestParser().get_doctest(text, names, name, name, 0)
    report = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_on_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    names: dict[str, object] = {}
    for block in CODE.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        if block[1] == "pycon":
            _run_examples(block[2], f"{page.name}:{line}", names)
        else:
            exec(compile("\n" * line + block[2], page.name, "exec"), names)


def _has_examples(module):
    return ">>> " in Path(find_spec(module).origin).read_text()


@pytest.mark.parametrize("module", [name for name in MODULES if _has_examples(name)])
def test_the_examples_in_docstrings_give_what_they_say(module):
    # An example is there to be read: torch, numpy and the public names of its package need no import line.
    package = importlib.import_module(module.rpartition(".")[0] or module)
    names = {name: getattr(package, name) for name in getattr(package, "__all__", [])}
    names |= {"torch": torch, "np": np, "mc": mercer}
    results = doctest.testmod(importlib.import_module(module), extraglobs=names, optionflags=FLAGS)
    assert results.failed == 0


def test_the_modules_without_examples_are_imported():
    for module in MODULES:
        if not _has_examples(module):
            importlib.import_module(module)


COMMANDS = sorted({line for page in PAGES for line in re.findall(r"^\$ mercer (.*)$", page.read_text(), re.MULTILINE)})


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_on_a_page_have_the_options_shown(line, capsys):
    main = pytest.importorskip("mercer.cli", reason="the command line comes with mercer fit").main
    command, *rest = line.split("  #")[0].split()
    with pytest.raises(SystemExit, match=r"\A0\Z"):
        main([command, "--help"])
    help_text = capsys.readouterr().out
    assert [word for word in rest if word.startswith("--") and word not in help_text] == []
