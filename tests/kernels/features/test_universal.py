"""Features of layers: unbiased, of known variance, and equal to the definition of what they stand for."""

import math

import pytest
import torch
from torch.nn.functional import gelu, normalize

from mercer.errors import ShapeError
from mercer.kernels import ArcCosine
from mercer.kernels.features import ArcCosineFeatures, GridSpectrum, PowerSeries, UniversalRandomFeatures
from mercer.kernels.features.projection import draw_projection, project, row_squares
from mercer.kernels.features.sign_products import shifted_coefficients

D = 8
DRAW = torch.Generator().manual_seed(0)
X = normalize(torch.randn(6, D, dtype=torch.float64, generator=DRAW))
W = normalize(torch.randn(5, D, dtype=torch.float64, generator=DRAW))
B = 0.4 * torch.randn(5, dtype=torch.float64, generator=DRAW)


def check_mean(build, X, W, b, draws=80):
    """The mean of many estimates lies within their errors of what is expected."""
    found = torch.stack([build(s).estimate(X, W, b) for s in range(1000, 1000 + draws)])
    z = (found.mean(0) - build(0).expected(X, W, b)) / (found.std(0) / math.sqrt(draws))
    # All numbers of a draw go together, so only the largest is looked at. A bias of one standard deviation of an
    # estimate would be a z of 9.
    assert float(z.abs().max()) < 5.0


@pytest.mark.parametrize("split", ["input", "weight", "both"])
@pytest.mark.parametrize(
    ("activation", "arguments"),
    [
        ("cos", {}),
        ("sin", {"gaussian_scale": 0.05, "method": "iid"}),
        ("gaussian", {"balance": 1.7, "method": "quasi"}),
        ("sinc", {}),
        ("cos", {"gaussian_scale": 0.03, "method": "hadamard"}),
    ],
)
def test_the_estimate_of_a_spectrum_is_unbiased(activation, arguments, split):
    size = 0.6 if activation == "sinc" else 1.0
    check_mean(
        lambda s: UniversalRandomFeatures(activation, 64, d=D, split=split, random_state=s, **arguments),
        size * X,
        W,
        B,
    )


@pytest.mark.parametrize("activation", ["gelu", "tanh", "sigmoid", "exp"])
def test_the_estimate_of_a_series_is_unbiased(activation):
    check_mean(lambda s: UniversalRandomFeatures(activation, 200, d=D, random_state=s), 0.7 * X, W, B)
    check_mean(lambda s: UniversalRandomFeatures(activation, 200, d=D, bias=False, random_state=s), X, W, None)


@pytest.mark.parametrize("method", ["iid", "orthogonal", "hadamard"])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_units_estimate_the_arc_cosine_kernel(order, method):
    kernel = ArcCosine(order, 0.7, 1.0)
    check_mean(lambda s: ArcCosineFeatures(kernel, 64, d=D, method=method, random_state=s), X, 2.0 * W, B)


def test_the_variance_is_that_of_the_formula():
    # cos, M = 0, no bias: of exp(g.x - |x|^2 / 2) exp(|w|^2 / 2) cos(g.w)
    m, draws = 64, 600
    maps = (UniversalRandomFeatures("cos", m, d=D, method="iid", random_state=s) for s in range(draws))
    found = torch.stack([f.estimate(X, W) for f in maps])
    z = X @ W.mT
    square = 0.5 * (math.exp(2.0) + torch.cos(4.0 * z))  # of unit vectors
    ratio = found.var(0) / ((square - torch.cos(z).square()) / m)
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.1)
    assert float((ratio - 1.0).abs().max()) < 0.5


def test_orthogonal_rows_lower_the_error_and_a_small_scale_does():
    def error(**arguments):
        maps = (UniversalRandomFeatures("cos", 4 * D, d=D, random_state=s, **arguments) for s in range(150))
        return float(torch.stack([(f.estimate(X, W, B) - f.expected(X, W, B)).square() for f in maps]).mean())

    iid = error(method="iid")
    assert error(method="orthogonal") < 0.9 * iid
    assert error(method="hadamard") < 0.9 * iid
    assert error(method="iid", gaussian_scale=0.05) < iid


