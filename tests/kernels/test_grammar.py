"""Kernels as text: what repr writes, parse reads."""

import keyword

import pytest

from mercer.kernels import (
    ANOVA,
    RBF,
    Additive,
    ArcCosine,
    ChangePoint,
    Constant,
    Cosine,
    Gamma,
    Gibbs,
    Hamming,
    Jaccard,
    Laplacian,
    Linear,
    LogNormal,
    Matern,
    Pairwise,
    Parameter,
    Periodic,
    Polynomial,
    RationalQuadratic,
    SetKernel,
    Spectrum,
    Subsequence,
    Wendland,
    White,
    from_callable,
    parse,
    to_text,
)
from mercer.kernels.grammar import vocabulary


def kernels():
    """Any kernel that the grammar knows."""
    from hypothesis import strategies as st

    positive = st.floats(1e-6, 1e6)
    priors = st.one_of(
        st.none(), st.builds(LogNormal, st.floats(-3.0, 3.0), positive), st.builds(Gamma, shape=positive, rate=positive)
    )
    bounds = st.tuples(st.floats(1e-6, 1.0), st.floats(2.0, 1e6))
    scalars = st.one_of(positive, st.integers(1, 9), st.builds(Parameter, positive, bounds, priors, st.booleans()))
    numbers = st.lists(positive, min_size=1, max_size=3)
    vectors = st.one_of(scalars, numbers, st.builds(Parameter, numbers))
    leaves = st.one_of(
        st.builds(RBF, vectors),
        st.builds(Matern, vectors, positive),
        st.builds(RationalQuadratic, vectors, scalars),
        st.builds(Laplacian, vectors),
        st.builds(Linear, vectors, scalars),
        st.builds(Polynomial, st.integers(1, 9), scalars, vectors),
        st.builds(Constant, scalars),
        st.builds(White, scalars),
        st.builds(Hamming, vectors),
        st.builds(Periodic, vectors, vectors),
        st.builds(Cosine, vectors),
        st.builds(Wendland, vectors, st.integers(0, 3), st.one_of(st.none(), st.integers(1, 9))),
        st.builds(ArcCosine, st.integers(0, 2), vectors, scalars),
        st.builds(Gibbs, vectors, st.one_of(st.floats(-9.0, 9.0), numbers)),
        st.builds(Jaccard),
        st.builds(Spectrum, st.integers(1, 9)),
        st.builds(Subsequence, st.integers(1, 9), scalars),
        st.builds(Pairwise, st.sampled_from(["cosine", "chi2", "sigmoid"]), positive),
    )
    names = st.text(st.characters(blacklist_categories=["Cs"]), max_size=5)
    columns = st.one_of(
        st.integers(-3, 3), names, st.lists(st.one_of(st.integers(-3, 3), names), min_size=1, max_size=3)
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda a, b: a + b, inner, inner),
            st.builds(lambda a, b: a * b, inner, inner),
            st.builds(lambda k, c: k * c, inner, scalars),
            st.builds(lambda k, p: k**p, inner, st.integers(1, 4)),
            st.builds(lambda k, c: k.on(c), inner, columns),
            st.builds(ChangePoint, inner, inner, st.floats(-9.0, 9.0), scalars, st.one_of(st.integers(-3, 3), names)),
            st.builds(Additive, inner),
            st.builds(ANOVA, inner, numbers),
            st.builds(SetKernel, inner, st.integers(1, 3)),
        ),
        max_leaves=8,
    )


def structure(kernel):
    """The tree of classes and arguments, without repr."""
    inner = {n: structure(v) if hasattr(v, "trace") else v for n, v in kernel.get_params(deep=False).items()}
    if "columns" in inner:
        inner["columns"] = kernel._columns()
    return type(kernel), inner


def test_parse_reads_what_repr_writes():
    # imported where it is used: 2 s, which the other workers are spared
    from hypothesis import HealthCheck, given, settings

    @given(kernels())
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    def check(kernel):
        again = parse(repr(kernel))
        assert repr(again) == repr(kernel)
        assert again == kernel
        assert structure(again) == structure(kernel)
        assert to_text(kernel) == repr(kernel)

    check()


