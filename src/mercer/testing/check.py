"""Checks of whole tables of properties: what users call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from linear_operator.operators import LinearOperator

from mercer.kernels import Kernel
from mercer.testing import agreement, edges, form, gradients, structure, values
from mercer.testing.case import Case
from mercer.testing.operators import OperatorSubject
from mercer.testing.properties import KERNEL_PROPERTIES, OPERATOR_PROPERTIES, Property, choose
from mercer.testing.report import Report
from mercer.testing.run import Subject, run, run_cases
from mercer.testing.subject import Array, KernelSubject

DTYPES = (torch.float32, torch.float64)
# What is no kernel is told so before round-off and gradients are looked at; properties of users come last.
SUITES = [suite.__name__ for suite in (values, form, structure, agreement, edges, gradients)]


def check_kernel(
    kernel: Kernel | Callable[[int], Kernel],
    *,
    definition: Callable[[Array, Array], Any] | None = None,
    X: Any = None,
    d: int | Sequence[int] | None = None,
    dtypes: Sequence[torch.dtype] = DTYPES,
    properties: Iterable[str] | None = None,
    without: Iterable[str] = (),
    radius: Callable[[Array, Array], float] | None = None,
    case: Case | None = None,
    random_state: int = 0,
    report: bool = False,
) -> Report:
    """Check that a kernel is one, and that it is computed right: every property of :data:`KERNEL_PROPERTIES`.

    The bound on round-off is target N1: the error of ``K @ v`` is at most ``4 eps (2 + max |x / l|^2)`` of ``|K| |v|``
    in the Euclidean norm; points are centred where the kernel sees differences only, and a plan that approximates may
    have the error that it states. Gradients are compared with central differences in float64.

    Args:
        kernel: any kernel, of mercer or your own; or a function of the number of columns that gives one.
        definition: ``(X, Y) -> K``, NumPy arrays in float64, Y is X for ``k(X)``. None takes the kernel's own
            entries, pair by pair in float64: that finds errors of plans, tiles and types, not a wrong formula.
        X: None draws standard normal points, also shifted by 1e4 and scaled by 1e-6 to 1e6. An array ``(n, d)`` gives
            its rows; a function ``(rng, n, d)`` gives n points, for kernels of positive or whole numbers.
        d: the numbers of columns to try; None tries those of 1, 2, 3, 5 and 17 that the kernel takes.
        dtypes: the types in which products are checked; gradients are always checked in float64.
        properties: the names of those to check, None for all.
        without: the names of those to leave out.
        radius: ``(X, Y) -> max |x / l|^2``; None takes it from the points as the kernel embeds them.
        case: check this one only, as a failure's message shows it.
        random_state: draws other points.
        report: go on after failures; the result then tells them all.

    Returns:
        One row a property; ``print`` shows a table.

    Raises:
        PropertyError: the first property that does not hold, on the smallest case found (unless ``report``).
        ValueError: an unknown property.

    Cost: about half a second for a kernel of a few operations.

    >>> from mercer.kernels import RBF
    >>> print(check_kernel(RBF(lengthscale=0.7), properties=["psd", "symmetry"]).passed)
    True
    """
    subject = KernelSubject(kernel, definition=definition, points=X, d=d, radius=radius)
    chosen = sorted(choose(KERNEL_PROPERTIES, properties, without), key=_suite)
    return _check(subject, chosen, dtypes, case, random_state, report)


def check_operator(
    operator: LinearOperator,
    *,
    definition: Any = None,
    properties: Iterable[str] | None = None,
    without: Iterable[str] = (),
    case: Case | None = None,
    random_state: int = 0,
    report: bool = False,
) -> Report:
    """Check that a lazy matrix does what its dense copy does: every property of :data:`OPERATOR_PROPERTIES`.

    Args:
        operator: of mercer or any other ``LinearOperator``, ``(*batch, n, m)``; small, as it is copied often.
        definition: the dense matrix by other means, to compare the dense copy with.
        properties, without, case, random_state, report: as in :func:`check_kernel`.

    Raises:
        PropertyError: the first property that does not hold, on the smallest leading block found (unless ``report``).
        TypeError: no linear operator.
        ValueError: an unknown property.

    >>> from mercer.kernels import RBF
    >>> K = RBF()(torch.rand(6, 2, dtype=torch.float64))
    >>> check_operator(K + K * K, properties=["matmul", "diagonal"]).passed
    True
    """
    subject = OperatorSubject(operator, definition)
    chosen = choose(OPERATOR_PROPERTIES, properties, without)
    return _check(subject, chosen, (operator.dtype,), case, random_state, report)


def _suite(prop: Property) -> int:
    module = prop.check.__module__
    return SUITES.index(module) if module in SUITES else len(SUITES)


def _check(
    subject: Subject,
    properties: Sequence[Property],
    dtypes: Sequence[torch.dtype],
    case: Case | None,
    seed: int,
    report: bool,
) -> Report:
    if case is None:
        return run(subject, properties, dtypes, seed, stop=not report)
    result = Report(subject.name, [run_cases(subject, prop, [case]) for prop in properties])
    for row in result.failures:
        if not report and row.failure is not None:
            raise row.failure
    return result
