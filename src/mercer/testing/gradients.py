"""Target N3: gradients in X, Y, v and every hyperparameter, against differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mercer.kernels import Kernel
from mercer.operators import KernelOperator
from mercer.testing.case import Case
from mercer.testing.differences import (
    Inputs,
    every_derivative,
    first_derivatives,
    gradient,
    leaves,
    second_derivatives,
)
from mercer.testing.properties import Finding, NotApplicable, claim, close, kernel_property
from mercer.testing.settings import threads, tile_shape
from mercer.testing.subject import KernelSubject

Function = Callable[[Inputs], Tensor]
SMALL = Case(4, 3, 3, 2)


def _inputs(subject: KernelSubject, case: Case, *names: str) -> Inputs:
    """X, Y and v as far as they are wanted and have gradients, and the hyperparameters."""
    differentiable = subject.is_differentiable(case)
    tensors: Inputs = {}
    for name, which in (("X", 0), ("Y", 1)):
        if name in names and differentiable:
            tensors[name] = subject.points(case, which)
    if "v" in names:
        tensors["v"] = subject.rhs(case, case.m if "Y" in names else case.n)
    for h in subject.kernel(case.d).hyperparameters():
        # a value at the end of its domain has no difference on both sides: a bias of 0 is switched off
        if not bool((h.value <= h.domain.least).any()):
            tensors[h.path] = h.value.detach()
    if not tensors:
        raise NotApplicable("nothing to differentiate by")
    return tensors


def _bound(kernel: Kernel, at: Inputs) -> Kernel:
    return kernel.with_values({name: value for name, value in at.items() if name not in ("X", "Y", "v")})


def _matrix(subject: KernelSubject, case: Case, at: Inputs, *, symmetric: bool) -> KernelOperator:
    X = at.get("X", subject.points(case))
    kernel = _bound(subject.kernel(case.d), at)
    return kernel(X) if symmetric else kernel(X, at.get("Y", subject.points(case, 1)))


def _product(subject: KernelSubject, case: Case, plan: str, *, symmetric: bool) -> Function:
    def function(at: Inputs) -> Tensor:
        product: Tensor = _matrix(subject, case, at, symmetric=symmetric).with_plan(plan) @ at["v"]
        return product

    return function


def _rng(case: Case) -> np.random.Generator:
    return np.random.default_rng([case.seed, 7])


@kernel_property(SMALL)
def gradients(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """k(X, Y) @ v has the gradients of differences in X, Y, v and every hyperparameter, by both exact plans."""
    inputs = _inputs(subject, case, "X", "Y", "v")
    yield from first_derivatives(_product(subject, case, "tiles", symmetric=False), inputs, _rng(case))
    w, found = subject.rhs(case, case.n, which=1), {}
    for plan in ("tiles", "dense"):
        at = leaves(inputs)
        found[plan] = gradient((w * _product(subject, case, plan, symmetric=False)(at)).sum(), at)
    for name in inputs:
        yield close(f"gradient in {name} by plan 'dense'", found["dense"][name], found["tiles"][name], 1e-10)


@kernel_property(SMALL, fields=("n", "d", "t"))
def gradients_symmetric(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """k(X) @ v has the gradients of differences, where X stands on both sides."""
    inputs = _inputs(subject, case, "X", "v")
    yield from first_derivatives(_product(subject, case, "tiles", symmetric=True), inputs, _rng(case))


@kernel_property(Case(n=3), fields=("n", "d"))
def gradients_dense(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Every entry of k(X).to_dense() and k(X).diagonal() has the derivatives of differences."""
    inputs = _inputs(subject, case, "X")

    def both(at: Inputs) -> Tensor:
        K = _matrix(subject, case, at, symmetric=True)
        return torch.cat([K.to_dense().flatten(), K.diagonal()])

    yield from every_derivative(both, inputs)


@kernel_property(Case(4, 3, 3, 1))
def derivatives_second(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Gradients of products can be differentiated again."""
    inputs = _inputs(subject, case, "X", "Y", "v")
    yield from second_derivatives(_product(subject, case, "tiles", symmetric=False), inputs, _rng(case))
    inputs = _inputs(subject, case, "X", "v")
    yield from second_derivatives(_product(subject, case, "tiles", symmetric=True), inputs, _rng(case))


@kernel_property(Case(n=23, t=1), fields=("n", "d"))
def gradients_by_tiles(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Gradients do not depend on the size of tiles or the number of threads."""
    inputs = _inputs(subject, case, "X", "v")
    function = _product(subject, case, "tiles", symmetric=True)
    w = subject.rhs(case, case.n, which=1)

    def at(rows: int, columns: int, count: int) -> Inputs:
        points = leaves(inputs)
        with threads(count), tile_shape(rows, columns):
            return gradient((w * function(points)).sum(), points)

    whole = at(512, 1024, 1)
    for rows, columns, count in ((5, 8, 1), (5, 8, 2)):
        for name, found in at(rows, columns, count).items():
            size = float(whole[name].abs().max()) or 1.0
            error = float((found - whole[name]).abs().max()) / size
            yield Finding(f"gradient in {name} by tiles of {rows} x {columns} on {count} threads", error, 1e-10)


@kernel_property(Case(n=3), fields=("n", "d"))
def gradients_at_duplicates(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Gradients at coincident points are finite."""
    inputs = _inputs(subject, case, "X")
    X = subject.points(case)
    kernel = subject.kernel(case.d)
    if "X" in inputs:
        inputs["Y"] = torch.cat([X[: case.n - 1], subject.points(case, 1, n=1)]) if case.n > 1 else X.clone()
    for symmetric in (False, True):
        at = leaves(inputs)
        bound = _bound(kernel, at)
        left = at.get("X", X)
        K = bound(torch.cat([left, left])) if symmetric else bound(left, at.get("Y", X))
        product = K @ torch.ones(K.shape[1], dtype=case.dtype)
        for name, found in gradient(product.sum(), at).items():
            where = "k(X) with every point twice" if symmetric else "k(X, Y)"
            yield claim(f"gradient of {where} in {name} is finite", bool(torch.isfinite(found).all()))
