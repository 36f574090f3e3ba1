"""Properties of every lazy matrix: whatever it does, its dense copy does too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from linear_operator.operators import LinearOperator
from torch import Tensor

from mercer.arrays import as_tensor
from mercer.operators.functions import take_apart
from mercer.testing.case import Case
from mercer.testing.differences import Inputs, first_derivatives
from mercer.testing.properties import Finding, NotApplicable, Property, claim, close, operator_property

SYMMETRIC = 1e-5  # asymmetry up to which a matrix counts as symmetric, of its largest entry
ASKED = 1e-6  # residual asked of solvers; 1e-4 in float32, which rounds the solution


class OperatorSubject:
    """What a property of operators is given: the operator, and blocks of it for smaller cases.

    Args:
        operator: any linear operator ``(*batch, n, m)``.
        definition: the dense matrix by other means, or None.
    """

    def __init__(self, operator: LinearOperator, definition: Any = None) -> None:
        if not isinstance(operator, LinearOperator):
            raise TypeError(f"check_operator needs a linear operator, not {operator!r}.")
        self.operator = operator
        self.definition: Tensor | None = None if definition is None else as_tensor(definition)
        self.dims: Sequence[int] = (1,)

    @cached_property
    def name(self) -> str:
        """How messages call the operator."""
        return f"{type(self.operator).__name__} of {' x '.join(map(str, self.operator.shape))}"

    def admit(self, case: Case, prop: Property) -> Case:
        """The case at the size and in the type of the operator; ``t`` and the seed stay."""
        n, m = self.operator.shape[-2:]
        return replace(case, n=n, m=m, d=1, dtype=self.operator.dtype)

    def block(self, case: Case) -> LinearOperator:
        """The first ``n`` rows and ``m`` columns; the operator itself at full size."""
        n, m = self.operator.shape[-2:]
        return self.operator if (case.n, case.m) == (n, m) else self.operator[..., : case.n, : case.m]

    def square(self, case: Case) -> LinearOperator:
        """The first ``n`` rows and columns.

        Raises:
            NotApplicable: the operator is not square.
        """
        if self.operator.shape[-1] != self.operator.shape[-2]:
            raise NotApplicable("the operator is not square")
        return self.block(replace(case, m=case.n))

    def positive(self, case: Case) -> tuple[LinearOperator, Tensor]:
        """A symmetric positive definite operator: the first rows and columns plus a diagonal, and its dense copy.

        Raises:
            NotApplicable: the operator is not square, not symmetric, or far from positive semidefinite.
        """
        A = self.square(case)
        dense = A.to_dense().detach().double()
        size = float(dense.abs().max()) or 1.0
        if float((dense - dense.mT).abs().max()) > SYMMETRIC * size:
            raise NotApplicable("the operator is not symmetric")
        if float(torch.linalg.eigvalsh(dense).min()) < -SYMMETRIC * size * case.n:
            raise NotApplicable("the operator is not positive semidefinite")
        noise = 0.1 * size
        eye = torch.eye(case.n, dtype=torch.float64)
        return A.add_diagonal(torch.tensor(noise, dtype=A.dtype)), dense + noise * eye

    def rhs(self, case: Case, *shape: int, which: int = 0) -> Tensor:
        """A right-hand side."""
        rng = np.random.default_rng([case.seed, which])
        return torch.from_numpy(np.asarray(rng.standard_normal(shape))).to(case.dtype)

    def reproduce(self, prop: Property, case: Case) -> str:
        """Code that repeats the check on the smallest block."""
        n, m = self.operator.shape[-2:]
        whole = (case.n, case.m) == (n, m) or ("m" not in prop.fields and case.n == n)
        columns = case.m if "m" in prop.fields else case.n
        block = "operator" if whole else f"operator[..., :{case.n}, :{columns}]"
        return f"from mercer.testing import check_operator\n\ncheck_operator({block}, properties=[{prop.name!r}])"


def tolerance(dtype: torch.dtype, m: int) -> float:
    """Round-off of a sum of ``m`` products."""
    return 16.0 * torch.finfo(dtype).eps * math.sqrt(max(1, m))


def _product(what: str, actual: Tensor, A: Tensor, v: Tensor) -> Finding:
    """``actual`` against A @ v, in units of |A| |v|."""
    expected = A @ v
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        given = f"{tuple(actual.shape)} of {actual.dtype}"
        return claim(f"{what} is {tuple(expected.shape)} of {expected.dtype}, not {given}", False)
    A, v = A.detach().double(), v.detach().double()
    error = (actual.detach().double() - A @ v).norm()
    size = (A.abs() @ v.abs()).norm()
    return Finding(what, float(error / size.clamp(min=1e-300)), tolerance(expected.dtype, A.shape[-1]))


@operator_property(Case(t=1), Case(t=3), Case(t=17))
def matmul(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """Products with vectors, matrices and batches are those of the dense matrix."""
    A = subject.block(case)
    dense = A.to_dense()
    m, batch = dense.shape[-1], dense.shape[:-2]
    yield claim(f"shape {tuple(A.shape)} is that of the dense matrix", A.shape == dense.shape)
    yield claim(f"type {A.dtype} is that of the dense matrix", A.dtype == dense.dtype)
    v = subject.rhs(case, m)
    yield _product("A @ vector", A @ v, dense, v)
    V = subject.rhs(case, m, case.t)
    yield _product("A @ matrix", A @ V, dense, V)
    many = subject.rhs(case, 2, *batch, m, case.t)
    yield _product("A @ batch of matrices", A @ many, dense, many)


@operator_property(fields=("n", "m"))
def definition(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """The dense copy is the matrix given as its definition."""
    if subject.definition is None:
        raise NotApplicable("no definition is given")
    exact = subject.definition[..., : case.n, : case.m].to(case.dtype)
    yield close("A.to_dense()", subject.block(case).to_dense(), exact, 16.0 * tolerance(case.dtype, case.m))


@operator_property()
def transpose(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """A.mT and products from the left are those of the dense matrix."""
    A = subject.block(case)
    dense, n = A.to_dense(), A.shape[-2]
    yield close("A.mT", A.mT.to_dense(), dense.mT, tolerance(case.dtype, n))
    w = subject.rhs(case, n, case.t)
    yield _product("A.mT @ matrix", A.mT @ w, dense.mT, w)
    yield _product("(matrix' @ A)'", (w.mT @ A).mT, dense.mT, w)
    yield close("A.mT.mT", A.mT.mT.to_dense(), dense, tolerance(case.dtype, n))


@operator_property(fields=("n",))
def diagonal(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """The diagonal is that of the dense matrix."""
    A = subject.square(case)
    expected = A.to_dense().diagonal(dim1=-2, dim2=-1)
    yield close("A.diagonal()", A.diagonal(), expected, 64.0 * torch.finfo(case.dtype).eps)


def indexing_findings(name: str, A: LinearOperator, case: Case) -> Iterator[Finding]:
    """Rows, columns, blocks, repeated rows, single entries and products of blocks, against the dense matrix."""
    dense = A.to_dense()
    n, m = dense.shape[-2:]
    rng = np.random.default_rng([case.seed, 3])
    rows, columns = (torch.from_numpy(rng.integers(0, k, 4)) for k in (n, m))
    some = slice(n // 6, n - n // 4)
    parts: list[tuple[str, Any, Any]] = [
        ("some rows", some, slice(None)),
        ("a block", some, slice(m // 2, None)),
        ("a block on the diagonal", slice(n // 4, n), slice(n // 4, n)),
        ("every second row", slice(None, None, 2), slice(None)),
        ("listed rows", rows, slice(None)),
        ("listed rows and a range of columns", rows, slice(0, m - m // 3)),
    ]
    limit = 64.0 * tolerance(dense.dtype, m)
    for what, i, j in parts:
        block, expected = A[..., i, j], dense[..., i, :][..., :, j]
        yield close(f"{what} of {name}", block.to_dense(), expected, limit)
        if what == "a block" and 0 not in expected.shape:
            v = torch.from_numpy(rng.standard_normal((expected.shape[-1], 2))).to(dense.dtype)
            yield close(f"{what} of {name}, times a matrix", block @ v, expected @ v, limit * max(1, m))
    listed = A[..., rows, :][..., :, columns].to_dense()
    chosen = dense[..., rows, :][..., :, columns]
    yield close(f"listed rows, then listed columns of {name}", listed, chosen, limit)
    turned = A[..., rows, :][..., :, columns].mT.to_dense()
    yield close(f"listed rows, then listed columns of {name}, transposed", turned, chosen.mT, limit)
    yield close(f"entries of {name} at pairs", A[..., rows, columns], dense[..., rows, columns], limit)
    for i, j in ((0, 0), (n - 1, m // 2), (n // 2, min(n // 2, m - 1))):
        yield close(f"entry ({i}, {j}) of {name}", torch.as_tensor(A[..., i, j]), dense[..., i, j], limit)


@operator_property(fields=("n", "m"))
def indexing(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """Blocks, rows and entries are those of the dense matrix."""
    A = subject.block(case)
    yield from indexing_findings("A", A, case)
    if A.dim() > 2:
        dense = A.to_dense()
        yield close("A[0]", A[0].to_dense(), dense[0], 64.0 * tolerance(case.dtype, case.m))
        yield close("A[-1:]", A[-1:].to_dense(), dense[-1:], 64.0 * tolerance(case.dtype, case.m))


@operator_property()
def arithmetic(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """Sums, differences, multiples, elementwise products and added diagonals are those of the dense matrix."""
    A = subject.block(case)
    dense = A.to_dense()
    other = subject.rhs(case, *dense.shape[-2:], which=1)
    results: dict[str, tuple[Any, Tensor]] = {
        "2.5 * A": (A * 2.5, 2.5 * dense),
        "A / 4": (A / 4.0, dense / 4.0),
        "A * factor": (A * torch.tensor(0.3, dtype=case.dtype), 0.3 * dense),
        "A + A": (A + A, 2.0 * dense),
        "A - A * 0.25": (A - A * 0.25, 0.75 * dense),
        "A + dense": (A + other, dense + other),
        "A * A": (A * A, dense * dense),
        "A * dense": (A * other, dense * other),
        "(A + A) * A": ((A + A) * A, 2.0 * dense * dense),
    }
    if dense.shape[-1] == dense.shape[-2]:
        eye = torch.eye(dense.shape[-1], dtype=case.dtype)
        row = subject.rhs(case, dense.shape[-1], which=2).abs()
        results["add_diagonal(number)"] = (A.add_diagonal(torch.tensor(0.5, dtype=case.dtype)), dense + 0.5 * eye)
        results["add_diagonal(row)"] = (A.add_diagonal(row), dense + torch.diag_embed(row))
        results["add_jitter()"] = (A.add_jitter(1e-2), dense + 1e-2 * eye)
    v = subject.rhs(case, dense.shape[-1], case.t)
    # rounded entries of each part, and of the sum
    limit = 4.0 * tolerance(case.dtype, case.m)
    for what, (lazy, expected) in results.items():
        yield close(f"{what} as a dense matrix", lazy.to_dense(), expected, limit)
        size = (expected.abs() @ v.abs()).max().clamp(min=1.0)
        yield close(f"({what}) @ v", (lazy @ v) / size, (expected @ v) / size, limit)
        if dense.shape[-1] == dense.shape[-2]:
            yield close(f"({what}).diagonal()", lazy.diagonal(), expected.diagonal(dim1=-2, dim2=-1), limit)


@operator_property()
def batches(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """Expanded and repeated batches and sums over rows are those of the dense matrix."""
    A = subject.block(case)
    dense = A.to_dense()
    limit = 16.0 * tolerance(case.dtype, case.m)
    n, m = dense.shape[-2:]
    shape = (2, *dense.shape)
    yield close("A.expand(2, ...)", A.expand(*shape).to_dense(), dense.expand(shape), limit)
    sizes = (2, *(1 for _ in dense.shape))
    yield close("A.repeat(2, ...)", A.repeat(*sizes).to_dense(), dense.repeat(sizes), limit)
    yield close("A.unsqueeze(0)", A.unsqueeze(0).to_dense(), dense.unsqueeze(0), limit)
    for dim, length in ((-1, m), (-2, n)):
        size = float(dense.abs().sum(dim).max()) or 1.0
        yield close(f"A.sum({dim})", A.sum(dim) / size, dense.sum(dim) / size, 4.0 * tolerance(case.dtype, length))
    if dense.dim() > 2:
        total = dense.sum(0)
        yield close("A.sum(0)", torch.as_tensor(A.sum(0).to_dense()), total, limit * len(dense))


@operator_property(fields=("n", "t"))
def solve(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """A solve leaves the residual asked for, recomputed in float64 from the dense matrix."""
    A, dense = subject.positive(case)
    for y in (subject.rhs(case, case.n), subject.rhs(case, case.n, case.t)):
        if y.dim() == 1 and dense.dim() > 2:
            continue  # linear_operator takes no vector for a batch
        x = A.solve(y).double()
        residual = (dense @ x - y.double()).norm() / y.double().expand_as(x).norm()
        limit = ASKED if case.dtype == torch.float64 else 1e-4
        yield Finding(f"|A x - y| / |y| for y of shape {tuple(y.shape)}", float(residual), limit)


@operator_property(fields=("n", "t"))
def logdet(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """log det A and y' A^-1 y are those of the dense matrix by Cholesky."""
    A, dense = subject.positive(case)
    limit = 1e-9 if case.dtype == torch.float64 else 1e-4
    L = torch.linalg.cholesky(dense)
    expected = 2.0 * L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    y = subject.rhs(case, case.n, case.t)
    quad = (y.double() * torch.cholesky_solve(y.double().expand(*dense.shape[:-1], case.t), L)).sum((-2, -1))
    yield close("A.logdet(), relative to n", A.logdet() / case.n, expected / case.n, limit)
    both = A.inv_quad_logdet(y.expand(*dense.shape[:-1], case.t), logdet=True)
    yield close("y' A^-1 y", both[0] / quad, torch.ones_like(quad), limit)
    yield close("log det A with it, relative to n", both[1] / case.n, expected / case.n, limit)


