import pytest
import torch

from mercer.errors import MissingExtra
from mercer.kernels import RBF, ArcCosine, Linear, Matern, White
from mercer.operators import plan
from mercer.operators.fourier import found

KERNELS = [
    2.0 * RBF(0.4) + 0.1 * White(),
    Matern([0.5, 0.8], nu=2.5),
    RBF(0.5) * Matern([0.6, 0.9], nu=3.5) + 0.5 * RBF(0.3),
]


def points(n, d=2, dtype=torch.float64, seed=0):
    return torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype) + 10.0


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-7)])
def test_products_are_within_the_tolerance_and_as_predicted(kernel, dtype, tolerance):
    X, Y = points(300, dtype=dtype), points(200, dtype=dtype, seed=1)
    for K in (kernel(X), kernel(X, Y)):
        fast = K.with_plan("fourier", tolerance=tolerance)
        exact = K.double().to_dense()
        for v in (torch.randn(K.shape[-1], 3, dtype=dtype), torch.ones(K.shape[-1], 1, dtype=dtype)):
            error = float(((fast @ v).double() - exact @ v.double()).norm() / (exact @ v.double().abs()).norm())
            assert error <= tolerance
            assert error <= 2 * fast.plan.error


@pytest.mark.parametrize("kernel", KERNELS[1:], ids=str)
@pytest.mark.parametrize("same", [True, False])
def test_gradients_agree_with_those_of_tiles(kernel, same):
    found = []
    for name in ("fourier", "tiles"):
        X, v = points(40).requires_grad_(), torch.ones(40, 3, dtype=torch.float64).cumsum(0).requires_grad_()
        K = kernel(X) if same else kernel(X, points(40, seed=1).requires_grad_())
        theta = [t.clone().requires_grad_() for t in K.theta]
        K = K._like(*([X] if same else [X, K.Y]), *theta, forced=name, tolerance=1e-8)
        leaves = [X, v, *theta] if same else [X, K.Y, v, *theta]
        found.append(torch.autograd.grad((K @ v).square().sum(), leaves))
    for ours, tiles in zip(*found, strict=True):
        assert float((ours - tiles).norm()) <= 1e-6 * float(tiles.norm())


def test_transforms_are_planned_once(monkeypatch):
    K = KERNELS[0](points(50)).with_plan("fourier", tolerance=1e-6)
    v = torch.ones(50, 1, dtype=torch.float64)
    first = K @ v
    monkeypatch.setattr("mercer.operators.plans.fourier.FourierProduct", None)
    torch.testing.assert_close(K @ v, first)


@pytest.mark.parametrize("kernel", [KERNELS[1], KERNELS[2]], ids=str)
def test_points_are_looked_at_once_for_plans_and_products(kernel, monkeypatch):
    looks, real = [], found._look
    monkeypatch.setattr(found, "_look", lambda of_map: looks.append(of_map) or real(of_map))
    K = kernel(points(60)).with_plan("fourier", tolerance=1e-6)
    assert K.plan.name == plan(K, columns=3, products=5).name == "fourier"
    K @ torch.ones(60, 2, dtype=torch.float64)
    assert len(looks) == 1
    K.X.mul_(0.9)  # other points: they are looked at again
    exact = K.to_dense()
    torch.testing.assert_close(K @ torch.eye(60, dtype=torch.float64), exact, rtol=0, atol=1e-5)
    assert len(looks) == 2


def test_points_of_a_rough_kernel_have_the_gradient_of_tiles():
    X = points(30, 1).requires_grad_()
    v = torch.ones(30, 1, dtype=torch.float64)
    grads = [
        torch.autograd.grad((Matern(1.0, nu=0.5)(X).with_plan(name, tolerance=1e-2) @ v).sum(), X)[0]
        for name in ("fourier", "tiles")
    ]
    torch.testing.assert_close(*grads)


def test_large_smooth_kernels_are_planned_this_way_and_small_ones_not():
    large = RBF(0.3)(points(40_000, 3, torch.float32))
    chosen = plan(large._like(*large._args, tolerance=1e-5))
    assert chosen.name == "fourier"
    assert "modes, entries right to" in chosen.reason
    small = RBF(0.3)(points(2000, 3, torch.float32))
    assert plan(small._like(*small._args, tolerance=1e-5)).name != "fourier"


def test_solutions_come_from_weight_space():
    K = RBF(0.4)(points(400)).with_plan("fourier", tolerance=1e-8)
    y = torch.randn(400, 1, dtype=torch.float64)
    found = K.direct()
    noise = torch.tensor(0.1, dtype=torch.float64)
    assert found is not None
    assert found.applies(noise) is None
    M = K.to_dense() + 0.1 * torch.eye(400, dtype=torch.float64)
    torch.testing.assert_close(found.solve(y, noise), torch.linalg.solve(M, y), rtol=1e-5, atol=1e-5)
    assert Matern(0.02, nu=1.5)(points(100)).with_plan("fourier", tolerance=1e-2).direct() is None


@pytest.mark.parametrize(
    ("kernel", "d", "tolerance", "match"),
    [
        (RBF() + Linear(), 2, 1e-6, "not stationary"),
        (ArcCosine(0), 2, 1e-3, "not stationary"),  # a function of an angle, which is 0 at coincident points too
        (RBF(), 4, 1e-6, "up to 3 coordinates"),
        (RBF(), 2, None, "Give a tolerance"),
        (Matern(0.1, nu=0.5), 3, 1e-3, "modes .* Use plan=.tiles. or a larger tolerance"),
    ],
    ids=["Linear", "angle", "d = 4", "round-off", "rough"],
)
def test_where_it_does_not_apply_it_says_why(kernel, d, tolerance, match):
    with pytest.raises(ValueError, match=match):
        kernel(points(200, d)).with_plan("fourier", tolerance=tolerance)


def test_without_finufft_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("mercer.operators.plans.fourier.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'mercer\[fourier\]'"):
        RBF()(points(20)).with_plan("fourier", tolerance=1e-6)
