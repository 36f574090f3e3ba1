"""Operators that are wrong in one way each, and the property and the smallest block that say so."""

import pytest
import torch

from mercer.kernels import RBF
from mercer.operators import ScaledOperator, SumOperator
from mercer.testing import PropertyError, check_operator

X = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Sum(SumOperator):
    """A sum whose blocks are of its own class, and as wrong."""

    def _getitem(self, row_index, col_index, *batch_indices):
        return type(self)(*(term._getitem(row_index, col_index, *batch_indices) for term in self.terms))


class NoTranspose(Sum):
    def _transpose_nonbatch(self):
        return self


class Columnless(Sum):
    """Forgets all right-hand sides but the first."""

    def _matmul(self, rhs):
        product = super()._matmul(rhs)
        return product if rhs.dim() == 1 else product[..., :1].expand_as(product)


class OfUnitDiagonal(Sum):
    def _diagonal(self):
        return torch.ones(self.shape[:-1], dtype=self.dtype)


class OfWrongEntries(Sum):
    def _get_indices(self, row_index, col_index, *batch_indices):
        return super()._get_indices(row_index, row_index, *batch_indices)


class CutOff(ScaledOperator):
    """A factor without a gradient."""

    def _matmul(self, rhs):
        return self.operator._matmul(rhs) * self.factor.detach()

    def _getitem(self, row_index, col_index, *batch_indices):
        return CutOff(self.operator._getitem(row_index, col_index, *batch_indices), self.factor)


class StuckInFloat64(Sum):
    def to(self, *args, **kwargs):
        return self


K, L = RBF(0.8)(X), RBF(2.0)(X)
BROKEN = {
    "transpose": (NoTranspose(RBF(0.8)(X, X.flip(0) + 1.0), RBF(2.0)(X, X.flip(0) + 1.0)), {"n": 2, "m": 2}),
    "matmul": (Columnless(K, L), {"n": 1, "m": 1, "t": 2}),
    "diagonal": (OfUnitDiagonal(K, L), {"n": 1}),
    "indexing": (OfWrongEntries(K, L), {"n": 2, "m": 2}),
    "gradients": (CutOff(K, torch.tensor(2.0, dtype=torch.float64)), {"n": 1, "m": 1}),
    "moves": (StuckInFloat64(K, L), {}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_operator_is_caught_on_a_small_block(name):
    operator, sizes = BROKEN[name]
    with pytest.raises(PropertyError, match=f"{name} does not hold") as caught:
        check_operator(operator, properties=[name])
    assert all(getattr(caught.value.case, size) <= most for size, most in sizes.items())
    assert "check_operator(operator" in str(caught.value)


def test_another_matrix_than_its_definition_is_caught():
    wrong = K.to_dense()
    wrong[3, 5] += 1e-6
    with pytest.raises(PropertyError) as caught:
        check_operator(K, definition=wrong, properties=["definition"])
    assert (caught.value.case.n, caught.value.case.m) == (4, 6)
    assert "check_operator(operator[..., :4, :6], properties=['definition'])" in str(caught.value)


def test_a_report_of_an_operator_tells_what_was_not_possible():
    report = check_operator(RBF()(X, X[:4]), report=True)
    assert report.passed
    assert {r.property for r in report if r.status == "skipped"} == {"definition", "diagonal", "solve", "logdet"}
    assert report["solve"].detail == "the operator is not square"
