"""Positive features: unbiased, of known variance, and of the least at the optimal damping."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from mercer.errors import ShapeError
from mercer.kernels import RBF, Softmax
from mercer.kernels.features import PositiveFeatures, optimal_damping

D = 4
X = 0.4 * torch.randn(6, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def estimates(kernel, n_features, seeds, **arguments):
    maps = (PositiveFeatures(kernel, n_features, d=D, random_state=s, **arguments) for s in seeds)
    features = torch.stack([f(X) for f in maps])
    return features @ features.mT


def variance(X, a=0.0):
    """Of one feature's product, for the softmax kernel of points in lengthscales."""
    squares = X.square().sum(1)
    both = (X[:, None] + X[None]).square().sum(-1)
    exponent = 2.0 * (1.0 + 4.0 * a) / (1.0 + 8.0 * a) * both - squares[:, None] - squares
    return ((1.0 + 4.0 * a) ** 2 / (1.0 + 8.0 * a)) ** (X.shape[1] / 2) * exponent.exp() - (2.0 * X @ X.mT).exp()


@pytest.mark.parametrize("method", ["iid", "orthogonal", "quasi"])
@pytest.mark.parametrize("kernel", [Softmax(2.0), RBF([1.6, 2.0, 2.4, 3.0])], ids=repr)
@pytest.mark.parametrize(
    "arguments", [{}, {"damping": 0.15}, {"hyperbolic": True}, {"hyperbolic": True, "damping": 0.1}]
)
def test_the_estimate_is_unbiased_and_positive(kernel, arguments, method):
    found = estimates(kernel, 32, range(150), method=method, **arguments)
    error = found.std(0) / math.sqrt(len(found))
    assert float(((found.mean(0) - kernel(X).to_dense()).abs() - 4.0 * error).max()) < 0.0
    assert float(PositiveFeatures(kernel, 32, d=D, method=method, **arguments)(X).min()) > 0.0


@pytest.mark.parametrize("a", [0.0, 0.2])
def test_the_variance_is_that_of_the_formula(a):
    found = estimates(Softmax(), 256, range(300), method="iid", damping=a)
    ratio = found.var(0) / (variance(X, a) / 256)
    # the estimates are skewed: about three times the standard error of a normal sample's variance
    assert float((ratio - 1.0).abs().max()) < 0.6
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.15)


def test_hyperbolic_features_have_the_variance_of_the_paper():
    found = estimates(Softmax(), 512, range(400), method="iid", hyperbolic=True)
    z = (X[:, None] + X[None]).square().sum(-1)
    # of m frequencies with both signs: (1 - exp(-|x + y|^2)) / 2 of that of m positive features
    expected = 0.5 * (1.0 - torch.exp(-z)) * variance(X) / 256
    ratio = found.var(0) / expected
    assert float((ratio - 1.0).abs().max()) < 0.8
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.2)


def test_orthogonal_hyperbolic_features_have_a_lower_error_than_independent_ones():
    # without both signs the tails of single features decide, which orthogonality leaves as they are
    K = Softmax(2.0)(X).to_dense()
    found = {m: estimates(Softmax(2.0), 16, range(100), method=m, hyperbolic=True) for m in ("iid", "orthogonal")}
    errors = {method: float(((estimate - K) ** 2).mean()) for method, estimate in found.items()}
    assert errors["orthogonal"] < 0.7 * errors["iid"]


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("d", [1, 4, 30])
def test_the_optimal_damping_minimises_the_variance(scale, d):
    x = scale * torch.ones(1, d, dtype=torch.float64)
    best = minimize_scalar(
        lambda a: float((variance(x, a) + (2.0 * x @ x.mT).exp()).log()),
        bounds=(0.0, 20.0),
        method="bounded",
        options={"xatol": 1e-9},
    ).x
    assert optimal_damping(x) == pytest.approx(best, rel=1e-4, abs=1e-5)


def test_the_damping_for_points_uses_all_pairs_in_lengthscales():
    Y = torch.randn(9, D, dtype=torch.float64) + 1.0
    mean = (X[:, None] / 2.0 + Y[None] / 2.0).square().sum(-1).mean()
    same = math.sqrt(float(mean)) / 2.0 * torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    features = PositiveFeatures.for_points(Softmax(2.0), 64, X, Y, method="iid", random_state=0)
    assert features.damping == pytest.approx(optimal_damping(same), rel=1e-12)
    assert (features.d, features.method) == (D, "iid")
    assert optimal_damping(torch.zeros(3, 2)) == 0.0
    with pytest.raises(ShapeError, match="points are needed with equal columns"):
        optimal_damping(torch.zeros(3, 2), torch.zeros(3, 4))


def test_damping_pays_where_points_are_long():
    points = 2.0 * X
    K = Softmax()(points).to_dense()

    def error(build):
        return sum(float(((build(s)(points) @ build(s)(points).mT - K) / K).square().mean()) for s in range(30))

    plain = error(lambda s: PositiveFeatures(Softmax(), 64, d=D, random_state=s))
    damped = error(lambda s: PositiveFeatures.for_points(Softmax(), 64, points, random_state=s))
    assert damped < 0.5 * plain


def test_logarithms_stay_finite_where_features_overflow():
    features = PositiveFeatures(Softmax(0.05), 8, d=D, random_state=0)
    points = X.float()
    logs = features.log_features(points)
    assert bool(logs.isfinite().all())
    torch.testing.assert_close(
        PositiveFeatures(Softmax(), 8, d=D, random_state=0).log_features(X).exp(),
        PositiveFeatures(Softmax(), 8, d=D, random_state=0)(X),
    )
