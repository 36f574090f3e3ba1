import os
from pathlib import Path

import pytest

import mercer
from mercer.papers import fingerprint as module
from mercer.papers.fingerprint import fingerprint, reached

SETTINGS = {"mode": "quick", "seeds": 3, "device": "cpu", "data": None}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small mercer of our own: two estimators on one helper, and a package that lists them."""
    files = {
        "mercer/__init__.py": "",
        "mercer/config.py": "LIMIT = 1\n",
        "mercer/learn/__init__.py": "from mercer.learn.one import One\nfrom mercer.learn.two import Two\n",
        "mercer/learn/one.py": "from mercer.learn.help import add\nclass One:\n    from mercer import learn\n",
        "mercer/learn/two.py": "from mercer import config\nclass Two: pass\n",
        "mercer/learn/help.py": "if typing.TYPE_CHECKING:\n    from mercer.learn.two import Two\nadd = 1\n",
        "mercer/papers/__init__.py": "",
        "mercer/papers/claim.py": "x = 1\n",
        "paper.py": "from mercer.learn import One\nfrom mercer.papers.claim import x\nimport numpy\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "_SOURCE", tmp_path)
    module._file.cache_clear()
    yield tmp_path
    module._file.cache_clear()


def names(library):
    return [path.relative_to(library / "mercer").as_posix() for path in reached(library / "paper.py")]


def write(path, text):
    """Two writes in one tick of the file system's clock must not look the same."""
    later = path.stat().st_mtime_ns + 10**9
    path.write_text(text)
    os.utime(path, ns=(later, later))


def test_a_name_leads_to_its_file_and_on_from_there(library):
    assert names(library) == ["learn/help.py", "learn/one.py"]


@pytest.mark.parametrize("line", ["from mercer import learn", "import mercer.learn"])
def test_a_whole_package_is_all_that_it_lists(line, library):
    write(library / "paper.py", f"{line}\n")
    assert names(library) == ["config.py", "learn/__init__.py", "learn/help.py", "learn/one.py", "learn/two.py"]


LAZY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mercer.learn.one import One\n"


def test_a_list_that_is_imported_name_by_name_counts_like_any_other(library):
    write(library / "mercer/learn/__init__.py", LAZY)
    assert names(library) == ["learn/help.py", "learn/one.py"]
    write(library / "paper.py", "from mercer import learn\n")
    assert names(library) == ["learn/__init__.py", "learn/help.py", "learn/one.py"]


def test_mercer_as_a_whole_is_everything_but_the_papers(library):
    write(library / "paper.py", "def f():\n    import mercer as mc\n")
    assert len(names(library)) == 6


def test_a_module_of_mercer_is_itself(library):
    write(library / "paper.py", "from mercer import config\n")
    assert names(library) == ["config.py"]


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("paper.py", "from mercer.learn import One\nfrom mercer.papers.claim import x\nimport numpy\ny = 2\n", True),
        ("mercer/learn/help.py", "add = 2\n", True),
        ("mercer/learn/two.py", "class Two: x = 1\n", False),
        ("mercer/papers/claim.py", "x = 2\n", False),
        (
            "paper.py",
            '"""New."""\nfrom mercer.learn import One  # new\nfrom mercer.papers.claim import x\nimport numpy\n',
            False,
        ),
        (
            "paper.py",
            "# all\nfrom mercer.learn import One\n# new\nfrom mercer.papers.claim import x\nimport numpy\n",
            False,
        ),
    ],
)
def test_the_hash_changes_with_the_code_that_is_reached(name, text, changes, library):
    before = fingerprint(library / "paper.py", claim="c", configuration=SETTINGS)
    assert fingerprint(library / "paper.py", claim="c", configuration=SETTINGS) == before
    write(library / name, text)
    assert (fingerprint(library / "paper.py", claim="c", configuration=SETTINGS) != before) is changes


def test_a_comment_sign_inside_a_text_is_no_comment(library):
    write(library / "paper.py", 'x = """\n# one\n"""\n')
    before = fingerprint(library / "paper.py", claim="c", configuration={})
    write(library / "paper.py", 'x = """\n# two\n"""\n')
    assert fingerprint(library / "paper.py", claim="c", configuration={}) != before


@pytest.mark.parametrize("change", [{"mode": "full"}, {"seeds": 4}, {"device": "cuda"}, {"data": "/data"}])
def test_the_hash_changes_with_the_configuration(change, library):
    paper = library / "paper.py"
    before = fingerprint(paper, claim="c", configuration=SETTINGS)
    assert fingerprint(paper, claim="c", configuration=SETTINGS | change) != before


def test_the_hash_changes_with_the_claim_and_with_the_version(library, monkeypatch):
    paper = library / "paper.py"
    before = fingerprint(paper, claim="c", configuration=SETTINGS)
    assert fingerprint(paper, claim="d", configuration=SETTINGS) != before
    monkeypatch.setattr(mercer, "__version__", "99")
    assert fingerprint(paper, claim="c", configuration=SETTINGS) != before


def test_a_kernel_depends_on_the_operators_and_not_on_the_estimators(coin_file):
    parts = {path.relative_to(Path(mercer.__file__).parent).parts[0] for path in reached(coin_file)}
    assert {"kernels", "operators"} <= parts
    assert "learn" not in parts
