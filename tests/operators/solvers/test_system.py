import math

import pytest
import torch
from linear_operator.operators import DenseLinearOperator, DiagLinearOperator

from mercer.errors import ShapeError
from mercer.kernels import RBF
from mercer.operators.solvers import System
from mercer.operators.solvers import system as module


def test_product_of_a_stored_float32_matrix_is_that_of_its_float64_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PANEL_BYTES", 1)  # one row at a time
    A, V = torch.randn(7, 7), torch.randn(7, 2, dtype=torch.float64)
    torch.testing.assert_close(System(A, 0.5).product(V), A.double() @ V + 0.5 * V, rtol=1e-14, atol=1e-14)


def test_float32_product_has_float32_error_and_float64_type() -> None:
    X, V = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, 2, dtype=torch.float64)
    system = System(RBF()(X), torch.rand(50))
    exact, rough = system.product(V), system.product(V, dtype=torch.float32)
    assert rough.dtype == torch.float64
    assert 1e-9 < float((rough - exact).norm() / exact.norm()) < 1e-5


def test_stored_float64_matrix_is_never_rounded() -> None:
    A, V = torch.randn(7, 7, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    assert torch.equal(System(A).product(V, dtype=torch.float32), A @ V)


@pytest.mark.parametrize("kind", ["tensor", "dense", "sum"])
def test_rows_blocks_and_diagonal_of_any_matrix(kind: str) -> None:
    A = torch.randn(9, 9)
    whole = DenseLinearOperator(A)
    system = System({"tensor": A, "dense": whole, "sum": whole + DenseLinearOperator(0 * A)}[kind], 1.0)
    index = torch.tensor([5, 0, 5])
    assert torch.equal(system.rows(index), A[index].double())
    assert torch.equal(system.block(slice(2, 5), slice(0, 4)), A[2:5, :4].double())
    assert torch.equal(system.diagonal(), A.diagonal().double())


def test_float32_blocks_of_an_operator() -> None:
    X = torch.randn(20, 2, dtype=torch.float64)
    block = System(RBF()(X)).block(slice(0, 5), slice(3, 9), torch.float32)
    assert block.dtype == torch.float32
    torch.testing.assert_close(block.double(), RBF()(X).to_dense()[:5, 3:9], rtol=1e-5, atol=1e-6)


def test_column_norm_bound_bounds_every_column() -> None:
    K = RBF()(torch.randn(40, 2)).double()
    bound = System(K, 0.3).column_norm_bound()
    columns = (K.to_dense() + 0.3 * torch.eye(40, dtype=torch.float64)).norm(dim=0)
    assert float(columns.max()) <= bound <= 10 * math.sqrt(40)


def test_batches_and_wrong_noise_are_refused() -> None:
    with pytest.raises(ShapeError, match="A must be square"):
        System(torch.ones(2, 3, 3))
    with pytest.raises(ShapeError, match=r"noise must be one number or one a row: \(3,\)"):
        System(torch.eye(3), torch.ones(2))
    with pytest.raises(ValueError, match="noise must be finite"):
        System(DiagLinearOperator(torch.ones(3)), torch.inf)
