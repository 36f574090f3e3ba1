"""Weights from files, and from files that are none."""

import argparse
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mercer.errors import FileFormatError
from mercer.nn.models import load_checkpoint


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))


def equal(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("place", [None, "state_dict", "model", "model_state_dict"])
def test_weights_are_found_where_training_scripts_put_them(tmp_path, place):
    saved, path = network(), tmp_path / "weights.pth"
    state = saved.state_dict()
    torch.save(state if place is None else {place: state, "epoch": 3, "args": argparse.Namespace(lr=0.1)}, path)
    assert equal(load_checkpoint(network(), path), saved)


def test_safetensors_and_prefixes_of_parallel_training(tmp_path):
    saved = network()
    save_file({f"module.{name}": value for name, value in saved.state_dict().items()}, tmp_path / "w.safetensors")
    assert equal(load_checkpoint(network(), tmp_path / "w.safetensors"), saved)


def test_averaged_weights_are_taken_where_asked_for(tmp_path):
    last, average = network(), network()
    torch.save({"state_dict": last.state_dict(), "state_dict_ema": average.state_dict()}, tmp_path / "w.pth")
    assert equal(load_checkpoint(network(), tmp_path / "w.pth"), last)
    assert equal(load_checkpoint(network(), tmp_path / "w.pth", prefer_average=True), average)


def test_names_that_differ_are_told_and_allowed_where_not_strict(tmp_path):
    saved = network().state_dict()
    saved["head"] = saved.pop("2.bias")
    torch.save(saved, tmp_path / "w.pth")
    with pytest.raises(FileFormatError, match=r"Sequential: not in the file: 2.bias; only in the file: head"):
        load_checkpoint(network(), tmp_path / "w.pth")
    model = load_checkpoint(network(), tmp_path / "w.pth", strict=False)
    assert torch.equal(model[0].weight, saved["0.weight"])


@pytest.mark.parametrize("strict", [True, False])
def test_shapes_have_to_fit(tmp_path, strict):
    torch.save(nn.Sequential(nn.Linear(4, 2)).state_dict(), tmp_path / "w.pth")
    with pytest.raises(FileFormatError, match=r"0.weight is \(2, 4\) there and \(2, 3\) here"):
        load_checkpoint(network(), tmp_path / "w.pth", strict=strict)


def test_a_file_of_another_network_is_refused_even_if_not_strict(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(FileFormatError, match="does not hold the weights of this Sequential"):
        load_checkpoint(network(), tmp_path / "w.pth", strict=False)


class Runs:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": network().state_dict(), "extra": Runs()}, path)
    with pytest.raises(FileFormatError, match="only load by running code"):
        load_checkpoint(network(), path)
    path.write_bytes(pickle.dumps(Runs(), protocol=2))
    with pytest.raises(FileFormatError, match="cannot be read as weights"):
        load_checkpoint(network(), path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_files_that_are_none_are_told(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load_checkpoint(network(), tmp_path / name)
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(FileFormatError, match=r"cannot be read|no safetensors file"):
        load_checkpoint(network(), tmp_path / name)


def test_a_file_without_tensors_is_told(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(FileFormatError, match="holds no tensors by name"):
        load_checkpoint(network(), tmp_path / "w.pth")
