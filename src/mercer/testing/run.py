"""Runs properties on a subject, and makes what fails small."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch

from mercer.testing.case import Case, shrink
from mercer.testing.properties import Finding, NotApplicable, Property
from mercer.testing.report import PropertyError, Report, Result


class Subject(Protocol):
    """What properties are checked on."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def dims(self) -> Sequence[int]:
        """The numbers of columns that make sense, ascending."""

    def admit(self, case: Case, prop: Property) -> Case:
        """The case that is nearest to ``case`` and possible here."""

    def reproduce(self, prop: Property, case: Case) -> str:
        """Code that repeats the check."""


def run(
    subject: Subject, properties: Iterable[Property], dtypes: Sequence[torch.dtype], seed: int, *, stop: bool
) -> Report:
    """A report of all the properties; with ``stop`` the first failure is raised instead."""
    report = Report(subject.name)
    for prop in properties:
        cases = dict.fromkeys(subject.admit(case, prop) for case in prop.cases_for(dtypes, seed))
        result = run_cases(subject, prop, list(cases))
        report.results.append(result)
        if stop and result.failure is not None:
            raise result.failure
    return report


def run_cases(subject: Subject, prop: Property, cases: Sequence[Case]) -> Result:
    """One row of a report: cases until the first that fails, which is then made small."""
    start, checks, worst, reasons = time.perf_counter(), 0, 0.0, []
    for case in cases:
        try:
            findings, problem = _evaluate(prop, subject, case)
        except NotApplicable as reason:
            reasons.append(str(reason))
            continue
        checks += len(findings)
        worst = max([worst, *(_ratio(f) for f in findings)])
        if not findings[-1].holds:
            failure = _smallest_failure(subject, prop, case, findings[-1], problem)
            seconds = time.perf_counter() - start
            return Result(prop.name, "failed", checks, worst, str(failure), failure, seconds)
    status = "passed" if checks else "skipped"
    return Result(prop.name, status, checks, worst, "" if checks else reasons[0], None, time.perf_counter() - start)


def _evaluate(prop: Property, subject: Subject, case: Case) -> tuple[list[Finding], Exception | None]:
    """The findings up to the first that does not hold; an exception is one that does not."""
    findings: list[Finding] = []
    try:
        for finding in prop.check(subject, case):
            findings.append(finding)
            if not finding.holds:
                break
    except NotApplicable:
        raise
    except Exception as problem:
        findings.append(Finding(f"raised {type(problem).__name__}: {problem}", math.inf, 0.0))
        return findings, problem
    if not findings:
        raise NotApplicable("nothing to compare")
    return findings, None


def _smallest_failure(
    subject: Subject, prop: Property, case: Case, finding: Finding, problem: Exception | None
) -> PropertyError:
    def fails(candidate: Case) -> bool:
        try:
            findings, other = _evaluate(prop, subject, candidate)
        except NotApplicable:
            return False
        # another exception is another problem
        return not findings[-1].holds and type(other) is type(problem)

    case = shrink(fails, case, prop.smallest, prop.fields, subject.dims)
    findings, problem = _evaluate(prop, subject, case)
    finding = findings[-1] if not findings[-1].holds else finding
    message = (
        f"{subject.name}: {prop.name} does not hold at {case.describe(prop.fields)}. {finding.what}: "
        f"error {finding.error:.2e}, allowed {finding.tolerance:.2e}.\n"
        f"It says: {prop.claim}\nTo repeat it:\n\n{subject.reproduce(prop, case)}"
    )
    failure = PropertyError(message, prop.name, case, finding.error, finding.tolerance)
    failure.__cause__ = problem
    return failure


def _ratio(finding: Finding) -> float:
    """The error in units of the tolerance; infinite for NaN and for what allows nothing."""
    if finding.error <= finding.tolerance:
        return finding.error / finding.tolerance if finding.tolerance else 0.0
    ratio = finding.error / finding.tolerance if finding.tolerance else math.inf
    return math.inf if math.isnan(ratio) else ratio
