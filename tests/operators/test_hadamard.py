"""The Walsh-Hadamard transform against scipy's matrix, and what follows from its definition."""

import pytest
import torch
from scipy.linalg import hadamard

from mercer.errors import ShapeError
from mercer.operators import hadamard_transform

# Sums of n numbers of size 1: round-off of n ^ 0.5 units.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-13}


@pytest.mark.parametrize("n", [1, 2, 8, 32, 64, 1024, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_product_with_the_matrix_of_scipy(n, dtype):
    x = torch.randn(2, 3, n, dtype=dtype)
    expected = x.double() @ torch.from_numpy(hadamard(n)).double()
    size = float(expected.abs().max())
    torch.testing.assert_close(hadamard_transform(x).double(), expected, rtol=0.0, atol=TOLERANCE[dtype] * size)


def test_scaled_it_is_its_own_inverse():
    x = torch.randn(5, 256, dtype=torch.float64)
    once = hadamard_transform(x, scale=256**-0.5)
    torch.testing.assert_close(once.norm(dim=-1), x.norm(dim=-1), rtol=1e-13, atol=0.0)
    torch.testing.assert_close(hadamard_transform(once, scale=256**-0.5), x, rtol=1e-12, atol=1e-13)


def test_it_takes_half_types_complex_numbers_and_no_rows():
    x = torch.randn(3, 16)
    assert hadamard_transform(x.half()).dtype == torch.float16
    z = torch.complex(x, 2.0 * x)
    torch.testing.assert_close(hadamard_transform(z).imag, 2.0 * hadamard_transform(x))
    assert hadamard_transform(x[:0]).shape == (0, 16)


def test_its_gradient_is_the_transform():
    x = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(hadamard_transform, x)
    assert torch.autograd.gradgradcheck(hadamard_transform, x)


@pytest.mark.parametrize(("shape", "above"), [((2, 6), 8), ((33,), 64), ((4, 0), 1)])
def test_other_lengths_are_refused_with_the_padding_to_use(shape, above):
    with pytest.raises(ShapeError, match=rf"zeros to {above}: "):
        hadamard_transform(torch.zeros(shape))
