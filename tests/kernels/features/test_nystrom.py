"""Nystrom features: a projection, exact at its centres, the same as scikit-learn's up to rotation."""

import numpy as np
import pytest
import torch
from sklearn.kernel_approximation import Nystroem

from mercer.config import set_memory_budget
from mercer.errors import MemoryBudgetError
from mercer.kernels import RBF, Laplacian, Linear, Matern, Pairwise
from mercer.kernels.features import NystromFeatures

X = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gram(features, points=X):
    F = features(points)
    return F @ F.mT


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        (RBF(0.7), {"kernel": "rbf", "gamma": 0.5 / 0.7**2}),
        (Laplacian(1.5), {"kernel": "laplacian", "gamma": 1.0 / 1.5}),
    ],
    ids=repr,
)
def test_the_gram_matrix_is_that_of_scikit_learn_with_the_same_centres(kernel, arguments):
    theirs = Nystroem(n_components=20, random_state=0, **arguments).fit(X.numpy())
    F = theirs.transform(X.numpy())
    ours = NystromFeatures(kernel, theirs.components_, jitter=0.0)
    np.testing.assert_allclose(gram(ours).numpy(), F @ F.T, rtol=0.0, atol=1e-10)
    # the jitter moves it by no more than its share over the least eigenvalue, here 1e-10 / 0.01
    np.testing.assert_allclose(gram(NystromFeatures(kernel, theirs.components_)).numpy(), F @ F.T, rtol=0.0, atol=1e-7)


@pytest.mark.parametrize("kernel", [RBF(1.3), Matern(1.3), Laplacian(2.0), Linear(bias=0.5)], ids=repr)
def test_the_rest_is_positive_semidefinite_and_zero_at_the_centres(kernel):
    features = NystromFeatures(kernel, X[:15])
    K = kernel(X).to_dense()
    rest = K - gram(features)
    scale = float(K.diagonal().max())
    assert float(torch.linalg.eigvalsh(rest)[0]) > -1e-9 * scale
    assert float(rest[:15].abs().max()) < 1e-8 * scale  # the root of the jitter times the size of coefficients


def test_centres_that_repeat_need_the_jitter_and_get_it():
    twice = torch.cat([X[:5], X[:5]])
    torch.testing.assert_close(
        gram(NystromFeatures(RBF(), twice)), gram(NystromFeatures(RBF(), X[:5])), rtol=0, atol=1e-8
    )


def test_pivoted_centres_explain_more_than_uniform_ones():
    kernel = RBF(0.8)
    crowded = torch.cat([0.05 * X, 3.0 * X[:12]])

    def unexplained(sampling):
        maps = [NystromFeatures.from_data(kernel, crowded, 12, sampling=sampling, random_state=s) for s in range(4)]
        return sum(float(len(crowded) - f(crowded).square().sum()) for f in maps)

    assert unexplained("pivoted") < 0.7 * unexplained("uniform")


def test_centres_are_rows_of_the_data_and_follow_the_seed():
    for sampling in ("pivoted", "uniform"):
        first = NystromFeatures.from_data(RBF(), X, 7, sampling=sampling, random_state=3)
        again = NystromFeatures.from_data(RBF(), X, 7, sampling=sampling, random_state=3)
        assert torch.equal(first.centers, again.centers)
        assert all((c == X).all(1).any() for c in first.centers)
        assert first.n_features == 7
    assert NystromFeatures.from_data(Linear(), X, 20, random_state=0).n_features == 3  # its rank


def test_single_precision_points_get_features_of_double_precision():
    features = NystromFeatures(RBF(2.0), X[:40])  # eigenvalues down to the jitter
    assert features(X.float()).dtype == torch.float32
    torch.testing.assert_close(features(X.float()), features(X.float().double()).float(), rtol=0.0, atol=0.0)


def test_centres_have_gradients():
    centers = X[:6].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda C: gram(NystromFeatures(Matern(), C), X[10:15]), centers, atol=1e-6)


def test_the_factor_is_kept_while_nothing_changes_and_made_again_when_it_does(monkeypatch):
    features = NystromFeatures(RBF(), X[:6])
    made = []
    factorise = NystromFeatures._factorise
    monkeypatch.setattr(NystromFeatures, "_factorise", lambda self: made.append(1) or factorise(self))
    features(X), features(X)
    assert made == []
    features.kernel.set_params(lengthscale=2.0)
    torch.testing.assert_close(gram(features), gram(NystromFeatures(RBF(2.0), X[:6])))
    assert len(made) == 2


def test_what_is_too_large_or_no_kernel_is_refused():
    with pytest.raises(ValueError, match="a kernel that is positive semidefinite"):
        NystromFeatures(Pairwise("sigmoid", gamma=0.3, coef0=-2.0), X[:10])
    set_memory_budget(1000)
    with pytest.raises(MemoryBudgetError, match="60 centres"):
        NystromFeatures(RBF(), X)


def test_the_text_of_the_features_does_not_print_the_centres():
    assert (
        repr(NystromFeatures(RBF(), X[:6]))
        == "NystromFeatures(RBF(lengthscale=1.0), <6 centers of 3 columns>, jitter=1e-10)"
    )
