"""What checks take, choose, count and tell."""

import pickle

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Hamming, Linear, Matern
from mercer.testing import (
    KERNEL_PROPERTIES,
    OPERATOR_PROPERTIES,
    Case,
    Finding,
    NotApplicable,
    PropertyError,
    check_kernel,
    check_operator,
    kernel_property,
    operator_property,
)
from mercer.testing.case import shrink

QUICK = ["psd", "symmetry", "parameters"]


@pytest.fixture
def two_more():
    """Properties of the user's own, one that holds for Gaussians and one that does not."""

    @kernel_property(Case(n=9), fields=("n", "d"))
    def bounded(subject, case):
        """No entry is above 1."""
        yield Finding("the largest entry", float(subject.matrix(subject.points(case)).to_dense().max()), 1.0)

    @kernel_property(Case(n=9), fields=("n", "d"))
    def orthogonal(subject, case):
        """Different points have nothing in common."""
        if case.n == 1:
            raise NotApplicable("one point")
        K = subject.matrix(subject.points(case)).to_dense()
        yield Finding("the largest entry beside the diagonal", float((K - torch.diag(K.diagonal())).max()), 1e-3)

    yield
    del KERNEL_PROPERTIES["bounded"], KERNEL_PROPERTIES["orthogonal"]


def test_one_decorator_adds_a_property(two_more):
    assert check_kernel(RBF(), properties=["bounded"])["bounded"].worst == pytest.approx(1.0)
    with pytest.raises(PropertyError, match=r"orthogonal does not hold at n=2, d=1, float64. the largest") as caught:
        check_kernel(RBF(3.0), properties=["orthogonal"])
    assert "It says: Different points have nothing in common." in str(caught.value)
    assert caught.value.tolerance == 1e-3
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.case, again.property) == (caught.value.case, "orthogonal")


def test_a_property_needs_a_sentence():
    def silent(subject, case):
        yield Finding("nothing", 0.0, 0.0)

    with pytest.raises(ValueError, match="The property silent needs a docstring"):
        operator_property()(silent)
    assert "silent" not in OPERATOR_PROPERTIES


def test_a_report_has_a_row_a_property_and_goes_on_after_failures():
    def ones(X, Y):
        return np.ones((len(X), len(Y)))

    report = check_kernel(RBF(), definition=ones, properties=["diagonal", "shifted", "psd"], report=True)
    assert [r.property for r in report] == ["psd", "diagonal", "shifted"]
    assert [r.status for r in report] == ["passed", "passed", "failed"]
    assert not report.passed
    assert report.failures == [report["shifted"]]
    assert report["shifted"].failure.error > report["shifted"].failure.tolerance
    assert report["psd"].checks == 2
    lines = str(report).splitlines()
    assert lines[0] == "RBF(lengthscale=1.0)"
    assert lines[1].startswith("  psd       passed       2 checks, worst")


def test_what_does_not_apply_is_skipped_with_the_reason():
    report = check_kernel(Linear(), properties=["shifted"])
    assert report.passed
    assert (report["shifted"].status, report["shifted"].checks) == ("skipped", 0)
    assert "skipped  the kernel sees more than differences" in str(report)


def test_properties_are_chosen_by_name():
    assert [r.property for r in check_kernel(RBF(), properties=QUICK, without=["psd"])] == ["parameters", "symmetry"]
    for options in ({"properties": ["sdp"]}, {"without": ["sdp"]}):
        with pytest.raises(ValueError, match=r"There is no property 'sdp'\. There are: agreement, .*psd"):
            check_kernel(RBF(), **options)


def test_the_same_seed_draws_the_same_points_and_another_one_others():
    def worst(seed):
        return check_kernel(Matern(), properties=["agreement"], random_state=seed)["agreement"].worst

    assert worst(0) == worst(0) != worst(1)


def test_the_columns_that_a_kernel_takes_are_found():
    kernel = RBF([0.5, 1.0, 2.0])
    assert check_kernel(kernel, properties=QUICK).passed
    assert check_kernel(kernel, d=3, properties=QUICK).passed
    with pytest.raises(ShapeError, match=r"no number of columns of \(1, 2, 3, 5, 17\) fits. Give d="):
        check_kernel(RBF([1.0] * 4), properties=QUICK)
    assert check_kernel(RBF([1.0] * 4), d=4, properties=QUICK).passed


def test_points_can_be_given_or_drawn():
    X = np.random.default_rng(0).integers(0, 3, (50, 4))
    report = check_kernel(Hamming(), X=X, without=["thousand", "agreement"])
    assert report["scaled"].detail == "the points are given"
    assert check_kernel(Hamming(), X=lambda rng, n, d: rng.integers(0, 3, (n, d)), properties=["agreement"]).passed
    with pytest.raises(ShapeError, match=r"the points have shape \(50,\), but need to be \(n, d\)"):
        check_kernel(Hamming(), X=X[:, 0])


def test_what_is_no_kernel_or_operator_is_refused():
    with pytest.raises(TypeError, match="needs a kernel, or a function d -> kernel, not 3"):
        check_kernel(3)
    with pytest.raises(TypeError, match="check_operator needs a linear operator, not tensor"):
        check_operator(torch.eye(3))
    with pytest.raises(PropertyError, match=r"raised ShapeError: definition\(X, Y\) has shape \(\), but must have"):
        check_kernel(RBF(), definition=lambda X, Y: 1.0, properties=["agreement"])


def test_shrinking_finds_the_edge_and_stops():
    tried = []

    def fails(case):
        tried.append(case)
        return case.n >= 64 and case.d >= 3 and case.scale > 1.0

    start = Case(n=1000, m=129, d=17, t=17, scale=30.0, shift=1e4)
    found = shrink(fails, start, Case(1, 1, 1, 1), ("n", "m", "d", "t"), (1, 2, 3, 5, 17))
    assert found == Case(n=64, m=1, d=3, t=1, scale=30.0)
    assert len(tried) < 40


def test_a_case_reads_well():
    assert repr(Case()) == "Case()"
    case = Case(n=64, dtype=torch.float32, shift=1e4, scale=0.5)
    assert eval(repr(case)) == case
    assert case.describe(("n", "t")) == "n=64, t=2, float32, X * 0.5, X + 10000"
