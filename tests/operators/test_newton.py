"""Newton's inverse against LAPACK's, its gradient against autograd through that, and what it does where it cannot."""

import math

import pytest
import torch

from mercer.errors import ApproximationWarning, ShapeError
from mercer.operators import newton_inverse


def positive_definite(condition, m=20, batch=()):
    """Eigenvalues from 1 to 1 / condition, evenly in their logarithms."""
    Q, _ = torch.linalg.qr(torch.randn(*batch, m, m, dtype=torch.float64))
    return (Q * torch.logspace(0.0, -math.log10(condition), m, dtype=torch.float64)) @ Q.mT


def symmetric_inverse(A, **options):
    return newton_inverse(0.5 * (A + A.mT), rtol=1e-11, **options).inverse


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 6e4])
def test_the_inverse_is_that_of_lapack(condition, order):
    A = positive_definite(condition, 49)
    found = newton_inverse(A, rtol=1e-7, order=order)
    assert float(found.residual) <= 1e-7
    assert float(found.residual) == pytest.approx(float((torch.eye(49) - A @ found.inverse).abs().max()), abs=1e-9)
    torch.testing.assert_close(found.inverse, torch.linalg.inv(A), rtol=0.0, atol=1e-7 * condition * 49)
    assert int(found.n_iter) <= math.log2(condition) + 7  # the start-up, and a few that square


def test_the_cubic_iteration_takes_fewer_steps():
    A = positive_definite(1e3)
    assert int(newton_inverse(A, order=3).n_iter) < int(newton_inverse(A, order=2).n_iter)


@pytest.mark.parametrize("n_iter", [0, 3, 20])
def test_a_fixed_number_of_steps_is_the_papers_iteration(n_iter):
    A = positive_definite(1e3)
    Y = 1.8 * A / A.abs().sum(-1).max() ** 2
    for _ in range(n_iter):
        Y = 2.0 * Y - Y @ A @ Y
    found = newton_inverse(A, n_iter=n_iter)
    torch.testing.assert_close(found.inverse, Y, rtol=0.0, atol=1e-9 * float(Y.abs().max()))
    assert int(found.n_iter) == n_iter
    assert float(found.residual) == pytest.approx(float((torch.eye(20) - A @ Y).abs().max()))


def test_a_matrix_has_the_same_inverse_in_any_company():
    easy, hard = positive_definite(2.0), positive_definite(1e5)
    together = newton_inverse(torch.stack([easy, hard, easy]))
    alone = newton_inverse(easy)
    assert together.n_iter.tolist() == [int(alone.n_iter), int(newton_inverse(hard).n_iter), int(alone.n_iter)]
    # round-off of a product may depend on the batch, a step more or less may not
    torch.testing.assert_close(together.inverse[2], alone.inverse, rtol=0.0, atol=1e-13)


def test_the_ridge_is_in_units_of_the_mean_of_the_diagonal():
    A = positive_definite(1e3, batch=(2, 3)) * 100.0
    mean = A.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    expected = torch.linalg.inv(A + 0.05 * mean * torch.eye(20, dtype=torch.float64))
    for options in ({"rtol": 1e-10}, {"n_iter": 40}):
        torch.testing.assert_close(newton_inverse(A, ridge=0.05, **options).inverse, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.02, 1.0, 50.0])
def test_the_papers_iteration_converges_with_any_ridge(ridge):
    for A in (torch.eye(5, dtype=torch.float64), torch.ones(5, 5, dtype=torch.float64)):
        assert float(newton_inverse(A, n_iter=40, ridge=ridge).residual) < 1e-9


def test_the_gradient_is_that_of_an_inverse():
    A = positive_definite(1e2, 8, (2,)).requires_grad_()
    G = torch.randn(2, 8, 8, dtype=torch.float64)
    ours = torch.autograd.grad((symmetric_inverse(A) * G).sum(), A)[0]
    reference = torch.stack([torch.linalg.inv(0.5 * (a + a.mT)) for a in A])
    expected = torch.autograd.grad((reference * G).sum(), A)[0]
    assert (ours - expected).abs().max() <= 1e-10 * expected.abs().max()  # the residual asked for, times the condition


def test_gradients_of_both_orders_agree_with_finite_differences():
    A = positive_definite(10.0, 3, (2,)).requires_grad_()
    assert torch.autograd.gradcheck(lambda A: symmetric_inverse(A, ridge=0.1), A)
    assert torch.autograd.gradgradcheck(symmetric_inverse, A)


