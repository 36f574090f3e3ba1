"""The empirical NTK against Jacobians by autograd, row by row; its operator's properties; sketches; errors."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mercer.errors import ShapeError
from mercer.kernels import NTK, EmpiricalNTK, InfiniteNetwork, monte_carlo_ntk
from mercer.kernels.neural.layers import Conv, Dense, Flatten, GlobalAvgPool, ReLU, Residual
from mercer.operators import eigsh
from mercer.testing import OPERATOR_PROPERTIES, check_operator

DOUBLE = torch.float64
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's, of weight_norm under vmap


class Mixed(nn.Module):
    """A layer that is used twice, a norm, a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.inner, self.norm, self.out = nn.Linear(5, 5), nn.LayerNorm(5), nn.Linear(5, 2)
        self.scale = nn.Parameter(torch.randn(5))

    def forward(self, x):
        h = torch.tanh(self.inner(x))
        return self.out(torch.tanh(self.inner(self.norm(h))) * self.scale)


class Tied(nn.Module):
    """Weights that stand in two layers, and a layer whose weights are used beside its own call too."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.other = nn.Linear(5, 5), nn.Linear(5, 5, bias=False), nn.Linear(5, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        h = torch.tanh(self.two(torch.tanh(self.one(x))))
        return self.other(h) + h @ self.other.weight.mT


class Tokens(nn.Module):
    """Whole numbers in, a layer over positions, and one that sees tokens first."""

    def __init__(self):
        super().__init__()
        self.table, self.mix, self.out = nn.Embedding(7, 4), nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        h = self.table(x)  # (n, positions, 4)
        h = torch.relu(self.mix(h.movedim(0, 1))).movedim(0, 1)  # the layer gets (positions, n, 4)
        return self.out(h).mean(1)


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.out = layer(5, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.layer(x)[0][:, -1])


class Scaled(nn.Module):
    """A parameter that is a single number, without axes."""

    def __init__(self):
        super().__init__()
        self.inner, self.scale = nn.Linear(5, 2), nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.inner(x) * self.scale


def weight_normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 2))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        nn.GELU(),
        nn.Conv2d(3, 4, (2, 3), stride=2, dilation=(1, 2), padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(36, 2),
    ).eval()


def randn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def seeded(make):
    torch.manual_seed(1)
    return make().double()


CASES = {
    "dense": (lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2)), randn(5, 5), randn(4, 5, seed=1)),
    "mixed": (Mixed, randn(5, 5), randn(4, 5, seed=1)),
    "tied": (Tied, randn(5, 5), randn(4, 5, seed=1)),
    "convolutions": (convolutions, randn(4, 2, 4, 8), randn(3, 2, 4, 8, seed=1)),
    "sequence": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2)),
        randn(4, 2, 7),
        randn(3, 2, 7, seed=1),
    ),
    "slopes": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.PReLU(), nn.Linear(4, 3), nn.PReLU(3)),
        randn(5, 5),
        randn(4, 5, seed=1),
    ),
    "lstm": (lambda: Recurrent(nn.LSTM), randn(5, 3, 5), randn(4, 3, 5, seed=1)),
    "gru": (lambda: Recurrent(nn.GRU), randn(5, 3, 5), randn(4, 3, 5, seed=1)),
    "weight norm": (weight_normed, randn(5, 5), randn(4, 5, seed=1)),
    "number": (Scaled, randn(5, 5), randn(4, 5, seed=1)),
    "tokens": (Tokens, torch.tensor([[0, 3, 6], [1, 1, 2], [5, 4, 3]]), torch.tensor([[2, 2, 2], [6, 0, 1]])),
    "finite": (
        lambda: InfiniteNetwork(
            Conv(), Residual(ReLU(), Conv(2, padding="circular")), Dense(), ReLU(), GlobalAvgPool(), Flatten(), Dense(),
            sigma_b=0.3, shape=(2, 4, 5),
        ).finite(3, 2, random_state=0),
        randn(4, 2, 4, 5),
        randn(3, 2, 4, 5, seed=1),
    ),
}  # fmt: skip


def jacobian(module, X, chosen=lambda name: True):
    """``(n, o, p)``, row by row."""
    parameters = [p for name, p in module.named_parameters() if chosen(name)]
    rows = []
    for x in X:
        out = module(x[None]).flatten()
        for value in out:
            gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            pairs = zip(gradients, parameters, strict=True)
            rows.append(torch.cat([torch.zeros(p.numel()).to(p) if g is None else g.flatten() for g, p in pairs]))
    return torch.stack(rows).view(len(X), len(out), -1)


def definition(J, H, outputs):
    if outputs == "trace":
        return torch.einsum("nap,map->nm", J, H)
    if outputs == "sum":
        return J.sum(1) @ H.sum(1).mT
    return J.flatten(0, 1) @ H.flatten(0, 1).mT


@pytest.mark.parametrize("method", ["auto", "jacobian", "product"])
@pytest.mark.parametrize("outputs", ["trace", "full", "sum"])
@pytest.mark.parametrize("which", CASES)
def test_entries_and_products_are_those_of_the_jacobian(which, outputs, method):
    make, X, Y = CASES[which]
    module = seeded(make)
    expected = definition(jacobian(module, X), jacobian(module, Y), outputs)
    K = EmpiricalNTK(module, outputs=outputs, method=method)(X, Y)
    torch.testing.assert_close(K.to_dense(), expected, rtol=1e-11, atol=1e-11)
    v = randn(expected.shape[1], 2)
    torch.testing.assert_close(K @ v, expected @ v, rtol=1e-11, atol=1e-10)
    if method != "jacobian":  # which has no passes to take
        torch.testing.assert_close(K._product(v), expected @ v, rtol=1e-11, atol=1e-10)


class Once(torch.autograd.Function):
    """A sine whose derivative cannot be derived again, and has no forward mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return Times.apply(g, ctx.saved_tensors[0].cos())


