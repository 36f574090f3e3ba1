"""Lengthscales carry the units of the points, and distances between neighbours far from the centre keep them."""

import pytest
import torch

from mercer.kernels import RBF


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.cases(lambda c: c.data == "real" and any(u in str(c.kernel(3).get_params()) for u in c.units))
def test_units_do_not_matter(case, factor, dtype):
    kernel = case.kernel(3)
    found = {h.path: h for h in kernel.hyperparameters() if h.path.endswith(case.units)}
    waves = {h.path: h.value / factor for h in kernel.hyperparameters() if h.path.endswith("frequencies")}
    scaled = kernel.with_values({path: h.value * factor for path, h in found.items()} | waves)
    X, Y = case.points(33, 3, dtype), case.points(17, 3, dtype, seed=1)
    for name in ("dense", "tiles"):
        # a power of 2 changes no digit
        expected = kernel(X, Y, plan=name) @ torch.eye(17, dtype=dtype) * factor**case.unit
        actual = scaled(X * factor, Y * factor, plan=name) @ torch.eye(17, dtype=dtype)
        torch.testing.assert_close(actual, expected, rtol=8 * torch.finfo(dtype).eps, atol=0.0)


def test_neighbours_on_a_long_line_keep_their_distance_in_float32():
    x = torch.tensor([0.0, 1.0, 2.5, 1e6, 1e6 + 1.0, 1e6 + 4.0]).reshape(-1, 1)
    expected = torch.exp(-0.5 * (x.double() - x.double().T).square())
    for plan in ("dense", "tiles"):
        K = RBF()(x, x.clone(), plan=plan) @ torch.eye(6)
        torch.testing.assert_close(K.double(), expected, rtol=1e-6, atol=1e-30)
