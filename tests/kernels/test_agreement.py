"""Target N1: every kernel, in every dtype and by every plan, is its float64 definition to round-off."""

import numpy as np
import pytest
import torch

from mercer.operators.plans import PLANS

SIZES = [(1, 1, 1, 1), (2, 7, 3, 3), (7, 63, 5, 17), (63, 2, 1, 1), (100, 129, 17, 3), (129, 100, 3, 1)]
DTYPES = [torch.float32, torch.float64]


def require_close(case, K, X, Y, v, result):
    """|K v - definition| <= 4 eps (2 + max |x / l|^2) ||K| |v||, everything in float64."""
    A, B = X.double().numpy(), Y.double().numpy()
    B = A if Y is X else B
    exact = case.define(A, B)
    bound = 4.0 * torch.finfo(X.dtype).eps * (2.0 + case.radius(A, B))
    size = np.linalg.norm(np.abs(exact) @ np.abs(v.double().numpy()))
    error = np.linalg.norm(result.double().numpy() - exact @ v.double().numpy())
    # Exponents end at -80, so what should be smaller than 1e-30 of the other factors may be as large as that.
    largest = (A.shape[1] * max(1.0, np.abs(A).max(initial=0.0), np.abs(B).max(initial=0.0))) ** case.degree
    floor = 1e-30 * largest * np.sqrt(len(A)) * np.abs(v.double().numpy()).sum() + 1e-300
    assert error <= bound * size + floor, f"{error:.2e} is {error / (size + floor):.2e} against {bound:.2e}"


def applicable(K):
    for name, plan in PLANS.items():
        if plan.applies(K._request(K._operands()[0])) is None:
            yield name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("n", "m", "d", "t"), SIZES)
def test_products_and_dense_matrices_agree_with_the_definition(case, n, m, d, t, dtype):
    d = max(d, case.width)
    kernel = case.kernel(d)
    X, Y = case.points(n, d, dtype), case.points(m, d, dtype, seed=1)
    for left, right in ((X, X), (X, Y)):
        K = kernel(X) if right is X else kernel(X, Y)
        v = torch.randn(len(right), t, dtype=torch.float64).to(dtype)
        for name in applicable(K):
            result = K.with_plan(name) @ v
            assert result.dtype == dtype
            require_close(case, K, left, right, v, result)
        require_close(case, K, left, right, torch.eye(len(right), dtype=dtype), K.to_dense())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.cases(lambda c: c.centred and c.data == "real")
def test_data_far_off_centre_loses_nothing(case, dtype):
    X = (case.points(63, 3) + 1e4).to(dtype)
    Y = (case.points(29, 3, seed=1) + 1e4).to(dtype)
    v = torch.randn(63, 2, dtype=torch.float64).to(dtype)
    for name in ("dense", "tiles"):
        require_close(case, None, X, X, v, case.kernel(3)(X, plan=name) @ v)
        require_close(case, None, Y, X, v, case.kernel(3)(Y, X, plan=name) @ v)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 30.0, 1e6])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.cases(lambda c: c.data == "real")
def test_data_of_any_scale_stays_within_the_bound(case, scale, dtype):
    X, Y = (case.points(33, 3) * scale).to(dtype), (case.points(17, 3, seed=1) * scale).to(dtype)
    if dtype == torch.float32 and scale**case.degree > 1e30:
        pytest.skip("the values themselves pass the largest float32")
    v = torch.randn(33, 2, dtype=torch.float64).to(dtype)
    for name in ("dense", "tiles"):
        require_close(case, None, X, X, v, case.kernel(3)(X, plan=name) @ v)
        require_close(case, None, Y, X, v, case.kernel(3)(Y, X, plan=name) @ v)


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.cases(lambda c: c.data == "real" and any(u in str(c.kernel(3).get_params()) for u in c.units))
def test_units_do_not_matter(case, factor, dtype):
    kernel = case.kernel(3)
    found = {h.path: h for h in kernel.hyperparameters() if h.path.endswith(case.units)}
    scaled = kernel.with_values({path: h.value * factor for path, h in found.items()})
    X, Y = case.points(33, 3, dtype), case.points(17, 3, dtype, seed=1)
    for name in ("dense", "tiles"):
        # a power of 2 changes no digit
        expected = kernel(X, Y, plan=name) @ torch.eye(17, dtype=dtype)
        actual = scaled(X * factor, Y * factor, plan=name) @ torch.eye(17, dtype=dtype)
        torch.testing.assert_close(actual, expected, rtol=8 * torch.finfo(dtype).eps, atol=0.0)


@pytest.mark.slow("a thousand points pass through several tiles")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_thousand_points_agree_with_the_definition(case, dtype):
    X = case.points(1000, 3, dtype)
    v = torch.randn(1000, 3, dtype=torch.float64).to(dtype)
    require_close(case, None, X, X, v, case.kernel(3)(X, plan="tiles") @ v)


def test_neighbours_on_a_long_line_keep_their_distance_in_float32():
    from mercer.kernels import RBF

    x = torch.tensor([0.0, 1.0, 2.5, 1e6, 1e6 + 1.0, 1e6 + 4.0]).reshape(-1, 1)
    expected = torch.exp(-0.5 * (x.double() - x.double().T).square())
    for plan in ("dense", "tiles"):
        K = RBF()(x, x.clone(), plan=plan) @ torch.eye(6)
        torch.testing.assert_close(K.double(), expected, rtol=1e-6, atol=1e-30)


def test_the_size_of_tiles_changes_the_result_by_round_off_only(case, monkeypatch):
    X, Y = case.points(129, 3), case.points(100, 3, seed=1)
    v, w = torch.randn(129, 2, dtype=torch.float64), torch.randn(100, 2, dtype=torch.float64)
    monkeypatch.setattr("mercer.operators.tiles.tile_shape", lambda *a: (17, 23))
    kernel = case.kernel(3)
    require_close(case, None, X, X, v, kernel(X, plan="tiles") @ v)
    require_close(case, None, X, Y, w, kernel(X, Y, plan="tiles") @ w)
    require_close(case, None, X, X, torch.eye(129, dtype=torch.float64), kernel(X).to_dense())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_come_back_as_they_went_in(case, dtype):
    X = case.points(9, 3, dtype)
    v = torch.ones(9, dtype=dtype)
    result = case.kernel(3)(X) @ v
    assert result.dtype == dtype
    A = X.double().numpy()
    np.testing.assert_allclose(result.double().numpy(), case.define(A, A).sum(1), rtol=torch.finfo(dtype).eps)