class Times(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(g, c):
        return g * c

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        raise RuntimeError("no second derivatives here")


class OnceDerived(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(5, 2)

    def forward(self, x):
        return Once.apply(self.inner(x))


def test_without_second_derivatives_products_go_by_entries_or_say_so():
    module, X, v = seeded(OnceDerived), randn(4, 5), randn(4, 1)
    J = jacobian(module, X)
    K = EmpiricalNTK(module)(X)
    assert not K.network.has_products
    torch.testing.assert_close(K @ v, definition(J, J, "trace") @ v)
    with pytest.raises(ValueError, match=r"no second derivatives of this module\. Use method='jacobian'"):
        EmpiricalNTK(module, method="product")(X)


def test_what_has_products_is_found_and_what_has_not_is_not():
    found = {}
    for case in CASES:
        make, X, _ = CASES[case]
        network = EmpiricalNTK(seeded(make))(X).network
        found[case] = [layer.path for layer in network.layers], [name for group in network.groups for name in group]
    assert found["dense"] == (["0", "2"], [])
    assert found["mixed"] == (["inner", "out"], ["scale", "norm.weight", "norm.bias"])
    assert found["tied"] == (["one"], ["one.weight", "other.weight", "other.bias"])  # of "one" the bias
    assert found["convolutions"] == (["0", "2", "5"], ["3.weight", "3.bias"])
    assert found["tokens"] == (["out"], ["table.weight", "mix.weight", "mix.bias"])
    assert found["finite"][1] == []
    assert found["slopes"] == (["0", "2"], ["1.weight", "3.weight"])
    assert found["lstm"][0] == ["out"]


@pytest.mark.filterwarnings("ignore::linear_operator.utils.warnings.PerformanceWarning")
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")
@pytest.mark.parametrize("name", OPERATOR_PROPERTIES)
@pytest.mark.parametrize(
    ("chosen", "options", "square"),
    [("dense", {}, True), ("mixed", {"outputs": "full"}, True), ("mixed", {"method": "product"}, False)],
    ids=["dense", "full", "product"],
)
def test_the_matrix_has_every_property_of_operators(chosen, options, square, name):
    make, X, Y = CASES[chosen]
    module = seeded(make)
    J, H = jacobian(module, X), jacobian(module, X if square else Y)
    K = EmpiricalNTK(module, **options)(X, None if square else Y)
    dense = definition(J, H, options.get("outputs", "trace"))
    result = check_operator(K, definition=dense, properties=[name])[name]
    if result.status == "skipped":
        assert not square
        pytest.skip(result.detail)


@pytest.mark.parametrize("norm", [nn.LayerNorm(5), nn.Unflatten(1, (5, 1))])
def test_gradients_by_points_are_right_behind_norms_of_which_torch_has_wrong_second_derivatives(norm):
    parts = [norm] if isinstance(norm, nn.LayerNorm) else [norm, nn.InstanceNorm1d(5), nn.Flatten()]
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 15 if len(parts) > 1 else 5), nn.Tanh()))
    tail = [nn.Unflatten(1, (5, 3)), nn.InstanceNorm1d(5, affine=True), nn.Flatten()] if len(parts) > 1 else parts
    module = nn.Sequential(*module, *tail, nn.Tanh(), nn.Linear(15 if len(parts) > 1 else 5, 1)).double()
    X = randn(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: EmpiricalNTK(module)(x).to_dense(), X)
    assert torch.autograd.gradcheck(lambda x: EmpiricalNTK(module, method="product")(x) @ torch.ones(2).double(), X)