@operator_property(Case(t=1), fields=("n", "m"), smallest=Case(1, 1, 1, 1))
def gradients(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """A @ v has the gradients of differences, in v and in every tensor the operator is made of."""
    rebuild, tensors = take_apart(subject.block(case).double().detach())
    inputs: Inputs = {
        f"tensor {i}": t.detach().double() for i, t in enumerate(tensors) if t.is_floating_point() and t.numel()
    }
    inputs["v"] = subject.rhs(replace(case, dtype=torch.float64), case.m, 2)

    def product(at: Inputs) -> Tensor:
        result: Tensor = rebuild(*(at.get(f"tensor {i}", t) for i, t in enumerate(tensors))) @ at["v"]
        return result

    yield from first_derivatives(product, inputs, np.random.default_rng([case.seed, 5]))


@operator_property(fields=("n", "m"))
def moves(subject: OperatorSubject, case: Case) -> Iterator[Finding]:
    """The operator in another type or on another device is the same matrix there; copies are too."""
    A = subject.block(case)
    dense = A.to_dense().detach()
    size = max(1.0, float(dense.abs().max()))
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for dtype, device in itertools.product((torch.float32, torch.float64), devices):
        moved = A.to(dtype=dtype, device=torch.device(device))
        what = f"A.to({dtype}, {device})"
        yield claim(f"{what} has type {dtype}, not {moved.dtype}", moved.dtype == dtype)
        yield claim(f"{what} is there, not on {moved.device}", moved.device.type == device)
        eps = max(torch.finfo(t).eps for t in (dtype, case.dtype))
        # points and hyperparameters are rounded before the entries are computed
        yield close(what, moved.to_dense().cpu() / size, dense / size, 1e3 * eps)
    for what, copy in (("A.clone()", A.clone()), ("A.detach()", A.detach()), ("A.cpu()", A.cpu())):
        yield close(what, copy.to_dense(), dense, 64.0 * torch.finfo(case.dtype).eps)