def test_it_works_inside_transforms():
    A = positive_definite(10.0, 4, (3,))
    expected = symmetric_inverse(A)
    torch.testing.assert_close(torch.vmap(symmetric_inverse)(A), expected)
    gradient = torch.vmap(torch.func.grad(lambda a: symmetric_inverse(a).sum()))(A)
    torch.testing.assert_close(gradient, -(expected @ torch.ones_like(A) @ expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_narrow_types_are_inverted_in_float64(dtype):
    A = positive_definite(1e3).to(dtype)
    found = newton_inverse(A, rtol=1e-6, ridge=1e-2)
    assert found.inverse.dtype == dtype
    assert float(found.residual) <= 1e-6
    wide = newton_inverse(A.double(), rtol=1e-6, ridge=1e-2).inverse
    torch.testing.assert_close(found.inverse, wide.to(dtype))


@pytest.mark.parametrize("condition", [1e8, 1e12])
def test_what_round_off_keeps_from_converging_is_inverted_by_cholesky(condition):
    A = torch.stack([positive_definite(10.0), positive_definite(condition)])
    with pytest.warns(ApproximationWarning, match="1 of the matrices did not reach rtol"):
        found = newton_inverse(A, rtol=1e-9)
    torch.testing.assert_close(found.inverse[1], torch.cholesky_inverse(torch.linalg.cholesky(A[1])))
    assert float(found.residual[0]) <= 1e-9


def test_what_is_not_positive_definite_is_inverted_by_eigenvalues():
    A = torch.stack([torch.diag(torch.tensor([1.0, -2.0])), torch.ones(2, 2), torch.full((2, 2), math.nan)])
    with pytest.warns(ApproximationWarning, match="3 of the matrices"):
        found = newton_inverse(A)
    torch.testing.assert_close(found.inverse[0], torch.diag(torch.tensor([1.0, -0.5])))
    torch.testing.assert_close(found.inverse[1], torch.full((2, 2), 0.25))
    assert found.inverse[2].isnan().all()
    assert float(found.residual[1]) == pytest.approx(0.5)  # the residual tells that there is no inverse
    assert found.residual[2].isnan()


@pytest.mark.slow(reason="torch.compile traces forward and backward")
def test_it_is_one_node_of_a_compiled_graph():
    A = positive_definite(100.0, 5).requires_grad_()
    compiled = torch.compile(lambda A: newton_inverse(A).inverse.sum(), backend="aot_eager", fullgraph=True)
    eager = torch.autograd.grad(newton_inverse(A).inverse.sum(), A)[0]
    torch.testing.assert_close(torch.autograd.grad(compiled(A), A)[0], eager)


class Inverse(torch.nn.Module):
    def __init__(self, n_iter):
        super().__init__()
        self.n_iter = n_iter

    def forward(self, A):
        return newton_inverse(A, n_iter=self.n_iter, ridge=1e-2).inverse


def test_an_export_has_its_steps_unrolled():
    A = positive_definite(100.0, 5).float()
    program = torch.export.export(Inverse(12), (A,))
    assert not any("mercer" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(A), Inverse(12)(A))


def test_an_export_needs_a_number_of_steps():
    with pytest.raises(ValueError, match="Give n_iter"):
        torch.export.export(Inverse(None), (torch.eye(2),))


@pytest.mark.parametrize(
    ("A", "options", "error", "message"),
    [
        (torch.ones(3, 2), {}, ShapeError, r"A must be \(\*batch, m, m\)"),
        (torch.ones(0, 0), {}, ShapeError, "m >= 1"),
        (torch.eye(2, dtype=torch.int64), {}, TypeError, "floating dtype"),
        (torch.eye(2), {"order": 4}, ValueError, "order is 2 or 3"),
        (torch.eye(2), {"ridge": -1.0}, ValueError, "ridge must be >= 0"),
        (torch.eye(2), {"rtol": 0.0}, ValueError, "rtol must be between 0 and 1"),
        (torch.eye(2), {"n_iter": -1}, ValueError, "n_iter must be >= 0"),
    ],
)
def test_mistakes_are_told(A, options, error, message):
    with pytest.raises(error, match=message):
        newton_inverse(A, **options)


def test_no_matrices_have_no_inverses():
    found = newton_inverse(torch.ones(0, 3, 3))
    assert (found.inverse.shape, found.residual.shape, found.n_iter.shape) == ((0, 3, 3), (0,), (0,))