def test_gradients_flow_into_given_parameters_and_not_into_the_modules_own():
    module, X = seeded(CASES["dense"][0]), CASES["dense"][1]
    assert not EmpiricalNTK(module)(X).to_dense().requires_grad
    own = dict(module.named_parameters())["0.weight"].detach()

    def trace(weight):
        return EmpiricalNTK(module)(X, parameters={"0.weight": weight}).diagonal().sum()

    assert torch.autograd.gradcheck(trace, own.clone().requires_grad_())


def test_training_after_a_call_does_not_change_the_matrix():
    module, X = seeded(CASES["dense"][0]), CASES["dense"][1]
    K = EmpiricalNTK(module)(X)
    before = K.to_dense()
    with torch.no_grad():
        module[0].weight.zero_()
    torch.testing.assert_close(K.to_dense(), before)
    assert not torch.allclose(EmpiricalNTK(module)(X).to_dense(), before)


def test_layers_are_chosen_by_name_by_a_function_or_the_last_one_called():
    make, X, _ = CASES["mixed"]
    module = seeded(make)
    for layers, chosen in (
        ("last", lambda name: name.startswith("out")),
        (["norm", "inner.bias"], lambda name: name.startswith("norm") or name == "inner.bias"),
        ("inner", lambda name: name.startswith("inner")),
        (lambda name: "weight" in name, lambda name: "weight" in name),
    ):
        J = jacobian(module, X, chosen)
        K = EmpiricalNTK(module, layers=layers)(X).to_dense()
        torch.testing.assert_close(K, definition(J, J, "trace"), rtol=1e-11, atol=1e-11)
    module.inner.requires_grad_(False)
    assert EmpiricalNTK(module)(X).network.names == ("scale", "norm.weight", "norm.bias", "out.weight", "out.bias")


