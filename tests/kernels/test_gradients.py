"""Gradients of every kernel in X, Y, v and every hyperparameter, against finite differences in float64.

Products are checked along random directions (``fast_mode``), the dense matrix and its diagonal entry by entry.
"""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

DOUBLE = torch.float64


def product(case, plan):
    kernel = case.kernel(3)
    paths = [h.path for h in learnt(kernel)]

    def function(X, Y, v, *theta):
        bound = kernel.with_values(dict(zip(paths, theta, strict=True)))
        return (bound(X, Y) if Y is not None else bound(X)).with_plan(plan) @ v

    return function, kernel


def leaves(case, kernel):
    data = not case.discrete
    X, Y = case.points(4, 3).requires_grad_(data), case.points(3, 3, seed=1).requires_grad_(data)
    return X, Y, [h.value.clone().requires_grad_(True) for h in learnt(kernel)]


def learnt(kernel):
    """A bias of 0 is switched off, and a finite difference would make it negative."""
    return [h for h in kernel.hyperparameters() if not h.frozen]


@pytest.mark.parametrize("plan", ["dense", "tiles"])
def test_gradients_of_a_rectangular_product(case, plan):
    function, kernel = product(case, plan)
    X, Y, theta = leaves(case, kernel)
    v = torch.randn(3, 2, dtype=DOUBLE, requires_grad=True)
    assert gradcheck(function, (X, Y, v, *theta), atol=1e-7, fast_mode=True)


def test_gradients_of_a_symmetric_product(case):
    function, kernel = product(case, "tiles")
    X, _, theta = leaves(case, kernel)
    v = torch.randn(4, 2, dtype=DOUBLE, requires_grad=True)
    assert gradcheck(lambda X, v, *theta: function(X, None, v, *theta), (X, v, *theta), atol=1e-7, fast_mode=True)


def test_gradients_of_the_dense_matrix_and_the_diagonal(case):
    kernel = case.kernel(3)
    paths = [h.path for h in learnt(kernel)]
    X, _, theta = leaves(case, kernel)
    X = X.detach()[:3].requires_grad_(X.requires_grad)
    if not (X.requires_grad or theta):
        pytest.skip("nothing to differentiate in")

    def both(X, *theta):
        K = kernel.with_values(dict(zip(paths, theta, strict=True)))(X)
        return K.to_dense(), K.diagonal()

    assert gradcheck(both, (X, *theta), atol=1e-7)


def test_second_derivatives(case):
    function, kernel = product(case, "tiles")
    X, Y, theta = leaves(case, kernel)
    v = torch.randn(3, 1, dtype=DOUBLE, requires_grad=True)
    assert gradgradcheck(function, (X, Y, v, *theta), atol=1e-6, fast_mode=True)
    w = torch.randn(4, 1, dtype=DOUBLE, requires_grad=True)
    symmetric = gradgradcheck(
        lambda X, v, *theta: function(X, None, v, *theta), (X, w, *theta), atol=1e-6, fast_mode=True
    )
    assert symmetric


def test_gradients_do_not_depend_on_tiles(case, monkeypatch):
    kernel = case.kernel(3)
    paths = [h.path for h in learnt(kernel)]
    results = []
    for shape in ((512, 1024), (5, 8)):
        monkeypatch.setattr("mercer.operators.tiles.tile_shape", lambda *a, shape=shape: shape)
        X, theta = case.points(23, 3), [h.value.clone().requires_grad_(True) for h in learnt(kernel)]
        inputs = [X.requires_grad_(not case.discrete), *theta]
        inputs = [t for t in inputs if t.requires_grad]
        K = kernel.with_values(dict(zip(paths, theta, strict=True)))(X, plan="tiles")
        v = torch.linspace(-1.0, 2.0, 23, dtype=DOUBLE)
        results.append(torch.autograd.grad((v @ (K @ v)), inputs, materialize_grads=True) if inputs else ())
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10 * float(one.abs().max()))


def test_gradients_at_coincident_points_are_finite(case):
    X = case.points(3, 3)
    Y = torch.cat([X[:2], case.points(1, 3, seed=1)]).requires_grad_(not case.discrete)
    kernel = case.kernel(3)
    theta = [h.value.clone().requires_grad_(True) for h in kernel.hyperparameters()]
    bound = kernel.with_values({h.path: t for h, t in zip(kernel.hyperparameters(), theta, strict=True)})
    inputs = [t for t in (Y, *theta) if t.requires_grad]
    if inputs:
        grads = torch.autograd.grad((bound(X, Y) @ torch.ones(3, dtype=DOUBLE)).sum(), inputs, allow_unused=True)
        assert all(bool(torch.isfinite(g).all()) for g in grads if g is not None)
