"""Which kernels are tried, and what a kernel's text means on the features of a table."""

import numpy as np
import pytest

from mercer.errors import TableError
from mercer.kernels import RBF, Linear, Matern, White
from mercer.tables.kernel_choice import candidate_kernels, kernel_from_text, screen
from mercer.tables.models import learn_kernel
from mercer.tables.transforms import Feature

FEATURES = [
    Feature("log a", "a", "smooth", "a"),
    Feature("b = p", "b", "smooth", "b ="),
    Feature("b = q", "b", "smooth", "b ="),
    Feature("asinh c", "c", "smooth", "c"),
    Feature("c", "c", "linear", "c straight"),
]
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(150, 5))
Y = np.sin(2.0 * X[:, :1]) + 0.1 * GENERATOR.normal(size=(150, 1))


def test_candidates_are_stationary_on_smooth_features_and_linear_on_all():
    for kernel in candidate_kernels(FEATURES).values():
        assert kernel.left.kernel.columns == [0, 1, 2, 3]
        assert isinstance(kernel.right.kernel, Linear)


def test_without_linear_features_no_columns_are_chosen():
    for kernel in candidate_kernels(FEATURES[:4]).values():
        assert isinstance(kernel.left.kernel, Matern | RBF)


def test_a_column_named_means_all_its_features():
    kernel, _ = kernel_from_text("RBF().on(['b', 'c']) + Linear().on('a')", FEATURES)
    assert repr(kernel).count("on([1, 2, 3, 4])") == 1
    assert repr(kernel).count("on([0])") == 1


def test_a_lengthscale_becomes_one_a_feature_unless_it_is_frozen_or_linear():
    kernel, _ = kernel_from_text("RBF(0.5).on(['b', 'c']) + RBF(Parameter(2.0, frozen=True)) + Linear()", FEATURES)
    lengthscales = {h.path: h.value for h in kernel.hyperparameters() if h.path.endswith("lengthscale")}
    learnt, frozen, linear = lengthscales.values()
    assert learnt.tolist() == pytest.approx([0.5 * 3**0.5] * 4)
    assert (float(frozen), float(linear)) == (2.0, 1.0)


def test_noise_in_the_text_is_where_learning_starts():
    kernel, noise = kernel_from_text("RBF() + White(0.25) + Linear()", FEATURES)
    assert "White" not in repr(kernel)
    assert noise == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RBF(", "--kernel: "),
        ("White(1.0)", "noise only"),
        ("RBF().on(['d'])", r"\.on\('d'\) names no column in use. They are: a, b, c"),
        ("RBF().on([0])", r"\.on\(0\) names no column"),
    ],
)
def test_a_text_that_means_nothing_here_is_refused(text, message):
    with pytest.raises(TableError, match=message):
        kernel_from_text(text, FEATURES)


def test_features_of_one_tie_share_a_lengthscale_and_noise_is_learnt():
    kernel = candidate_kernels(FEATURES)["Gaussian + linear"]
    learnt = learn_kernel(kernel, X, Y, noise=0.5, features=FEATURES, max_iter=15, seconds=30.0, random_state=0)
    lengthscale = learnt.kernel.get_params()["left__kernel__kernel__lengthscale"].value
    assert lengthscale[1] == lengthscale[2]
    assert len(set(lengthscale)) == 3
    assert lengthscale[0] < lengthscale[3]  # only the first column matters
    assert 0.003 < learnt.noise < 0.05
    assert not any(isinstance(part, White) for part in (learnt.kernel.left, learnt.kernel.right))


def test_learning_stops_on_time():
    kernel = candidate_kernels(FEATURES)["Gaussian + linear"]
    learnt = learn_kernel(kernel, X, Y, noise=0.5, features=FEATURES, max_iter=50, seconds=0.0, random_state=0)
    assert learnt.n_evaluations < 10


def test_learning_on_more_rows_raises_the_likelihood():
    kernel = candidate_kernels(FEATURES)["Matern 5/2 + linear"]
    settings = {"noise": 0.5, "features": FEATURES, "seconds": 30.0, "random_state": 0}
    little = learn_kernel(kernel, X, Y, max_iter=1, **settings)
    much = learn_kernel(kernel, X, Y, max_iter=20, **settings)
    assert much.likelihood > little.likelihood


def test_the_kernel_that_fits_comes_first():
    rough = np.sign(np.sin(6.0 * X[:, :1]))
    kernels = {
        "line": Linear(),
        "curve": RBF([1.0] * 5),
    }
    found = screen(
        kernels,
        X[:100],
        rough[:100],
        (X[100:], rough[100:]),
        features=FEATURES,
        n_rows=80,
        seconds=20.0,
        random_state=0,
    )
    assert [candidate.name for candidate in found] == ["curve", "line"]
    assert found[0].loss < found[1].loss


def test_when_time_is_over_one_kernel_has_been_tried():
    found = screen(
        candidate_kernels(FEATURES), X, Y, (X, Y), features=FEATURES, n_rows=150, seconds=-10.0, random_state=0
    )
    assert [candidate.name for candidate in found] == ["Matern 5/2 + linear"]