def test_results_do_not_depend_on_how_many_rows_are_handled_together(monkeypatch):
    make, X, Y = CASES["convolutions"]
    module = seeded(make)
    for args in ((X,), (X, Y)):
        K = EmpiricalNTK(module)(*args)
        v = randn(K.shape[1], 2)
        whole, product, entries = K.to_dense(), K._product(v), K[[0, 3, 1], [2, 0, 1]]
        with monkeypatch.context() as patch:
            patch.setattr("mercer.kernels.tangent.operator._NUMBERS", 1)
            torch.testing.assert_close(K.to_dense(), whole, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(K[[0, 3, 1], [2, 0, 1]], entries, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(K._product(v), product, rtol=1e-12, atol=1e-12)


def test_eigenvalues_by_products_alone(monkeypatch):
    monkeypatch.setattr("mercer.operators.functions.eigen._SMALL", 10)
    module = seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)))
    K = EmpiricalNTK(module, method="product")(randn(60, 5))
    found = eigsh(K, 2, rtol=1e-8)
    assert found.n_iter > 0
    torch.testing.assert_close(found.values, torch.linalg.eigvalsh(K.to_dense()).flip(0)[:2], rtol=1e-8, atol=0.0)


def test_the_last_layer_of_a_wide_network_has_the_kernel_of_the_theory():
    network = InfiniteNetwork(Dense(), ReLU(), Dense(), ReLU(), Dense())
    X = randn(20, 6)
    K = EmpiricalNTK(network.finite(2048, in_features=6, random_state=0))(X).to_dense().double()
    expected = NTK(depth=3)(X).to_dense()
    assert float((K - expected).norm() / expected.norm()) < 0.1  # 0.03 was seen; 1 / sqrt(2048) is 0.02
    last = EmpiricalNTK(network.finite(2048, in_features=6, random_state=0), layers="last")(X).to_dense().double()
    nngp = network.nngp(X).to_dense()
    assert float((last - nngp).norm() / nngp.norm()) < 0.1


@pytest.mark.slow(reason="forty sketches, so that a bias would show")
@pytest.mark.parametrize("outputs", ["trace", "full"])
def test_sketches_are_unbiased_with_the_error_that_is_stated(outputs):
    make, X, Y = CASES["mixed"]
    module = seeded(make)
    K = EmpiricalNTK(module, outputs=outputs)(X, Y).to_dense()
    own = (EmpiricalNTK(module, outputs=outputs)(Z).diagonal() for Z in (X, Y))
    scale = torch.outer(*own).sqrt()
    m, draws, n = 64, 40, len(K)
    errors = []
    for seed in range(draws):
        F = EmpiricalNTK(module, outputs=outputs, sketch=m, random_state=seed).features(torch.cat([X, Y]))
        errors.append((F[:n] @ F[n:].mT - K) / scale)
    errors = torch.stack(errors)
    assert float(errors.mean(0).abs().max()) < 4.0 * 3.0 / math.sqrt(m * draws)
    assert 0.1 < float(errors.std(0).max()) * math.sqrt(m) < 3.0


def test_one_sketch_is_the_same_for_all_points_and_its_matrix_is_low_rank():
    module, X = seeded(CASES["dense"][0]), CASES["dense"][1]
    kernel = EmpiricalNTK(module, sketch=16)
    torch.testing.assert_close(kernel.features(X)[2:4], kernel.features(X[2:4]))
    assert kernel.features(X).shape == (5, 2 * 16)
    many = EmpiricalNTK(module, sketch=4, outputs="sum")(randn(5000, 5))
    assert many.plan.name == "lowrank"


