"""Kernels of compact support: what is exactly 0, where they are kernels, derivatives."""

import pytest
import torch

from mercer.kernels import Wendland
from mercer.operators.maps import derivatives, evaluate, leaf, make

S = leaf("statistic", 0)
DOUBLE = torch.float64


@pytest.mark.parametrize("smoothness", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
def test_values_are_exactly_zero_from_the_radius_on(smoothness, dtype):
    near, far = (torch.tensor(x, dtype=dtype).reshape(-1, 1) for x in ([0.0, 2.0, 2.5, 1e3], [1e15]))
    kernel = Wendland(2.0, smoothness=smoothness)
    K = kernel(torch.zeros(1, 1, dtype=dtype), near)
    for values in (K.to_dense()[0], K.with_plan("tiles") @ torch.eye(4, dtype=dtype)):
        assert torch.equal(values.reshape(-1), torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=dtype))
    assert kernel(torch.zeros(1, 1, dtype=dtype), far).to_dense().item() == 0.0


@pytest.mark.parametrize("smoothness", [0, 1, 2, 3])
@pytest.mark.parametrize("d", [1, 2, 3, 6])
def test_the_op_and_its_slope_agree_with_finite_differences(smoothness, d):
    value = (d // 2 + smoothness + 1, smoothness)
    s = torch.linspace(0.02, 1.5, 40, dtype=DOUBLE, requires_grad=True)
    k = make("wendland", S, value=value)
    (slope,) = evaluate(derivatives(k, [S]), {S: s})
    h = 1e-6
    up, down = (evaluate([k], {S: s.detach() + sign * h})[0] for sign in (1.0, -1.0))
    torch.testing.assert_close(slope.detach().expand_as(s), (up - down) / (2 * h), rtol=1e-6, atol=1e-7)
    (again,) = torch.autograd.grad(evaluate([k], {S: s})[0].sum(), s)
    torch.testing.assert_close(again, slope.detach().expand_as(s))


def test_the_slope_at_coincident_points_is_that_of_a_smooth_function():
    x = torch.zeros(1, 1, dtype=DOUBLE, requires_grad=True)
    y = torch.zeros(1, 1, dtype=DOUBLE)
    hessian = torch.autograd.functional.hessian(lambda x: Wendland(smoothness=1)(x, y).to_dense().sum(), x)
    # j = 2: (1 - r)^3 (3 r + 1) = 1 - 6 r^2 + ...
    assert hessian.item() == pytest.approx(-12.0)


def test_matrices_are_positive_definite_up_to_the_dimension_and_not_beyond():
    # a fine grid of the square, on which the tent function of the line is no kernel
    line = torch.linspace(0.0, 1.0, 13, dtype=DOUBLE)
    X = torch.cartesian_prod(line, line)
    assert torch.linalg.eigvalsh(Wendland(0.3, smoothness=0)(X).to_dense())[0] > 0.0
    tent = (1.0 - torch.cdist(X, X) / 0.3).clamp(min=0.0)
    assert torch.linalg.eigvalsh(tent)[0] < -1e-3
    torch.testing.assert_close(
        Wendland(0.3, smoothness=0)(X[:, :1]).to_dense(), (1.0 - torch.cdist(X[:, :1], X[:, :1]) / 0.3).clamp(min=0.0)
    )
    with pytest.raises(ValueError, match=r"Wendland\(dimension=1\): the kernel sees 2 columns, .* Give dimension=2"):
        Wendland(0.3, smoothness=0, dimension=1)(X)


@pytest.mark.parametrize("arguments", [{"smoothness": 4}, {"smoothness": 1.5}, {"smoothness": True}])
def test_another_smoothness_is_refused(arguments):
    with pytest.raises(ValueError, match="the smoothness must be 0, 1, 2 or 3"):
        Wendland(**arguments)


@pytest.mark.parametrize("dimension", [0, -1, 2.0, True])
def test_a_dimension_that_is_none_is_refused(dimension):
    with pytest.raises(ValueError, match="the dimension must be a whole number >= 1"):
        Wendland(dimension=dimension)
