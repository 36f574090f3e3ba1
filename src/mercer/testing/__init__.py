"""Properties that every kernel and every operator has to have, to test your own with."""

from mercer.testing.case import Case
from mercer.testing.check import check_kernel, check_operator
from mercer.testing.operators import OperatorSubject
from mercer.testing.properties import (
    KERNEL_PROPERTIES,
    OPERATOR_PROPERTIES,
    Finding,
    NotApplicable,
    Property,
    kernel_property,
    operator_property,
)
from mercer.testing.report import PropertyError, Report, Result
from mercer.testing.subject import KernelSubject

__all__ = [
    "KERNEL_PROPERTIES",
    "OPERATOR_PROPERTIES",
    "Case",
    "Finding",
    "KernelSubject",
    "NotApplicable",
    "OperatorSubject",
    "Property",
    "PropertyError",
    "Report",
    "Result",
    "check_kernel",
    "check_operator",
    "kernel_property",
    "operator_property",
]
