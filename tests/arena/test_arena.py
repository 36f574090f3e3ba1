"""The Long Range Arena as one call: networks, what is resumed after a kill, the table, the command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mercer import cli
from mercer.arena import ArenaNetwork, ArenaTable, arena_settings, run, run_arena
from mercer.data import LRA_TASKS, LongRangeTask, Split, make_listops, save_listops, small_lra
from mercer.nn.training import loop
from mercer.store import ResultStore

SMALL = {"limit": 24, "epochs": 2, "quick": True}


def a_task(name, **changes):
    """Noise in the form of a task."""
    pixels, pair = name in ("image", "pathfinder", "pathx"), name == "retrieval"
    shape = (3, 2, 40) if pair else (3, 40)
    inputs = np.random.default_rng(0).integers(1, 16, shape).astype(np.uint8 if pixels else np.int16)
    about = {"n_classes": 2, "vocabulary": 256 if pixels else 16, "length": 40, "is_pixels": pixels} | changes
    return LongRangeTask(name, *[Split(inputs, np.array([0, 1, 1]))] * 3, **about)


@pytest.mark.parametrize("name", LRA_TASKS)
def test_a_network_takes_a_task_as_it_is(name):
    task = a_task(name)
    x = torch.from_numpy(task.train.inputs)
    for mixer in ("sgconv", "transnormer", "soft"):
        network = ArenaNetwork(task, mixer, arena_settings(name, mixer, quick=True), random_state=0).eval()
        y = network(x)
        assert y.shape == (3, 2)
        torch.testing.assert_close(network(x[1:2]), y[1:2], rtol=1e-4, atol=1e-5)
        assert sum(len(group["params"]) for group in network.parameter_groups()) == len(list(network.parameters()))
    if not task.is_pixels:  # 0 is padding, however much of it there is
        padded = torch.cat([x, torch.zeros_like(x)], -1)
        torch.testing.assert_close(
            ArenaNetwork(
                a_task(name, length=80), "norm", arena_settings(name, "norm", quick=True), random_state=0
            ).eval()(padded),
            ArenaNetwork(task, "norm", arena_settings(name, "norm", quick=True), random_state=0).eval()(x),
            rtol=1e-4,
            atol=1e-5,
        )


def test_two_texts_are_not_alike_to_the_network_in_both_orders():
    task = a_task("retrieval")
    network = ArenaNetwork(task, "norm", arena_settings("retrieval", "norm", quick=True), random_state=0).eval()
    x = torch.from_numpy(task.train.inputs)
    assert not torch.allclose(network(x), network(x.flip(1)))


def test_cells_are_trained_once_and_fill_the_table(tmp_path, monkeypatch):
    reported = []
    tasks, mixers = ["listops", "image"], ["sgconv", "softmax"]
    table = run_arena(tasks, mixers, out=tmp_path, report=reported.append, **SMALL)
    assert [(r["task"], r["mixer"]) for r in reported] == [(t, m) for t in tasks for m in mixers]
    for record in reported:
        assert len(record["losses"]) == len(record["valid_losses"]) == 2
        assert (record["train_rows"], record["test_rows"]) == (24, 24)
    assert list(table.rows) == mixers
    found = json.loads((tmp_path / "table.json").read_text())
    assert found["accuracies"] == table.rows
    assert found["averages"]["softmax"] == pytest.approx(np.mean([table.rows["softmax"][t][0] for t in tasks]))
    page = (tmp_path / "table.md").read_text()
    assert "| mixer | ListOps | Image | average of 2 | parameters | seconds |" in page
    assert "At most 24 rows" in page
    assert "cannot be compared" in page
    assert not list((tmp_path / "checkpoints").iterdir())
    # Once more: nothing is trained; with another seed, its cells are.
    monkeypatch.setattr(run, "small_lra", None)
    real, trained = run.train, []
    monkeypatch.setattr(run, "train", lambda *args, **kw: trained.append(kw["random_state"]) or real(*args, **kw))
    assert run_arena(tasks, mixers, out=tmp_path, **SMALL).rows == table.rows
    assert trained == []
    more = run_arena(["image"], ["sgconv"], out=tmp_path, seeds=2, **SMALL)
    assert trained == [1]
    assert len(more.rows["sgconv"]["image"]) == 2
    assert "±" in str(more)


@pytest.mark.slow(reason="starts a process of its own, kills it, and trains the same network twice")
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(tmp_path, monkeypatch):
    arguments = ["lra", "--quick", "--tasks", "listops", "--mixers", "sgconv", "--limit", "32", "--epochs", "12"]
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(Path(cli.__file__).parent.parent))
    command = [sys.executable, "-m", "mercer.cli", *arguments, "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60.0
    while not list((tmp_path / "killed").glob("checkpoints/listops*")):
        assert process.poll() is None, "it ended before its first checkpoint could be seen"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "results.jsonl").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    real, epochs = loop._epoch, {"killed": 0, "whole": 0}
    try:
        for name in epochs:

            def counted(*args, name=name):
                epochs[name] += 1
                return real(*args)

            monkeypatch.setattr(loop, "_epoch", counted)
            assert cli.main([*arguments, "--out", str(tmp_path / name)]) == 0
    finally:
        torch.set_num_threads(threads)
    assert epochs["killed"] < epochs["whole"] == 12
    killed, whole = (ResultStore(tmp_path / name / "results.jsonl").records()[0] for name in ("killed", "whole"))
    assert killed["losses"] == whole["losses"]
    assert killed["valid_losses"] == whole["valid_losses"]
    assert killed["accuracy"] == whole["accuracy"]


def test_files_of_the_arena_are_read(tmp_path):
    (tmp_path / "data" / "listops").mkdir(parents=True)
    for seed, part in enumerate(("train", "val", "test")):
        expressions = make_listops(6, min_length=5, max_length=30, random_state=seed)
        save_listops(tmp_path / "data" / "listops" / f"basic_{part}.tsv", expressions)
    small = arena_settings("listops", "sgconv", quick=True, epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "arena_settings", lambda *args, **options: small)
        table = run_arena(["listops"], ["sgconv"], out=tmp_path / "out", data=tmp_path / "data")
    assert table.records[0]["length"] == 2000
    assert not table.is_quick
    assert "SGConv, the paper" in str(table)
    assert "61.5" in str(table)


def test_the_papers_sizes_are_the_official_ones():
    full = {task: arena_settings(task, "sgconv", quick=False) for task in LRA_TASKS}
    assert {(s.layers, s.width) for s in full.values()} == {(8, 128), (6, 256), (6, 512)}
    assert full["pathfinder"].pool == "last"
    assert full["pathx"].options["decay"] == (1.0, 3.0)
    # Other mixers have none of its kernels' options, attentions a norm of rows and a gated layer.
    assert arena_settings("image", "s4d", quick=False).options == {}
    attention = arena_settings("listops", "softmax", quick=False)
    assert (attention.norm, attention.gated) == ("layer", True)
    assert arena_settings("text", "soft", quick=True, epochs=1).warmup == 0


def test_tables_average_what_every_row_has():
    def record(mixer, task, accuracy, seed=0):
        return {
            "mixer": mixer, "task": task, "accuracy": accuracy, "seed": seed, "size": "full", "guessing": 0.5,
            "parameters": 1000, "seconds": 2.0, "date": "2026-11-26", "limit": None,
        }  # fmt: skip

    records = [
        record("a", "text", 0.8),
        record("a", "image", 0.5),
        record("b", "text", 0.6),
        record("b", "text", 0.7, 1),
    ]
    table = ArenaTable(records)
    assert table.averages() == (["text"], {"a": 80.0, "b": pytest.approx(65.0)})
    lines = {line[0]: line[1:] for line in table.lines()}
    assert lines["mixer"] == ["Text", "Image", "average of 1", "parameters", "seconds"]
    assert lines["a"] == ["80.0", "50.0", "80.0", "1,000", "4"]
    assert lines["b"] == ["65.0 ± 7.1", "-", "65.0", "1,000", "4"]
    assert lines["guessing"][:2] == ["50.0", "50.0"]
    assert lines["SGConv, the paper"][:3] == ["89.2", "88.0", "89.2"]


@pytest.mark.parametrize("task", ["text", "retrieval", "image"])
def test_small_tasks_are_what_they_say(task):
    found = small_lra(task, limit=60)
    for split in (found.train, found.valid, found.test):
        assert split.inputs.shape == ((60, 2, 256) if task == "retrieval" else (60, 256))
        assert int(split.inputs.max()) < found.vocabulary
        assert set(split.targets) <= set(range(found.n_classes))
    rows = [set(map(bytes, split.inputs)) for split in (found.train, found.valid, found.test)]
    assert not rows[0] & rows[1] | rows[0] & rows[2] | rows[1] & rows[2]
    assert np.array_equal(small_lra(task, limit=60).test.inputs, found.test.inputs)
    if task != "image":  # half and half, which guessing cannot use
        assert abs(found.train.targets.mean() - 0.5) < 0.2


def test_small_listops_have_their_values():
    found = small_lra("listops", limit=30)
    assert found.train.inputs.shape == (30, 200)
    lengths = (found.train.inputs != 0).sum(1)
    assert lengths.min() > 20
    again = make_listops(90, min_length=20, max_length=200, max_depth=6, max_args=5)
    assert np.array_equal(found.test.targets, again.targets[60:])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tasks": ["sudoku"]}, "no task 'sudoku'; choose from: listops, text"),
        ({"mixers": ["h3"]}, "no mixer 'h3': it has to be two-sided, one of transnormer, softmax"),
        ({"mixers": ["butterfly"]}, "cannot leave out the padding of listops"),
        ({"quick": False}, "give quick=True for the small versions, or data="),
        ({"data": "."}, "give quick=True for the small versions, or data="),
        ({"seeds": 0}, "at least one task, mixer and seed"),
        ({"epochs": 0}, "epochs=0: it must be >= 1"),
        ({"limit": 0}, "limit=0"),
    ],
)
def test_what_cannot_be_run_is_refused(changes, match, tmp_path):
    arguments = {"tasks": ["listops"], "mixers": ["sgconv"], "out": tmp_path, "quick": True} | changes
    with pytest.raises(ValueError, match=match):
        run_arena(arguments.pop("tasks"), arguments.pop("mixers"), **arguments)
    with pytest.raises(ValueError, match="small_lra"):
        small_lra("sudoku")


def test_a_wrong_command_is_one_line(tmp_path, capsys):
    code = cli.main(["lra", "--quick", "--tasks", "listops", "--mixers", "mamba", "--out", str(tmp_path)])
    assert code == 1
    error = capsys.readouterr().err
    assert error.startswith("mercer lra: the arena takes no mixer 'mamba'")
    assert error.count("\n") == 1
    code = cli.main(["lra", "--data", str(tmp_path), "--tasks", "text", "--mixers", "soft", "--out", str(tmp_path)])
    assert code == 1
    assert "text" in capsys.readouterr().err
