"""Target N2 again, against the definition: constant columns, equal points, denormal and huge numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mercer.testing.case import Case
from mercer.testing.properties import Finding, NotApplicable, claim, close, kernel_property
from mercer.testing.subject import ROUND_OFF, KernelSubject


@kernel_property(Case(n=9), fields=("n", "d"))
def constant_columns(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Columns with one value are harmless, also where all points are equal."""
    for columns in (slice(0, 1), slice(1, 2), slice(None)):
        X = subject.points(case)
        X[:, columns] = X[0, columns]
        exact = torch.from_numpy(subject.exact(X))
        yield close("k(X) with constant columns", subject.matrix(X).to_dense(), exact, ROUND_OFF)


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
