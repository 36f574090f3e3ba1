import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Laplacian, Linear, Matern, Polynomial, PowerExponential, from_callable
from mercer.operators import point_gradients

GENERATOR = torch.Generator().manual_seed(0)
X, Y = (torch.randn(n, 3, dtype=torch.float64, generator=GENERATOR) for n in (21, 33))
V = torch.randn(33, 2, dtype=torch.float64, generator=GENERATOR)
KERNELS = [
    RBF([0.7, 1.9, 1.1]),
    Matern(1.3, nu=0.5),
    Laplacian([0.7, 1.9, 1.1]),
    PowerExponential(1.3, 0.9),
    PowerExponential(1.3, 0.7, 0.7),
    PowerExponential([0.7, 1.9, 1.1], 0.8, 1.2),
    Linear([0.7, 1.9, 1.1], bias=0.5),
    Polynomial(3),
    2.0 * RBF(1.0).on([0]) * Matern(1.0).on([1, 2]) + Linear(),
    from_callable(lambda x, y: (x @ y.mT) ** 2, blocks=True),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_gradients_are_those_of_autograd(kernel):
    points = X.clone().requires_grad_()
    values = kernel(points, Y).to_dense() @ V
    expected = torch.stack([torch.autograd.grad(values[:, t].sum(), points, retain_graph=True)[0] for t in (0, 1)], 1)
    torch.testing.assert_close(point_gradients(kernel(X, Y), V), expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(point_gradients(kernel(X, Y), V[:, 0]), expected[:, 0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kernel", KERNELS[:6], ids=lambda kernel: type(kernel).__name__)
def test_a_point_and_itself_have_no_pull(kernel):
    both = torch.cat([X, Y[:12]])
    found = point_gradients(kernel(both), V[:, 0])
    apart = torch.stack(
        [
            point_gradients(kernel(both[[i]], both[torch.arange(33) != i]), V[torch.arange(33) != i, 0])[0]
            for i in (0, 7)
        ]
    )
    torch.testing.assert_close(found[[0, 7]], apart, rtol=1e-8, atol=1e-10)


def test_float32_is_close_far_from_the_origin():
    points, others = X + 100.0, Y + 100.0
    exact = point_gradients(PowerExponential(2.0)(points.float().double(), others.float().double()), V)
    single = point_gradients(PowerExponential(2.0)(points.float(), others.float()), V)
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-4)


def test_a_kernel_of_no_column_has_no_gradient():
    from mercer.kernels import Constant

    assert not point_gradients(Constant(2.0)(X, Y), V).any()


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"v must be \(33,\) or \(33, t\)"):
        point_gradients(RBF()(X, Y), V[:3])
    with pytest.raises(ShapeError, match="no batch"):
        point_gradients(RBF()(X.expand(2, -1, -1), Y.expand(2, -1, -1)), V)
