"""The softmax kernel; its values grow exponentially with the points, so it has no row in the table of kernels."""

import numpy as np
import pytest
import torch

from mercer.kernels import Softmax, parse


def points(n, seed=0):
    return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("plan", ["dense", "tiles"])
@pytest.mark.parametrize("lengthscale", [1.3, [0.8, 1.9, 1.1]])
def test_products_agree_with_the_definition(lengthscale, plan):
    X, Y = points(33), points(17, 1)
    scaled = [Z.numpy() / np.asarray(lengthscale) for Z in (X, Y)]
    expected = np.exp(scaled[0] @ scaled[1].T)
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 2e-6)):
        K = Softmax(lengthscale)(X.to(dtype), Y.to(dtype), plan=plan)
        np.testing.assert_allclose((K @ torch.ones(17, dtype=dtype)).numpy(), expected.sum(1), rtol=tolerance)
        np.testing.assert_allclose(K.to_dense().numpy(), expected, rtol=tolerance)


def test_it_is_positive_semidefinite_and_differentiable():
    X = points(8)
    K = Softmax(1.5)(X).to_dense()
    assert float(torch.linalg.eigvalsh(K)[0]) > -1e-13 * float(K.norm())
    scale = torch.tensor([0.9, 1.2, 1.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda X, s: Softmax(s)(X).to_dense(), (0.5 * X.requires_grad_(True), scale), atol=1e-6
    )


def test_it_is_written_and_read_as_text():
    kernel = 2.0 * Softmax([0.5, 1.0]).on([0, 2])
    assert parse(repr(kernel)) == kernel
    with pytest.raises(ValueError, match="lengthscale must be > 0"):
        Softmax(0.0)
