import numpy as np
import pytest
import torch

from mercer.kernels import RBF, Laplacian, Matern, PowerExponential

X = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("kernel", "same"),
    [
        (PowerExponential(1.3, 1.0, 2.0), Matern(1.3, nu=0.5)),
        (PowerExponential(1.3, 2.0, 2.0), RBF(1.3 / 2**0.5)),
        (PowerExponential([1.0, 2.0, 3.0], 1.0, 1.0), Laplacian([1.0, 2.0, 3.0])),
    ],
    ids=repr,
)
def test_special_cases_are_other_kernels(kernel, same):
    torch.testing.assert_close(kernel(X).to_dense(), same(X).to_dense(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("exponent", "norm"), [(0.5, 2.0), (1.7, 2.0), (0.7, 0.7), (0.8, 1.3)])
def test_positive_semidefinite_within_its_bounds(exponent, norm):
    assert torch.linalg.eigvalsh(PowerExponential(1.3, exponent, norm)(X).to_dense()).min() > -1e-12


@pytest.mark.parametrize(("exponent", "norm"), [(0.0, 1.0), (1.5, 1.0), (2.1, 2.1), (-1.0, 2.0)])
def test_arguments_outside_the_bounds(exponent, norm):
    with pytest.raises(ValueError, match="0 < exponent <= norm <= 2"):
        PowerExponential(1.0, exponent, norm)
    with pytest.raises(TypeError, match="it cannot be learnt"):
        PowerExponential(1.0, np.array([1.0, 2.0]))