@pytest.mark.parametrize(
    ("text", "kernel"),
    [
        ("RBF()", RBF()),
        ("2*RBF(0.3) + Linear()", 2.0 * RBF(0.3) + Linear()),
        ("  RBF() +\n  White(1e-3)\t", RBF() + White(0.001)),
        ("RBF() * 2", 2.0 * RBF()),
        ("1 + RBF()", Constant(1.0) + RBF()),
        ("0.5", Constant(0.5)),
        ("RBF().on('carat')", RBF().on("carat")),
        ("RBF().on(('a  b', -1))", RBF().on(["a  b", -1])),
        ("((RBF()))", RBF()),
        ("RBF(lengthscale=Parameter(1, bounds=[0.1, 2], frozen=True))", RBF(Parameter(1.0, (0.1, 2.0), None, True))),
        ("RBF(Parameter(2.0, prior=LogNormal(-1)))", RBF(Parameter(2.0, prior=LogNormal(-1)))),
        ("[0.5, 2.0] * RBF()", RBF() * [0.5, 2.0]),
    ],
)
def test_people_may_write_less(text, kernel):
    assert parse(text) == kernel


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' at character 1: this is no kernel"),
        ("RBF(", "this is no kernel .*was never closed.*A kernel is written with"),
        ("RBF", r"'RBF' at character 1: brackets are missing, write RBF\(\)"),
        ("2 * rbf()", r"'rbf\(\)' at character 5: there is no 'rbf', did you mean RBF"),
        ("Martern()", "there is no 'Martern', did you mean Matern"),
        ("Foo()", "there is no 'Foo'. A kernel is written with .*RBF.*Parameter, LogNormal, Gamma"),
        ("RBF() + Linear(bia=1)", r"'Linear\(bia=1\)' at character 9: Linear: .*'bia'; .* lengthscale=1.0, bias=0.0"),
        ("RBF(-1)", r"RBF\(lengthscale=-1\): lengthscale must be > 0 and finite"),
        ("RBF('a')", "must be a number, a sequence of numbers"),
        ("RBF(1" + "0" * 400 + ")", "must be a number"),
        ("RBF() - Linear()", "a kernel is added to or multiplied by a kernel or a number"),
        ("RBF() / 2", "a kernel is added to or multiplied by"),
        ("2 * 3 * RBF()", "'2 . 3' at character 1"),
        ("2 ** RBF()", "a kernel is added to"),
        ("'a' * RBF()", "a kernel is added to"),
        ("True * RBF()", "a kernel is added to"),
        ("RBF() ** 0.5", "whole number >= 1"),
        ("RBF() ** Linear()", "whole number >= 1"),
        ("RBF().on([])", "name at least one column"),
        ("RBF().on()", "on: missing a required argument: 'columns'"),
        ("Parameter(1).on([0])", r"'Parameter\(1\)' at character 1: only a kernel has columns"),
        ("RBF().set_params(lengthscale=2)", "this is not understood"),
        ("RBF().lengthscale", "this is not understood"),
        ("RBF(**{'lengthscale': 1})", r"\* and \*\* before arguments"),
        ("RBF(*[1])", r"\* and \*\* before arguments"),
        ("Parameter(1.0)", "this is no kernel"),
        ("'RBF()'", "this is no kernel"),
        ("RBF(1j)", "'1j' at character 5: this is not understood"),
        ("RBF(-(-1))", "this is not understood"),
        ("Sum(RBF(), RBF())", "there is no 'Sum'"),
        ("FunctionKernel(1)", "there is no 'FunctionKernel'"),
        ("é + x", "'é' at character 1: this is not understood"),
        ("RBF(\0)", "this is no kernel"),
        ("(" * 300 + "RBF()" + ")" * 300, "this is no kernel"),
        ("RBF()" + " + RBF()" * 250, "more than 200 levels deep"),
        ("RBF()" + " " * 100_000, "at most 100000 characters, not 100005"),
    ],
)
def test_anything_else_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "(lambda: RBF())()",
        "RBF.__init__.__globals__",
        "[k for k in (1, 2)]",
        "RBF() if True else Linear()",
        "(x := RBF())",
        "f'{RBF()}'",
        "RBF()[0]",
        "Parameter(open('/etc/passwd'))",
        "RBF().on(columns=exec('1'))",
        "{}",
        "...",
        "b'RBF()'",
        "await RBF()",
    ],
)
def test_programs_are_not_run(text):
    with pytest.raises(ValueError, match="at character"):
        parse(text)


def test_only_text_is_read():
    with pytest.raises(TypeError, match="parse needs a text such as"):
        parse(RBF())


def test_every_word_of_the_grammar_is_a_class_of_the_package():
    words = vocabulary()
    assert {"RBF", "Matern", "Hamming", "ChangePoint", "ANOVA", "Parameter", "Gamma"} <= set(words)
    assert not {"Kernel", "Sum", "Power", "FunctionKernel", "SklearnKernel"} & set(words)
    assert not any(keyword.iskeyword(word) for word in words)


def test_a_function_cannot_be_saved():
    kernel = RBF() + from_callable(max)
    with pytest.raises(ValueError, match=r"FunctionKernel.* cannot be written as text, so it cannot be saved"):
        to_text(kernel)
