"""Kernels of networks against neural-tangents 0.6.5, whose numbers make_reference.py wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mercer.kernels import NetworkKernel
from mercer.kernels.neural.layers import (
    GELU,
    Abs,
    AvgPool,
    Conv,
    Cos,
    Dense,
    Erf,
    Flatten,
    Gaussian,
    GlobalAvgPool,
    LayerNorm,
    LeakyReLU,
    Poly,
    ReLU,
    Residual,
    Sin,
)

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text())
W, B = 1.3, 0.2


def mlp(activation, depth=3):
    return [Dense(), *[layer for _ in range(depth - 1) for layer in (activation, Dense())]]


NETWORKS = {
    "relu": mlp(ReLU()),
    "relu_deep": mlp(ReLU(), 6),
    "leaky": mlp(LeakyReLU(0.1)),
    "abs": mlp(Abs()),
    "erf": mlp(Erf()),
    "gelu": mlp(GELU()),
    "sin": mlp(Sin(1.2, 0.7, 0.3)),
    "cos": mlp(Cos(1.1, 0.8)),
    "gaussian": mlp(Gaussian(0.3)),
    "square": mlp(Poly([0, 0, 1])),
    "cube": mlp(Poly([0, 0, 0, 1]), 2),
    "no_bias": [Dense(None, 0.0), ReLU(), Dense(None, 0.0), ReLU(), Dense(None, 0.0)],
    "mixed": [Dense(), Erf(), Dense(), ReLU(), Dense(), GELU(), Dense()],
    "own_sigmas": [Dense(0.9, 0.0), ReLU(), Dense(1.7, 0.4), Erf(), Dense(1.1, 0.05)],
    "features": [Dense(), ReLU()],
    "residual": [Dense(), Residual(ReLU(), Dense(), ReLU(), Dense()), ReLU(), Dense()],
    "residual_first": [Residual(Dense(), ReLU(), Dense(), shortcut=[Dense()]), ReLU(), Dense()],
    "layer_norm": [Dense(), LayerNorm(), ReLU(), Dense(), LayerNorm(), ReLU(), Dense()],
    "conv_flatten": [Conv(), ReLU(), Conv(), ReLU(), Flatten(), Dense()],
    "conv_valid_stride": [Conv(padding="valid"), ReLU(), Conv(stride=2), Erf(), Flatten(), Dense()],
    "conv_circular_even": [
        Conv(2, 2, padding="circular"),
        GELU(),
        Conv(padding="circular"),
        ReLU(),
        Flatten(),
        Dense(),
    ],
    "conv_circular_odd_even": [
        Conv(padding="circular"),
        ReLU(),
        Conv(2, padding="circular"),
        GELU(),
        Conv(2, 2, padding="circular"),
        ReLU(),
        Flatten(),
        Dense(),
    ],
    "global_pool": [Conv(), ReLU(), Conv(), ReLU(), GlobalAvgPool(), Dense()],
    "pool_then_layers": [
        Conv(),
        ReLU(),
        AvgPool(2),
        Conv(),
        ReLU(),
        GlobalAvgPool(),
        Dense(),
        ReLU(),
        Dense(),
    ],
    "pool_flatten": [Conv(), ReLU(), AvgPool(3, 2), Flatten(), Dense()],
    "resnet": [
        Conv(),
        Residual(ReLU(), Conv(), ReLU(), Conv()),
        ReLU(),
        Residual(Conv(3, 2), ReLU(), Conv(), shortcut=[Conv(1, 2)]),
        ReLU(),
        GlobalAvgPool(),
        Dense(),
    ],
    "norm_conv": [Conv(), LayerNorm(), ReLU(), Conv(), LayerNorm(), Erf(), Flatten(), Dense()],
    "sequence": [Conv(3, 2), ReLU(), Conv(5), ReLU(), GlobalAvgPool(), Dense()],
    "sequence_circular": [
        Conv(3, padding="circular"),
        GELU(),
        Conv(4, 2, padding="circular"),
        ReLU(),
        GlobalAvgPool(),
        Dense(),
    ],
    "sequence_even": [Conv(4), ReLU(), Conv(3), ReLU(), GlobalAvgPool(), Dense()],
}


def inputs(*shape):
    """Those of make_reference.py, channels first."""
    rng = np.random.RandomState(0)
    X, Y = rng.randn(3, *shape), rng.randn(2, *shape)
    Y[0] = X[0]
    return (torch.from_numpy(np.ascontiguousarray(np.moveaxis(Z, -1, 1))) for Z in (X, Y))


def given(name):
    layers = NETWORKS[name]
    if any(isinstance(layer, Conv) for layer in layers):
        return inputs(*((9, 3) if name.startswith("sequence") else (6, 6, 2)))
    return inputs(7)


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_of_networks_are_those_of_neural_tangents(name, kind):
    X, Y = given(name)
    K = NetworkKernel(NETWORKS[name], kind, sigma_w=W, sigma_b=B)(X, Y).to_dense()
    expected = torch.tensor(REFERENCE[name][kind], dtype=torch.float64)
    # an equal pair leaves neural-tangents with an angle of 1e-8, from the arc cosine of 1 - 1e-16
    torch.testing.assert_close(K, expected, rtol=1e-6, atol=1e-7)
    different = torch.tensor([[False, True], [True, True], [True, True]])
    torch.testing.assert_close(K[different], expected[different], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_keeps_its_digits_also_for_equal_points(name):
    X, Y = given(name)
    expected = torch.tensor(REFERENCE[name]["ntk"], dtype=torch.float64)
    K = NetworkKernel(NETWORKS[name], "ntk", sigma_w=W, sigma_b=B)(X.float(), Y.float()).to_dense()
    # 6e-7 at most; 1 - E / sqrt(E E) in place of a sum without cancellation left 2e-4 where a ReLU follows an erf
    assert float((K.double() - expected).norm() / expected.norm()) < 2e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_the_diagonal_is_that_of_the_matrix(name):
    X, _ = given(name)
    for kind in ("ntk", "nngp"):
        K = NetworkKernel(NETWORKS[name], kind, sigma_w=W, sigma_b=B)(X)
        torch.testing.assert_close(K.diagonal(), K.to_dense().diagonal(), rtol=1e-12, atol=1e-12)