def test_the_balance_of_a_layer_lowers_the_error():
    points, weights = 0.4 * X, 2.0 * W
    balanced = UniversalRandomFeatures.for_layer("cos", 64, points, weights, random_state=0)
    assert balanced.balance == pytest.approx(5.0)

    def error(build):
        return sum(float((build(s).estimate(points, weights) - (points @ weights.mT).cos()).square().mean())
                   for s in range(60))  # fmt: skip

    plain = error(lambda s: UniversalRandomFeatures("cos", 64, d=D, random_state=s))
    assert error(lambda s: UniversalRandomFeatures.for_layer("cos", 64, points, weights, random_state=s)) < 0.5 * plain
    assert UniversalRandomFeatures.for_layer("cos", 64, 0.0 * points, weights).balance == 1.0


@pytest.mark.parametrize(
    ("name", "function", "reach"),
    [("gelu", gelu, 1.2), ("tanh", torch.tanh, 0.5), ("sigmoid", torch.sigmoid, 1.0), ("exp", torch.exp, 1.5)],
)
def test_a_series_is_its_function(name, function, reach):
    z = torch.linspace(-reach, reach, 41, dtype=torch.float64)
    # What degree 24 adds: (2 reach / pi)^24 for tanh, less for the others.
    torch.testing.assert_close(PowerSeries.of(name).function(z), function(z), rtol=0.0, atol=1e-9)


def test_a_series_around_a_bias_is_the_same_polynomial():
    coefficients = (0.5, -1.0, 0.0, 2.0, 0.3)
    z, b = torch.randn(7, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    table = shifted_coefficients(coefficients, b)
    powers = z[:, None] ** torch.arange(5, dtype=torch.float64)
    expected = PowerSeries(coefficients).function(z[:, None] + b)
    torch.testing.assert_close(powers @ table.mT, expected, rtol=1e-12, atol=1e-12)


def test_a_spectrum_on_a_grid_is_its_function_shifted_by_a_phase():
    xi = torch.linspace(0.0, 1.2, 1201, dtype=torch.float64)
    F = math.sqrt(2.0 * math.pi) * torch.exp(-0.5 * (2.0 * math.pi * xi).square())  # of exp(-z^2 / 2)
    shifted = GridSpectrum(xi, F * torch.exp(-2j * math.pi * 0.3 * xi))
    z = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    torch.testing.assert_close(shifted.function(z), torch.exp(-0.5 * (z - 0.3).square()), rtol=0.0, atol=1e-5)
    check_mean(lambda s: UniversalRandomFeatures(shifted, 64, d=D, random_state=s), 0.7 * X, W, B)


@pytest.mark.parametrize(("m", "d"), [(5, 3), (20, 6), (16, 16)])
def test_a_structured_projection_is_a_matrix_of_orthogonal_rows(m, d):
    state = draw_projection(m, d, method="hadamard", random_state=0)
    G = project(state, torch.eye(d, dtype=torch.float64)).mT  # (m, d)
    points = torch.randn(2, 4, d, dtype=torch.float64)
    torch.testing.assert_close(project(state, points), points @ G.mT, rtol=1e-12, atol=1e-12)
    p = state["signs"].shape[-1]
    whole = project(state, torch.eye(p, dtype=torch.float64)).mT  # as it is on points of p columns
    torch.testing.assert_close(whole[:, :d], G, rtol=0.0, atol=1e-12)
    squares, n_normals = row_squares(state)
    assert n_normals == p
    torch.testing.assert_close(squares, whole.square().sum(1), rtol=1e-12, atol=0.0)
    block = whole[:p] @ whole[:p].mT
    torch.testing.assert_close(block, torch.diag(squares[:p]), rtol=0.0, atol=1e-12)
    dense = draw_projection(m, d, method="orthogonal", random_state=0)
    torch.testing.assert_close(row_squares(dense)[0], dense["G"].square().sum(1))


def test_structured_rows_are_nearly_normal():
    rows = [project(draw_projection(64, 64, method="hadamard", random_state=s), torch.eye(64)).mT for s in range(40)]
    values = torch.stack(rows).flatten()
    assert float(values.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(values.var()) == pytest.approx(1.0, abs=0.02)
    assert float((values**4).mean()) == pytest.approx(3.0, abs=0.1)


def test_logarithms_keep_features_finite_where_their_factor_overflows():
    d = 4000  # (1 + 4 M)^(4096 / 4) is 1e81, beyond float32
    features = UniversalRandomFeatures("cos", 16, d=d, gaussian_scale=0.05, method="hadamard", random_state=0)
    assert bool(features(torch.zeros(1, d)).isfinite().all())
    assert bool(features.weight_features(torch.zeros(1, d)).isfinite().all())


def test_features_have_the_dtype_of_what_they_are_of_and_gradients():
    features = UniversalRandomFeatures("sin", 16, d=D, split="both", gaussian_scale=0.02, random_state=0)
    assert features(X.half()).dtype == torch.float16
    assert features.weight_features(W.float()).dtype == torch.float32
    torch.testing.assert_close(features(X.float()).double(), features(X), rtol=1e-5, atol=1e-6)
    points = X[:2].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(features, points)
    series = UniversalRandomFeatures("gelu", 16, d=D, random_state=0)
    assert torch.autograd.gradcheck(series, points)


def test_the_features_of_inputs_are_a_kernel_of_finite_rank():
    features = UniversalRandomFeatures("cos", 12, d=D, random_state=0)
    K = features.as_kernel()(X)
    torch.testing.assert_close(K.to_dense(), features(X) @ features(X).mT, rtol=1e-12, atol=1e-12)
    assert features.input_features(X).shape == (6, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "swish"}, r"Known are cos, .*, gelu, .*custom"),
        ({"activation": "relu"}, r"relu has no transform: use ArcCosineFeatures"),
        ({"gaussian_scale": -0.05}, r"M must be >= 0"),
        ({"gaussian_scale": -0.2, "split": "both"}, r"> -1/8"),
        ({"split": "weight", "n_features": 7}, r"even"),
        ({"split": "half"}, r"input, weight, both"),
        ({"balance": 0.0}, r"finite number > 0"),
        ({"method": "sobol"}, r"hadamard"),
    ],
)
def test_what_has_no_features_is_refused(arguments, message):
    arguments = {"activation": "cos", "n_features": 8, "d": D, **arguments}
    with pytest.raises(ValueError, match=message):
        UniversalRandomFeatures(**arguments)


