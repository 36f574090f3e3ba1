"""The Long Range Arena as one call: networks, what is resumed after a kill, the table, the command."""

import dataclasses
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
from mercer.errors import FileFormatError
from mercer.nn.training import loop
from mercer.store import ResultStore

RESULTS = Path(__file__).parents[2] / "results" / "lra" / "results.jsonl"
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


# What the papers' configurations have, written down a second time: layers, width, batch, batches of a step, rate,
# decay, norm before the mixer, epochs at least and at most.
PUBLISHED = {
    ("sgconv", "listops"): (8, 128, 50, 1, 0.01, 0.05, False, 40, 42),
    ("sgconv", "text"): (6, 256, 16, 1, 0.01, 0.05, True, 32, 32),
    ("sgconv", "retrieval"): (6, 256, 32, 2, 0.01, 0.05, True, 20, 22),
    ("sgconv", "image"): (6, 512, 50, 1, 0.01, 0.05, False, 200, 223),
    ("sgconv", "pathfinder"): (6, 256, 64, 1, 0.004, 0.03, True, 200, 200),
    ("sgconv", "pathx"): (6, 256, 16, 4, 0.004, 0.03, True, 50, 50),
    ("long_conv", "listops"): (8, 128, 50, 1, 0.01, 0.05, False, 40, 42),
    ("long_conv", "text"): (6, 256, 16, 1, 0.01, 0.05, True, 32, 32),
    ("long_conv", "retrieval"): (6, 256, 32, 2, 0.01, 0.05, True, 20, 22),
    ("long_conv", "image"): (6, 512, 50, 1, 0.01, 0.05, False, 200, 223),
    ("long_conv", "pathfinder"): (6, 256, 64, 1, 0.004, 0.03, True, 200, 200),
    ("long_conv", "pathx"): (6, 256, 16, 1, 5e-4, 0.05, True, 50, 50),
}


@pytest.mark.parametrize(("mixer", "task"), PUBLISHED)
def test_convolutions_are_trained_as_their_papers_say(mixer, task):
    found = arena_settings(task, mixer, quick=False)
    sizes = (found.layers, found.width, found.batch_size, found.accumulate, found.learning_rate, found.weight_decay)
    *expected, least, most = PUBLISHED[mixer, task]
    assert [*sizes, found.prenorm] == expected
    assert least <= found.epochs <= most
    assert found.norm == ("layer" if task == "image" else "batch")
    assert found.pool == ("last" if task == "pathfinder" else "mean")
    assert found.tie_dropout == (task == "image")


def test_kernels_of_convolutions_are_those_of_their_papers():
    image = arena_settings("image", "sgconv", quick=False)
    assert image.options == {"kernel_dim": 32, "power": 1.0, "learn_power": False}
    assert (image.dropout, arena_settings("image", "long_conv", quick=False).dropout) == (0.2, 0.1)
    assert arena_settings("pathx", "sgconv", quick=False).options["decay"] == (1.0, 3.0)
    expected = {
        "listops": (0.002, 0.2, 5e-4), "text": (0.003, 0.2, 1e-3), "retrieval": (0.004, 0.1, 1e-4),
        "image": (0.003, 0.2, 1e-3), "pathfinder": (0.001, 0.3, 1e-3), "pathx": (0.001, 0.3, 5e-4),
    }  # fmt: skip
    for task, (threshold, dropout, rate) in expected.items():
        found = arena_settings(task, "long_conv", quick=False)
        assert found.options == {"heads": 2}
        assert found.kernel == {"squash": threshold, "dropout": dropout, "learning_rate": rate}
        free = arena_settings(task, "free_conv", quick=False)
        assert free == dataclasses.replace(found, kernel=found.kernel | {"squash": None})


def test_transnormer_is_as_its_paper_says():
    expected = {
        "image": (12, 128, 256, 4, 200, 1e-3), "text": (4, 128, 512, 8, 64, 1e-3),
        "listops": (4, 128, 512, 8, 128, 1e-4), "pathfinder": (4, 128, 128, 8, 128, 5e-4),
        "pathx": (6, 64, 160, 8, 64, 1e-4), "retrieval": (4, 128, 512, 4, 64, 1e-3),
    }  # fmt: skip
    for task, row in expected.items():
        found = arena_settings(task, "transnormer", quick=False)
        assert (found.layers, found.width, found.hidden, found.heads, found.batch_size, found.learning_rate) == row
        assert (found.norm, found.prenorm, found.gated) == ("batch", True, True)


