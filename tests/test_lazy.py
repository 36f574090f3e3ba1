"""Packages that import their names on first use."""

import subprocess
import sys
from pathlib import Path

import pytest

from mercer import learn


def test_every_name_is_found_and_listed():
    assert set(learn.__all__) <= set(dir(learn))
    assert [name for name in learn.__all__ if getattr(learn, name).__name__ != name] == []


def test_no_name_is_also_that_of_a_file():
    # Importing the file would put it in the place of what the name stands for.
    files = {path.stem for path in Path(learn.__file__).parent.iterdir()}
    assert files.isdisjoint(learn.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'mercer.learn' has no attribute 'KernelRige'"):
        _ = learn.KernelRige


def test_one_estimator_does_not_import_the_others():
    code = "from mercer.learn import KernelRidge; import sys; raise SystemExit('mercer.learn.wide_dgp' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