def test_shapes_and_biases_that_do_not_fit_are_refused():
    features = UniversalRandomFeatures("gelu", 8, d=D, bias=False)
    with pytest.raises(ValueError, match=r"bias=True"):
        features.weight_features(W, B)
    with pytest.raises(ShapeError, match=r"W must be \(o, 8\)"):
        features.weight_features(W[:, :3])
    with pytest.raises(ShapeError, match=r"b must be \(5,\)"):
        features.weight_features(W, B[:2])
    units = ArcCosineFeatures(ArcCosine(1, bias_variance=0.0), 8, d=D)
    with pytest.raises(ValueError, match=r"take no b"):
        units.weight_features(W, B)
    with pytest.raises(ValueError, match=r"offset"):
        ArcCosineFeatures(ArcCosine(), 8, d=D, offset=-5.0).expected(X, W)
    with pytest.raises(TypeError, match=r"are of ArcCosine"):
        ArcCosineFeatures("relu", 8, d=D)
    with pytest.raises(ValueError, match=r"finite"):
        ArcCosineFeatures(ArcCosine(), 8, d=D, offset=math.inf)
    with pytest.raises(ValueError, match=r"must increase"):
        GridSpectrum([1.0, 0.5], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"two rows"):
        GridSpectrum([0.0], [1.0])
    with pytest.raises(ValueError, match=r"nothing to draw"):
        GridSpectrum([0.0, 1.0], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"not 0"):
        PowerSeries((0.0,))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("name", "reach"), [("gelu", 0.5), ("tanh", 0.9), ("exp", 1.0)])
def test_the_deviation_of_a_power_series_is_that_of_its_estimates(name, reach, bias):
    X, W = torch.eye(64, dtype=torch.float64)[:1] * 0.0, torch.zeros(1, 64, dtype=torch.float64)
    X[0, ::2], W[0, 1::2] = reach * 32**-0.5, 32**-0.5  # |w| |x| = reach, w . x = 0
    made = [UniversalRandomFeatures(name, 32, d=64, bias=bias, random_state=seed) for seed in range(400)]
    found = torch.stack([features.estimate(X, W)[0, 0] for features in made])
    # Degrees are drawn systematically, not one by one: the part of a_0, in exp, does not vary.
    expected = made[0].deviation(reach)
    assert 0.4 * expected < float(found.square().mean().sqrt() if name != "exp" else found.std()) < 1.6 * expected
    assert UniversalRandomFeatures("cos", 8, d=2).deviation(1.0) is None