def test_networks_are_built_as_the_settings_say():
    task = a_task("image", length=64)
    sgconv = ArenaNetwork(task, "sgconv", arena_settings("image", "sgconv", quick=False)).model.blocks[0]
    assert not sgconv.mixer.kernel.decay.requires_grad
    assert not sgconv.mixer.causal
    assert isinstance(sgconv.mixer.dropout, torch.nn.Dropout1d)
    dropped = sgconv.train().mixer_dropout(torch.ones(2, 5, 512))
    assert dropped.std(1).max() == 0.0
    assert (dropped == 0).double().mean() == pytest.approx(0.2, abs=0.1)
    network = ArenaNetwork(task, "long_conv", arena_settings("image", "long_conv", quick=False))
    mixer = network.model.blocks[0].mixer
    assert (mixer.heads, mixer.kernel.heads, mixer.kernel.squash, mixer.kernel.dropout) == (2, 4, 0.003, 0.2)
    rates = {id(p): group.get("lr") for group in network.parameter_groups() for p in group["params"]}
    assert rates[id(mixer.kernel.kernel)] == 1e-3
    settings = arena_settings("pathx", "transnormer", quick=False)
    block = ArenaNetwork(a_task("pathx"), "transnormer", settings).model.blocks[0]
    assert block.mlp.gate.out_features == 160
    assert isinstance(block.mixer_norm, torch.nn.BatchNorm1d)


def test_mixers_without_a_paper_have_the_stated_default():
    # Other mixers have none of its kernels' options, attentions a norm of rows and a gated layer.
    assert arena_settings("image", "s4d", quick=False).options == {}
    attention = arena_settings("listops", "softmax", quick=False)
    assert (attention.norm, attention.gated) == ("layer", True)
    assert arena_settings("text", "soft", quick=True, epochs=1).warmup == 0


def test_quick_settings_are_found_in_results_of_before():
    stored = {record["mixer"]: record for record in ResultStore(RESULTS).records() if record["task"] == "listops"}
    for mixer, record in stored.items():
        assert json.loads(json.dumps(arena_settings("listops", mixer, quick=True).as_dict())) == record["settings"]
    assert arena_settings("pathx", "sgconv", quick=False).as_dict()["accumulate"] == 4


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
    assert not any("S4" in name for name in lines)  # of which the average of all six is all there is
    table = ArenaTable([record("a", task, 0.5) for task in LRA_TASKS])
    lines = {line[0]: line[1:] for line in table.lines()}
    assert lines["SGConv, the paper"][6] == "87.2"
    assert lines["S4, in SGConv's paper"][:7] == ["-"] * 6 + ["86.1"]
    assert lines["squashed, exp start (unverified)"][6] == "86.6"


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
        ({"mixers": []}, "at least one task and mixer"),
        ({"seeds": 0}, "seeds must be a whole number >= 1, not 0"),
        ({"epochs": 0}, "epochs must be a whole number >= 1"),
        ({"device": "gpu"}, "device gpu: Expected one of cpu, cuda"),
        ({"limit": 0}, "limit must be a whole number >= 1 or None, not 0"),
        ({"epochs": 1.5}, "epochs must be a whole number >= 1 or None, not 1.5"),
        ({"seeds": 1.5}, "seeds must be a whole number >= 1, not 1.5"),
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_one_line(tmp_path, capsys):
    command = ["lra", "--quick", "--tasks", "listops", "--mixers", "sgconv", "--device", "cuda", "--out", str(tmp_path)]
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("mercer lra: device cuda: Torch not compiled with CUDA enabled") or "NVIDIA" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_says_that_it_can_be_deleted(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def killed(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run, "evaluate", killed)
        with pytest.raises(Killed):
            run_arena(["listops"], ["sgconv"], out=tmp_path, **SMALL)
    for place, what in (("data", "the drawing"), ("checkpoints", "the training")):
        (file,) = (tmp_path / place).iterdir()
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        with pytest.raises(
            FileFormatError, match=rf"{file.name} is cut off .*delete that file: {what} then begins anew"
        ):
            run_arena(["listops"], ["sgconv"], out=tmp_path, **SMALL)
        file.unlink()
        if place == "data":
            file.write_bytes(whole)
    assert run_arena(["listops"], ["sgconv"], out=tmp_path, **SMALL).rows["sgconv"]["listops"]
