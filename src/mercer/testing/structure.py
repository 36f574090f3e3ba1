"""Target N3: symmetry, definiteness, blocks, diagonals and batches of kernel matrices."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mercer.testing.case import Case
from mercer.testing.operators import indexing_findings
from mercer.testing.properties import Finding, NotApplicable, claim, close, kernel_property
from mercer.testing.subject import ROUND_OFF, KernelSubject


@kernel_property(Case(129, 64, 3), fields=("n", "m", "d"), every_dtype=True)
def symmetry(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """k(x, y) = k(y, x), and k(X) is symmetric."""
    X, Y = subject.points(case), subject.points(case, 1)
    K = subject.matrix(X).to_dense()
    size = max(float(K.norm()), 1e-300)
    yield Finding("|k(X) - k(X)'| / |k(X)|", float((K - K.mT).norm()) / size, 32.0 * torch.finfo(case.dtype).eps)
    exact, other = subject.matrix(X, Y).to_dense(), subject.matrix(Y, X).to_dense().mT
    bound = 2.0 * max(subject.bound(X, Y), 8.0 * torch.finfo(case.dtype).eps)
    yield Finding(
        "|k(X, Y) - k(Y, X)'| / |k(X, Y)|", float((exact - other).norm()) / max(float(exact.norm()), 1e-300), bound
    )


@kernel_property(Case(n=40), Case(n=40, d=1), fields=("n", "d"))
def psd(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """k(X) is positive semidefinite: no eigenvalue is below -1e-13 of the largest."""
    K = subject.matrix(subject.points(case)).to_dense()
    values = torch.linalg.eigvalsh((K + K.mT) / 2.0)
    yield Finding(
        "minus the smallest eigenvalue, of the largest", -float(values[0]) / (float(values.abs().max()) or 1.0), 1e-13
    )


@kernel_property(Case(7, 5))
def transpose(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """k(X, Y).T is k(Y, X), lazily and as a dense matrix."""
    X, Y = subject.points(case), subject.points(case, 1)
    K = subject.matrix(X, Y)
    dense = K.to_dense()
    yield claim(f"k(X, Y) has shape {(case.n, case.m)}, not {tuple(K.shape)}", K.shape == (case.n, case.m))
    yield claim(f"k(X, Y).T has shape {(case.m, case.n)}", K.T.shape == (case.m, case.n))
    yield close("k(X, Y).T as a dense matrix", K.T.to_dense(), dense.T, ROUND_OFF)
    yield close("k(Y, X) against k(X, Y).T", subject.matrix(Y, X).to_dense(), dense.T, ROUND_OFF)
    v = subject.rhs(case, case.n)
    yield close("k(X, Y).T @ v", K.T @ v, dense.T @ v, ROUND_OFF)


@kernel_property(Case(12, 9), fields=("n", "m", "d"))
def blocks(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Blocks, rows and entries of the lazy matrix are those of the dense one."""
    X = subject.points(case)
    yield from indexing_findings("k(X)", subject.matrix(X), case)
    yield from indexing_findings("k(X, Y)", subject.matrix(X, subject.points(case, 1)), case)


@kernel_property(Case(n=12), fields=("n", "d"))
def diagonal(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """The diagonal of k(X) and of its blocks is that of the dense matrix."""
    X = subject.points(case)
    K = subject.matrix(X)
    yield close("k(X).diagonal()", K.diagonal(), K.to_dense().diagonal(), 1e-14)
    n, shift = case.n, case.n // 6
    block = K[2 * shift : n - shift, shift : n - 2 * shift]
    yield close("the diagonal of a block", block.diagonal(), block.to_dense().diagonal(), 1e-14)


@kernel_property(Case(6, 4), smallest=Case(2, 1, 1, 1))
def batch(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """A batch of point sets gives a batch of matrices."""
    parts = [subject.points(case, 2 * b) for b in range(3)]
    others = [subject.points(case, 2 * b + 1, n=case.m) for b in range(3)]
    K = subject.matrix(torch.stack(parts), torch.stack(others))
    yield claim(f"the shape is {(3, case.n, case.m)}, not {tuple(K.shape)}", K.shape == (3, case.n, case.m))
    v = torch.stack([subject.rhs(case, case.m, which=b) for b in range(3)])
    dense, product = K.to_dense(), K @ v
    square = subject.matrix(torch.stack(parts))
    for b in range(3):
        single = subject.matrix(parts[b], others[b]).to_dense()
        yield close(f"matrix {b} of the batch", dense[b], single, ROUND_OFF)
        yield close(f"product {b} of the batch", product[b], single @ v[b], ROUND_OFF)
        yield close(f"K[{b}]", K[b].to_dense(), single, ROUND_OFF)
        own = subject.matrix(parts[b])
        yield close(f"diagonal {b} of the batch of k(X)", square.diagonal()[b], own.diagonal(), ROUND_OFF)
        yield close(f"matrix {b} of the batch of k(X)", square.to_dense()[b], own.to_dense(), ROUND_OFF)


@kernel_property(Case(6, 4), smallest=Case(2, 1, 1, 1))
def batch_of_hyperparameters(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """Hyperparameters with a batch dimension give a batch of matrices."""
    kernel = subject.kernel(case.d)
    found = kernel.hyperparameters()
    if not found:
        raise NotApplicable("no hyperparameters")
    factors = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    batched = {}
    for h in found:
        # one lengthscale for all columns has event shape (1,) in a batch
        event = h.value.reshape(1) if h.domain.vector and h.value.dim() == 0 else h.value
        batched[h.path] = factors.reshape(3, *[1] * event.dim()) * event
    X, Y = subject.points(case), subject.points(case, 1)
    K = kernel.with_values(batched)(X, Y)
    yield claim(f"the shape is {(3, case.n, case.m)}, not {tuple(K.shape)}", K.shape == (3, case.n, case.m))
    v = subject.rhs(case, case.m)
    dense, product = K.to_dense(), K @ v
    for b, factor in enumerate(factors):
        single = kernel.with_values({h.path: h.value * factor for h in found})(X, Y).to_dense()
        yield close(f"matrix {b} of the batch", dense[b], single, ROUND_OFF)
        yield close(f"product {b} of the batch", product[b], single @ v, ROUND_OFF)
