import itertools
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mercer import store
from mercer.errors import FileFormatError
from mercer.store import ResultStore, load_state, replacing, save_state, write_atomic


class Disk:
    """Lets a disk fail at the n-th operation: every operation of the system that a write consists of is counted."""

    def __init__(self, monkeypatch, fail_at):
        self.count, self.fail_at = 0, fail_at
        for owner, name in [(os, "replace"), (os, "fsync"), (os, "open"), (Path, "write_bytes"), (Path, "mkdir")]:
            self._wrap(monkeypatch, owner, name)

    def _wrap(self, monkeypatch, owner, name):
        original = getattr(owner, name)

        def operation(*args, **kwargs):
            self.count += 1
            if self.count == self.fail_at:
                if name == "write_bytes":  # a full disk takes a part
                    original(args[0], args[1][: len(args[1]) // 2])
                raise OSError(28, "No space left on device")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, operation)


def _writers(folder):
    """Each way to write a file: (write the old contents, write the new contents, read)."""
    path = folder / "file"
    results = ResultStore(path)

    def save(value):
        save_state(path, tensors={"a": torch.full((3,), value)}, meta={"kind": "K", "version": 1})

    return {
        "write_atomic": (lambda: write_atomic(path, "old"), lambda: write_atomic(path, b"new new"), path.read_text),
        "save_state": (
            lambda: save(1.0),
            lambda: save(2.0),
            lambda: load_state(path, kind="K", version=1)[0]["a"].tolist(),
        ),
        "append": (lambda: results.append({"n": 1}), lambda: results.append({"n": 2}), results.records),
    }


@pytest.mark.parametrize("way", ["write_atomic", "save_state", "append"])
def test_a_failure_at_any_step_leaves_the_old_file_or_the_new_one(way, tmp_path, monkeypatch):
    write_old, write_new, read = _writers(tmp_path / "reference")[way]
    write_old()
    old = read()
    write_new()
    new = read()
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        write_old, write_new, read = _writers(folder)[way]
        write_old()
        with monkeypatch.context() as patch:
            disk = Disk(patch, step)
            try:
                write_new()
            except OSError:
                assert disk.count == step, "an error that is not the injected one"
        assert read() in (old, new)
        assert os.listdir(folder) == ["file"], "a temporary file is left behind"
        if disk.count < step:
            assert read() == new
            break
    assert step > 3


@pytest.mark.parametrize("size", [0, 1, 5, -1])
def test_a_disk_that_takes_part_of_a_record_leaves_none_of_it(size, tmp_path, monkeypatch):
    results = ResultStore(tmp_path / "results.jsonl")
    results.append({"n": 1})

    class Part(store.FileIO):
        def write(self, data):
            return super().write(data[:size])

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", lambda path, mode, buffering: Part(path, mode.replace("b", "")))
        with pytest.raises(OSError, match="the disk took only part of a record; is it full"):
            results.append({"n": 2})
    assert results.records() == [{"n": 1}]
    assert results.path.read_bytes() == b'{"n": 1}\n'


# Forks a writer that never ends, and kills it in the middle; the fork saves the time of importing torch for each.
_KILLED_WRITERS = """
import os, signal, sys, time, torch
from mercer.store import ResultStore, save_state, write_atomic

def write_for_ever(way, path, started):
    for n in range(1, 10**9):
        if way == "write_atomic":
            write_atomic(path, f"{n % 10}" * 300_000)
        elif way == "save_state":
            save_state(path, tensors={"a": torch.full((100_000,), float(n))}, meta={"kind": "K", "version": 1})
        else:
            ResultStore(path).append({"n": n, "long": "x" * 100_000})
        if n == 1:
            os.write(started, b"1")

for way in ("write_atomic", "save_state", "append"):
    for milliseconds in (0, 1, 2, 5, 11):
        wait, started = os.pipe()
        child = os.fork()
        if child == 0:
            write_for_ever(way, f"{sys.argv[1]}/{way}/{milliseconds}/file", started)
        os.read(wait, 1)
        time.sleep(milliseconds / 1000)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""


def _read_whole(way, path):
    """Fails if the file is a part of anything."""
    if way == "write_atomic":
        text = path.read_text()
        assert len(text) == 300_000
        assert len(set(text)) == 1
    elif way == "save_state":
        tensor = load_state(path, kind="K", version=1)[0]["a"]
        assert tensor.shape == (100_000,)
        assert tensor.min() == tensor.max()
    else:
        records = ResultStore(path).records()
        assert [record["n"] for record in records] == list(range(1, len(records) + 1))
        assert records


@pytest.mark.slow(reason="starts Python and torch, and kills writers in the middle of a write")
@pytest.mark.filterwarnings("ignore:.*the last line was not finished")
def test_kill_9_leaves_the_old_file_or_the_new_one(tmp_path):
    subprocess.run([sys.executable, "-c", _KILLED_WRITERS, str(tmp_path)], check=True)
    files = list(tmp_path.glob("*/*/file"))
    assert len(files) == 15
    for path in files:
        _read_whole(path.parent.parent.name, path)
    appended = ResultStore(tmp_path / "append" / "5" / "file")  # and the next run goes on from there
    appended.append({"n": len(appended.records()) + 1})
    _read_whole("append", appended.path)


def test_folders_are_made_and_permissions_are_the_usual_ones(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "file.txt", "é")
    (tmp_path / "usual").write_text("")
    assert (tmp_path / "a" / "b" / "file.txt").read_bytes() == "é".encode()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a/b/file.txt", "usual")}
    assert len(modes) == 1


def test_a_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_device_is_written_to_and_never_replaced():
    write_atomic("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
        write_atomic(tmp_path, "x")


def test_a_temporary_path_keeps_the_suffix_and_stands_in_the_same_folder(tmp_path):
    with replacing(tmp_path / "table.parquet") as temporary:
        assert (temporary.suffix, temporary.parent) == (".parquet", tmp_path)
        temporary.write_text("x")
    assert os.listdir(tmp_path) == ["table.parquet"]


def test_results_come_back_in_order_and_the_newest_is_found(tmp_path):
    results = ResultStore(tmp_path / "deep" / "results.jsonl")
    assert results.records() == []
    for n in range(3):
        results.append({"seed": n % 2, "n": n, "text": "é\n"})
    assert [record["n"] for record in results.records()] == [0, 1, 2]
    assert results.find(seed=0) == {"seed": 0, "n": 2, "text": "é\n"}
    assert results.find(seed=5) is None
    assert results.find(missing=None) is None


@pytest.mark.parametrize(
    "tail", [b'{"n": 2', b'{"n": 2}', b'"text"', b"x" * 10_000], ids=["cut", "no end", "text", "long"]
)
def test_an_unfinished_last_line_is_left_out_and_then_removed(tail, tmp_path):
    results = ResultStore(tmp_path / "results.jsonl")
    results.append({"n": 1})
    with open(results.path, "ab") as file:
        file.write(tail)
    with pytest.warns(UserWarning, match="the last line was not finished and is left out"):
        assert results.records() == [{"n": 1}]
    results.append({"n": 3})
    assert results.records() == [{"n": 1}, {"n": 3}]


def test_a_file_that_is_one_unfinished_line_starts_again(tmp_path):
    (tmp_path / "results.jsonl").write_bytes(b"y" * 9000)
    ResultStore(tmp_path / "results.jsonl").append({"n": 1})
    assert ResultStore(tmp_path / "results.jsonl").records() == [{"n": 1}]


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"n": 1}\n[2]\n{"n": 3}\n')
    with pytest.raises(FileFormatError, match=r"results.jsonl, line 2 is not a record: b'\[2\]'. Remove that line"):
        ResultStore(tmp_path / "results.jsonl").records()


TENSORS = {
    "scalar": torch.tensor(0.1, dtype=torch.float64),
    "empty": torch.empty(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "half": torch.ones(2, dtype=torch.bfloat16),
    "counts": torch.arange(4),
}
META = {"kind": "KernelRidge", "version": 2, "kernel": 'RBF() "sha256":"' + "0" * 64 + '"', "alpha": 0.1, "name": "é"}


def test_a_state_comes_back_bit_by_bit(tmp_path):
    shared = torch.arange(3.0, requires_grad=True)
    save_state(tmp_path / "m", tensors={**TENSORS, "a": shared, "b": shared}, meta=META)
    tensors, meta = load_state(tmp_path / "m", kind="KernelRidge", version=3)
    assert meta == META
    assert tensors.keys() == {*TENSORS, "a", "b"}
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype
    tensors["a"][0] = 5  # ours to change
    assert not tensors["a"].requires_grad


def test_every_flipped_bit_and_every_cut_is_rejected(tmp_path):
    save_state(tmp_path / "good", tensors={"a": torch.arange(3.0)}, meta={"kind": "K", "version": 1, "x": 1e-5})
    good = (tmp_path / "good").read_bytes()
    damaged = tmp_path / "damaged"
    cuts = [good[:n] for n in range(len(good))] + [good + b"\0", b""]
    flips = [good[:i] + bytes([good[i] ^ 1 << bit]) + good[i + 1 :] for i in range(len(good)) for bit in range(8)]
    for data in cuts + flips:
        damaged.write_bytes(data)
        with pytest.raises(FileFormatError, match=r"damaged"):
            load_state(damaged, kind="K", version=1)


def test_another_kind_a_newer_version_and_a_foreign_file_are_rejected(tmp_path):
    save_state(tmp_path / "m", tensors={}, meta=META)
    with pytest.raises(FileFormatError, match=r"holds a KernelRidge, not a SVC. Load it with KernelRidge.load"):
        load_state(tmp_path / "m", kind="SVC", version=2)
    with pytest.raises(FileFormatError, match=r"is written in version 2 of its format, and this mercer reads up to 1"):
        load_state(tmp_path / "m", kind="KernelRidge", version=1)
    (tmp_path / "other").write_text(json.dumps({"a": 1}))
    with pytest.raises(FileFormatError, match="is not a file saved by mercer"):
        load_state(tmp_path / "other", kind="K", version=1)
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "missing", kind="K", version=1)


@pytest.mark.parametrize(
    "meta", [{}, {"kind": "K"}, {"kind": 1, "version": 1}, {"kind": "K", "version": "1"}], ids=repr
)
def test_a_state_without_kind_or_version_is_refused_before_anything_is_written(meta, tmp_path):
    with pytest.raises(ValueError, match=r"meta needs 'kind' \(text\) and 'version' \(an int\)"):
        save_state(tmp_path / "m", tensors={}, meta=meta)
    assert not any(tmp_path.iterdir())
