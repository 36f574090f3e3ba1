import numpy as np
import pytest
import torch

from mercer.kernels import RBF, SpectralMixture
from mercer.learn.pde.axis_kernel import AxisKernel, Gram

Z = torch.tensor([-1.3, -0.4, 0.0, 1e-9, 0.2, 2.5], dtype=torch.float64)


@pytest.mark.parametrize("envelope", ["student_t", "gaussian"])
def test_closed_forms_are_the_derivatives_of_the_kernel(envelope):
    kernel = SpectralMixture(2, weights=[0.7, 0.4], frequencies=[0.3, 1.1], lengthscale=[0.6, 1.7], envelope=envelope)
    for order in range(5):
        # samples of a Student-t mixture have two derivatives: four of the kernel, two a side
        left = min(order, 2)
        expected = kernel.derivative(left, order - left)(Z[:, None], torch.zeros(1, 1, dtype=torch.float64)).to_dense()
        expected = expected[:, 0] * (-1.0) ** (order - left)
        torch.testing.assert_close(AxisKernel.of(kernel)(Z, order), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_any_stationary_kernel_has_the_same_form(order):
    ours = AxisKernel.of(SpectralMixture(1, weights=[1.0], frequencies=[0.0], lengthscale=[0.8]))
    torch.testing.assert_close(AxisKernel.of(RBF(0.8))(Z, order), ours(Z, order), rtol=1e-9, atol=1e-12)
    assert float(AxisKernel.of(RBF(0.8)).variance()) == pytest.approx(1.0)


def test_lags_of_a_uniform_grid_give_the_same_matrix():
    kernel = AxisKernel.of(SpectralMixture(3, max_frequency=4.0, envelope="student_t"))
    x = torch.linspace(0.0, 2.0, 41, dtype=torch.float64)
    gram = Gram(x, x[::2])
    assert gram.z.numel() == 81  # lags in place of 41 * 21 differences
    for order in (0, 1, 2):
        expected = kernel(x[:, None] - x[None, ::2], order)
        torch.testing.assert_close(gram(kernel, order), expected, rtol=1e-9, atol=1e-9)


def test_points_anywhere_are_differenced_one_by_one():
    kernel = AxisKernel.of(SpectralMixture(3, max_frequency=4.0))
    x = torch.as_tensor(np.random.default_rng(0).uniform(size=12))
    gram = Gram(x, x)
    assert gram.z.numel() == 144
    torch.testing.assert_close(gram(kernel, 1), kernel(x[:, None] - x, 1))


def test_a_kernel_of_two_columns_is_refused():
    kernel = SpectralMixture(2, weights=[0.5, 0.5], frequencies=[[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match="one kernel for each axis"):
        AxisKernel.of(kernel)
