"""Networks: finite ones of which the kernels are the limit, properties, hyperparameters, and refusals."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mercer.errors import ApproximationWarning, ShapeError
from mercer.kernels import NNGP, NTK, RBF, InfiniteNetwork, NetworkKernel, parse, to_text
from mercer.kernels.neural.layers import (
    GELU,
    Abs,
    Activation,
    AvgPool,
    Conv,
    Cos,
    Dense,
    Erf,
    Flatten,
    Gaussian,
    GlobalAvgPool,
    Hermite,
    LayerNorm,
    LeakyReLU,
    Poly,
    ReLU,
    Residual,
    Sin,
)
from mercer.learn import KernelRidge
from mercer.testing import check_kernel

DOUBLE = torch.float64
UNITS = [ReLU(), LeakyReLU(0.2), Abs(), Erf(), GELU(), Sin(1.2, 0.7, 0.3), Cos(), Gaussian(0.4), Poly([0.2, 1, 0.3])]


def points(n=6, d=3, seed=0, dtype=DOUBLE):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d))).to(dtype)


@pytest.mark.parametrize("unit", [*UNITS, Hermite(3)], ids=repr)
def test_duals_are_the_means_over_gaussians(unit):
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    g, weights = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
    p, q, rho = (torch.tensor(v, dtype=DOUBLE) for v in (0.8, 1.7, -0.4))
    u = p.sqrt() * g[:, None].expand(150, 150)
    v = q.sqrt() * (rho * g[:, None] + (1 - rho**2).sqrt() * g)
    u, v = u.clone().requires_grad_(), v.clone().requires_grad_()
    one, two = unit.function(u), unit.function(v)
    slopes = [torch.autograd.grad(f.sum(), z)[0] for f, z in ((one, u), (two, v))]
    one, two = one.detach(), two.detach()
    both = weights[:, None] * weights
    dual, kinked = unit.dual, isinstance(unit, ReLU | LeakyReLU | Abs)
    tolerance = 2e-2 if kinked else 1e-10  # quadrature is poor at kinks
    E, D = dual.covariance(1.0 - rho, p, q), dual.slope(1.0 - rho, p, q)
    assert float(E) == pytest.approx(float((both * one * two).detach().sum()), abs=tolerance)
    assert float(D) == pytest.approx(float((both * slopes[0] * slopes[1]).sum()), abs=tolerance)
    # D is dE/ds at fixed variances
    s = 1e-5
    up, down = (dual.covariance(1.0 - rho - sign * s, p, q) for sign in (1.0, -1.0))
    assert float((up - down) / (2 * s * (p * q).sqrt())) == pytest.approx(float(D), rel=1e-7)


@pytest.mark.parametrize("unit", [Erf(), GELU(), Sin(1.2, 0.7, 0.3), Cos(), Poly([0.2, 1, 0.3]), Hermite(3)], ids=repr)
@pytest.mark.parametrize("variances", [(0.8, 1.7), (1.0, 1.0), (5.0, 0.1), (0.0, 1.0)])
def test_gaps_are_half_the_mean_squared_differences_to_all_digits(unit, variances):
    w = torch.tensor([0.0, 1e-12, 1e-6, 0.1, 0.7, 1.0, 1.5, 1.99, 2.0], dtype=DOUBLE)
    p, q = (torch.full_like(w, v) for v in variances)
    dual = unit.dual
    direct = (dual.variance(p) + dual.variance(q)) / 2 - dual.covariance(w, p, q)
    torch.testing.assert_close(dual.gap(w, p, q), direct, rtol=1e-12, atol=1e-13)
    # in float32 relative, where the direct difference has no digit left
    found = dual.gap(*(t.float() for t in (w, p, q)))
    torch.testing.assert_close(found.double(), dual.gap(w, p, q), rtol=1e-5, atol=0.0)


def mean(f, p, q, rho):
    """E[f(u) f(v)] by a fine grid."""
    g = np.linspace(-9.0, 9.0, 1501)
    weights = np.exp(-(g**2) / 2.0) / math.sqrt(2.0 * math.pi) * (g[1] - g[0])
    u, v = math.sqrt(p) * g[:, None], math.sqrt(q) * (rho * g[:, None] + math.sqrt(1.0 - rho**2) * g)
    return float((f(u) * f(v) * weights[:, None] * weights).sum())


@pytest.mark.parametrize("rho", [0.3, -0.8, 0.93, 1.0])
@pytest.mark.parametrize(
    ("function", "value", "slope"),
    [
        (torch.tanh, np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
        (nn.functional.softplus, lambda z: np.logaddexp(0.0, z), lambda z: (1.0 + np.tanh(z / 2.0)) / 2.0),
    ],
)
def test_any_smooth_function_has_a_kernel_by_quadrature(function, value, slope, rho):
    dual = Activation(function).dual
    for p, q in ((1.0, 0.6), (9.0, 12.0), (25.0, 25.0)):  # of sigma_w from 1 to 5
        arguments = [torch.tensor(x, dtype=DOUBLE) for x in (1.0 - rho, p, q)]
        E, D = mean(value, p, q, rho), mean(slope, p, q, rho)
        assert float(dual.covariance(*arguments)) == pytest.approx(E, rel=1e-7)
        assert float(dual.slope(*arguments)) == pytest.approx(D, rel=1e-7)
        gap = (mean(value, p, p, 1.0) + mean(value, q, q, 1.0)) / 2.0 - E
        assert float(dual.gap(*arguments)) == pytest.approx(gap, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("function", [torch.relu, nn.functional.gelu, torch.erf, torch.sin])
def test_functions_with_a_closed_form_use_it(function):
    unit = Activation(function)
    assert unit.dual == {"relu": ReLU(), "gelu": GELU(), "erf": Erf(), "sin": Sin()}[unit.apply].dual


def test_a_kink_in_a_function_is_warned_of_and_its_kernel_near_the_closed_form():
    p = torch.tensor(2.0, dtype=DOUBLE)
    for w in torch.tensor([0.0, 0.01, 0.5, 1.7], dtype=DOUBLE):
        dual = Activation(lambda z: z.clamp(min=0.0)).dual
        for name, error in (("covariance", 5e-4), ("slope", 3e-2)):
            with pytest.warns(ApproximationWarning, match=r"512 terms miss about .* For a kink take a layer"):
                found = getattr(dual, name)(w, p, p)
            assert float(found) == pytest.approx(float(getattr(ReLU().dual, name)(w, p, p)), abs=error)


def test_gradients_flow_through_functions():
    X = points(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda Z: NTK(2, Activation(torch.tanh))(Z).to_dense(), X)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Activation(np.tanh), TypeError, "elementwise function of tensors, such as torch.tanh"),
        (lambda: Activation(lambda z: z.sum()), TypeError, "elementwise function"),
        (lambda: Activation("tan"), ValueError, "the names are abs, arctan"),
        (lambda: Activation(torch.tanh, order=0), ValueError, "the order is a whole number"),
        (lambda: NTK(2, Activation(torch.log))(points()).to_dense(), ValueError, r"Activation\(log\) is not finite"),
        (lambda: NTK(2, Activation(lambda z: torch.ones_like(z)))(points()).to_dense(), ValueError, "no derivative by"),
        (lambda: InfiniteNetwork.from_module(nn.Sequential()), TypeError, "give layers"),
    ],
)
def test_functions_that_are_no_activation_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_rbf_kernel_is_a_network():
    X = points()
    network = InfiniteNetwork(Dense(math.sqrt(3.0), 0.0), Gaussian(0.5))
    torch.testing.assert_close(network.nngp(X).to_dense(), RBF()(X).to_dense())


ARCHITECTURES = [
    (InfiniteNetwork(Dense(), Erf(), Dense(), sigma_b=0.3), (4,)),
    (InfiniteNetwork(Dense(), Residual(ReLU(), Dense()), LayerNorm(), ReLU(), Dense(), sigma_w=1.3), (4,)),
    (InfiniteNetwork(Conv(4), ReLU(), AvgPool(2), Conv(3, 2), ReLU(), Flatten(), Dense(), shape=(2, 8)), (2, 8)),
    (InfiniteNetwork(Conv(2, padding="valid"), GELU(), GlobalAvgPool(), Dense(), shape=(1, 4, 4)), (1, 4, 4)),
    (
        InfiniteNetwork(
            Conv(3, padding="circular"), ReLU(), Conv(2, padding="circular"), GELU(), Flatten(), Dense(), shape=(2, 5)
        ),
        (2, 5),
    ),
    (InfiniteNetwork(Conv(3, padding="circular"), Sin(), Flatten(), Dense(), shape=(1, 3, 4)), (1, 3, 4)),
]


@pytest.mark.slow(reason="draws hundreds of networks")
@pytest.mark.parametrize(("network", "shape"), ARCHITECTURES, ids=lambda v: str(v)[:40])
def test_finite_networks_have_the_kernel_as_their_covariance(network, shape):
    X = points(3, math.prod(shape), dtype=torch.float32).reshape(3, *shape)
    expected = network.nngp(X.double()).to_dense()
    outputs = []
    for seed in range(300):
        module = network.finite(96, 64, in_features=shape[0], random_state=seed)
        with torch.no_grad():
            outputs.append(module(X))
    F = torch.cat(outputs, 1).double()  # (3, draws)
    found = F @ F.mT / F.shape[1]
    scale = expected.diagonal().sqrt()
    # 300 draws of networks of width 96: a few percent
    assert float(((found - expected) / (scale[:, None] * scale)).abs().max()) < 0.08


def test_the_standard_parametrization_computes_the_same_function():
    network, X = InfiniteNetwork(Dense(), ReLU(), Dense(), sigma_b=0.2), points(5, dtype=torch.float32)
    one, two = (
        network.finite(32, 2, in_features=3, parametrization=kind, random_state=3) for kind in ("ntk", "standard")
    )
    torch.testing.assert_close(one(X), two(X))
    torch.testing.assert_close(one[2].weight / math.sqrt(32), two[2].weight)


def test_modules_of_torch_are_read():
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Dropout(),
        nn.AvgPool2d(2),
        nn.Sequential(nn.Flatten()),
        nn.Linear(8, 1),
    )
    found = InfiniteNetwork.from_module(module, shape=(1, 4, 4))
    assert found.layers == [Conv(3), ReLU(), AvgPool(2, 2), Flatten(), Dense()]
    assert InfiniteNetwork.from_module(nn.Linear(3, 2, bias=False)).layers == [Dense(None, 0.0)]
    circular = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    assert InfiniteNetwork.from_module(circular).layers == [Conv(3, padding="circular")]


@pytest.mark.parametrize("module", [nn.Tanh(), nn.SiLU(), nn.Sigmoid(), nn.Mish(), nn.ReLU6(), nn.GELU("tanh")])
def test_elementwise_modules_are_read_as_functions(module):
    layer = InfiniteNetwork.from_module(nn.Sequential(nn.Linear(2, 3), module, nn.Dropout1d(), nn.Linear(3, 1))).layers[
        1
    ]
    z = torch.linspace(-8.0, 8.0, 31)
    torch.testing.assert_close(layer.function(z), module(z))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.MaxPool2d(2), "the maximum has no closed form; use AvgPool"),
        (nn.BatchNorm2d(3), "use LayerNorm"),
        (nn.Softmax(1), "leave it out"),
        (nn.GLU(), "there is no layer for it. Read are Linear"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "Use 'zeros' or 'circular'"),
        (nn.Conv2d(1, 1, 3, padding="same", padding_mode="replicate"), "Use 'zeros' or 'circular'"),
        (nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
        (nn.Flatten(1, 2), r"Use nn.Flatten\(\)"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 1)), "acts on the last axis"),
        (type("Own", (nn.Sequential,), {"forward": lambda self, x: x})(nn.ReLU()), "a forward of its own"),
        (nn.Conv2d(1, 1, 3, groups=1, dilation=2), "dilation"),
        (nn.Conv2d(1, 1, 3, stride=2, padding=1), "at stride 1"),
        (nn.Conv2d(1, 1, (3, 5)), "differs between the axes"),
        (nn.AdaptiveAvgPool2d(2), "output_size=1"),
        (nn.AvgPool2d(2, padding=1), "ceil_mode"),
    ],
)
def test_modules_without_a_closed_form_are_named(module, message):
    with pytest.raises(ValueError, match=message):
        InfiniteNetwork.from_module(nn.Sequential(nn.Conv2d(1, 1, 3), module))


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([ReLU(), Dense()], ValueError, r"layer 0 .* Put Dense\(\) or Conv\(\) in front"),
        ([Dense(), ReLU(), Erf()], ValueError, "layer 2 .* not Gaussian"),
        ([LayerNorm(), Dense()], ValueError, "layer 0"),
        ([Flatten()], ValueError, "at least one layer with weights"),
        ([Dense(), Residual(ReLU())], ValueError, "not independent"),
        ([Dense(), Residual(Dense(), ReLU()), Dense()], ValueError, "end its branch"),
        ([Dense(), nn.MaxPool2d(2)], TypeError, "use AvgPool"),
        ([Dense(), ReLU], TypeError, r"write ReLU\(\) with brackets"),
        ([Dense(), torch.relu], TypeError, "use the layers of"),
        ([], TypeError, "give layers, such as"),
    ],
)
def test_what_has_no_closed_form_is_refused(layers, error, message):
    with pytest.raises(error, match=message):
        NetworkKernel(layers)


CONVOLUTIONAL = [Conv(), ReLU(), AvgPool(2), Flatten(), Dense()]


@pytest.mark.parametrize(
    ("kernel", "X", "message"),
    [
        (NetworkKernel(CONVOLUTIONAL), torch.ones(2, 16), "Give images"),
        (NTK(), torch.ones(2, 0), "X has no columns"),
        (NetworkKernel(CONVOLUTIONAL, shape=(1, 4, 4)), torch.ones(2, 15), r"sees inputs of shape \(1, 4, 4\)"),
        (NetworkKernel(CONVOLUTIONAL, shape=(1, 4, 4)), torch.ones(2, 1, 4, 5), "or change the network's shape"),
        (NetworkKernel([Conv(5, padding="valid"), ReLU()]), torch.ones(2, 1, 3, 3), "Take a smaller size"),
        (NetworkKernel([Flatten(), Dense(), ReLU(), Conv()]), torch.ones(2, 1, 3, 3), "before Flatten"),
        (NetworkKernel([Conv(), Residual(Conv(3, 2))]), torch.ones(2, 1, 4, 4), "Change the shortcut"),
    ],
)
def test_wrong_shapes_are_refused(kernel, X, message):
    with pytest.raises(ShapeError, match=message):
        kernel(X)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NTK(depth=0), "counts layers with weights"),
        (lambda: NNGP(activation="tanh"), r"Activation\(function\)"),
        (lambda: NTK(sigma_w=0.0), "sigma_w must be > 0"),
        (lambda: NTK(sigma_b=-1.0), "sigma_b must be >= 0"),
        (lambda: NetworkKernel([Dense()], kind="ck"), "one of ntk, nngp"),
        (lambda: NetworkKernel([Dense()], shape=(3,)), "the shape is"),
        (lambda: Dense(sigma_w=-1.0), "or None for the network's"),
        (lambda: Conv(0), "whole number >= 1"),
        (lambda: Conv(padding="reflect"), "same, valid, circular"),
        (lambda: Poly([]), "1 to 13 coefficients"),
        (lambda: Hermite(0), "from 1 to 12"),
        (lambda: Gaussian(0.0), "gamma must be > 0"),
        (lambda: LayerNorm(-1.0), "eps must be >= 0"),
        (lambda: InfiniteNetwork(Dense()).finite(0, in_features=1), "width is a whole number"),
        (lambda: InfiniteNetwork(Dense()).finite(1, in_features=1, parametrization="x"), "ntk, standard"),
        (lambda: InfiniteNetwork(Conv()).finite(1, in_features=1), "Give it shape"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="neither a name nor a layer"):
        NTK(activation=torch.relu)


def test_texts_hold_whole_architectures():
    layers = [
        Conv(3, 2),
        Poly([0, 0, 1]),
        Conv(),
        Residual([ReLU(), Conv()], shortcut=[Conv(1)]),
        ReLU(),
        Flatten(),
        Dense(),
    ]
    kernel = NetworkKernel(layers, "nngp", [1, 8, 8], 1.4, 0.2)
    assert parse(to_text(kernel)) == kernel
    assert parse("NTK(2, Hermite(3))") == NTK(2, Hermite(3))
    named = NTK(activation=Activation(torch.tanh))
    assert parse(to_text(named)) == named
    with pytest.raises(ValueError, match="cannot be written as text"):
        to_text(NTK(activation=Activation(lambda z: torch.tanh(z))))


@pytest.mark.parametrize(
    "kernel",
    [
        NetworkKernel([Conv(), ReLU(), AvgPool(2), Conv(2), ReLU(), GlobalAvgPool(), Dense()], shape=(1, 2, 4)),
        NetworkKernel([Conv(), Erf(), Flatten(), Dense()], "nngp", (2, 4)),
    ],
    ids=("pooled", "flattened"),
)
@pytest.mark.parametrize(
    "name", ["psd", "symmetry", "transpose", "text", "parameters", "gradients_dense", "batch", "half_types"]
)
def test_convolutional_kernels_have_the_properties_of_kernels(kernel, name):
    check_kernel(kernel, d=8, properties=[name])


def test_hyperparameters_are_learnt_through_convolutions():
    network = NetworkKernel(CONVOLUTIONAL, shape=(1, 4, 4)).learnable()
    X = points(3, 16)
    value = network(X).to_dense().sum()
    found = torch.autograd.grad(value, network.tensors())
    for h, gradient in zip(network.hyperparameters(), found, strict=True):
        up, down = (network.with_values({h.path: h.value.detach() + s})(X).to_dense().sum() for s in (1e-5, -1e-5))
        assert float(gradient) == pytest.approx(float((up - down).detach() / 2e-5), rel=1e-6)


def test_opposite_points_without_bias_keep_their_digits():
    X = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [2.0, 4.0]])
    K = NTK(depth=3, sigma_b=0.0)(X).to_dense()
    exact = NTK(depth=3, sigma_b=0.0)(X.double()).to_dense()
    assert float((K - exact).abs().max()) < 2e-6
    assert float(exact[0, 2]) == pytest.approx(2.0 * float(exact[0, 0]), rel=1e-12)


def test_estimators_take_images_as_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 16))
    y = np.abs(X.reshape(-1, 4, 4)[:, :2, :2]).sum((1, 2))
    model = KernelRidge(1e-3, kernel=InfiniteNetwork(*CONVOLUTIONAL, shape=(1, 4, 4)).ntk).fit(X, y)
    assert model.score(X, y) > 0.9


def test_large_images_say_what_they_cost_before():
    kernel = NetworkKernel([Conv(), ReLU(), GlobalAvgPool(), Dense()], shape=(3, 32, 32))
    with pytest.warns(UserWarning, match=r"inputs of shape \(3, 32, 32\) will take about .*(h|days) here"):
        kernel(torch.zeros(5000, 3 * 32 * 32))


@pytest.mark.parametrize(("end", "power"), [((GlobalAvgPool(), Dense()), 4), ((Flatten(), Dense()), 2)])
def test_the_plan_knows_what_positions_cost(end, power):
    """All pairs of positions with a pool, each by itself without; whatever the machine."""

    def seconds(side):
        network = InfiniteNetwork(Conv(3), ReLU(), *end, shape=(1, side, side))

        return network.ntk(torch.zeros(500, side * side), plan="tiles").plan.seconds

    assert seconds(32) / seconds(16) == pytest.approx(2**power, rel=0.05)
