"""Solves that are interrupted and go on: the same answer to the last bit, and no other system's file."""

import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from mercer.errors import FileFormatError, NotConverged
from mercer.operators import solve
from mercer.operators.solvers import checkpoint
from mercer.store import save_state


class Interrupted(Exception):
    """Stands for a crash: nothing is tidied up."""


def system(columns=2):
    """A matrix with eigenvalues from 1 to 1000, which takes about a hundred iterations."""
    draw = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(150, 150, dtype=torch.float64, generator=draw)).Q
    A = basis * torch.logspace(0, 3, 150, dtype=torch.float64) @ basis.mT
    return 0.5 * (A + A.mT), torch.randn(150, columns, dtype=torch.float64, generator=draw)


def run(A, y, path=None, **options):
    return solve(A, y, **{"noise": 0.1, "method": "cg", "rank": 2, "rtol": 1e-8, "checkpoint": path, **options})


def interrupt(monkeypatch, path, at, error=Interrupted, columns=2):
    """A run that ends with ``error`` after ``at`` iterations."""
    note, seen = checkpoint.Checkpoint.note, []

    def stop(self, tensors, state):
        note(self, tensors, state)
        seen.append(state["n_iter"])
        if len(seen) == at:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "note", stop)
        with pytest.raises(error):
            run(*system(columns), path)


@pytest.mark.parametrize(("columns", "at"), [(1, 1), (2, 30), (70, 3), (70, 40)])
def test_a_resumed_solve_gives_the_same_to_the_last_bit(tmp_path, monkeypatch, columns, at):
    monkeypatch.setattr(checkpoint, "_SECONDS", 0.0)
    path = tmp_path / "solve.safetensors"
    A, y = system(columns)
    whole = run(A, y)
    interrupt(monkeypatch, path, at, columns=columns)
    assert path.exists()
    resumed = run(A, y, path)
    assert torch.equal(resumed.x, whole.x)
    assert resumed.n_iter <= whole.n_iter
    assert not path.exists()


def test_a_resumed_solve_does_not_start_again(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_SECONDS", 0.0)
    path = tmp_path / "solve.safetensors"
    A, y = system()
    whole = run(A, y)
    interrupt(monkeypatch, path, whole.n_iter - 5)
    calls = []
    product = checkpoint.System.product
    monkeypatch.setattr(checkpoint.System, "product", lambda self, V, **k: calls.append(1) or product(self, V, **k))
    assert run(A, y, path).n_iter == whole.n_iter
    assert len(calls) <= 12  # 5 iterations, the probe, true residuals


def test_ctrl_c_saves_and_nothing_is_saved_before_it_is_due(tmp_path, monkeypatch):
    path = tmp_path / "solve.safetensors"
    interrupt(monkeypatch, path, 10)
    assert not path.exists()
    interrupt(monkeypatch, path, 10, error=KeyboardInterrupt)
    assert path.exists()
    A, y = system()
    assert torch.equal(run(A, y, path).x, run(A, y).x)


def test_a_state_that_has_changed_since_is_not_saved(tmp_path):
    A, y = system()
    keeper = checkpoint.Checkpoint(tmp_path / "a", checkpoint.System(A), y, 1e-8)
    X = torch.zeros(3)
    keeper.note({"X": X}, {})
    X += 1.0
    keeper.save()
    assert not (tmp_path / "a").exists()


def test_the_iterations_that_were_asked_for_can_be_raised(tmp_path):
    path = tmp_path / "solve.safetensors"
    A, y = system(70)
    with pytest.raises(NotConverged):
        run(A, y, path, max_iter=20)
    assert path.exists()
    assert torch.equal(run(A, y, path).x, run(A, y).x)
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda A, y: (A + 1e-6 * torch.eye(150), y, {}), "values of the matrix differ"),
        (lambda A, y: (A, y + 1e-12, {}), "right-hand sides differ"),
        (lambda A, y: (A, y[:, :1], {}), "right-hand sides differ"),
        (lambda A, y: (A[:90, :90], y[:90], {}), "matrix and the right-hand sides differ"),
        (lambda A, y: (A.float(), y, {}), "matrix differ"),
        (lambda A, y: (A, y, {"noise": 0.2}), "noise differ"),
        (lambda A, y: (A, y, {"rtol": 1e-6}), "rtol differ"),
    ],
)
def test_the_checkpoint_of_another_system_is_refused(tmp_path, monkeypatch, change, message):
    path = tmp_path / "solve.safetensors"
    interrupt(monkeypatch, path, 5, error=KeyboardInterrupt)
    A, y, options = change(*system())
    with pytest.raises(ValueError, match=rf"is the checkpoint of another system: the {message}"):
        run(A, y, path, **options)
    assert path.exists()


def test_a_damaged_file_and_a_file_of_another_kind_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "solve.safetensors"
    A, y = system()
    interrupt(monkeypatch, path, 5, error=KeyboardInterrupt)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileFormatError, match="cut off or damaged"):
        run(A, y, path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match="not a file saved by mercer"):
        run(A, y, path)
    save_state(path, tensors={"x": torch.ones(1)}, meta={"kind": "KernelRidge", "version": 1})
    with pytest.raises(FileFormatError, match="holds a KernelRidge"):
        run(A, y, path)


def test_only_conjugate_gradients_of_one_matrix_have_checkpoints(tmp_path):
    A, y = system()
    with pytest.raises(ValueError, match="no batch, method 'cg' or None"):
        run(A, y, tmp_path / "a", method="cholesky")
    with pytest.raises(ValueError, match="no batch"):
        run(A.expand(2, 150, 150), y, tmp_path / "a", method=None)


SCRIPT = """
import sys, time
sys.path.insert(0, sys.argv[2])
import test_checkpoint
from mercer.operators.solvers import checkpoint

checkpoint._SECONDS = 0.0
note = checkpoint.Checkpoint.note

def slow(self, tensors, state):
    note(self, tensors, state)
    if state["n_iter"] == 20:
        print("saved", flush=True)
        time.sleep(300)

checkpoint.Checkpoint.note = slow
test_checkpoint.run(*test_checkpoint.system(), sys.argv[1])
"""


@pytest.mark.slow(reason="starts a Python that imports torch")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_solve_that_was_killed_goes_on(tmp_path):
    path = tmp_path / "solve.safetensors"
    folder = __file__.rsplit("/", 1)[0]
    arguments = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), folder]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "saved\n"
        finally:
            child.kill()
        assert child.wait(timeout=60) == -signal.SIGKILL
    A, y = system()
    whole = run(A, y)
    assert whole.n_iter > 25
    assert torch.equal(run(A, y, path).x, whole.x)
    assert not path.exists()
