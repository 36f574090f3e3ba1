"""What is true of every feature map, and of the kernel made of it. A new map adds a row."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mercer.errors import ShapeError
from mercer.kernels import (
    RBF,
    ArcCosine,
    Constant,
    Laplacian,
    Linear,
    Matern,
    Polynomial,
    RationalQuadratic,
    Softmax,
    White,
    to_text,
)
from mercer.kernels.features import (
    ArcCosineFeatures,
    ExactFeatures,
    FeatureKernel,
    NystromFeatures,
    PositiveFeatures,
    RandomFourier,
    TensorSketch,
)
from mercer.learn import KernelRidge


def points(n, d=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(100 * seed + n)
    return (0.6 * torch.randn(n, d, generator=generator, dtype=torch.float64)).to(dtype)


MAPS = {
    "arc_cosine": lambda: ArcCosineFeatures(ArcCosine(1, [0.7, 1.9, 1.1], 0.5), 64, d=3, random_state=0),
    "arc_cosine_hadamard": lambda: ArcCosineFeatures(
        ArcCosine(2, 0.7, 0.5), 64, d=3, method="hadamard", random_state=0
    ),
    "fourier_rbf": lambda: RandomFourier(RBF(1.3), 64, d=3, random_state=0),
    "fourier_ard": lambda: RandomFourier(RBF([0.7, 1.9, 1.1]), 64, d=3, method="iid", random_state=0),
    "fourier_matern": lambda: RandomFourier(Matern(1.3, nu=1.2), 64, d=3, method="quasi", random_state=0),
    "fourier_laplacian": lambda: RandomFourier(Laplacian(2.0), 64, d=3, random_state=0),
    "fourier_sum": lambda: RandomFourier(
        0.5 * RBF(0.8) + RationalQuadratic(1.5, alpha=1.2) * Matern(2.0, nu=2.5).on(0) + Constant(0.2),
        64,
        d=3,
        random_state=0,
    ),
    "positive": lambda: PositiveFeatures(Softmax(1.4), 64, d=3, random_state=0),
    "positive_rbf": lambda: PositiveFeatures(RBF([0.9, 1.9, 1.1]), 64, d=3, damping=0.1, random_state=0),
    "positive_hyperbolic": lambda: PositiveFeatures(
        Softmax(1.4), 64, d=3, hyperbolic=True, damping=0.1, random_state=0
    ),
    "nystrom": lambda: NystromFeatures(Matern(1.3, nu=2.5) + 0.1 * Linear(bias=0.2), points(12, seed=9)),
    "exact": lambda: ExactFeatures(Polynomial(3, 0.7, 1.6) + 0.5 * Linear(bias=0.3), d=3),
    "sketch": lambda: TensorSketch(Polynomial(3, 0.7, 1.6), 64, d=3, random_state=0),
}


@pytest.fixture(params=MAPS, ids=str)
def features(request):
    return MAPS[request.param]()


def test_features_have_the_shape_dtype_and_batch_of_the_points(features):
    r = features.n_features
    assert features.d == 3
    for shape in [(5, 3), (0, 3), (2, 4, 3)]:
        out = features(torch.rand(shape))
        assert out.shape == (*shape[:-1], r)
        assert out.dtype == torch.float32
    X = points(5)
    assert features(X.half()).dtype == torch.float16
    assert features(X).dtype == torch.float64
    torch.testing.assert_close(features(X.numpy()), features(X), rtol=0, atol=0)
    torch.testing.assert_close(features(torch.stack([X, 2.0 * X]))[1], features(2.0 * X), rtol=1e-12, atol=1e-13)
    assert features([[1, 2, 3]]).dtype == torch.get_default_dtype()


def test_single_precision_agrees_with_double(features):
    X = points(40, dtype=torch.float32)
    double = features(X.double())
    # Nystrom works in float64. Phases and exponents are rounded to 1e-7 of themselves: 1 to 10 of most kernels, up to
    # 1000 of the Laplacian kernel, whose frequencies have heavy tails.
    size = 10.0
    if isinstance(features, RandomFourier):
        size = max(size, float((X.double() @ features.frequencies.mT).abs().max()))
    torch.testing.assert_close(features(X).double(), double, rtol=0.0, atol=2e-7 * size * float(double.abs().max()))


def test_another_number_of_columns_is_refused(features):
    with pytest.raises(ShapeError, match="is for points with 3 columns; X has 2"):
        features(torch.zeros(4, 2))
    with pytest.raises(ShapeError, match="for points with 3 columns, but the kernel sees 2"):
        features.as_kernel()(torch.zeros(4, 2))


def test_features_have_gradients_in_the_points_and_the_hyperparameters(features):
    X = points(4).requires_grad_(True)
    assert torch.autograd.gradcheck(features, X, atol=1e-6)
    found = features.hyperparameters()
    values = [h.value.clone().requires_grad_(True) for h in found]

    def at(*values):
        again = features.with_values({h.path: v for h, v in zip(found, values, strict=True)})
        F = again(X.detach())
        return F @ F.mT

    torch.testing.assert_close(at(*values).detach(), (features(X) @ features(X).mT).detach(), rtol=1e-12, atol=1e-12)
    # Which part of a sum a frequency comes from, and its law at another alpha, is fixed by the draw: the gradient is
    # right on average only (test_random_fourier.py).
    if "RationalQuadratic" not in repr(features):
        assert torch.autograd.gradcheck(at, values, atol=1e-6)


def test_a_copy_with_other_values_keeps_what_was_drawn(features):
    kind, arguments = type(features), features.get_params(deep=False)
    if "random_state" not in arguments:
        pytest.skip("nothing is drawn")
    fresh = kind(**{**arguments, "random_state": None})
    path = fresh.hyperparameters()[0].path
    value = fresh.hyperparameters()[0].value
    X = points(5)
    assert torch.equal(fresh.with_values({path: value})(X), fresh(X))
    assert not torch.equal(fresh.with_values({path: 2.0 * value})(X), fresh(X))
    assert not torch.equal(kind(**{**arguments, "random_state": None})(X), fresh(X))
    assert torch.equal(kind(**arguments)(X), features(X))
    before = fresh(X)
    fresh.set_params(n_features=32)
    assert fresh(X).shape[1] == 32
    fresh.set_params(n_features=64)
    assert not torch.equal(fresh(X), before)


def test_a_clone_keeps_what_was_drawn():
    features = RandomFourier(RBF(1.3), 64, d=3)
    kernel = 2.0 * features.as_kernel()
    copy = clone(kernel)
    X = points(5)
    torch.testing.assert_close(copy(X).to_dense(), kernel(X).to_dense(), rtol=0.0, atol=0.0)
    copy.set_params(kernel__features__kernel__lengthscale=0.5)
    assert features.kernel == RBF(1.3)


def test_a_model_of_the_kernel_is_the_ridge_on_the_features():
    features = RandomFourier(RBF(1.3), 16, d=3)
    X, Z = points(40), points(7, seed=1)
    y = torch.sin(X.sum(1))
    F = features(X)
    weights = torch.linalg.lstsq(
        torch.cat([F, 0.1 * torch.eye(16, dtype=torch.float64)]), torch.cat([y, y.new_zeros(16)])
    ).solution
    model = KernelRidge(kernel=features.as_kernel(), alpha=0.01).fit(X, y)
    torch.testing.assert_close(model.predict(Z), features(Z) @ weights, rtol=1e-4, atol=1e-5)


def test_two_maps_are_equal_only_if_they_are_one(features):
    again = features.with_values({})
    assert features == features
    assert features != again
    assert FeatureKernel(features) == features.as_kernel()
    assert hash(FeatureKernel(features)) == hash(features.as_kernel())
    assert FeatureKernel(features) != FeatureKernel(again)


def test_the_kernel_of_features_is_their_dot_product(features):
    X, Y = points(9), points(6, seed=1)
    expected = features(X) @ features(Y).mT
    K = features.as_kernel()(X, Y)
    torch.testing.assert_close(K.to_dense(), expected, rtol=1e-12, atol=1e-13)
    v = torch.randn(6, 2, dtype=torch.float64)
    for plan in ("dense", "tiles"):
        torch.testing.assert_close(features.as_kernel()(X, Y, plan=plan) @ v, expected @ v, rtol=1e-11, atol=1e-12)
    square = features.as_kernel()(X)
    torch.testing.assert_close(square.diagonal(), features(X).square().sum(1), rtol=1e-12, atol=1e-13)
    (term,) = K.spec.terms
    assert term.op == "statistic"  # the identity map on one dot product: what a low-rank plan looks for


def test_the_kernel_of_features_composes(features):
    X = points(7, d=5)
    inner = features.as_kernel()
    F = features(X[:, [4, 0, 2]])
    kernel = 2.0 * inner.on([4, 0, 2]) * RBF(1.5) + inner.on([4, 0, 2]) + White(0.1)
    expected = F @ F.mT * (2.0 * RBF(1.5)(X).to_dense() + 1.0) + 0.1 * torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(kernel(X).to_dense(), expected, rtol=1e-11, atol=1e-12)
    assert len(kernel(X).spec.statistics) == 2  # the features once, though used twice


def test_the_kernel_of_features_has_gradients_in_points_and_hyperparameters(features):
    X = points(6).requires_grad_(True)
    kernel = features.as_kernel().learnable()
    found = kernel.hyperparameters()
    assert [h.path for h in found] == [f"features__{h.path}" for h in features.hyperparameters()]
    v = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((kernel(X) @ v).dot(v), [X, *kernel.tensors()])
    F = kernel.features(X)
    expected = torch.autograd.grad((F.mT @ v).square().sum(), [X, *kernel.tensors()])
    for actual, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=1e-10)


def test_batches_of_points_and_of_hyperparameters_give_batches_of_matrices(features):
    X = torch.stack([points(5), points(5, seed=2)])
    K = features.as_kernel()(X)
    assert K.shape == (2, 5, 5)
    torch.testing.assert_close(K[1].to_dense(), features(X[1]) @ features(X[1]).mT, rtol=1e-12, atol=1e-13)
    kernel = features.as_kernel()
    found = kernel.hyperparameters()[-1]
    factors = torch.tensor([1.0, 1.3], dtype=torch.float64)
    value = found.value.reshape(1) if found.domain.vector and found.value.dim() == 0 else found.value
    batched = kernel.with_values({found.path: factors.reshape(2, *[1] * value.dim()) * value})
    K = batched(X)
    for b in range(2):
        single = kernel.with_values({found.path: found.value * factors[b]})(X[b]).to_dense()
        torch.testing.assert_close(K.to_dense()[b], single, rtol=1e-10, atol=1e-12)


def test_the_kernel_of_features_is_no_text(features):
    with pytest.raises(ValueError, match="cannot be written as text"):
        to_text(features.as_kernel())
    with pytest.raises(TypeError, match="FeatureKernel needs a feature map such as RandomFourier"):
        FeatureKernel(RBF())


def test_points_that_no_statistic_may_see_are_refused(features):
    with pytest.raises(ValueError, match="NaN"):
        features.as_kernel()(torch.tensor([[1.0, math.nan, 0.0]]))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: RandomFourier(RBF(), 5, d=2), ValueError, "n_features must be even and >= 2"),
        (lambda: RandomFourier(RBF(), 0, d=2), ValueError, "n_features must be even"),
        (lambda: RandomFourier(RBF(), 4.0, d=2), TypeError, "n_features must be a whole number"),
        (lambda: RandomFourier(RBF(), 4, d=0), ValueError, "d must be >= 1"),
        (lambda: RandomFourier(RBF(), 4, d=2, method="sobol"), ValueError, "choose from: iid, orthogonal, quasi"),
        (lambda: RandomFourier(Linear(), 4, d=2), TypeError, "has no spectrum"),
        (lambda: PositiveFeatures(Matern(), 4, d=2), TypeError, "of Softmax or RBF, not of Matern"),
        (lambda: PositiveFeatures.for_points(Matern(), 4, torch.ones(2, 2)), TypeError, "of Softmax or RBF"),
        (lambda: PositiveFeatures(RBF(), 4, d=2, damping=-0.1), ValueError, "damping must be a finite number >= 0"),
        (lambda: PositiveFeatures(RBF(), 3, d=2, hyperbolic=True), ValueError, "n_features must be even"),
        (lambda: PositiveFeatures(RBF(), 4, d=2, method="x"), ValueError, "choose from: iid"),
        (lambda: NystromFeatures(RBF() + White(), np.zeros((1, 2))), ValueError, r"has noise \(White\)"),
        (lambda: NystromFeatures(RBF(), np.zeros((0, 2))), ValueError, r"centers must be \(m, d\) with m >= 1"),
        (
            lambda: NystromFeatures(RBF(), np.zeros((2, 2)), jitter=0.0),
            ValueError,
            "Give fewer centres, a larger jitter",
        ),
        (lambda: NystromFeatures(RBF(), np.zeros((2, 2)), jitter=-1.0), ValueError, "jitter must be a number >= 0"),
        (
            lambda: NystromFeatures.from_data(RBF(), np.ones((3, 2)), 2, sampling="x"),
            ValueError,
            "'pivoted' or 'uniform'",
        ),
        (lambda: ExactFeatures(RBF(), d=2), ValueError, "more than limit=10000 features, or infinitely many"),
        (lambda: ExactFeatures(Polynomial(5), d=9, limit=100), ValueError, "more than limit=100 features"),
        (lambda: TensorSketch(RBF(), 4, d=2), TypeError, "TensorSketch is of Polynomial, not of RBF"),
    ],
)
def test_wrong_arguments_are_refused_early(build, error, message):
    with pytest.raises(error, match=message):
        build()
