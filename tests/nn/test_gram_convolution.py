"""Deep kernel machines on images: layers against explicit features, infinite networks, and gradients."""

import math

import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import NetworkKernel
from mercer.kernels.neural.layers import Conv, GlobalAvgPool, ReLU
from mercer.nn import (
    GramConvolution,
    GramKernel,
    GramLayer,
    GramOutput,
    GramPooling,
    GramStandardization,
    GramState,
    PatchesToGram,
    gram_objective,
)

DOUBLE = torch.float64


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def patches_of(images, size):
    """Patches (n, h, w, channels * size^2) with zeros beyond the border, one by one."""
    n, c, h, w = images.shape
    padded = torch.zeros(n, c, h + size - 1, w + size - 1, dtype=images.dtype)
    padded[:, :, size // 2 : size // 2 + h, size // 2 : size // 2 + w] = images
    rows = [padded[:, :, i : i + size, j : j + size].flatten(1) for i in range(h) for j in range(w)]
    return torch.stack(rows, 1).reshape(n, h, w, -1)


def state_of(F, Z):
    """Inner products of features of places (n, h, w, N) and of inducing points (P, N)."""
    return GramState(Z @ Z.mT, F @ Z.mT, F.square().sum(-1))


def assert_states_agree(found, expected):
    for name in ("ii", "ti", "t"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("channels", "size"), [(1, 3), (2, 3), (3, 1)])
def test_patches_are_inner_products_of_patches(channels, size):
    images, Z = draw(3, channels, 5, 4), draw(6, channels * size**2, seed=1)
    layer = PatchesToGram(Z, shape=(channels, 5, 4))
    with torch.no_grad():
        layer.log_scale.copy_(0.3 * draw(Z.shape[1], seed=2))
    scale = layer.log_scale.detach().exp() / Z.shape[1] ** 0.5
    expected = state_of(patches_of(images, size) * scale, Z * scale)
    assert_states_agree(layer(images), expected)
    assert_states_agree(layer(images.flatten(1)), expected)
    assert_states_agree(
        PatchesToGram(Z.reshape(6, channels, size, size), shape=(channels, 5, 4))(images),
        state_of(patches_of(images, size) / Z.shape[1] ** 0.5, Z / Z.shape[1] ** 0.5),
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_that_of_features_with_weights_of_their_own_for_each_offset(stride):
    n, h, w, N, P, Q, D = 2, 5, 6, 7, 4, 3, 9
    F, Z = draw(n, h, w, N), draw(P, N, seed=1)
    layer = GramConvolution(P, Q, stride=stride, dtype=DOUBLE, random_state=0)
    C = layer.coefficients.detach()  # (Q, P, 3, 3)
    # features of an infinitely wide layer: those of the neighbours, one block for each offset
    around = patches_of(F.movedim(-1, 1), 3).reshape(n, h, w, N, D).flatten(3)[:, ::stride, ::stride] / D**0.5
    made = torch.einsum("qpab,pf->qfab", C, Z).flatten(1) / D**0.5
    assert_states_agree(layer(state_of(F, Z)), state_of(around, made))


def test_pooling_is_the_mean_over_all_pairs_of_places():
    n, h, w, P = 3, 4, 5, 6
    F, Z = draw(n, h, w, 9), draw(P, 9, seed=1)
    state = state_of(F, Z)
    # the prior of all places given the inducing points: what these leave is independent
    B = state.ti.flatten(1, 2) @ torch.linalg.inv(state.ii)
    cross = B @ state.ii @ B.mT
    own = state.t.flatten(1) - cross.diagonal(dim1=1, dim2=2)
    t = (cross + torch.diag_embed(own)).mean((1, 2))
    pooled = GramPooling()(state)
    assert_states_agree(pooled, GramState(state.ii, state.ti.mean((1, 2)), t))
    assert_states_agree(GramPooling()(pooled), pooled)  # one place
    # where the inducing points span the features, it is the inner product of mean features
    spanned = state_of(draw(n, h, w, P), draw(P, P, seed=1))
    torch.testing.assert_close(GramPooling()(spanned).t, draw(n, h, w, P).mean((1, 2)).square().sum(1))


def test_without_what_inducing_points_leave_a_row_is_its_projection():
    state = state_of(draw(3, 4, 4, 9), draw(5, 9, seed=1))
    _, W, left = GramPooling(remainder=False)(state).whitened()
    assert float(left.abs().max()) < 1e-12
    torch.testing.assert_close(W, GramPooling()(state).whitened()[1])


def test_standardised_rows_are_differences_from_the_reference_in_units_of_its_spread():
    F, Z = draw(9, 5), draw(5, 5, seed=1)  # features that the inducing points span
    reference, rows = F[:4], F[4:]
    difference = reference - reference.mean(0)
    scale = (3.0 / difference.square().sum(1).mean()).sqrt()
    layer = GramStandardization(4, height=3.0, dtype=DOUBLE)
    found, expected = layer(state_of(F, Z)), state_of(scale * (rows - reference.mean(0)), scale * Z)
    assert_states_agree(found, expected)


def test_the_reference_comes_first():
    X, R, Z = draw(3, 16), draw(2, 16, seed=1), draw(6, 9, seed=2)
    with_reference = PatchesToGram(Z, shape=(1, 4, 4), reference=R)
    assert_states_agree(with_reference(X), PatchesToGram(Z, shape=(1, 4, 4))(torch.cat([R, X])))


def test_with_all_patches_inducing_it_is_the_kernel_of_an_infinite_network():
    images = draw(3, 2, 4, 4)
    inducing = patches_of(images, 3).flatten(0, 2)
    kernel = GramKernel("relu", jitter=1e-13, dtype=DOUBLE)
    network = torch.nn.Sequential(PatchesToGram(inducing, shape=(2, 4, 4)), kernel, GramPooling())
    _, W, left = network(images).whitened()
    layers = [Conv(3, padding="same", sigma_w=1.0, sigma_b=0.0), ReLU(), GlobalAvgPool()]
    expected = 2.0 * NetworkKernel(layers, "nngp", (2, 4, 4))(images).to_dense()  # "relu" keeps variances
    torch.testing.assert_close(W @ W.mT + torch.diag(left), expected, rtol=1e-5, atol=1e-6)


def network_of(dtype=DOUBLE):
    options = {"dtype": dtype}
    return torch.nn.Sequential(
        PatchesToGram(draw(6, 9).to(dtype), shape=(1, 4, 4), reference=draw(2, 16, seed=9)),
        GramKernel("relu", **options),
        GramConvolution(6, 5, stride=2, random_state=0, **options),
        GramLayer(5, nu=2.0, **options),
        GramKernel("rbf", **options),
        GramPooling(),
        GramStandardization(2, **options),
        GramOutput(5, 2, **options),
    )


def test_whole_networks_are_differentiable():
    network, images = network_of(), draw(3, 16, seed=3)
    parameters = tuple(p for p in network.parameters() if p.requires_grad)
    assert len(parameters) >= 9

    def objective(*values):
        names = [name for name, p in network.named_parameters() if p.requires_grad]
        mean, variance = torch.func.functional_call(network, dict(zip(names, values, strict=True)), (images,))
        return gram_objective(network, mean.sum(1) - variance, n_data=3)

    moved = [p.detach() + 0.1 * draw(*p.shape, seed=i) for i, p in enumerate(parameters)]
    assert torch.autograd.gradcheck(objective, [v.requires_grad_() for v in moved], fast_mode=True)
    mean, variance = network_of(torch.float32)(images.float())
    assert mean.dtype == variance.dtype == torch.float32
    assert network(images[:0])[0].shape == (0, 2)


def test_networks_are_the_same_for_the_same_seed():
    torch.manual_seed(0)
    one, two = (GramConvolution(3, random_state=4).coefficients for _ in range(2))
    assert torch.equal(one, two)
    assert math.isclose(float(GramConvolution(60, random_state=1).coefficients.detach().std()), 60**-0.5, rel_tol=0.02)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PatchesToGram(torch.ones(3, 4), shape=(1, 8, 8)), ShapeError, "patches of odd size"),
        (lambda: PatchesToGram(torch.ones(3, 9), shape=(2, 8, 8)), ShapeError, "for images of"),
        (lambda: PatchesToGram(torch.ones(3, 9), shape=(8, 8)), ShapeError, "for images of"),
        (lambda: PatchesToGram(torch.ones(3, 9), shape=(1, 8, 8))(torch.ones(2, 63)), ShapeError, "X must be images"),
        (
            lambda: PatchesToGram(torch.ones(3, 9), shape=(1, 8, 4))(torch.ones(2, 8, 4, 1)),
            ShapeError,
            "must be images",
        ),
        (lambda: GramConvolution(3, size=2), ValueError, "size must be odd"),
        (lambda: GramConvolution(3, stride=0), ValueError, "stride >= 1"),
        (
            lambda: GramConvolution(3)(GramState(torch.eye(3), torch.ones(2, 3), torch.ones(2))),
            ShapeError,
            r"must be \(n, h, w, 3\)",
        ),
        (lambda: GramStandardization(1), ValueError, "two rows or more"),
        (
            lambda: GramStandardization(3)(GramState(torch.eye(3), torch.ones(2, 3), torch.ones(2))),
            ShapeError,
            "of which the first 3",
        ),
        (
            lambda: GramConvolution(4)(GramState(torch.eye(3), torch.ones(2, 4, 4, 3), torch.ones(2, 4, 4))),
            ShapeError,
            "like its inducing points",
        ),
    ],
)
def test_wrong_sizes_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
