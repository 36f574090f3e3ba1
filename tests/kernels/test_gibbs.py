"""Lengthscales that change from place to place."""

import pickle

import pytest
import torch
from sklearn.base import clone
from torch import nn

from mercer.errors import ShapeError
from mercer.kernels import RBF, Gibbs, Parameter, to_text

DOUBLE = torch.float64
X = torch.linspace(-2.0, 2.0, 24, dtype=DOUBLE).reshape(12, 2)


class Positive(nn.Module):
    """A small network that gives one positive number a point."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(2, 3)
        self.outer = nn.Linear(3, 1)

    def forward(self, x):
        return nn.functional.softplus(self.outer(self.inner(x).tanh())).squeeze(-1) + 0.1


def test_without_weights_it_is_gaussian():
    torch.testing.assert_close(Gibbs([0.7, 1.3])(X).to_dense(), RBF([0.7, 1.3])(X).to_dense())
    constant = Gibbs(1.0, function=lambda x: torch.full_like(x[:, 0], 2.0))
    torch.testing.assert_close(constant(X).to_dense(), RBF(2.0)(X).to_dense())


def test_a_function_may_be_the_log_linear_one():
    weights = torch.tensor([0.3, -0.2], dtype=DOUBLE)
    same = Gibbs(1.2, function=lambda x: (x @ weights).exp())
    torch.testing.assert_close(same(X).to_dense(), Gibbs(1.2, weights)(X).to_dense())


def test_any_positive_function_gives_a_positive_definite_matrix():
    wild = Gibbs(0.5, function=lambda x: 0.05 + (7.0 * x[:, 0]).sin().square())
    values = torch.linalg.eigvalsh(wild(X).to_dense())
    assert values[0] > -1e-13 * values[-1]


@pytest.mark.parametrize("plan", ["dense", "tiles"])
def test_parameters_of_a_module_get_gradients_through_a_product(plan):
    module = Positive()
    v = torch.linspace(-1.0, 1.0, 12, dtype=DOUBLE)
    value = v @ (Gibbs(0.8, function=module)(X, plan=plan) @ v)
    found = torch.autograd.grad(value, list(module.parameters()))
    g = module.double()(X)
    total = g[:, None] ** 2 + g**2
    K = 2.0 * g[:, None] * g / total * torch.exp(-torch.cdist(X, X).square() / 0.8**2 / total)
    expected = torch.autograd.grad(v @ K @ v, list(module.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)


def test_a_module_learns():
    module = Positive().double()
    target = Gibbs(1.0, 0.4)(X).to_dense()
    optimiser = torch.optim.Adam(module.parameters(), 0.05)
    losses = []
    for _ in range(30):
        loss = (Gibbs(1.0, function=module)(X).to_dense() - target).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_a_batch_of_points_goes_through_a_module():
    kernel = Gibbs(0.8, function=Positive().double())
    K = kernel(torch.stack([X, X + 0.1, X - 0.3]))
    torch.testing.assert_close(K.to_dense()[1], kernel(X + 0.1).to_dense())


def test_a_kernel_with_a_module_is_cloned_and_pickled_but_has_no_text():
    kernel = Gibbs(0.8, function=Positive())
    for other in (clone(kernel), pickle.loads(pickle.dumps(kernel))):
        torch.testing.assert_close(other(X).to_dense(), kernel(X).to_dense())
    with pytest.raises(ValueError, match="cannot be written as text"):
        to_text(kernel)


def test_weights_of_zero_are_switched_off_unless_they_are_a_parameter():
    assert [h.frozen for h in Gibbs().hyperparameters()] == [False, True]
    weights = Gibbs(weights=Parameter(0.0)).hyperparameters()[1]
    assert not weights.frozen
    assert weights.bounds == (-1e5, 1e5)
    assert Gibbs(weights=[-0.5, 0.2]).hyperparameters()[1].value.tolist() == [-0.5, 0.2]


def test_weights_of_any_size_give_a_finite_matrix():
    for dtype in (torch.float32, DOUBLE):
        K = Gibbs(weights=[1e5, -1e4])(X.to(dtype)).to_dense()
        assert bool(torch.isfinite(K).all())
        assert torch.equal(K.diagonal(), torch.ones(12, dtype=dtype))


def test_what_is_no_lengthscale_is_refused():
    with pytest.raises(ValueError, match="weights must be finite"):
        Gibbs(weights=float("inf"))
    with pytest.raises(TypeError, match="give a function of points"):
        Gibbs(function=2.0)
    with pytest.raises(ValueError, match="must return positive values; end it with exp or softplus"):
        Gibbs(function=lambda x: x[:, 0])(X).to_dense()
    with pytest.raises(ShapeError, match=r"it must return \(12,\) values, but returned \(12, 2\)"):
        Gibbs(function=lambda x: x.exp())(X).to_dense()
