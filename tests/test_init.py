import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import mercer


def test_version_is_the_one_that_is_installed():
    assert mercer.__version__ == version("mercer")


def test_every_listed_subpackage_can_be_used_without_importing_it():
    code = "import mercer; [getattr(mercer, name).__name__ for name in mercer.__all__ if name != '__version__']"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_attribute_lists_what_there_is():
    with pytest.raises(AttributeError, match=r"mercer has no 'kernel'. It has: .*kernels"):
        _ = mercer.kernel


def test_import_loads_nothing_heavy_prints_nothing_and_opens_no_socket():
    code = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise SystemExit('opened a socket')\n"
        "socket.socket.__init__ = refuse\n"
        "import mercer\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "raise SystemExit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
