"""The paper's objective by Kronecker algebra against dense matrices, and its released result."""

import numpy as np
import pytest
import torch

from mercer.data import pde_benchmark
from mercer.kernels import SpectralMixture
from mercer.learn.pde import Laplacian, PDESolver, Power
from mercer.learn.pde.axis_kernel import AxisKernel, Gram
from mercer.learn.pde.domain import Domain
from mercer.learn.pde.equation import Equation
from mercer.learn.pde.joint import JITTER, Process, fit_jointly, joint_log_density
from mercer.learn.pde.text import parse_operator


def dense_log_density(process, equation, precisions, weight):
    """All matrices as they stand, 108 x 108."""
    kernels = [AxisKernel.of(k) for k in process.parameters.mixtures()]
    nodes = equation.domain.nodes
    K = [Gram(x, x)(k) + JITTER * torch.eye(len(x), dtype=torch.float64) for x, k in zip(nodes, kernels, strict=True)]
    whole = torch.kron(*K)
    U = process.values.detach().reshape(-1)
    value = torch.zeros_like(U)
    for p in equation.products:
        factors = [
            Gram(x, x)(k, o) @ torch.linalg.inv(Ki) if o else torch.eye(len(x), dtype=torch.float64)
            for x, k, Ki, o in zip(nodes, kernels, K, p.orders, strict=True)
        ]
        value = value + p.coefficient * (torch.kron(*factors) @ U)
    value = value + U**3 - equation.source.reshape(-1)
    table, off, count = U.reshape(equation.domain.shape), 0.0, 0
    for face in equation.boundary.faces:
        off = off + (table.select(face.axis, -face.side) - face.values).square().sum()
        count += face.values.numel()
    tau, v = precisions
    return (
        -0.5 * (torch.logdet(whole) + U @ torch.linalg.solve(whole, U))
        + weight * (0.5 * count * tau - 0.5 * tau.exp() * off)
        + 0.5 * len(U) * v
        - 0.5 * v.exp() * value.square().sum()
    )


@pytest.mark.parametrize("method", ["joint", "extra"])
def test_every_tensor_is_made_on_the_device_that_was_asked_for(method, monkeypatch):
    def u(X):
        return np.sin(3 * X[:, 0])

    def source(X):
        return u(X) ** 3 - 9 * u(X)

    domain, operator, kernels = [(0, 1)] * 2, Laplacian() + Power(3), [SpectralMixture(3)] * 2
    solver = PDESolver(operator, domain=domain, grid=(9, 8), method=method, max_iter=4, kernel=kernels)
    expected = solver.fit(source, u).values_
    equation = Equation.of(operator, Domain.of(domain, (9, 8)), source, u, faces="enough")
    numbers = SpectralMixture.hyperparameter

    def on_the_cpu(kernel, name):
        with torch.device("cpu"):
            return numbers(kernel, name)

    monkeypatch.setattr(SpectralMixture, "hyperparameter", on_the_cpu)
    with torch.device("meta"):  # where whatever names no device would be, and nothing could be computed
        found = fit_jointly(
            equation,
            kernels,
            boundary_weight=200.0,
            lr=0.01,
            max_iter=4,
            tol=1e-4,
            early_stopping=True,
            change_point=0.5 if method == "extra" else None,
            device="cpu",
        )
    np.testing.assert_allclose(found.values.numpy(), expected)


@pytest.mark.parametrize(
    ("device", "message"), [("meta", "method='collocation' is done on the CPU"), ("abacus", "device abacus: ")]
)
def test_a_device_that_a_method_does_not_have_is_refused(device, message):
    with pytest.raises(ValueError, match=message):
        PDESolver(Laplacian(), domain=(0, 1), grid=9, device=device).fit(1.0, (0.0, 0.0))


def test_kronecker_algebra_is_the_dense_objective():
    u = lambda X: np.sin(3 * X[:, 0]) * X[:, 1]  # noqa: E731
    operator = parse_operator("Laplacian() + 0.5 * D('x') * D('y') - D('y')") + Power(3)
    equation = Equation.of(operator, Domain.of([(0, 1)] * 2, (12, 9)), u, u, faces="enough")
    kernels = [SpectralMixture(3, max_frequency=2.0, lengthscale=0.05, envelope=e) for e in ("student_t", "gaussian")]
    process = Process([Gram(x, x) for x in equation.domain.nodes], kernels, (12, 9))
    with torch.no_grad():
        process.values.copy_(torch.randn(12, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    precisions = torch.tensor(0.3, dtype=torch.float64), torch.tensor(-0.2, dtype=torch.float64)
    found, _ = joint_log_density(process, equation, precisions, 200.0)
    expected = dense_log_density(process, equation, precisions, 200.0)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-10, atol=0.0)


@pytest.mark.slow(reason="96 steps of the paper's method on 400 nodes")
def test_the_released_error_after_96_steps_is_reproduced():
    # its log: 100 steps, the truth looked at after steps 1, 6, ..., 96, the least error is the last one's
    problem = pde_benchmark("poisson-sin")
    solver = PDESolver(
        problem.operator,
        domain=problem.domain,
        grid=problem.grid,
        kernel=SpectralMixture(30, max_frequency=20.0, envelope="student_t"),
        method="joint",
        max_iter=96,
        early_stopping=False,
    ).fit(problem.source, problem.boundary)
    assert problem.error(solver.predict(problem.test_points())) == pytest.approx(0.27562065, abs=1e-8)


def test_a_second_process_is_fitted_to_what_the_first_one_left():
    u = lambda X: np.sin(20 * X[:, 0])  # noqa: E731
    kernel = SpectralMixture(6, max_frequency=6.0, envelope="student_t")
    solver = PDESolver(Laplacian(), domain=(0, 1), grid=40, kernel=kernel, method="extra", max_iter=60, lr=0.05)
    seen = []
    solver.fit(lambda X: -400 * u(X), u, callback=lambda step, values, kernels: seen.append(values.numpy().copy()))
    assert len(solver.loss_curve_) == len(seen) == 60
    assert solver.loss_curve_[-1] < solver.loss_curve_[0]
    np.testing.assert_array_equal(solver.values_, seen[-1])  # of both processes together
    first = solver._function().values.numpy()  # frozen half way
    np.testing.assert_allclose(first, seen[29], rtol=1e-9, atol=1e-12)
    assert np.abs(seen[-1] - seen[29]).max() > 0.0


def test_early_stopping_needs_no_truth():
    solver = PDESolver(
        Laplacian(), domain=(0, 1), grid=20, kernel=SpectralMixture(2, max_frequency=1.0), method="joint", tol=0.9
    ).fit(1.0, (0.0, 0.0))
    assert solver.n_iter_ < 10_000
