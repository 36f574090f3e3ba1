"""Many networks in one module: each is the network it would be alone."""

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import NNGP, InfiniteNetwork
from mercer.kernels.neural.layers import Dense, Erf
from mercer.nn import BatchedMLP

KINDS = [
    {"parametrization": "ntk", "sigma_w": 1.3, "sigma_b": 0.4},
    {"parametrization": "ntk", "sigma_b": 0.0},
    {"parametrization": "standard", "sigma_w": 1.3, "sigma_b": 0.4, "activation": "erf"},
    {"parametrization": "standard", "bias": False},
]


def networks(n=5, widths=(3, 7, 6, 2), **kinds):
    return BatchedMLP(n, widths, **{"random_state": 0, "dtype": torch.float64, **kinds})


def points(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_outputs_are_those_of_layers_of_torch(kinds):
    model, x = networks(**kinds), points(4, 3)
    for i in range(5):
        torch.testing.assert_close(model.network(i)(x), model(x)[i], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_with_the_same_weights_it_is_the_finite_network_of_the_kernels(parametrization):
    settings = {"sigma_w": 1.3, "sigma_b": 0.4}
    network = InfiniteNetwork(Dense(), Erf(), Dense(), Erf(), Dense(), **settings)
    single = network.finite(7, 2, in_features=3, parametrization=parametrization, random_state=3).double()
    model = networks(2, (3, 7, 7, 2), parametrization=parametrization, activation="erf", **settings)
    layers = [layer for layer in single if hasattr(layer, "weight")]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, model.weights, model.biases, strict=True):
            weight[1], bias[1] = layer.weight, layer.bias
    torch.testing.assert_close(model(points(4, 3))[1], single(points(4, 3)), rtol=1e-13, atol=1e-13)


def test_before_training_outputs_have_the_covariance_of_the_nngp():
    model = BatchedMLP(4000, (3, 128, 1), sigma_w=1.4, sigma_b=0.5, random_state=0)
    x = points(2, 3).float()
    outputs = model(x).detach().double().squeeze(-1)  # (networks, points)
    expected = NNGP(2, "relu", 1.4, 0.5)(x.double()).to_dense()
    found = outputs.mT @ outputs / len(outputs)
    # The standard error of a variance from 4000 draws is sqrt(2 / 4000) = 2.2 %; five of them.
    torch.testing.assert_close(found, expected, rtol=0.11, atol=0.0)


def test_a_network_depends_on_its_own_seed_only():
    many, few = networks(6, random_state=[3, 1, 4, 1, 5, 9]), networks(2, random_state=[9, 1])
    x = points(4, 3)
    torch.testing.assert_close(few(x), many(x)[[5, 1]], rtol=1e-13, atol=1e-13)
    assert torch.equal(many(x)[1], many(x)[3])
    own = networks(5)
    assert len(own.seeds.unique()) == 5
    torch.testing.assert_close(networks(5, random_state=own.seeds)(x), own(x))
    assert not torch.equal(networks(5, random_state=1)(x), own(x))


def test_the_parametrisations_are_the_same_networks_before_training():
    x = points(4, 3)
    settings = {"sigma_w": 1.3, "sigma_b": 0.4}
    ntk, standard = (networks(parametrization=name, **settings) for name in ("ntk", "standard"))
    torch.testing.assert_close(standard(x), ntk(x), rtol=1e-12, atol=1e-12)


def test_inputs_may_differ_from_network_to_network():
    model, x = networks(), points(5, 4, 3)
    for i in range(5):
        torch.testing.assert_close(model(x)[i], model(x[i])[i], rtol=1e-13, atol=1e-13)


def test_networks_are_selected_kept_and_put_back():
    model, x = networks(), points(4, 3)
    model.weights[0].requires_grad_(False)
    expected = model(x).detach()
    some = model.select([4, 0])
    assert (some.n_models, some.seeds.tolist()) == (2, model.seeds[[4, 0]].tolist())
    assert [p.requires_grad for p in some.weights] == [False, True, True]
    torch.testing.assert_close(some(x), expected[[4, 0]])
    first = some.weights[0]
    some.keep([1])
    assert some.weights[0] is first
    torch.testing.assert_close(some(x), expected[[0]])
    with torch.no_grad():
        some.weights[2].zero_()
    model.put([3], some)
    assert torch.equal(model.weights[2][3], torch.zeros(2, 6, dtype=torch.float64))
    torch.testing.assert_close(model(x)[[0, 1, 2, 4]], expected[[0, 1, 2, 4]])


def test_it_is_saved_by_its_state(tmp_path):
    model = networks()
    torch.save(model.state_dict(), tmp_path / "networks.pt")
    other = networks(random_state=7)
    other.load_state_dict(torch.load(tmp_path / "networks.pt", weights_only=True))
    assert torch.equal(other(points(4, 3)), model(points(4, 3)))
    assert torch.equal(other.seeds, model.seeds)
    other.reset_parameters()
    assert torch.equal(other.weights[1], model.weights[1])


def test_single_precision_rounds_the_same_draws():
    torch.testing.assert_close(
        networks(dtype=torch.float32).weights[0].double(), networks().weights[0], rtol=1e-6, atol=0
    )


def test_gradients_agree_with_finite_differences():
    model, x = networks(2, (2, 3, 1), activation="erf"), points(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(model, (x,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, r"n_models=0.*whole numbers >= 1"),
        ({"widths": (3,)}, "at least two widths"),
        ({"widths": (3, 2.0)}, "whole numbers >= 1"),
        ({"parametrization": "mup"}, "it is one of ntk, standard"),
        ({"sigma_w": 0.0}, "sigma_w > 0"),
        ({"random_state": [1, 2]}, r"5 networks need 5 seeds >= 0, but random_state has the shape \(2,\)"),
        ({"random_state": [1, 2, 3, 4, -5]}, "negative"),
        ({"random_state": [1.5, 2, 3, 4, 5]}, "seeds are whole numbers >= 0, but random_state is torch.float32"),
        ({"activation": "swish"}, "no closed form"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        networks(**arguments)


def test_whole_numbers_of_numpy_are_whole_numbers():
    mine = networks(np.int64(5), (3, np.int64(4), 2), random_state=np.int64(3))
    assert mine.widths == (3, 4, 2)
    assert torch.equal(mine.weights[0], networks(5, (3, 4, 2), random_state=3).weights[0])
    with pytest.raises(TypeError, match="random_state must be an int"):
        networks(random_state="a")


@pytest.mark.parametrize("x", [torch.zeros(4, 3), np.zeros((4, 3))], ids=["float32", "numpy"])
def test_inputs_of_another_type_are_refused(x):
    with pytest.raises(TypeError, match=r"x is .*, but the weights are torch.float64. Give torch.as_tensor"):
        networks()(x)


@pytest.mark.parametrize("only_last", [False, True])
def test_full_batches_are_steps_of_gradient_descent(only_last):
    model, x, y = networks(sigma_b=0.1), points(4, 3), points(4, 2)
    model.weights[1].requires_grad_(False)
    expected = networks(sigma_b=0.1)
    learnt = [expected.weights[-1], expected.biases[-1]] if only_last else list(expected.parameters())
    for _ in range(3):
        loss = 0.5 * (expected(x) - y).square().sum()
        for parameter, slope in zip(learnt, torch.autograd.grad(loss, learnt), strict=True):
            parameter.data -= 0.05 * slope
    history = model.train_full_batch(x, y, 0.05, 3, only_last=only_last)
    for mine, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert history.n_steps.tolist() == [3] * 5
    assert [p.requires_grad for p in model.weights] == [True, False, True]


@pytest.mark.parametrize(
    ("lr", "steps", "message"), [(0.0, 3, "lr=0.0"), ("a", 3, "lr='a'"), (0.1, 2.5, "n_steps=2.5")]
)
def test_full_batches_need_a_rate_and_steps(lr, steps, message):
    with pytest.raises(ValueError, match=message):
        networks().train_full_batch(points(4, 3), points(4, 2), lr, steps)


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 4, 3)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(ShapeError, match=r"take \(n, 3\) or \(5, n, 3\)"):
        networks()(torch.zeros(shape, dtype=torch.float64))
