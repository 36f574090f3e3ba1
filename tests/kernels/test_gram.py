import math

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import NNGP, RBF, ArcCosine, IndefiniteGram, check_gram, gram_kernel
from mercer.kernels.gram import KERNELS_OF_GRAM, is_homogeneous, square

X = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 3)))
G = X @ X.mT


def test_kernels_of_a_gram_matrix_are_those_of_its_points():
    torch.testing.assert_close(gram_kernel(G, "rbf"), RBF()(X).to_dense())
    torch.testing.assert_close(gram_kernel(G, "relu"), ArcCosine(1, bias_variance=0.0)(X).to_dense())
    torch.testing.assert_close(gram_kernel(G, "linear"), G)


def test_erf_and_gelu_are_those_of_a_wide_layer():
    for name in ("erf", "gelu"):
        # NNGP has a first layer with weights of variance sigma_w^2 / d.
        expected = NNGP(depth=2, activation=name, sigma_w=1.0, sigma_b=0.0)(X * math.sqrt(3.0)).to_dense()
        torch.testing.assert_close(gram_kernel(G, name), expected, rtol=1e-6, atol=1e-8)


def test_the_normalised_gaussian_is_written_out():
    norms = G.diagonal().sqrt()
    expected = norms * norms[:, None] * (G / norms / norms[:, None] - 1.0).exp()
    torch.testing.assert_close(gram_kernel(G, "normalized_gaussian"), expected)


def test_relu_keeps_the_diagonal_and_its_gradient_is_finite_for_equal_and_zero_points():
    twice = torch.cat([X, X[:2], torch.zeros(1, 3).double()])
    points = twice.requires_grad_(True)
    K = gram_kernel(points @ points.mT, "relu")
    torch.testing.assert_close(K.diagonal(), (points @ points.mT).diagonal())
    assert bool(torch.isfinite(torch.autograd.grad(K.sum(), points)[0]).all())


@pytest.mark.parametrize("name", KERNELS_OF_GRAM)
def test_gradients_agree_with_finite_differences(name):
    points = X[:4].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda Z: gram_kernel(Z @ Z.mT, name), points)
    doubled = square(KERNELS_OF_GRAM[name], 2.0 * G)
    assert torch.allclose(doubled, 2.0 * square(KERNELS_OF_GRAM[name], G)) == is_homogeneous(name)


def test_many_matrices_at_once():
    both = square(KERNELS_OF_GRAM["relu"], torch.stack([G, 3.0 * G]))
    torch.testing.assert_close(both[1], gram_kernel(3.0 * G, "relu"))


def test_what_is_no_gram_matrix_is_refused():
    with pytest.raises(
        ShapeError, match=r"G must be a square matrix of inner products \(P, P\), P >= 1, not of shape \(2, 3\)"
    ):
        gram_kernel(torch.ones(2, 3))
    with pytest.raises(IndefiniteGram, match="its smallest eigenvalue is -1 "):
        gram_kernel(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(IndefiniteGram, match=r"not symmetric.*Give 0\.5 \* \(top \+ top\.T\)"):
        check_gram(torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "top")
    with pytest.raises(IndefiniteGram, match="NaN or infinity"):
        check_gram(torch.full((2, 2), math.nan))
    with pytest.raises(ValueError, match=r"kernel must be one of 'rbf', 'relu'.*not 'tanh'"):
        gram_kernel(G, "tanh")
    check_gram(torch.zeros(2, 2))
