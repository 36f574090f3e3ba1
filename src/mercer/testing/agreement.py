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


class Comparison:
    """k(X) or k(X, Y) by its definition, and the error that products may have: ``allowed`` of ||K| |v||."""

    def __init__(self, subject: KernelSubject, X: Tensor, Y: Tensor | None) -> None:
        self.rows = subject.some_rows(len(X), len(X if Y is None else Y))
        self.exact: Array = subject.exact(X, Y, self.rows)
        self.bound, self.largest = subject.bound(X, Y), subject.largest(X, Y)

    def __call__(self, what: str, result: Tensor, v: Tensor, allowed: float | None = None) -> Finding:
        """``result`` against K @ v, everything in float64."""
        if not np.isfinite(self.exact).all():
            return claim(f"{what}: the definition is finite", False)
        w = v.detach().double().numpy()
        error = float(np.linalg.norm(result[self.rows].detach().double().numpy() - self.exact @ w))
        size = float(np.linalg.norm(np.abs(self.exact) @ np.abs(w)))
        floor = NEGLIGIBLE * self.largest * np.sqrt(len(self.exact)) * float(np.abs(w).sum()) + 1e-300
        limit = (self.bound if allowed is None else allowed) + floor / (size or 1.0)
        return Finding(f"{what}, relative to ||K| |v||", error / (size or 1.0), limit)


def _products(subject: KernelSubject, case: Case, *, exact_plans_only: bool) -> Iterator[Finding]:
    """k(X) and k(X, Y) by every plan, and as dense matrices."""
    X, Y = subject.points(case), subject.points(case, 1)
    for name, other in (("k(X)", None), ("k(X, Y)", Y)):
        compare, K = Comparison(subject, X, other), subject.matrix(X, other)
        greatest = max(compare.largest, float(np.abs(compare.exact).max(initial=0.0)))
        if greatest * (case.n + case.m) > 0.01 * torch.finfo(case.dtype).max:
            raise NotApplicable(f"the values pass the largest {case.dtype}")
        v = subject.rhs(case, K.shape[1])
        by_plans = ((p, K.with_plan(p), 0.0) for p in _EXACT) if exact_plans_only else subject.by_plans(K)
        for plan, chosen, tolerance in by_plans:
            result = chosen @ v
            yield claim(f"{name} @ v by plan {plan!r} is {case.dtype}, not {result.dtype}", result.dtype == v.dtype)
            yield compare(f"{name} @ v by plan {plan!r}", result, v, compare.bound + tolerance)
        if not exact_plans_only:
            yield compare(f"{name}.to_dense()", K.to_dense(), torch.eye(K.shape[1], dtype=case.dtype))


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
    yield Comparison(subject, X, None)("k(X) @ v by plan 'tiles'", subject.matrix(X, plan="tiles") @ v, v)


@kernel_property(Case(129, 100, 3, 2))
def tile_size(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """The size of tiles changes results by round-off only."""
    X, Y = subject.points(case), subject.points(case, 1)
    for name, other in (("k(X)", None), ("k(X, Y)", Y)):
        compare, v = Comparison(subject, X, other), subject.rhs(case, case.n if other is None else case.m)
        for rows, columns in ((17, 23), (3, 64)):
            with tile_shape(rows, columns):
                K = subject.matrix(X, other, plan="tiles")
                yield compare(f"{name} @ v in tiles of {rows} x {columns}", K @ v, v)
                if other is None and rows == 17:
                    eye = torch.eye(case.n, dtype=case.dtype)
                    yield compare(f"{name}.to_dense() in tiles of {rows} x {columns}", K.to_dense(), eye)


@kernel_property(Case(65, 33, 3, 2), every_dtype=True)
def thread_count(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """The number of threads changes results by round-off only."""
    X, Y = subject.points(case), subject.points(case, 1)
    for name, other in (("k(X)", None), ("k(X, Y)", Y)):
        compare, v = Comparison(subject, X, other), subject.rhs(case, case.n if other is None else case.m)
        for count in (1, 2, 3):
            # small tiles, so that each worker has some
            with threads(count), tile_shape(8, 16):
                yield compare(f"{name} @ v on {count} threads", subject.matrix(X, other, plan="tiles") @ v, v)


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
