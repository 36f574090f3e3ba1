"""Target N2: NaN, infinity, duplicates, no points at all, points of any kind."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from mercer.testing.case import Case
from mercer.testing.properties import Finding, claim, close, kernel_property
from mercer.testing.subject import ROUND_OFF, KernelSubject


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
    yield claim("k(X) of equal points is finite", bool(torch.isfinite(subject.matrix(twice).to_dense()).all()))


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
