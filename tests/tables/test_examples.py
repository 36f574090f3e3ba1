"""The worked examples, on tables small enough for a test."""

import sys

import pytest

from mercer.data import Bunch
from mercer.tables import examples


@pytest.fixture
def small(monkeypatch, houses):
    bunch = Bunch(
        houses, "price", "made for a test", "none", "One row a house.", {"quality": ("low", "middle", "high")}
    )
    loaders = {name: (lambda: bunch, 60.0) for name in ("diamonds", "flights")}
    monkeypatch.setattr(examples, "_EXAMPLES", loaders)


@pytest.mark.parametrize("name", ["diamonds", "flights"])
def test_an_example_prints_the_path_of_its_report_last(small, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["examples", name])
    assert examples.main() == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == f"runs/{name}/report.html"
    page = (tmp_path / "runs" / name / "report.html").read_text()
    assert "One row a house." in page
    assert "Licence: none." in page


def test_an_error_is_one_line(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["examples", "diamonds", "--out", str(tmp_path / "file")])
    assert examples.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
