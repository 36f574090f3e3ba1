"""Target N1: products and dense matrices are the float64 definition to round-off, by every plan and in every type."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mercer.testing.case import Case
from mercer.testing.properties import Finding, NotApplicable, claim, kernel_property
from mercer.testing.settings import threads, tile_shape
from mercer.testing.subject import NEGLIGIBLE, Array, KernelSubject

_EXACT = ("dense", "tiles")


def within(subject: KernelSubject, what: str, result: Tensor, exact: Array, v: Tensor, allowed: float, largest: float) -> Finding:
    """|result - K v| against ``allowed`` times ||K| |v||, everything in float64."""
    if not np.isfinite(exact).all():
        return claim(f"{what}: the definition is not finite", False)
    w = v.detach().double().numpy()
    error = float(np.linalg.norm(result.detach().double().numpy() - exact @ w))
    size = float(np.linalg.norm(np.abs(exact) @ np.abs(w)))
    floor = NEGLIGIBLE * largest * np.sqrt(len(exact)) * float(np.abs(w).sum()) + 1e-300
    return Finding(f"{what}, relative to ||K| |v||", error / (size or 1.0), allowed + floor / (size or 1.0))


def _products(subject: KernelSubject, case: Case, *, exact_plans_only: bool) -> Iterator[Finding]:
    """k(X) and k(X, Y) by every plan, and as dense matrices."""
    X, Y = subject.points(case), subject.points(case, 1)
    for name, other in (("k(X)", None), ("k(X, Y)", Y)):
        exact, K = subject.exact(X, other), subject.matrix(X, other)
        bound, largest = subject.bound(X, other), subject.largest(X, other)
        limit = torch.finfo(case.dtype).max
        if max(largest, float(np.abs(exact).max(initial=0.0))) * (len(X) + case.m) > 0.01 * limit:
            raise NotApplicable(f"the values pass the largest {case.dtype}")
        v = subject.rhs(case, exact.shape[1])
        stated = K.with_plan("tiles").plan.error
        for plan in _EXACT if exact_plans_only else subject.plans(K):
            chosen = K.with_plan(plan)
            # a plan that approximates says so in its error
            allowed = bound if chosen.plan.error <= 1.01 * stated else max(bound, chosen.plan.error)
            result = chosen @ v
            yield claim(f"{name} @ v by plan {plan!r} has type {case.dtype}, not {result.dtype}", result.dtype == v.dtype)
            yield within(subject, f"{name} @ v by plan {plan!r}", result, exact, v, allowed, largest)
        if not exact_plans_only:
            eye = torch.eye(exact.shape[1], dtype=case.dtype)
            yield within(subject, f"{name}.to_dense()", K.to_dense(), exact, eye, bound, largest)


@kernel_property(
    Case(1, 1, 1, 1),
    Case(2, 7, 3, 3),
    Case(7, 63, 5, 17),
    Case(63, 2, 1, 1),
    Case(100, 129, 17, 3),
    Case(129, 100, 3, 1),
    every_dtype=True,
)
def agreement(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Products by every plan and dense matrices are the definition in float64 to 4 eps (2 + max |x / l|^2)."""
    yield from _products(subject, case, exact_plans_only=False)


@kernel_property(Case(63, 29, 3, 2, shift=1e4), every_dtype=True)
def shifted(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Points far from the origin lose nothing, if the kernel sees their differences only."""
    if not subject.drawn_from_normal:
        raise NotApplicable("the points are given")
    if not subject.is_shift_invariant(case):
        raise NotApplicable("the kernel sees more than differences of points")
    yield from _products(subject, case, exact_plans_only=True)


@kernel_property(
    Case(33, 17, 3, 2, scale=30.0),
    Case(33, 17, 3, 2, scale=1e-3),
    Case(33, 17, 3, 2, scale=1e-6),
    Case(33, 17, 3, 2, scale=1e6),
    every_dtype=True,
)
def scaled(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Points of any scale from 1e-6 to 1e6 stay within the bound."""
    if not subject.drawn_from_normal:
        raise NotApplicable("the points are given")
    yield from _products(subject, case, exact_plans_only=True)


@kernel_property(Case(n=1000, t=3), fields=("n", "d", "t"), every_dtype=True)
def thousand(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """A thousand points, which pass through several tiles, are multiplied as exactly as a few."""
    X, v = subject.points(case), subject.rhs(case, case.n)
    rows = torch.arange(case.n)
    if subject.definition is None:  # pairs one by one: some of them are enough
        rows = torch.linspace(0, case.n - 1, min(case.n, 20)).long()
    exact = subject.exact(X)[rows] if subject.definition is not None else subject.entries(X, None, rows)
    result = (subject.matrix(X, plan="tiles") @ v)[rows]
    yield within(subject, "k(X) @ v by plan 'tiles'", result, exact, v, subject.bound(X), subject.largest(X))


@kernel_property(Case(129, 100, 3, 2))
def tile_size(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """The size of tiles changes results by round-off only."""
    X, Y = subject.points(case), subject.points(case, 1)
    for name, other in (("k(X)", None), ("k(X, Y)", Y)):
        exact = subject.exact(X, other)
        v, bound, largest = subject.rhs(case, exact.shape[1]), subject.bound(X, other), subject.largest(X, other)
        for rows, columns in ((17, 23), (3, 64)):
            with tile_shape(rows, columns):
                what = f"{name} @ v in tiles of {rows} x {columns}"
                result = subject.matrix(X, other, plan="tiles") @ v
                yield within(subject, what, result, exact, v, bound, largest)
    with tile_shape(17, 23):
        eye = torch.eye(case.n, dtype=case.dtype)
        dense = subject.matrix(X).to_dense()
        yield within(subject, "k(X).to_dense() in tiles of 17 x 23", dense, subject.exact(X), eye, bound, largest)


@kernel_property(Case(65, 33, 3, 2), every_dtype=True)
def thread_count(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """The number of threads changes results by round-off only."""
    X, Y = subject.points(case), subject.points(case, 1)
    for name, other in (("k(X)", None), ("k(X, Y)", Y)):
        exact = subject.exact(X, other)
        v, bound, largest = subject.rhs(case, exact.shape[1]), subject.bound(X, other), subject.largest(X, other)
        for count in (1, 2, 3):
            # small tiles, so that each worker has some
            with threads(count), tile_shape(8, 16):
                result = subject.matrix(X, other, plan="tiles") @ v
            yield within(subject, f"{name} @ v on {count} threads", result, exact, v, bound, largest)


@kernel_property(Case(n=9, t=1, dtype=torch.float16), Case(n=9, t=1, dtype=torch.bfloat16), fields=("n", "d"))
def half_types(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Half types come back as they went in, computed in float32."""
    X = subject.points(case)
    v = torch.ones(case.n, dtype=case.dtype)
    result = subject.matrix(X) @ v
    yield claim(f"the product has type {case.dtype}, not {result.dtype}", result.dtype == case.dtype)
    exact = subject.exact(X).sum(1)
    if float(np.abs(exact).max(initial=0.0)) > torch.finfo(case.dtype).max:
        raise NotApplicable(f"the values pass the largest {case.dtype}")
    # one rounding of the exact sum, and what float32 lost before it
    single = subject.bound(X.float()) * np.abs(subject.exact(X)).sum(1)
    allowed = torch.finfo(case.dtype).eps * np.abs(exact) + single + 1e-300
    error = np.abs(result.double().numpy() - exact)
    yield Finding("k(X) @ 1, in units of one rounding", float(np.max(error / allowed, initial=0.0)), 1.0)
