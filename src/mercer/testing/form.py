"""Kernels as text, as arguments, and as scikit-learn sees them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from mercer.kernels import Kernel, parse, to_text
from mercer.kernels.grammar import vocabulary
from mercer.testing.case import Case
from mercer.testing.properties import Finding, NotApplicable, claim, close, kernel_property
from mercer.testing.subject import KernelSubject


@kernel_property(Case(n=5), fields=("d",))
def text(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """parse(repr(kernel)) is the kernel, to the last digit of its hyperparameters: what saved models keep."""
    kernel = subject.kernel(case.d)
    if not _all_in_grammar(kernel):
        raise NotApplicable("a text cannot build this kernel")
    X = subject.points(case)
    learnt = kernel.with_values({h.path: h.value * (1.0 + 1.0 / 3.0) for h in kernel.hyperparameters()})
    for one in (kernel, learnt):
        again = parse(to_text(one))
        yield claim("to_text(kernel) is repr(kernel)", to_text(one) == repr(one))
        yield claim(f"parse(repr(kernel)) is {one!r}, not {again!r}", again == one)
        pairs = zip(again.hyperparameters(), one.hyperparameters(), strict=True)
        yield claim("the hyperparameters keep every digit", all(torch.equal(a.value, b.value) for a, b in pairs))
        yield close("the matrix of the kernel that was read", again(X).to_dense(), one(X).to_dense(), 0.0)


@kernel_property(Case(n=5), fields=("d",))
def parameters(subject: KernelSubject, case: Case) -> Iterator[Finding]:
    """get_params, set_params, scikit-learn's clone and with_values go round without loss."""
    from sklearn.base import clone

    kernel = subject.kernel(case.d)
    own = kernel.get_params(deep=False)
    rebuilt = type(kernel)(**own)
    yield claim(f"{type(kernel).__name__}(**get_params(deep=False)) is the kernel", rebuilt == kernel)
    # in_grammar or not, an argument is stored as it came: scikit-learn's clone demands it
    yield claim("arguments are stored as given", all(rebuilt.get_params(deep=False)[k] is v for k, v in own.items()))
    twin = clone(kernel, safe=False)
    yield claim("clone(kernel) is an equal kernel and another object", twin == kernel and twin is not kernel)
    X = subject.points(case)
    yield close("the matrix of the clone", twin(X).to_dense(), subject.matrix(X).to_dense(), 0.0)
    other = copy.deepcopy(kernel)
    found = kernel.hyperparameters()
    for h in found:
        other.set_params(**{h.path: h.value * 2.0})
    values = {h.path: h.value * 2.0 for h in found}
    yield claim("set_params reaches every hyperparameter", _values(other, values))
    changed = kernel.with_values(values)
    yield claim("with_values reaches every hyperparameter", _values(changed, values))
    yield claim("with_values leaves the kernel as it was", _values(kernel, {h.path: h.value for h in found}))
    yield close("both give the same matrix", other(X).to_dense(), changed(X).to_dense(), 0.0)


def _values(kernel: Kernel, values: dict[str, torch.Tensor]) -> bool:
    found = kernel.hyperparameters()
    return len(found) == len(values) and all(torch.equal(h.value, values[h.path]) for h in found)


def _all_in_grammar(kernel: Kernel) -> bool:
    inner = [child for _, child in kernel._children() if isinstance(child, Kernel)]
    return all(map(_all_in_grammar, inner)) if inner else type(kernel) in vocabulary().values()
