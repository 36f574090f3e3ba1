"""Kernel objects of scikit-learn."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.gaussian_process import kernels as theirs

from mercer.errors import ApproximationWarning
from mercer.kernels import (
    RBF,
    Constant,
    Laplacian,
    Linear,
    Matern,
    Parameter,
    Periodic,
    SklearnKernel,
    White,
    from_sklearn,
    to_text,
    translate,
)

POINTS = np.random.default_rng(0).normal(size=(7, 3))
OTHERS = np.random.default_rng(1).normal(size=(4, 3))
KERNELS = [
    theirs.RBF(0.5),
    theirs.RBF([0.5, 1.0, 2.0]),
    theirs.Matern(1.3, nu=0.5),
    theirs.Matern([0.5, 1.0, 2.0], nu=1.5),
    theirs.Matern(0.7, nu=1.2),
    theirs.Matern(0.7, nu=np.inf),
    theirs.RationalQuadratic(0.5, 2.0),
    2.0 * theirs.RationalQuadratic(0.5, 2.0) + theirs.WhiteKernel(0.1),
    theirs.DotProduct(2.0) ** 2,
    theirs.DotProduct(2.0, sigma_0_bounds="fixed") + theirs.ConstantKernel(0.3),
    theirs.RBF() ** 1.5,
    theirs.ExpSineSquared(1.3, 2.1),
    theirs.ExpSineSquared(1.3, 2.1, length_scale_bounds="fixed") * theirs.RBF(2.0) + theirs.WhiteKernel(),
    theirs.PairwiseKernel(gamma=0.4, metric="laplacian"),
]


@pytest.fixture(params=KERNELS, ids=repr)
def theirs_kernel(request):
    return clone(request.param)


def test_values_are_theirs(theirs_kernel):
    kernel = from_sklearn(theirs_kernel)
    close = {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(kernel(POINTS).to_dense().numpy(), theirs_kernel(POINTS), **close)
    np.testing.assert_allclose(kernel(POINTS, OTHERS).to_dense().numpy(), theirs_kernel(POINTS, OTHERS), **close)
    np.testing.assert_allclose(kernel(POINTS).diagonal().numpy(), theirs_kernel.diag(POINTS), **close)
    v = np.ones((4, 2))
    product = kernel(POINTS, OTHERS, plan="tiles") @ torch.from_numpy(v)
    np.testing.assert_allclose(product.numpy(), theirs_kernel(POINTS, OTHERS) @ v, **close)


def test_gradients_are_theirs(theirs_kernel):
    translation = translate(theirs_kernel)
    kernel = translation.kernel.learnable()
    found = {h.path: h for h in kernel.hyperparameters()}
    v = torch.linspace(-1.0, 2.0, 7, dtype=torch.float64)
    for plan in ("dense", "tiles"):
        learnt = [path for path, h in found.items() if h.value.requires_grad]
        value = v @ (kernel(POINTS, plan=plan) @ v)
        grads = dict(zip(learnt, torch.autograd.grad(value, kernel.tensors()), strict=True))
        # by log(theta): value * d/dvalue, times the power between theirs and ours
        free = [link for link in translation.links if found[link.path].value.requires_grad]
        ours = [(grads[link.path] * found[link.path].value.detach() * link.power).reshape(-1) for link in free]
        _, slopes = theirs_kernel(POINTS, eval_gradient=True)
        expected = np.einsum("i,ijk,j->k", v.numpy(), slopes, v.numpy())
        by_differences = getattr(theirs_kernel, "nu", None) == 1.2 or "PairwiseKernel" in repr(theirs_kernel)
        np.testing.assert_allclose(torch.cat(ours).numpy(), expected, rtol=1e-4 if by_differences else 1e-9)


def test_gradients_of_a_rectangular_matrix_agree_with_differences():
    kernel = SklearnKernel(theirs.ExpSineSquared(1.3, 2.1))
    paths = [h.path for h in kernel.hyperparameters()]
    theta = [h.value.clone().requires_grad_(True) for h in kernel.hyperparameters()]

    def matrix(*theta):
        return kernel.with_values(dict(zip(paths, theta, strict=True)))(POINTS, OTHERS).to_dense()

    assert torch.autograd.gradcheck(matrix, theta)


def test_the_diagonal_has_gradients_too():
    kernel = from_sklearn(theirs.ConstantKernel(0.7) * theirs.ExpSineSquared(1.3, 2.1)).learnable()
    grads = torch.autograd.grad(kernel(POINTS).diagonal().sum(), kernel.tensors())
    np.testing.assert_allclose([float(g) for g in grads], [7.0, 0.0, 0.0], atol=1e-12)


def test_values_bounds_and_frozen_ones_go_both_ways(theirs_kernel):
    translation = translate(theirs_kernel)
    free = [h for h in translation.kernel.hyperparameters() if not h.frozen]
    assert sum(h.value.numel() for h in free) == len(theirs_kernel.theta)
    assert [link.name for link in translation.links] == [h.name for h in theirs_kernel.hyperparameters]
    doubled = translation.kernel.with_values({h.path: h.value * 2.0 for h in free})
    written = translation.write_back(doubled)
    assert type(written) is type(theirs_kernel)
    np.testing.assert_allclose(written(POINTS), doubled(POINTS).to_dense().numpy(), rtol=1e-11, atol=1e-12)
    assert translation.write_back(translation.kernel) == theirs_kernel
    bounds = {h.path: h.bounds for h in free}
    by_name = {h.name: h for h in theirs_kernel.hyperparameters}
    for link in translation.links:
        if link.path in bounds:
            expected = np.atleast_2d(by_name[link.name].bounds)[0] ** link.power
            np.testing.assert_allclose(bounds[link.path], np.sort(expected))


def test_twins_are_kernels_of_ones_own():
    assert from_sklearn(theirs.RBF(0.5)) == RBF(Parameter(0.5))
    assert from_sklearn(theirs.RBF(0.5, (0.1, 2.0))) == RBF(Parameter(0.5, (0.1, 2.0)))
    assert from_sklearn(theirs.Matern(0.5, "fixed", nu=2.5)) == Matern(Parameter(0.5, frozen=True), nu=2.5)
    assert from_sklearn(theirs.WhiteKernel() + 2.0) == White(Parameter(1.0)) + Constant(Parameter(2.0))
    linear = from_sklearn(theirs.DotProduct(3.0, (0.1, 10.0)))
    assert linear.get_params()["lengthscale"].frozen
    assert [h.path for h in Linear(**linear.get_params()).hyperparameters() if not h.frozen] == ["bias"]
    assert to_text(from_sklearn(theirs.RBF() ** 2)) == "RBF(lengthscale=Parameter(1.0)) ** 2"
    assert from_sklearn(theirs.PairwiseKernel(0.5, (0.1, 2.0), "laplacian")) == Laplacian(Parameter(2.0, (0.5, 10.0)))
    assert isinstance(from_sklearn(theirs.PairwiseKernel(0.5, metric="rbf")), SklearnKernel)


def test_a_periodic_kernel_has_a_twin_for_one_column_only():
    kernel = theirs.ExpSineSquared(1.3, 2.1, periodicity_bounds=(0.5, 4.0)) * theirs.RBF(2.0)
    translation = translate(kernel, n_features=1)
    assert translation.kernel == Periodic(Parameter(1.3), Parameter(2.1, (0.5, 4.0))) * RBF(Parameter(2.0))
    X, Y = POINTS[:, :1] * 4.0, OTHERS[:, :1] * 4.0
    np.testing.assert_allclose(translation.kernel(X, Y).to_dense().numpy(), kernel(X, Y), rtol=1e-11, atol=1e-13)
    learnt = translation.kernel.learnable()
    grads = torch.autograd.grad(learnt(X).to_dense().sum(), learnt.tensors())
    _, slopes = kernel(X, eval_gradient=True)  # by log(theta)
    ours = [float(g * t.detach()) for g, t in zip(grads, learnt.tensors(), strict=True)]
    np.testing.assert_allclose(ours, slopes.sum((0, 1)), rtol=1e-9)
    assert translation.write_back(translation.kernel) == kernel
    for n_features in (None, 2):
        assert isinstance(from_sklearn(kernel, n_features=n_features).left, SklearnKernel)


def test_bounds_of_their_own_for_each_column_become_common_ones_with_a_warning():
    kernel = theirs.RBF([1.0, 2.0], length_scale_bounds=[(0.1, 5.0), (0.5, 9.0)])
    with pytest.warns(ApproximationWarning, match=r"length_scale has bounds of its own for each column; \(0.1, 9\)"):
        ours = from_sklearn(kernel)
    assert ours.hyperparameters()[0].bounds == (0.1, 9.0)


def test_the_adapter_offers_what_their_optimiser_needs():
    inner = theirs.ExpSineSquared(1.3, 2.1, periodicity_bounds=(0.5, 4.0))
    kernel = SklearnKernel(inner)
    np.testing.assert_array_equal(kernel.theta, inner.theta)
    np.testing.assert_array_equal(kernel.bounds, inner.bounds)
    moved = kernel.clone_with_theta(inner.theta + 0.1)
    np.testing.assert_allclose(moved.theta, inner.theta + 0.1)
    assert kernel.kernel is inner
    assert [(h.path, h.bounds) for h in kernel.hyperparameters()] == [
        ("kernel__length_scale", (1e-5, 1e5)),
        ("kernel__periodicity", (0.5, 4.0)),
    ]


def test_the_adapter_has_parameters_that_can_be_set_cloned_and_pickled():
    kernel = SklearnKernel(theirs.ExpSineSquared(1.3, 2.1))
    assert kernel.get_params()["kernel__periodicity"] == 2.1
    for other in (clone(kernel), copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
        assert other == kernel
        other.set_params(kernel__periodicity=1.7)
        assert other.kernel.periodicity == 1.7
        assert other != kernel
    assert kernel.kernel.periodicity == 2.1
    learnt = kernel.learnable()
    assert len(learnt.tensors()) == 2
    assert not learnt.set_params(kernel__periodicity=1.0).tensors()
    K = kernel(POINTS)
    assert torch.equal(pickle.loads(pickle.dumps(K)).to_dense(), K.to_dense())


def test_float32_points_come_back_as_float32():
    K = from_sklearn(theirs.ExpSineSquared())(torch.from_numpy(POINTS).float())
    assert K.to_dense().dtype == torch.float32


def test_what_scikit_learn_cannot_do_is_said():
    kernel = SklearnKernel(theirs.ExpSineSquared())
    X = torch.from_numpy(POINTS).requires_grad_(True)
    with pytest.raises(NotImplementedError, match=r"no gradients in X; use a kernel of mercer.kernels"):
        (kernel(X) @ torch.ones(7, dtype=torch.float64)).sum().backward()
    learnt = kernel.learnable()
    (slope,) = torch.autograd.grad(learnt(POINTS).to_dense().sum(), learnt.tensors()[:1], create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        slope.backward()
    with pytest.raises(ValueError, match="cannot be written as text"):
        to_text(RBF() + kernel)
    with pytest.raises(TypeError, match=r"is no kernel of sklearn.gaussian_process.kernels"):
        from_sklearn("rbf")
    with pytest.raises(TypeError, match="gives no single matrix"):
        from_sklearn(theirs.CompoundKernel([theirs.RBF()]))


class Noisy(theirs.RBF):
    """A kernel with noise that nobody can see."""

    def __call__(self, X, Y=None, eval_gradient=False):
        K = super().__call__(X, Y)
        return K + np.eye(len(X)) if Y is None else K

    def diag(self, X):
        return np.full(len(X), 2.0)


def test_hidden_noise_is_refused():
    with pytest.raises(ValueError, match=r"adds noise on the diagonal. Write that part as '\+ WhiteKernel\(\)'"):
        from_sklearn(Noisy())(POINTS)


def test_a_class_of_the_users_own_is_evaluated_as_it_is():
    class Doubled(theirs.RBF):
        def __call__(self, X, Y=None, eval_gradient=False):
            return 2.0 * super().__call__(X, Y)

        def diag(self, X):
            return np.full(len(X), 2.0)

    np.testing.assert_allclose(from_sklearn(Doubled())(POINTS).to_dense().numpy(), 2.0 * theirs.RBF()(POINTS))
