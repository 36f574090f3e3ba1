"""Folders and files are whole or not there."""

import json

import pandas as pd
import pytest

from mercer.errors import TableError
from mercer.tables import TableModel, write, write_folder, write_predictions

FILES = ["kernel.safetensors", "metrics.json", "model.safetensors", "report.html"]


def page(*_arguments, **_options):
    """The page has tests of its own; here it only has to be a file."""
    return "<!doctype html>"


def test_a_folder_is_written_whole_and_can_be_written_again(house_fit, houses, tmp_path):
    folder = tmp_path / "runs" / "houses"
    for _ in range(2):
        assert write_folder(folder, *house_fit) == folder / "report.html"
        assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["houses"]
    assert TableModel.load(folder).predict(houses).shape == (240, 3)
    assert json.loads((folder / "metrics.json").read_text())["kind"] == "mercer fit"


@pytest.mark.parametrize("step", ["render_report", "metrics_of", "write_atomic"])
def test_a_failure_leaves_the_old_folder_and_nothing_else(house_fit, tmp_path, monkeypatch, step):
    folder = tmp_path / "houses"
    monkeypatch.setattr(write, "render_report", page)
    write_folder(folder, *house_fit)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_arguments, **_options):
        raise OSError("the disk is full")

    monkeypatch.setattr(write, step, fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_folder(folder, *house_fit)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["houses"]


def test_a_failure_while_the_folder_is_replaced_brings_the_old_one_back(house_fit, tmp_path, monkeypatch):
    from pathlib import Path

    folder = tmp_path / "houses"
    monkeypatch.setattr(write, "render_report", page)
    write_folder(folder, *house_fit)
    rename = Path.rename

    def fail(self, target):
        if self.name.endswith(".tmp"):
            raise OSError("the machine is tired")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="tired"):
        write_folder(folder, *house_fit)
    monkeypatch.undo()
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["houses"]


def test_things_of_others_are_not_replaced(house_fit, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(TableError, match="holds things that `mercer fit` did not make"):
        write_folder(tmp_path / "mine", *house_fit)
    (tmp_path / "file").write_text("")
    with pytest.raises(TableError, match="is a file; give a folder"):
        write_folder(tmp_path / "file", *house_fit)


def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(TableError, match=r"cannot be made: .* cannot be written to"):
        write.require_folder(tmp_path / "new")
    with pytest.raises(TableError, match=r"p\.csv cannot be written"):
        write.require_predictions_file(tmp_path / "p.csv")


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_predictions_come_back(tmp_path, name):
    frame = pd.DataFrame({"prediction": [1.5, 2.5]})
    write_predictions(frame, tmp_path / name)
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    assert read(tmp_path / name).equals(frame)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "message"),
    [("p.json", "ends in '.json', but must end in .csv or .parquet"), ("no/p.csv", "there is no folder")],
)
def test_a_predictions_file_that_cannot_be_is_refused(tmp_path, name, message):
    with pytest.raises(TableError, match=message):
        write_predictions(pd.DataFrame({"a": [1]}), tmp_path / name)
