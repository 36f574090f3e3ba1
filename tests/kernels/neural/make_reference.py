"""Writes reference.json: kernels of small networks by neural-tangents 0.6.5, in float64.

Not run by the tests. It needs an environment of its own: ``pip install "numpy<2" jax==0.4.30 jaxlib==0.4.30
neural-tangents==0.6.5``, then ``python tests/kernels/neural/make_reference.py``. The names are those of NETWORKS in
test_parity.py, which holds the same networks in mercer's layers.
"""

import json
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
from neural_tangents import stax  # noqa: E402

W, B = 1.3, 0.2
dense = stax.Dense(1, W, B)
relu, erf, gelu = stax.Relu(), stax.Erf(), stax.Gelu(approximate=False)


def conv(size=3, stride=1, padding="SAME", axes=2):
    return stax.Conv(1, (size,) * axes, (stride,) * axes, padding, W, B)


def residual(branch, shortcut=None):
    return stax.serial(
        stax.FanOut(2), stax.parallel(stax.serial(*branch), shortcut or stax.Identity()), stax.FanInSum()
    )


def mlp(activation, depth=3):
    return [dense, *[layer for _ in range(depth - 1) for layer in (activation, dense)]]


VECTORS = {
    "relu": mlp(relu),
    "relu_deep": mlp(relu, 6),
    "leaky": mlp(stax.LeakyRelu(0.1)),
    "abs": mlp(stax.Abs()),
    "erf": mlp(erf),
    "gelu": mlp(gelu),
    "sin": mlp(stax.Sin(1.2, 0.7, 0.3)),
    "cos": mlp(stax.Cos(1.1, 0.8, 0.0)),
    "gaussian": mlp(stax.Rbf(0.3)),
    "square": mlp(stax.Monomial(2)),
    "cube": mlp(stax.Monomial(3), 2),
    "no_bias": [stax.Dense(1, W), relu, stax.Dense(1, W), relu, stax.Dense(1, W)],
    "mixed": [dense, erf, dense, relu, dense, gelu, dense],
    "own_sigmas": [stax.Dense(1, 0.9, 0.0), relu, stax.Dense(1, 1.7, 0.4), erf, stax.Dense(1, 1.1, 0.05)],
    "features": [dense, relu],
    "residual": [dense, residual([relu, dense, relu, dense]), relu, dense],
    "residual_first": [residual([dense, relu, dense], stax.Dense(1, W, B)), relu, dense],
    "layer_norm": [dense, stax.LayerNorm(axis=-1), relu, dense, stax.LayerNorm(axis=-1), relu, dense],
}
IMAGES = {
    "conv_flatten": [conv(), relu, conv(), relu, stax.Flatten(), dense],
    "conv_valid_stride": [conv(3, 1, "VALID"), relu, conv(3, 2, "SAME"), erf, stax.Flatten(), dense],
    "conv_circular_even": [conv(2, 2, "CIRCULAR"), gelu, conv(3, 1, "CIRCULAR"), relu, stax.Flatten(), dense],
    "conv_circular_odd_even": [
        conv(3, 1, "CIRCULAR"),
        relu,
        conv(2, 1, "CIRCULAR"),
        gelu,
        conv(2, 2, "CIRCULAR"),
        relu,
        stax.Flatten(),
        dense,
    ],
    "global_pool": [conv(), relu, conv(), relu, stax.GlobalAvgPool(), dense],
    "pool_then_layers": [
        conv(),
        relu,
        stax.AvgPool((2, 2), (2, 2), "VALID"),
        conv(),
        relu,
        stax.GlobalAvgPool(),
        dense,
        relu,
        dense,
    ],
    "pool_flatten": [conv(), relu, stax.AvgPool((3, 3), (2, 2), "VALID"), stax.Flatten(), dense],
    "resnet": [
        conv(),
        residual([relu, conv(), relu, conv()]),
        relu,
        residual([conv(3, 2), relu, conv()], conv(1, 2)),
        relu,
        stax.GlobalAvgPool(),
        dense,
    ],
    "norm_conv": [conv(), stax.LayerNorm(axis=-1), relu, conv(), stax.LayerNorm(axis=-1), erf, stax.Flatten(), dense],
}
SEQUENCES = {
    "sequence": [conv(3, 2, "SAME", 1), relu, conv(5, 1, "SAME", 1), relu, stax.GlobalAvgPool(), dense],
    "sequence_circular": [
        conv(3, 1, "CIRCULAR", 1),
        gelu,
        conv(4, 2, "CIRCULAR", 1),
        relu,
        stax.GlobalAvgPool(),
        dense,
    ],
    "sequence_even": [conv(4, 1, "SAME", 1), relu, conv(3, 1, "SAME", 1), relu, stax.GlobalAvgPool(), dense],
}


def inputs(*shape):
    """Two sets, of which the second shares its first input with the first."""
    rng = np.random.RandomState(0)
    X, Y = rng.randn(3, *shape), rng.randn(2, *shape)
    Y[0] = X[0]
    return X, Y


def kernels(layers, X, Y):
    function = stax.serial(*layers)[2]
    return {kind: np.asarray(function(X, Y, kind)).tolist() for kind in ("ntk", "nngp")}


def main():
    found = {name: kernels(layers, *inputs(7)) for name, layers in VECTORS.items()}
    for table, shape in ((IMAGES, (6, 6, 2)), (SEQUENCES, (9, 3))):
        found |= {name: kernels(layers, *inputs(*shape)) for name, layers in table.items()}
    Path(__file__).with_name("reference.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
