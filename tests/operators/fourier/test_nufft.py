import math

import pytest
import torch

from mercer.errors import MissingExtra
from mercer.operators.fourier.nufft import NonuniformTransform

PERIOD, MODES = (2.0, 3.0, 5.0), (3, 2, 4)


def matrix(points, d):
    """F by its definition."""
    index = torch.cartesian_prod(*(torch.arange(-m, m + 1) for m in MODES[:d])).reshape(-1, d).double()
    return torch.exp(1j * (points.double() @ (index * 2 * math.pi / torch.tensor(PERIOD[:d])).mT))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("t", [1, 3, 9])
def test_transforms_agree_with_their_definition(d, dtype, tolerance, t):
    points = torch.rand(50, d, dtype=dtype) * 1.9
    F = matrix(points, d)
    transform = NonuniformTransform(points, PERIOD[:d], MODES[:d], tolerance=tolerance)
    v = torch.randn(50, t, dtype=dtype)
    expected = F.conj().mT @ v.to(torch.complex128)
    found = transform.adjoint(v).flatten(1).mT
    assert float((found - expected).norm() / expected.norm()) < 10 * tolerance
    c = torch.randn(t, *transform.shape, dtype=transform.complex)
    expected = F @ c.flatten(1).mT.to(torch.complex128)
    assert float((transform.forward(c) - expected).norm() / expected.norm()) < 10 * tolerance


@pytest.mark.parametrize("limit", [0, 1 << 22], ids=["sorted", "in order"])
def test_sums_of_many_equal_values_keep_their_digits_in_float32(limit, monkeypatch):
    monkeypatch.setattr("mercer.operators.fourier.nufft._UNSORTED", limit)
    points = torch.rand(200_000, 1)
    transform = NonuniformTransform(points, PERIOD[:1], MODES[:1], tolerance=1e-6)
    expected = matrix(points, 1).conj().sum(0)
    found = transform.adjoint(torch.ones(200_000, 1))[0]
    assert float((found - expected).norm() / expected.norm()) < 2e-6  # 2e-5 if summed in float32


def test_whole_periods_change_nothing():
    points = torch.rand(20, 2, dtype=torch.float64)
    v = torch.randn(20, 1, dtype=torch.float64)
    near, far = (
        NonuniformTransform(points + shift, (2.0, 3.0), (3, 3), tolerance=1e-12).adjoint(v)
        for shift in (0.0, torch.tensor([2e4, -3e3]))
    )
    torch.testing.assert_close(near, far, rtol=1e-9, atol=1e-9)


def test_no_points_and_no_columns():
    empty = NonuniformTransform(torch.zeros(0, 2), (1.0, 1.0), (2, 2), tolerance=1e-6)
    assert bool((empty.adjoint(torch.zeros(0, 1)) == 0).all())
    assert empty.forward(torch.zeros(1, 5, 5, dtype=torch.complex64)).shape == (0, 1)


def test_without_finufft_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "finufft", None)
    transform = NonuniformTransform(torch.zeros(3, 1), (1.0,), (2,), tolerance=1e-6)
    with pytest.raises(MissingExtra, match=r"pip install 'mercer\[fourier\]'"):
        transform.adjoint(torch.ones(3, 1))
