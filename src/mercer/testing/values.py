"""Target N2: NaN, infinity, denormals, no points at all, duplicates and constant columns."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from mercer.testing.case import Case
from mercer.testing.properties import Finding, NotApplicable, claim, close, kernel_property
from mercer.testing.structure import ROUND_OFF
from mercer.testing.subject import KernelSubject


@kernel_property(Case(n=5), fields=("n", "d"))
def not_finite(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """NaN and infinity in a column that the kernel uses are refused by name; other columns change nothing."""
    X = subject.points(case)
    before = subject.matrix(X).to_dense()
    for bad, word in ((math.nan, "NaN"), (math.inf, "infinity"), (-math.inf, "infinity")):
        for column in range(case.d):
            spoilt = X.clone()
            spoilt[-1, column] = bad
            for name, points in (("X", (spoilt,)), ("Y", (X, spoilt))):
                what = f"{bad} in column {column} of {name}"
                try:
                    K = subject.matrix(*points).to_dense()
                except ValueError as error:
                    yield claim(f"{what} is refused with the word {word!r}, not with {error}", word in str(error))
                    continue
                yield claim(f"{what} is refused, or leaves a finite matrix", bool(torch.isfinite(K).all()))
                if name == "X":
                    yield close(f"k(X) with {what}, which the kernel does not use", K, before, ROUND_OFF)


@kernel_property(Case(n=5), fields=("n", "d"))
def duplicates(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Equal points are as similar as a point and itself, and nothing is NaN."""
    X, n = subject.points(case), case.n
    twice = torch.cat([X, X])
    # two sets of points, so that white noise has no part
    K = subject.matrix(twice, twice.clone()).to_dense()
    yield claim("k of equal points is finite", bool(torch.isfinite(K).all()))
    yield close("k(x, y) for a copy of x", K[n:, :n], K[:n, :n], ROUND_OFF)
    yield close("k(x, x) for a copy of x", K[n:, :n].diagonal(), K[:n, :n].diagonal(), ROUND_OFF)
    exact = torch.from_numpy(subject.exact(twice, twice.clone()))
    yield close("k of equal points against the definition", K, exact, ROUND_OFF)
    yield close("k(X) of equal points", subject.matrix(twice).to_dense(), torch.from_numpy(subject.exact(twice)), ROUND_OFF)


@kernel_property(Case(n=9), fields=("n", "d"))
def constant_columns(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Columns with one value are harmless."""
    for columns in (slice(0, 1), slice(1, 2), slice(None)):
        X = subject.points(case)
        X[:, columns] = X[0, columns]
        exact = torch.from_numpy(subject.exact(X))
        yield close("k(X) with constant columns", subject.matrix(X).to_dense(), exact, ROUND_OFF)


@kernel_property(Case(n=3, m=3), fields=("d",))
def empty(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Matrices without rows or columns have their shape, and products with them are zero."""
    for n, m in ((0, 3), (3, 0), (0, 0)):
        X, Y, v = subject.points(case, n=n), subject.points(case, 1, n=m), torch.ones(m, 2, dtype=case.dtype)
        for plan in (None, "tiles", "dense"):
            K = subject.matrix(X, Y, plan=plan)
            yield claim(f"k(X, Y) of {n} and {m} points has shape {(n, m)}", K.to_dense().shape == (n, m))
            yield claim("k(X, Y) @ v is zero", torch.equal(K @ v, torch.zeros(n, 2, dtype=case.dtype)))
    K = subject.matrix(subject.points(case, n=0))
    yield claim("k(X) of no points has shape (0, 0)", K.to_dense().shape == (0, 0))
    yield claim("its diagonal has shape (0,)", K.diagonal().shape == (0,))
    yield claim("its products have no rows", (K @ torch.ones(0, 2, dtype=case.dtype)).shape == (0, 2))


@kernel_property(Case(n=4, scale=1e-310), fields=("n", "d"))
def denormals(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Points that differ by denormal numbers give what the definition gives."""
    if not subject.drawn_from_normal:
        raise NotApplicable("the points are given")
    X = subject.points(case)
    with np.errstate(all="ignore"):
        exact = subject.exact(X)
    if not np.isfinite(exact).all():
        raise NotApplicable("the definition is not finite there")
    yield close("k(X) of denormal points", subject.matrix(X).to_dense(), torch.from_numpy(exact), ROUND_OFF)


@kernel_property(Case(n=6, dtype=torch.float32), fields=("n", "d"))
def largest_numbers(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Points as large as 1e18 in float32 give finite matrices, or values that float32 cannot hold."""
    if subject.data is not None:
        raise NotApplicable("the points are given")
    X = subject.points(case)
    X = X * (1e18 / X.abs().max())
    with np.errstate(all="ignore"):
        exact = subject.exact(X)
    if not np.abs(exact).max(initial=0.0) < 1e-2 * torch.finfo(case.dtype).max / case.n:
        raise NotApplicable("the values pass the largest float32")
    K = subject.matrix(X)
    yield claim("k(X) is finite", bool(torch.isfinite(K.to_dense()).all()))
    yield claim("k(X) @ 1 is finite", bool(torch.isfinite(K @ torch.ones(case.n, dtype=case.dtype)).all()))


@kernel_property(Case(n=2), fields=("n", "d"))
def inputs(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Arrays (also read-only), nested lists and integers are points as tensors are."""
    X = subject.points(case)
    array = X.numpy().copy()
    array.setflags(write=False)
    dense = subject.matrix(X).to_dense()
    kernel = subject.kernel(case.d)
    yield close("k of a read-only array", kernel(array).to_dense(), dense, 0.0)
    from_list = kernel(array.tolist())
    yield close("k of nested lists", from_list.to_dense(), subject.matrix(X.to(from_list.dtype)).to_dense(), 0.0)
    if subject.data is None:
        whole = np.arange(1, 1 + X.numel()).reshape(X.shape)
        K = kernel(whole)
        yield claim("integers take torch's default type", K.dtype == torch.get_default_dtype())
        yield close("k of integers", K.to_dense(), kernel(whole.tolist()).to_dense(), 0.0)