def test_an_empirical_kernel_of_architectures_without_a_closed_form():
    def factory(seed):
        return nn.Sequential(
            nn.Linear(3, 64), nn.Unflatten(1, (1, 64)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(32, 1)
        )

    X = randn(4, 3).float()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = monte_carlo_ntk(factory, X, n_samples=20)
    assert torch.equal(torch.get_rng_state(), state)
    again = monte_carlo_ntk(factory, X, n_samples=20)
    torch.testing.assert_close(found.mean, again.mean)
    other = monte_carlo_ntk(factory, X, n_samples=40, random_state=7)
    gap = (found.mean - other.mean) / (found.standard_error.square() + other.standard_error.square()).sqrt()
    assert 0.0 < float(gap.abs().max()) < 4.0
    with pytest.raises(ValueError, match="at least two networks"):
        monte_carlo_ntk(factory, X, n_samples=1)


def test_the_monte_carlo_mean_and_error_are_those_of_the_draws():
    network = InfiniteNetwork(Dense(), ReLU(), Dense())
    X, seeds = randn(3, 2), []

    def factory(seed):
        seeds.append(seed)
        return network.finite(32, in_features=2, random_state=seed)

    found = monte_carlo_ntk(factory, X, n_samples=6)
    K = torch.stack(
        [EmpiricalNTK(network.finite(32, in_features=2, random_state=s))(X).to_dense().double() for s in seeds]
    )
    torch.testing.assert_close(found.mean, K.mean(0))
    torch.testing.assert_close(found.standard_error, K.std(0) / math.sqrt(6))
    expected = network.ntk(X).to_dense()
    assert float(((found.mean - expected) / found.standard_error).abs().max()) < 5.0


@pytest.mark.parametrize(
    ("make", "options", "X", "error", "message"),
    [
        (lambda: nn.Linear(2, 1), {"method": "magic"}, [[0.0, 1.0]], ValueError, "one of auto, structured"),
        (lambda: nn.Linear(2, 1), {"outputs": "all"}, [[0.0, 1.0]], ValueError, "one of trace, full, sum"),
        (lambda: nn.Linear(2, 1), {"sketch": 0}, [[0.0, 1.0]], ValueError, "features >= 1"),
        (lambda: nn.Linear(2, 1), {"layers": ["weigth"]}, [[0.0, 1.0]], ValueError, "'weigth' is no layer"),
        (lambda: nn.Linear(2, 1).requires_grad_(False), {}, [[0.0, 1.0]], ValueError, "no trained parameter"),
        (lambda: nn.Linear(2, 1), {}, [[0.0, np.nan]], ValueError, "X contains NaN"),
        (lambda: nn.Linear(2, 1), {}, np.zeros((0, 2)), ShapeError, "at least one row"),
        (lambda: nn.ReLU(), {}, [[0.0, 1.0]], ValueError, "no parameters"),
        (lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5)), {}, [[0.0, 1.0]], ValueError, "module.eval"),
        (lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), {}, [[0.0, 1.0]], ValueError, "training mode"),
        (Mixed, {"method": "structured"}, [[0.0] * 5], ValueError, "'scale' is no weight or bias"),
        (
            lambda: nn.Linear(5, 1),
            {},
            np.zeros((2, 3)),
            ShapeError,
            r"does not take rows of shape \(3,\).* it says: mat1",
        ),
        (lambda: nn.LSTM(2, 3), {}, [[0.0, 1.0]], ShapeError, "its output has to be one tensor|Its output has to be"),
    ],
)
def test_errors_say_what_to_do(make, options, X, error, message):
    with pytest.raises(error, match=message):
        EmpiricalNTK(make(), **options)(X)


def test_rows_that_see_each_other_are_refused_and_so_is_what_is_no_module():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 1)

        def forward(self, x):
            return self.inner(x - x.mean(0))

    with pytest.raises(ValueError, match="depends on the other rows"):
        EmpiricalNTK(Centred())(torch.randn(3, 2))
    with pytest.raises(TypeError, match=r"needs a torch.nn.Module"):
        EmpiricalNTK(torch.relu)
    with pytest.raises(ShapeError, match="rows must be alike"):
        EmpiricalNTK(nn.Linear(2, 1))(torch.randn(3, 2), torch.randn(3, 4))
    with pytest.raises(ValueError, match="the module has no 'wieght'"):
        EmpiricalNTK(nn.Linear(2, 1))(torch.randn(3, 2), parameters={"wieght": torch.ones(1)})
    with pytest.raises(ValueError, match="sketch=512"):
        EmpiricalNTK(nn.Linear(2, 1)).features(torch.randn(3, 2))
    assert repr(EmpiricalNTK(nn.Linear(2, 1), sketch=5)) == "EmpiricalNTK(Linear, sketch=5)"


