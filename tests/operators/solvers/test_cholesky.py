from importlib import import_module

import pytest
import torch
from torch import Tensor

from mercer import config
from mercer.errors import MemoryBudgetError, NotConverged
from mercer.kernels import RBF
from mercer.operators.solvers import NotPositiveDefinite, System, cholesky


@pytest.fixture(autouse=True)
def _small_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small matrices have several panels of several blocks, the last ones cut off."""
    module = import_module("mercer.operators.solvers.cholesky")
    monkeypatch.setattr(module, "_PANEL", 18)
    monkeypatch.setattr(module, "_BLOCK", 6)
    monkeypatch.setattr(module, "_CHUNK_FLOPS", 1000.0)


def spd(n: int) -> Tensor:
    A = torch.randn(n, n, dtype=torch.float64)
    return A @ A.T / n + torch.eye(n, dtype=torch.float64)


@pytest.mark.parametrize("n", [1, 6, 17, 18, 19, 63, 101])
def test_factor_is_that_of_torch(n: int) -> None:
    A, noise = spd(n), torch.rand(n, dtype=torch.float64)
    factor = cholesky(System(A, noise))
    expected = torch.linalg.cholesky(A + noise.diag())
    torch.testing.assert_close(factor.buffer.tril(), expected, rtol=1e-12, atol=1e-12)
    assert factor.logdet() == pytest.approx(float(torch.logdet(A + noise.diag())), rel=1e-10, abs=1e-10)
    B = torch.randn(n, 3, dtype=torch.float64)
    torch.testing.assert_close(factor.solve(B), torch.cholesky_solve(B, expected), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(factor.multiply_lower(B), expected @ B, rtol=1e-12, atol=1e-12)


def test_matrix_given_is_left_as_it_is() -> None:
    A = spd(20)
    before = A.clone()
    cholesky(System(A, 1.0))
    assert torch.equal(A, before)


def test_float32_factor_solves_to_float32_accuracy() -> None:
    A, B = spd(50), torch.randn(50, 2, dtype=torch.float64)
    factor = cholesky(System(A), dtype=torch.float32)
    assert factor.buffer.dtype == torch.float32
    x = factor.solve(B)
    assert x.dtype == torch.float64
    assert 1e-9 < float((A @ x - B).norm() / B.norm()) < 1e-4


def test_operator_is_formed_in_blocks() -> None:
    X = torch.randn(40, 3, dtype=torch.float64)
    factor = cholesky(System(RBF()(X), 0.1))
    expected = torch.linalg.cholesky(RBF()(X).to_dense() + 0.1 * torch.eye(40, dtype=torch.float64))
    torch.testing.assert_close(factor.buffer.tril(), expected)


@pytest.mark.parametrize("bad", [0, 7, 39])
def test_pivot_that_is_not_positive_is_named(bad: int) -> None:
    A = torch.eye(40, dtype=torch.float64)
    A[bad, bad] = -1.0
    with pytest.raises(NotPositiveDefinite, match=f"row {bad} of 40. Give a larger noise"):
        cholesky(System(A))
    assert issubclass(NotPositiveDefinite, NotConverged)


def test_memory_is_checked_before_it_is_taken() -> None:
    config.set_memory_budget(10_000)
    with pytest.raises(MemoryBudgetError, match=r"Cholesky factorisation of 1000 x 1000 in float64 needs.*method='cg'"):
        cholesky(System(RBF()(torch.randn(1000, 2))))


def test_progress_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MERCER_PROGRESS", "1")
    monkeypatch.setattr(import_module("mercer.operators.solvers.cholesky"), "track", _impatient)
    cholesky(System(spd(40)), description="my factor")
    assert "my factor" in capsys.readouterr().err


def _impatient(items: None, *, description: str, total: float) -> object:
    from mercer.progress import track

    return track(items, description=description, total=total, after_seconds=0.0)
