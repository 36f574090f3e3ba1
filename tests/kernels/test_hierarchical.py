"""Kernels of patches against their definitions, the networks they stand for, and exact spectra."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.special import eval_gegenbauer

from mercer.data import gaussian_field, multisphere
from mercer.errors import MemoryBudgetError, ShapeError
from mercer.kernels import (
    NTK,
    RBF,
    HierarchicalConv,
    LocalPatches,
    White,
    gram_spectrum,
    hierarchical_spectrum,
    multisphere_spectrum,
    parse,
    to_text,
    torus_spectrum,
)
from mercer.testing import check_kernel

DOUBLE = torch.float64


def angle_functions(t):
    t = np.clip(t, -1.0, 1.0)
    rest = np.pi - np.arccos(t)
    return rest / np.pi, (np.sqrt(1.0 - t * t) + rest * t) / np.pi


def by_layers(X, Y, filters, kind):
    """All patches at once, layer by layer, as the official code does."""
    A, B = (Z.reshape(len(Z), -1, filters[0]) for Z in (X, Y))
    A, B = (Z / np.linalg.norm(Z, axis=-1, keepdims=True) for Z in (A, B))
    S = np.einsum("ipk,jpk->pij", A, B)
    T = S
    for layer in range(1, len(filters) + 1):
        children = filters[layer] if layer < len(filters) else len(S)
        k0, k1 = angle_functions(S)
        mean = [v.reshape(-1, children, *S.shape[1:]).mean(1) for v in (k1, k0 * T)]
        S, T = mean[0], mean[1] + mean[0]
    return (T if kind == "ntk" else S)[0]


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize(("filters", "d"), [((2, 2, 2), 8), ((2, 2), 8), ((3, 2), 12), ((2,), 6), ((2, 2, 2), 16)])
def test_kernels_are_those_of_the_official_code(filters, d, kind):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(7, d)), rng.normal(size=(5, d))
    K = HierarchicalConv(filters, kind)(X, Y).to_dense().numpy()
    np.testing.assert_allclose(K, by_layers(X, Y, filters, kind), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "erf"])
@pytest.mark.parametrize(("ndim", "d"), [(1, 8), (2, 64)])
def test_kernels_are_those_of_the_network(ndim, d, activation):
    kernel = HierarchicalConv((2, 2), ndim=ndim, activation=activation)
    X = torch.randn(5, d, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    tree, columns = kernel.hierarchy(d)
    unit = X.clone()  # the same points with patches of norm 1
    patches = X[:, list(columns)].unflatten(1, (-1, tree.width))
    unit[:, list(columns)] = torch.nn.functional.normalize(patches, dim=-1).flatten(1)
    torch.testing.assert_close(kernel(X).to_dense(), kernel.network(d).ntk(unit).to_dense(), rtol=1e-11, atol=1e-12)


def by_layers_with_norms(X, Y, filters, kind):
    """The same with patches as they are: k1 times the norms of both nodes, k0 of their cosine."""
    A, B = (Z.reshape(len(Z), -1, filters[0]) for Z in (X, Y))
    S = np.einsum("ipk,jpk->pij", A, B)
    p, q = np.square(A).sum(-1).T[:, :, None], np.square(B).sum(-1).T[:, None, :]
    T = S
    for layer in range(1, len(filters) + 1):
        children = filters[layer] if layer < len(filters) else len(S)
        norms = np.sqrt(p * q)
        k0, k1 = angle_functions(S / norms)
        S, T, p, q = (v.reshape(-1, children, *v.shape[1:]).mean(1) for v in (norms * k1, k0 * T, p, q))
        T = T + S
    return (T if kind == "ntk" else S)[0]


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize(("filters", "d"), [((2, 2, 2), 8), ((3, 2), 12), ((2,), 6), ((2, 2, 2), 16)])
def test_patches_keep_their_norms_where_they_are_not_normalised(filters, d, kind):
    rng = np.random.default_rng(1)
    X, Y = 3.0 * rng.normal(size=(7, d)), rng.normal(size=(5, d))
    kernel = HierarchicalConv(filters, kind, normalize=False)
    np.testing.assert_allclose(kernel(X, Y).to_dense(), by_layers_with_norms(X, Y, filters, kind), rtol=1e-12)
    # arccos loses half of the digits of a point with itself
    np.testing.assert_allclose(kernel(X).diagonal(), by_layers_with_norms(X, X, filters, kind).diagonal(), rtol=1e-7)
    network = kernel.network(d)
    expected = (network.ntk if kind == "ntk" else network.nngp)(X, Y).to_dense()
    np.testing.assert_allclose(kernel(X, Y).to_dense(), expected, rtol=1e-11)
    squared = HierarchicalConv(filters, kind, power=2, normalize=False)
    np.testing.assert_allclose(squared(X, Y).to_dense(), expected**2, rtol=1e-10)


def test_norms_with_an_activation_that_bends_with_them_images_and_patches_of_zeros():
    kernel = HierarchicalConv((2, 2), ndim=2, activation="erf", channels=2, normalize=False)
    images = torch.randn(5, 2, 8, 8, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    images[0, :, :2, :2] = 0.0
    expected = kernel.network(128).ntk(images).to_dense()
    torch.testing.assert_close(kernel(images).to_dense(), expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(kernel(images).diagonal(), expected.diagonal(), rtol=1e-11, atol=1e-12)
    K = HierarchicalConv((2,), normalize=False)(torch.tensor([[0.0, 0.0], [1.0, 1.0]])).to_dense()
    torch.testing.assert_close(K, torch.tensor([[0.0, 0.0], [0.0, 4.0]]))


def test_of_patches_of_norm_1_both_are_the_same():
    X = multisphere(6, 4, 2)
    expected = HierarchicalConv((2, 2))(X).to_dense()
    torch.testing.assert_close(HierarchicalConv((2, 2), normalize=False)(X).to_dense(), expected)


def test_a_point_with_itself_is_one_and_the_number_of_layers_and_one():
    X = torch.rand(4, 16) + 0.1
    for depth in (1, 2, 3, 4):
        filters = (2,) * depth
        torch.testing.assert_close(HierarchicalConv(filters)(X).diagonal(), torch.full((4,), depth + 1.0))
        torch.testing.assert_close(HierarchicalConv(filters, "nngp")(X).to_dense().diagonal(), torch.ones(4))
    squared = HierarchicalConv((2, 2), power=2)(X).to_dense()
    torch.testing.assert_close(squared, HierarchicalConv((2, 2))(X).to_dense() ** 2)


def test_sectors_of_the_spectrum():
    kernel = HierarchicalConv((2, 2))
    values, sectors = torus_spectrum(kernel, (16, 16, 16, 16))
    assert np.abs(values[sectors == -1]).max() < 1e-14 < 1e-3 < values[1, 1, 0, 0]
    assert [kernel.sector_of(k) for k in ([0] * 4, [0, 2, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0])] == [0, 1, 2, None]
    assert kernel.effective_dimensions == (1, 2)
    assert (kernel.smoothness, HierarchicalConv((2,), "nngp").smoothness) == (0.5, 1.5)


def test_eigenvalues_of_data_are_near_those_of_the_torus():
    kernel = HierarchicalConv((2, 2))
    exact = np.sort(torus_spectrum(kernel, (16, 16))[0].ravel())[::-1]
    found = gram_spectrum(kernel, multisphere(1500, 2, 2))
    np.testing.assert_allclose(found[:9], exact[:9], rtol=0.15)  # 1 / sqrt(1500), times a few
    with pytest.raises(ValueError, match="patches have to be pairs"):
        torus_spectrum(HierarchicalConv((3,)), (8,))


@pytest.mark.parametrize("name", ["psd", "symmetry", "transpose", "text", "parameters", "gradients_dense", "tile_size"])
@pytest.mark.parametrize("kernel", [HierarchicalConv((2, 2)), LocalPatches(RBF(), 3, 2, True, "wrap")], ids=repr)
def test_they_have_the_properties_of_kernels(kernel, name):
    check_kernel(kernel, d=8, properties=[name])


@pytest.mark.parametrize("name", ["psd", "symmetry", "text", "gradients_dense"])
def test_with_norms_they_have_them_too(name):
    check_kernel(HierarchicalConv((2, 2), normalize=False), d=8, properties=[name])


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("boundary", ["valid", "wrap"])
def test_local_kernels_are_means_over_patches(share, boundary):
    X, Y = torch.randn(4, 6, dtype=DOUBLE), torch.randn(3, 6, dtype=DOUBLE)
    starts = range(0, 6 if boundary == "wrap" else 4, 2)
    P, Q = (torch.stack([Z[:, [(s + j) % 6 for j in range(3)]] for s in starts], 1) for Z in (X, Y))
    squares = (P[:, :, None, None] - Q[None, None]).square().sum(-1)  # (n, i, m, j)
    K = torch.exp(-0.5 * squares)
    expected = K.mean((1, 3)) if share else torch.stack([K[:, i, :, i] for i in range(len(starts))]).mean(0)
    found = LocalPatches(RBF(), 3, stride=2, share=share, boundary=boundary)(X, Y).to_dense()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: HierarchicalConv(()), ValueError, "whole number >= 1 a layer"),
        (lambda: HierarchicalConv(kind="ck"), ValueError, "one of ntk, nngp"),
        (lambda: HierarchicalConv(ndim=3), ValueError, "1 axis"),
        (lambda: HierarchicalConv(power=0), ValueError, "whole number >= 1"),
        (lambda: HierarchicalConv(normalize="no"), ValueError, "True or False"),
        (lambda: HierarchicalConv(zero_patches="skip"), ValueError, "'raise' or 'unit'"),
        (lambda: HierarchicalConv(shape=(2, 2)), ValueError, "as ndim says"),
        (lambda: HierarchicalConv()(torch.ones(2, 12)), ShapeError, "Change the filters, or crop or pad"),
        (lambda: HierarchicalConv((2,), ndim=2)(torch.ones(2, 8)), ShapeError, "Give shape"),
        (lambda: HierarchicalConv()(torch.eye(8)), ValueError, r"row 0, patch 1\).*zero_patches='unit'"),
        (lambda: LocalPatches(RBF(), 0), ValueError, "whole number >= 1"),
        (lambda: LocalPatches(RBF(), 2, boundary="zero"), ValueError, "'valid' or 'wrap'"),
        (lambda: LocalPatches(RBF(), 4)(torch.ones(2, 3)), ShapeError, "smaller size"),
        (lambda: LocalPatches(White(), 2)(torch.ones(2, 3)), ValueError, "white noise"),
        (lambda: multisphere(0, 1, 1), ValueError, "whole number >= 1"),
        (lambda: multisphere(5.0, 4, 2), ValueError, "whole number >= 1"),
        (lambda: multisphere(5, 4, 2, -1), ValueError, "random_state must be 0 or more"),
        (lambda: multisphere(5, 4, 2, "a"), TypeError, "random_state must be an int"),
        (lambda: gaussian_field(RBF(), torch.eye(3), 0), ValueError, "whole number >= 1"),
        (lambda: gaussian_field(torch.full((3, 3), torch.nan), torch.eye(3)), ValueError, "contains NaN"),
        (lambda: HierarchicalConv((2, 2))(torch.ones(5, 2, 8)), ShapeError, "channels=1, ndim=1, shape=None"),
        (lambda: HierarchicalConv((2,), ndim=2)(torch.ones(5, 3, 4, 4)), ShapeError, "channels=1, ndim=2"),
        (lambda: HierarchicalConv((2,), ndim=2)(torch.ones(5, 4, 4)), ShapeError, "channels=1, ndim=2"),
        (
            lambda: HierarchicalConv((2,), ndim=2, shape=(4, 8))(torch.ones(5, 1, 8, 4)),
            ShapeError,
            r"ndim=2, shape=\(4, 8\)",
        ),
        (lambda: HierarchicalConv(ndim=1.0), ValueError, "1 axis"),
        (lambda: HierarchicalConv().sector_of(5), ValueError, "a whole number a patch"),
        (lambda: HierarchicalConv().sector_of([1.5, 0, 0, 0]), ValueError, "a whole number a patch"),
        (lambda: HierarchicalConv(power=2).network(8), ValueError, "Set power=1"),
        (lambda: HierarchicalConv(power=2).finite(4, 8), ValueError, "Set power=1"),
        (lambda: HierarchicalConv((2, 2)).finite(4, 8)(torch.ones(2, 9)), ShapeError, "rows of 8 numbers"),
        (lambda: HierarchicalConv((2, 2)).finite(4, 8, random_state="a"), TypeError, "must be an int"),
        (lambda: torus_spectrum(HierarchicalConv((2, 2)), 16), ValueError, "one whole number >= 1 a patch"),
        (lambda: torus_spectrum(HierarchicalConv((2, 2)), (1024,) * 4), MemoryBudgetError, "or half=True"),
    ],
)
def test_bad_input_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_zero_patches_may_be_constants():
    K = HierarchicalConv((2,), zero_patches="unit")(torch.tensor([[0.0, 0.0], [1.0, 1.0]])).to_dense()
    torch.testing.assert_close(K, torch.full((2, 2), 2.0))


def test_fields_have_the_covariance_of_their_kernel():
    X = multisphere(6, 2, 2)
    kernel = HierarchicalConv((2, 2), "nngp")
    F = gaussian_field(kernel, X, n_functions=20_000)
    np.testing.assert_allclose(F @ F.T / 20_000, kernel(X).to_dense().numpy(), atol=0.05)
    np.testing.assert_array_equal(gaussian_field(kernel(X).to_dense(), X), gaussian_field(kernel, X))
    with pytest.raises(ShapeError, match="6 points have a matrix of 6 rows"):
        gaussian_field(torch.eye(3), X)


@pytest.mark.parametrize(("filters", "sizes"), [((2,), (5,)), ((2, 2), (4, 5, 6, 7)), ((2, 2, 2), (7, 8, 1, 6))])
def test_eigenvalues_on_the_torus_are_the_fourier_coefficients_of_all_values(filters, sizes):
    kernel = HierarchicalConv(filters)
    angles = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in sizes), indexing="ij")
    points = np.stack([part.ravel() for angle in angles for part in (np.cos(angle), np.sin(angle))], 1)
    origin = np.tile([1.0, 0.0], len(sizes))[None]
    values = kernel(torch.from_numpy(points), torch.from_numpy(origin)).to_dense().numpy().reshape(sizes)
    found, _ = torus_spectrum(kernel, sizes)
    np.testing.assert_allclose(found, np.fft.fftn(values).real / values.size, atol=1e-14)


def test_half_of_the_frequencies_are_those_of_all_and_blocks_change_nothing(monkeypatch):
    kernel = HierarchicalConv((2, 2))
    values, sectors = torus_spectrum(kernel, (8, 9, 4, 5))
    half, labels = torus_spectrum(kernel, (8, 9, 4, 5), half=True)
    np.testing.assert_array_equal(half, values[:5, :5, :3, :3])
    np.testing.assert_array_equal(labels, sectors[:5, :5, :3, :3])
    monkeypatch.setattr(hierarchical_spectrum, "BLOCK", 40)
    np.testing.assert_allclose(torus_spectrum(kernel, (8, 9, 4, 5), half=True)[0], half, rtol=0, atol=1e-16)


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_circles_are_spheres_of_patches_of_two(kind):
    kernel = HierarchicalConv((2, 2), kind)
    values, sectors = multisphere_spectrum(kernel, (5, 3), n_nodes=64)
    expected, labels = torus_spectrum(kernel, (1024, 1024), half=True)
    np.testing.assert_allclose(values, expected[:5, :3], rtol=0, atol=1e-6)  # what the grid folds back
    np.testing.assert_array_equal(sectors, labels[:5, :3])


@pytest.mark.parametrize("width", [3, 4, 6])
def test_eigenvalues_of_one_patch_are_moments_of_gegenbauer_polynomials(width):
    def weight(a):
        return np.sin(a) ** (width - 2)

    def weighted(a, k):
        return angle_functions(np.cos(a))[1] * eval_gegenbauer(k, width / 2 - 1, np.cos(a)) * weight(a)

    def moment(k):
        return quad(weighted, 0, np.pi, args=(k,))[0] / quad(weight, 0, np.pi)[0]

    values, _ = multisphere_spectrum(HierarchicalConv((width,), "nngp"), (6,))
    expected = [moment(k) / eval_gegenbauer(k, width / 2 - 1, 1.0) for k in range(6)]
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_eigenvalues_of_spheres_sum_to_the_kernel_at_equal_points_and_are_those_of_data():
    kernel = HierarchicalConv((3, 2), "nngp")
    values, sectors = multisphere_spectrum(kernel, (30, 30, 2, 2), n_nodes=60)  # two top nodes
    assert np.abs(values[sectors == -1]).max() < 1e-15 < 1e-3 < values[1, 1, 0, 0]
    harmonics = 2 * np.arange(30) + 1
    of_one = harmonics @ values[:, :, 0, 0] @ harmonics - values[0, 0, 0, 0]
    assert 2.0 * of_one + values[0, 0, 0, 0] == pytest.approx(1.0, abs=1e-3)  # the rest has degrees beyond 29

    one, _ = multisphere_spectrum(kernel, (6, 6))
    exact = np.sort(np.repeat(one.ravel(), np.outer(harmonics[:6], harmonics[:6]).ravel()))[::-1]
    found = gram_spectrum(kernel, multisphere(1500, 2, 3))
    np.testing.assert_allclose(found[:16], exact[:16], rtol=0.15)  # 1 / sqrt(1500), times a few


def test_spectra_that_cannot_be_computed_are_refused():
    with pytest.raises(ValueError, match="are one number, which is no sphere"):
        multisphere_spectrum(HierarchicalConv((1, 2)), (3, 3))
    with pytest.raises(ValueError, match="n_nodes=8 do not resolve degrees up to 4; give at least 10"):
        multisphere_spectrum(HierarchicalConv((3,)), (5,), n_nodes=8)
    raw = HierarchicalConv((2, 2), normalize=False)
    for spectrum in (torus_spectrum, multisphere_spectrum):
        with pytest.raises(ValueError, match=r"is that of patches of norm 1, but HierarchicalConv.*normalize=True"):
            spectrum(raw, (4, 4))
    with pytest.raises(ValueError, match="one whole number >= 1 a patch"):
        torus_spectrum(HierarchicalConv((2, 2)), (8, 0))
    with pytest.raises(ShapeError, match="do not divide"):
        multisphere_spectrum(HierarchicalConv((3, 2)), (3, 3, 3))


def test_images_tell_their_shape():
    X, Y = torch.randn(5, 1, 4, 16), torch.randn(3, 1, 4, 16)
    told = HierarchicalConv((2, 2), ndim=2, shape=(4, 16))
    torch.testing.assert_close(
        HierarchicalConv((2, 2), ndim=2)(X, Y).to_dense(), told(X.flatten(1), Y.flatten(1)).to_dense()
    )


@pytest.mark.parametrize("random_state", [np.random.default_rng(0), np.random.RandomState(0), np.int64(1), None])
def test_networks_take_every_random_state_and_rows(random_state):
    network = HierarchicalConv((2, 2), ndim=2).finite(4, 16, random_state=random_state)
    images = torch.randn(3, 1, 4, 4)
    torch.testing.assert_close(network(images.flatten(1)), network(images))


def test_tables_texts_and_whole_numbers_of_numpy_are_taken():
    kernel, X = HierarchicalConv(np.array([2, 2]), power=np.int64(2)), multisphere(6, 4, 2)
    assert parse(to_text(kernel)) == HierarchicalConv((2, 2), power=2)
    assert parse(to_text(NTK(depth=np.int64(2)))) == NTK(depth=2)
    table = pd.DataFrame(X)
    np.testing.assert_allclose(gaussian_field("RBF()", table), gaussian_field(RBF(), X))
    np.testing.assert_allclose(gram_spectrum("RBF()", table), gram_spectrum(RBF(), X))
    draws = [multisphere(5, 4, 2, torch.Generator().manual_seed(1)) for _ in range(2)]
    np.testing.assert_array_equal(*draws)


def test_patches_are_counted_and_networks_drawn_for_points_of_so_many_columns():
    kernel = HierarchicalConv((2, 2), ndim=2, channels=3)
    assert kernel.n_patches(3 * 64) == 16
    network = kernel.finite(8, 3 * 64, random_state=0)
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(network(images), kernel.network(3 * 64).finite(8, random_state=0)(images))
    with pytest.raises(ShapeError, match="do not divide"):
        kernel.n_patches(3 * 36)
