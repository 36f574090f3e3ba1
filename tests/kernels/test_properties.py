"""The properties of `mercer.testing`, of every kernel in the table: each pair is a test of its own."""

from functools import cache

import pytest

from mercer.testing import KERNEL_PROPERTIES, KernelSubject, check_kernel

SLOW = {"thousand": "a thousand points pass through several tiles"}
UNDEFINED_AT_0 = (
    "cosine",
    "tanimoto",
    "arc_cosine_ard",
    "arc_cosine_step_ard",
    "ntk_without_bias",
)  # 0 / 0 at the origin
NAMES = [pytest.param(name, marks=[pytest.mark.slow(SLOW[name])] if name in SLOW else []) for name in KERNEL_PROPERTIES]


@cache
def options(case):
    """What the row of the table says about a kernel, as arguments of ``check_kernel``."""

    def draw(rng, n, d):
        return case.points(n, d, seed=int(rng.integers(1 << 20))).numpy()

    points = None if case.data == "real" else draw
    fitting = KernelSubject(case.kernel, points=points).dims  # found once for all properties
    return {"definition": case.define, "radius": case.radius, "X": points, "d": fitting}


def may_be_skipped(case, name):
    """Whether the row says that a property means nothing for its kernel."""
    reasons = {
        "psd": not case.psd,
        "text": not case.text,
        "shifted": not (case.centred and case.data == "real"),
        "scaled": case.data != "real",
        "denormals": case.data != "real" or case.name in UNDEFINED_AT_0,
        "largest_numbers": case.degree > 0 or case.data == "bounded",
        "gradients_dense": case.discrete,
        "gradients_at_duplicates": case.discrete,
        "batch_of_hyperparameters": not case.kernel(max(3, case.width)).hyperparameters(),
    }
    return reasons.get(name, False)


@pytest.mark.parametrize("name", NAMES)
def test_every_kernel_has_every_property(case, name):
    if name == "psd" and not case.psd:
        pytest.skip("not positive semidefinite")
    if case.data == "sets" and name in ("inputs", "largest_numbers"):
        pytest.skip("a row begins with the number of its points, so other numbers are no set")
    result = check_kernel(case.kernel, properties=[name], **options(case))[name]
    assert result.checks > 0 or may_be_skipped(case, name), result.detail
    if result.status == "skipped":
        pytest.skip(result.detail)
