"""Lengthscales carry the units of the points."""

import pytest
import torch


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.cases(lambda c: c.data == "real" and "lengthscale" in str(c.kernel(3).get_params()))
def test_units_do_not_matter(case, factor, dtype):
    kernel = case.kernel(3)
    found = {h.path: h for h in kernel.hyperparameters() if h.path.endswith("lengthscale")}
    waves = {h.path: h.value / factor for h in kernel.hyperparameters() if h.path.endswith("frequencies")}
    scaled = kernel.with_values({path: h.value * factor for path, h in found.items()} | waves)
    X, Y = case.points(33, 3, dtype), case.points(17, 3, dtype, seed=1)
    for name in ("dense", "tiles"):
        # a power of 2 changes no digit
        expected = kernel(X, Y, plan=name) @ torch.eye(17, dtype=dtype) * factor**case.unit
        actual = scaled(X * factor, Y * factor, plan=name) @ torch.eye(17, dtype=dtype)
        torch.testing.assert_close(actual, expected, rtol=8 * torch.finfo(dtype).eps, atol=0.0)
