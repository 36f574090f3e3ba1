"""Hyperparameters as scikit-learn and as an optimiser see them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV

from mercer.kernels import RBF, Constant, Gamma, Linear, LogNormal, Matern, Pairwise, Parameter, Polynomial, White


def test_every_kernel_is_cloned_copied_and_pickled_to_an_equal_one(case):
    kernel = case.kernel(3)
    for other in (clone(kernel), copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
        assert other == kernel
        assert hash(other) == hash(kernel)
        assert other is not kernel
    assert kernel != 2.0 * kernel


def test_every_matrix_can_be_pickled(case):
    X = case.points(5, 3)
    K = case.kernel(3)(X)
    assert torch.equal(pickle.loads(pickle.dumps(K)).to_dense(), K.to_dense())


def test_every_parameter_can_be_set_to_what_it_is(case):
    kernel = case.kernel(3)
    again = clone(kernel).set_params(**{k: v for k, v in kernel.get_params().items() if "__" in k})
    assert again == kernel


def test_every_hyperparameter_is_reached_by_its_path(case):
    kernel = case.kernel(3)
    for h in kernel.hyperparameters():
        assert h.value.dtype == torch.float64
        changed = kernel.with_values({h.path: h.value * 2.0})
        new = {g.path: g.value for g in changed.hyperparameters()}
        assert torch.equal(new[h.path], h.value * 2.0)
        assert all(torch.equal(new[g.path], g.value) for g in kernel.hyperparameters() if g.path != h.path)
        assert {g.path for g in changed.hyperparameters()} == set(new)


def test_parameters_are_named_from_the_outside_in():
    kernel = 2.0 * RBF(0.3) + Linear().on([0])
    assert {"left__scale", "left__kernel__lengthscale", "right__kernel__bias"} <= set(kernel.get_params())
    assert [h.path for h in kernel.hyperparameters()] == [
        "left__scale",
        "left__kernel__lengthscale",
        "right__kernel__lengthscale",
        "right__kernel__bias",
    ]
    assert set(kernel.get_params(deep=False)) == {"left", "right"}


def test_set_params_changes_in_place_and_keeps_what_a_parameter_carries():
    kernel = RBF(Parameter(1.0, bounds=(0.1, 5.0), prior=LogNormal(), frozen=True)) + White()
    same = kernel.set_params(left__lengthscale=2.0, right__noise=0.5)
    assert same is kernel
    assert repr(kernel) == (
        "RBF(lengthscale=Parameter(2.0, bounds=(0.1, 5.0), prior=LogNormal(mu=0.0, sigma=1.0), frozen=True))"
        " + White(noise=0.5)"
    )
    kernel.set_params(left=Matern(), left__nu=2.5)
    assert kernel.left == Matern(nu=2.5)


def test_set_params_of_something_unknown_names_what_there_is():
    with pytest.raises(ValueError, match=r"RBF has no parameter 'lengthscal'. It has: lengthscale"):
        RBF().set_params(lengthscal=1.0)
    with pytest.raises(ValueError, match=r"Scaled has no parameter 'scale__x'"):
        (2.0 * RBF()).set_params(scale__x=1.0)


def test_a_kernel_is_left_as_it_was_when_a_new_value_is_refused():
    kernel = Polynomial(2, offset=1.0)
    with pytest.raises(ValueError, match="offset must be >= 0"):
        kernel.set_params(degree=4, offset=-1.0)
    assert kernel == Polynomial(2, offset=1.0)
    both = RBF() + RBF()
    with pytest.raises(ValueError, match="lengthscale must be > 0"):
        both.set_params(left=Matern(), right__lengthscale=-1.0)
    assert both == RBF() + RBF()


def test_a_copy_with_other_values_does_not_share_its_inner_kernels():
    kernel = RBF(1.0) + Linear()
    other = kernel.with_values({"left__lengthscale": 2.0})
    other.set_params(right__bias=3.0, left__lengthscale=4.0)
    assert kernel == RBF(1.0) + Linear()


def test_with_values_refuses_unknown_paths_and_bad_values():
    with pytest.raises(ValueError, match=r"no hyperparameter 'right__bias'. It has: left__lengthscale, right__noise"):
        (RBF() + White()).with_values({"right__bias": 1.0})
    with pytest.raises(ValueError, match="lengthscale must be > 0 and finite"):
        RBF().with_values({"lengthscale": torch.tensor([1.0, -1.0])})
    with pytest.raises(ValueError, match="It has: none"):
        Pairwise("cosine").learnable("x")


def test_learnable_gives_leaves_to_what_is_not_frozen():
    kernel = RBF([1.0, 2.0]) + Parameter(2.0, frozen=True) * Linear() + 0.3
    learnt = kernel.learnable()
    assert [h.path for h in learnt.hyperparameters() if h.value.requires_grad] == [
        "left__left__lengthscale",
        "left__right__kernel__lengthscale",
        "right__value",
    ]
    assert all(t.is_leaf and t.dtype == torch.float64 for t in learnt.tensors())
    assert len(learnt.tensors()) == 3
    assert not kernel.tensors()
    assert len(kernel.learnable("right__value").tensors()) == 1
    with pytest.raises(ValueError, match="has no hyperparameter 'nu'"):
        Matern().learnable("nu")


def test_a_bias_of_zero_is_switched_off_unless_it_is_a_parameter():
    def frozen(kernel):
        return {h.path: h.frozen for h in kernel.hyperparameters()}

    assert frozen(Linear()) == {"lengthscale": False, "bias": True}
    assert frozen(Linear(bias=1.0)) == {"lengthscale": False, "bias": False}
    assert frozen(Linear(bias=Parameter(0.0))) == {"lengthscale": False, "bias": False}
    assert [h.value.item() for h in Linear().learnable("bias").hyperparameters() if h.value.requires_grad] == [0.0]


def test_gradients_flow_through_with_values():
    theta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    X = torch.randn(4, 2, dtype=torch.float64)
    (2.0 * RBF()).with_values({"kernel__lengthscale": theta})(X).to_dense().sum().backward()
    assert theta.grad is not None
    assert theta.grad != 0.0


class Model(BaseEstimator):
    """The least that a grid search needs."""

    def __init__(self, kernel=None):
        self.kernel = kernel

    def fit(self, X, y):
        self.value_ = float(self.kernel.hyperparameter("lengthscale"))
        return self

    def score(self, X, y):
        return -abs(self.value_ - 0.5)


def test_a_grid_search_reaches_the_lengthscale():
    kernel = RBF(2.0)
    search = GridSearchCV(Model(kernel), {"kernel__lengthscale": [0.1, 0.5, 3.0]}, cv=2)
    search.fit(np.zeros((6, 1)), np.zeros(6))
    assert search.best_params_ == {"kernel__lengthscale": 0.5}
    assert kernel == RBF(2.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RBF(0.0), r"RBF\(lengthscale=0.0\): lengthscale must be > 0 and finite"),
        (lambda: RBF([1.0, -2.0]), r"RBF\(lengthscale=\[1.0, -2.0\]\)"),
        (lambda: RBF(float("nan")), "must be > 0 and finite"),
        (lambda: RBF(float("inf")), "must be > 0 and finite"),
        (lambda: White(-0.1), r"White\(noise=-0.1\): noise must be >= 0 and finite"),
        (lambda: Constant(Parameter(-1.0)), r"value must be >= 0"),
        (lambda: Linear(bias=-1), "bias must be >= 0"),
        (lambda: RBF([]), r"RBF\(lengthscale=\[\]\): lengthscale needs one value at least"),
        (lambda: Parameter(1.0, bounds=(2.0, 1.0)), "with low < high"),
        (lambda: Parameter(1.0, bounds=(0.0, float("inf"))), "bounds must be finite"),
        (lambda: Parameter(1.0, bounds="fixed"), "bounds must be two numbers"),
        (lambda: LogNormal(sigma=0.0), "sigma must be > 0"),
        (lambda: Gamma(shape=-1.0), "both must be > 0"),
    ],
)
def test_a_value_outside_its_domain_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_value_of_the_wrong_type_is_refused():
    with pytest.raises(TypeError, match=r"RBF\(lengthscale\) must be a number, .* or a tensor, not 'a'"):
        RBF("a")
    with pytest.raises(TypeError, match="not a Parameter"):
        Parameter(Parameter(1.0))


def test_priors_are_the_densities_of_scipy():
    from scipy import stats

    value = torch.tensor([0.3, 2.0], dtype=torch.float64)
    expected = stats.lognorm(s=0.7, scale=np.exp(0.4)).logpdf(value.numpy()).sum()
    assert LogNormal(0.4, 0.7).log_density(value).item() == pytest.approx(expected, rel=1e-12)
    expected = stats.gamma(a=2.5, scale=1.0 / 1.7).logpdf(value.numpy()).sum()
    assert Gamma(2.5, 1.7).log_density(value).item() == pytest.approx(expected, rel=1e-12)
