"""Kernels that are wrong in one way each, and the property and the smallest case that say so."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mercer.kernels import RBF, Kernel, Linear, from_callable
from mercer.kernels.base import POSITIVE_VECTOR
from mercer.operators.statistics import Columns, TileStatistic
from mercer.testing import Case, PropertyError, check_kernel


def gaussian(X, Y):
    return torch.exp(-0.5 * (X[:, None] - Y[None]).square().sum(-1))


def blocks(function):
    """A new kernel of a function of blocks at each call."""
    return lambda: from_callable(function, blocks=True)


class Squares(Kernel):
    """|x - y|^2, which is conditionally negative definite."""

    def trace(self, binder):
        return [binder.squared_distance(torch.tensor(1.0, dtype=torch.float64))]


class Sinc(Kernel):
    """sin(r) / r, with nothing done about r = 0."""

    def trace(self, binder):
        r = torch.sqrt(binder.squared_distance(torch.tensor(1.0, dtype=torch.float64)))
        return [torch.sin(r) / r]


class TwiceTheSlope(torch.autograd.Function):
    """sum(x^2) with a gradient of 4 x."""

    @staticmethod
    def forward(ctx, X):
        ctx.save_for_backward(X)
        return X.square().sum(-1)

    @staticmethod
    def backward(ctx, g):
        (X,) = ctx.saved_tensors
        return 4.0 * X * g.unsqueeze(-1)


class DetachedSlope(TwiceTheSlope):
    """sum(x^2) with the right gradient, which cannot be differentiated again."""

    @staticmethod
    def backward(ctx, g):
        (X,) = ctx.saved_tensors
        return 2.0 * X.detach() * g.unsqueeze(-1)


@dataclass(frozen=True)
class SquaredNorm:
    function: type

    def __call__(self, X, theta):
        return self.function.apply(X)


class WithRowValues(Kernel):
    def __init__(self, function=TwiceTheSlope):
        self.function = function

    def trace(self, binder):
        left, right = binder.row_value(SquaredNorm(self.function))
        return [left * right]


class Detached(Kernel):
    """A Gaussian whose lengthscale is cut off from autograd."""

    domains = {"lengthscale": POSITIVE_VECTOR}  # noqa: RUF012

    def __init__(self, lengthscale=1.3):
        self.lengthscale = lengthscale

    def trace(self, binder):
        return [torch.exp(-0.5 * binder.squared_distance(self.hyperparameter("lengthscale").detach()))]


class Rounded(Detached):
    """Stores something else than it was given."""

    def __init__(self, lengthscale=1.3):
        self.lengthscale = round(float(lengthscale), 1) + 0.0

    def trace(self, binder):
        return [torch.exp(-0.5 * binder.squared_distance(self.hyperparameter("lengthscale")))]


class Forgiving(RBF):
    """Takes NaN and infinity for 0."""

    def __call__(self, X, Y=None, *, plan=None):
        X, Y = (None if Z is None else torch.as_tensor(Z).nan_to_num(0.0, 0.0, 0.0) for Z in (X, Y))
        return super().__call__(X, Y, plan=plan)


@dataclass(frozen=True)
class OfWrongDiagonal:
    flops_per_pair: float = 10.0
    bytes_per_pair: float = 0.0

    def __call__(self, X, Y, *theta):
        return 2.0 * gaussian(X, Y)

    def diagonal(self, X, *theta):
        return torch.ones_like(X[:, 0])


class WrongDiagonal(Kernel):
    def trace(self, binder):
        return [binder.statistic(TileStatistic(Columns(binder.columns), function=OfWrongDiagonal()))]


def in_a_worker(X, Y):
    return gaussian(X, Y) * (1.0 if threading.current_thread() is threading.main_thread() else 1.001)


def of_whole_blocks(X, Y):
    K = gaussian(X, Y)
    return K - 0.1 * K.mean()


def by_numpy(function):
    return lambda X, Y: function(torch.from_numpy(X.copy()), torch.from_numpy(Y.copy())).numpy()


BROKEN = {
    "asymmetric": (
        blocks(lambda X, Y: torch.exp(-(X[:, None] - Y[None]).clamp(min=0.0).sum(-1))),
        {},
        "symmetry",
        {"n": 1, "m": 1, "d": 1},
    ),
    "indefinite": (Squares, {}, "psd", {"n": 2, "d": 1}),
    "wrong gradient of a row value": (WithRowValues, {}, "gradients", {"n": 1, "m": 1, "d": 1, "t": 1}),
    "a gradient that is a constant": (
        lambda: WithRowValues(DetachedSlope),
        {},
        "derivatives_second",
        {"n": 1, "m": 1, "d": 1, "t": 1},
    ),
    "hyperparameter without a gradient": (Detached, {}, "gradients", {"n": 1, "m": 1, "d": 1, "t": 1}),
    "other values in float32": (
        blocks(lambda X, Y: gaussian(X, Y) * (1.001 if X.dtype == torch.float32 else 1.0)),
        {},
        "agreement",
        {"n": 1, "m": 1, "d": 1, "t": 1, "dtype": torch.float32},
    ),
    "wrong from 64 points on": (
        blocks(lambda X, Y: gaussian(X, Y) + 0.01 * (max(len(X), len(Y)) >= 64)),
        {},
        "agreement",
        {"n": 64, "m": 1, "d": 1, "t": 1},
    ),
    "NaN at duplicates": (Sinc, {}, "duplicates", {"n": 1, "d": 1}),
    "NaN at duplicates, gradients": (
        Sinc,
        {"properties": ["gradients_at_duplicates"]},
        "gradients_at_duplicates",
        {"n": 1, "d": 1},
    ),
    "dependent on tiles": (
        blocks(of_whole_blocks),
        {"definition": by_numpy(of_whole_blocks), "properties": ["tile_size"]},
        "tile_size",
        {"n": 4, "m": 1, "d": 1, "t": 1},
    ),
    "dependent on threads": (blocks(in_a_worker), {}, "thread_count", {"d": 1, "t": 1}),
    "another formula than its definition": (
        lambda: RBF(0.7),
        {"definition": lambda X, Y: np.exp(-0.5 * ((X[:, None] - Y[None]) ** 2).sum(-1))},
        "agreement",
        {"n": 1, "m": 1, "d": 1, "t": 1},
    ),
    "wrong diagonal": (WrongDiagonal, {}, "diagonal", {"n": 1, "d": 1}),
    "arguments stored otherwise": (lambda: Rounded(0.25), {}, "parameters", {"d": 1}),
    "NaN taken for a number": (Forgiving, {}, "not_finite", {"n": 2, "d": 1}),
}


@pytest.mark.slow("a broken kernel is checked until it fails, and then made small")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_kernel_is_caught_by_the_right_property_on_a_small_case(name):
    build, options, expected, sizes = BROKEN[name]
    with pytest.raises(PropertyError) as caught:
        check_kernel(build(), **options)
    error = caught.value
    assert error.property == expected, error
    assert {size: getattr(error.case, size) for size in sizes} == sizes
    assert not error.error <= error.tolerance
    assert f"properties=[{expected!r}], case={error.case!r}" in str(error)


def test_the_kernels_that_the_broken_ones_are_made_from_are_in_order():
    without = ("thousand", "agreement", "derivatives_second")
    assert check_kernel(from_callable(gaussian, blocks=True), without=without).passed
    assert check_kernel(Linear(bias=0.3), without=without).passed


def test_a_reproducer_repeats_the_failure():
    with pytest.raises(PropertyError) as caught:
        check_kernel(RBF(0.7), definition=lambda X, Y: np.ones((len(X), len(Y))), properties=["agreement"])
    message = str(caught.value)
    assert "RBF(lengthscale=0.7): agreement does not hold at n=1, m=1, d=1, t=1, float32." in message
    code = message.split("To repeat it:\n\n")[1]
    with pytest.raises(PropertyError) as again:
        exec(code, {"definition": lambda X, Y: np.ones((len(X), len(Y)))})
    assert str(again.value) == message
    assert again.value.case == caught.value.case == Case(1, 1, 1, 1, dtype=torch.float32)