LARGE = """
import resource, torch
from torch import nn
from mercer.kernels import EmpiricalNTK
torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
module = nn.Sequential(nn.Linear(32, 960), nn.Tanh(), nn.Linear(960, 960), nn.LayerNorm(960), nn.Linear(960, 10))
count = sum(p.numel() for p in module.parameters())
X = torch.randn(200, 32)
before = peak()
K, full = EmpiricalNTK(module)(X), EmpiricalNTK(module, outputs="full")(X)
v = torch.randn(200)
same = torch.allclose(K @ v, K.to_dense() @ v, rtol=1e-3, atol=1e-3 * float(K.diagonal().max()))
full @ torch.randn(2000)
print(count, same, (peak() - before) / (4 * 2000 * count))
"""


@pytest.mark.slow(reason="a network of a million parameters in a process of its own")
def test_products_of_a_million_parameters_hold_no_jacobian():
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    count, same, share = done.stdout.split()
    assert int(count) > 960_000
    assert same == "True"
    assert float(share) < 0.04  # of the Jacobian of 200 rows and 10 outputs, 7.8 GB


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EmpiricalNTK(nn.Linear(2, 1), layers=3), TypeError, "give 'all', 'last', names"),
        (lambda: EmpiricalNTK(nn.Linear(2, 1), sketch=2.5), ValueError, "number of features >= 1"),
        (lambda: monte_carlo_ntk(lambda s: nn.Linear(2, 1), torch.eye(2), n_samples=2.5), ValueError, "n_samples=2.5"),
        (lambda: monte_carlo_ntk(nn.Linear(2, 1), torch.eye(2), n_samples=2), TypeError, "a function of a seed"),
    ],
)
def test_arguments_of_other_kinds_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_influences_by_products_are_changes_by_training_without_a_row():
    X = torch.rand(12, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y, x, decay = torch.sin(3 * X[:, 0]) * X[:, 1] + 0.1 * X[:, 0], X[:1] + 0.1, 0.1

    def trained(rows, start):
        module = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()
        module.load_state_dict(start)
        steps = torch.optim.LBFGS(module.parameters(), max_iter=300, line_search_fn="strong_wolfe")

        def loss():
            steps.zero_grad()
            squares = sum(p.square().sum() for p in module.parameters())
            total = (module(X[rows]).squeeze(1) - y[rows]).square().sum() / 2 + decay / 2 * squares
            total.backward()
            return total

        steps.step(loss)
        return module

    everything = torch.arange(12)
    start = seeded(lambda: nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1))).state_dict()
    module = trained(everything, start)
    kernel = EmpiricalNTK(module, method="product")
    residuals = (y - module(X).squeeze(1)).detach()
    found = -residuals * kernel(X).solve(kernel(X, x).to_dense()[:, 0], noise=decay)
    without = [trained(everything[everything != i], module.state_dict())(x) for i in range(12)]
    changes = torch.cat(without).squeeze(1).detach() - module(x).detach().squeeze()
    assert float(torch.corrcoef(torch.stack([found, changes]))[0, 1]) > 0.9
    # exact for the linearised network, with each row's leverage
    G = torch.linalg.inv(kernel(X).to_dense() + decay * torch.eye(12, dtype=DOUBLE))
    c, across = G @ residuals, kernel(X, x).to_dense()[:, 0]
    for i in range(12):
        rest = everything != i
        refitted = across[rest] @ torch.linalg.solve(torch.linalg.inv(G)[rest][:, rest], residuals[rest])
        exact = (-c * (G @ across) / G.diagonal())[i]
        torch.testing.assert_close(refitted - across @ c, exact)
    torch.testing.assert_close(found, -residuals * (G @ across), rtol=1e-4, atol=1e-7)
