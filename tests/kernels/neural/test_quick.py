"""Quick forms of the kernels of ReLU networks: as exact as the recursion that they stand for, on any points."""

import math

import pytest
import torch

from mercer.kernels import NNGP, NTK, RBF, NetworkKernel
from mercer.kernels.neural.layers import Dense, Flatten, LayerNorm, LeakyReLU, ReLU, Residual
from mercer.operators.maps import postorder, quick_forms
from mercer.operators.tiles import Tiles

EPS = torch.finfo(torch.float32).eps

QUICK = [
    NTK(),
    NTK(4, sigma_w=math.sqrt(2.0), sigma_b=1.0),
    NTK(3, sigma_b=3.0),
    NTK(3, "abs"),
    NTK(3, LeakyReLU(0.2)),
    NNGP(),
    NNGP(4, sigma_b=0.0),
    NTK(3, sigma_b=0.0),
    NTK(10, sigma_w=math.sqrt(2.0), sigma_b=0.0),
    NTK(2, "abs", sigma_b=0.0),
    NetworkKernel([Dense(1.3, 0.2), ReLU(), Flatten(), Dense(0.7), LayerNorm(), ReLU()]),
    NetworkKernel([Dense(), ReLU(), Dense(0.7), LayerNorm()], "nngp"),
]


def points(kind, n=170, m=150, d=6):
    generator = torch.Generator().manual_seed(3)
    X, Y = (torch.randn(k, d, generator=generator, dtype=torch.float64) for k in (n, m))
    if kind == "some near":  # equal, opposite, and close, too few for the exact form of a whole tile
        Y[:10], Y[10:20], Y[20:30] = X[:10], -X[10:20], X[20:30] * (1 + 1e-5) + 1e-4
    if kind == "most near":
        X, Y = 1.0 + 0.03 * X, 1.0 + 0.03 * Y
    scale = {"tiny": 1e-6, "huge": 1e6}.get(kind, 1.0)
    return (X * scale).float(), (Y * scale).float()


def tiles(kernel, X, Y, **options):
    K = kernel(X, Y, plan="tiles")
    return Tiles(K._operands()[0], identity=K.identity, **options)


@pytest.mark.parametrize("kind", ["plain", "some near", "most near", "tiny", "huge"])
@pytest.mark.parametrize("kernel", QUICK, ids=repr)
def test_quick_forms_have_the_digits_of_the_recursion(kernel, kind):
    X, Y = points(kind)
    expected = kernel(X.double(), Y.double()).to_dense()
    quick = tiles(kernel, X, Y).dense().double() - expected
    exact = tiles(kernel, X, Y, shortcuts=False).dense().double() - expected
    # the recursion's own error and the round-off of a GEMM of unit vectors, 4 eps (2 + 1), per entry
    assert float(quick.norm()) < 2.0 * float(exact.norm()) + 1e-7 * float(expected.norm())
    assert float(quick.abs().max()) < float(exact.abs().max()) + 12.0 * EPS * float(expected.abs().max())


@pytest.mark.parametrize("kernel", QUICK, ids=repr)
def test_quick_forms_take_fewer_calls(kernel):
    X, Y = points("plain")
    quick, exact = tiles(kernel, X, Y).program, tiles(kernel, X, Y, shortcuts=False).program
    assert len(quick.steps) < 0.55 * len(exact.steps)


@pytest.mark.parametrize(
    "kernel",
    [
        NTK(1),
        NTK(6),  # deep, with biases
        NTK(3, "erf"),
        NetworkKernel([Dense(), Residual([ReLU(), Dense()]), ReLU(), Dense()]),
        NetworkKernel([Dense(), Dense(), ReLU(), Dense()]),
        NTK(20, "abs", sigma_b=0.0),  # no polynomial of degree 24
    ],
    ids=repr,
)
def test_other_networks_keep_their_recursion(kernel):
    X, Y = points("plain")
    assert not any(node.op == "shortcut" for node in postorder([kernel(X, Y).spec.total]))


def test_only_tiles_in_float32_take_shortcuts():
    X, Y = points("plain")
    steps = len(tiles(NTK(), X, Y).program.steps)
    assert len(tiles(NTK(), X.double(), Y.double()).program.steps) > 2 * steps
    assert len(tiles(NTK(), X[:20], Y[:20]).program.steps) > 2 * steps  # nothing to gain
    # of one column all points are parallel or opposite
    assert len(tiles(NTK(), X[:, :1], Y[:, :1]).program.steps) > 2 * steps


def test_the_diagonal_is_exact():
    X, _ = points("plain")
    for kernel in (NTK(), NTK(sigma_b=0.0), NNGP()):
        found = kernel(X, plan="tiles").to_dense().diagonal()
        torch.testing.assert_close(found, kernel(X).diagonal(), rtol=4.0 * EPS, atol=0.0)


@pytest.mark.parametrize("sigma_b", [0.0, 0.1])
def test_products_and_gradients_agree_with_float64(sigma_b):
    X, Y = points("plain", 210, 180)
    v = torch.randn(180, 2, generator=torch.Generator().manual_seed(0))
    found = []
    for dtype in (torch.float32, torch.float64):
        A, B, u = (t.detach().to(dtype).requires_grad_() for t in (X, Y, v))
        kernel = NTK(3, sigma_b=sigma_b).learnable()
        product = kernel(A, B, plan="tiles" if dtype == torch.float32 else None) @ u
        gradients = torch.autograd.grad(product.square().sum(), [A, B, u, *kernel.tensors()])
        found.append([product.detach(), *gradients])
    for single, double in zip(*found, strict=True):
        assert float((single.double() - double).norm()) < 2e-5 * float(double.norm())


def test_shortcuts_survive_sums_and_products_of_kernels():
    X, Y = points("some near")
    kernel = 2.0 * NTK() * RBF(3.0) + 0.5 * NTK(sigma_b=0.0) + NNGP(sigma_b=0.3)
    expected = kernel(X.double(), Y.double()).to_dense()
    torch.testing.assert_close(tiles(kernel, X, Y).dense().double(), expected, rtol=0.0, atol=2e-5)
    _, bounds = quick_forms((kernel(X, Y).spec.total,))
    assert len(bounds) == 2  # two distances of directions; the polynomial holds everywhere
