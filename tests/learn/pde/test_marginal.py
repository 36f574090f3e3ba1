"""The process conditioned on the equation: against a dense solve of kernel derivatives, draws, and closed forms."""

import numpy as np
import pytest
import torch

from mercer.kernels import RBF, SpectralMixture
from mercer.learn.pde import D, Field, Identity, Laplacian, PDESolver, Power, Unknown
from mercer.learn.pde.functionals import Functionals, Part, covariance
from mercer.learn.pde.marginal import FunctionalPosterior, learn_kernels, round_off

KERNEL = SpectralMixture(2, weights=[0.6, 0.4], frequencies=[0.0, 1.5], lengthscale=[0.4, 0.6], envelope="student_t")
ONE = torch.ones((), dtype=torch.float64)


def wave(X):
    return np.sin(20 * X[:, 0])


def test_mean_and_deviation_are_those_of_a_dense_solve():
    # u'' + 3 u = f at 12 nodes and u at both ends, all written out with Kernel.derivative
    x = torch.linspace(0.0, 1.0, 12, dtype=torch.float64)[:, None]
    ends, new = x[[0, -1]], torch.tensor([[0.13], [0.61]], dtype=torch.float64)
    f = torch.cos(5 * x[:, 0])

    def k(p, q, a, b):
        return (KERNEL if p == q == 0 else KERNEL.derivative(p, q))(a, b).to_dense()

    def against_equation(a):
        return k(0, 2, a, x) + 3 * k(0, 0, a, x)

    corner = k(2, 2, x, x) + 3 * k(2, 0, x, x) + 3 * k(0, 2, x, x) + 9 * k(0, 0, x, x)
    size = float(f.square().mean().sqrt())
    K = torch.cat(
        [
            torch.cat([corner / size**2, against_equation(ends).mT / size], 1),
            torch.cat([against_equation(ends) / size, k(0, 0, ends, ends)], 1),
        ]
    )
    y = torch.cat([f / size, torch.tensor([0.2, -0.1], dtype=torch.float64)])
    cross = torch.cat([against_equation(new) / size, k(0, 0, new, ends)], 1)
    noise = 1e-10 * torch.cat([torch.full((12,), float(K.diagonal()[:12].mean())), torch.ones(2)]).double()
    solved = torch.linalg.solve(K + torch.diag(noise), torch.cat([y[:, None], cross.mT], 1))
    mean, explained = cross @ solved[:, 0], (cross * solved[:, 1:].mT).sum(1)
    amplitude = float(y @ solved[:, 0]) / len(y)

    solver = PDESolver(
        D("x", 2) + 3 * Identity(), domain=(0, 1), grid=12, kernel=KERNEL, method="marginal", max_iter=0
    ).fit(f, (0.2, -0.1))
    ours, std = solver.predict(new, return_std=True)
    torch.testing.assert_close(ours, mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(std.square(), amplitude * (1.0 - explained), rtol=1e-3, atol=1e-8)


def test_error_bars_cover_draws_from_the_prior():
    x = torch.linspace(0.0, 1.0, 40, dtype=torch.float64)[:, None]
    new = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)[:, None]
    zero = torch.zeros(40, dtype=torch.float64)
    known = [
        Functionals((Part(x[::6], (2,), ONE),), zero[::6]),
        Functionals((Part(x[[0, -1]], (0,), ONE),), zero[:2]),
    ]
    truth = Functionals((Part(new, (0,), ONE),), torch.zeros(25, dtype=torch.float64))
    kernel = FunctionalPosterior(known, [KERNEL])._axes
    joint = covariance([*known, truth], [*known, truth], kernel)
    root = torch.linalg.cholesky(joint + 1e-9 * torch.diag(joint.diagonal()))
    draws = root @ torch.randn(len(joint), 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inside = []
    for draw in draws.mT:
        seen = [Functionals(known[0].parts, draw[:7]), Functionals(known[1].parts, draw[7:9])]
        posterior = FunctionalPosterior(seen, [KERNEL])
        off = (posterior.mean(new, (0,)) - draw[9:]).abs()
        std = posterior.std(new, (0,)) / np.sqrt(posterior.amplitude)  # the draws have amplitude 1
        inside.append((off < 1.96 * std).double().mean())
    assert 0.92 < float(torch.stack(inside).mean()) < 0.98


def test_learning_raises_the_likelihood_by_a_correct_gradient():
    x = torch.linspace(0.0, 1.0, 9, dtype=torch.float64)[:, None]
    data = [
        Functionals((Part(x, (2,), ONE),), torch.sin(9 * x[:, 0])),
        Functionals((Part(x[[0, -1]], (0,), ONE),), torch.zeros(2, dtype=torch.float64)),
    ]
    learnt = learn_kernels(data, [KERNEL], {}, lr=0.05, max_iter=60, tol=0.0, jitter=1e-10)
    assert max(learnt.curve) > learnt.curve[0] + 3.0
    # a tiny step changes the likelihood as its gradient says: along it, upward
    small = learn_kernels(data, [KERNEL], {}, lr=1e-5, max_iter=3, tol=0.0, jitter=1e-10).curve
    assert small[0] < small[1] < small[2]


def test_a_wave_is_solved_from_a_kernel_that_does_not_know_its_frequency():
    kernel = SpectralMixture(12, max_frequency=6.0, envelope="student_t")
    solver = PDESolver(Laplacian(), domain=(0, 1), grid=60, kernel=kernel, method="marginal", max_iter=60)
    solver.fit(lambda X: -400 * wave(X), wave)
    X = np.random.default_rng(0).uniform(size=(100, 1))
    assert np.abs(solver.predict(X) - wave(X)).max() < 1e-4
    assert len(solver.loss_curve_) == solver.n_iter_ <= 60
    slope = solver.predict(X, derivatives=(1,))
    assert np.abs(slope - 20 * np.cos(20 * X[:, 0])).max() < 1e-2


def test_scattered_points_in_two_axes():
    rng = np.random.default_rng(0)
    u = lambda X: np.sin(6 * X[:, 0]) * np.cos(4 * X[:, 1])  # noqa: E731
    P, t, o = rng.uniform(size=(150, 2)), rng.uniform(size=25), np.zeros(25)
    B = np.concatenate([np.stack(side, 1) for side in ((t, o), (t, o + 1), (o, t), (o + 1, t))])
    solver = PDESolver(Laplacian(), domain=[(0, 1)] * 2, grid=P, max_iter=0).fit(lambda X: -52 * u(X), (B, u(B)))
    assert solver.method_ == "marginal"
    assert solver.nodes_ is None
    assert solver.values_.shape == (150,)
    mean, std = solver.predict(P, return_std=True)
    assert np.linalg.norm(mean - u(P)) < 1e-2 * np.linalg.norm(u(P))
    assert (std > 0).all()


def test_a_coefficient_is_learnt_across_resonances():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(15, 1))
    y = wave(X) + 1e-3 * rng.normal(size=15)
    solver = PDESolver(Laplacian() + Unknown("k", 100.0) * Identity(), domain=(0, 1), grid=50, max_iter=1)
    solver.fit(lambda X: -150 * wave(X), wave, observations=(X, y), noise=1e-6)
    assert solver.coefficients_["k"] == pytest.approx(250.0, abs=1.0)


def test_nonlinear_equations_and_fields():
    source = lambda X: -400 * wave(X) + wave(X) ** 3 - wave(X)  # noqa: E731
    operator = Laplacian() + Power(3) - Identity()
    solver = PDESolver(operator, domain=(0, 1), grid=60, method="marginal", max_iter=0).fit(source, wave)
    X = np.linspace(0, 1, 50)[:, None]
    assert np.abs(solver.predict(X) - wave(X)).max() < 1e-4
    c = lambda X: 1 + X[:, 0]  # noqa: E731
    solver = PDESolver(Field("c", c) * Laplacian(), domain=(0, 1), grid=60, method="marginal", max_iter=0)
    solver.fit(lambda X: -400 * c(X) * wave(X), wave)
    assert np.abs(solver.predict(X) - wave(X)).max() < 1e-4


def test_any_stationary_kernel_is_kept_as_it_is():
    solver = PDESolver(Laplacian(), domain=(0, 1), grid=40, kernel=RBF(0.1), method="marginal")
    solver.fit(lambda X: -25 * np.sin(5 * X[:, 0]), lambda X: np.sin(5 * X[:, 0]))
    assert solver.kernels_[0].lengthscale == 0.1
    assert abs(solver.predict([[0.3]])[0] - np.sin(1.5)) < 1e-4
    with pytest.raises(AttributeError, match="only a SpectralMixture"):
        _ = solver.spectrum_


def test_a_kernel_that_is_too_rigid_is_refused_with_what_to_change():
    kernel = SpectralMixture(1, weights=[1.0], frequencies=[0.0], lengthscale=[1e4])
    solver = PDESolver(Laplacian(), domain=(0, 1), grid=60, kernel=kernel, method="marginal", max_iter=0, jitter=0.0)
    with pytest.raises(np.linalg.LinAlgError, match="shorter lengthscale"):
        solver.fit(1.0, (0.0, 0.0))


@pytest.mark.slow(reason="two searches of 200 steps")
def test_a_sharp_line_is_not_thrown_off_by_steps_of_its_frequency(monkeypatch):
    # Steps of one length for all frequencies reach the greatest likelihood halfway, fall off it, and never come back.
    x = torch.linspace(0.0, 2.0, 50, dtype=torch.float64)[:, None]
    ends, u = x[[0, -1]], lambda x: torch.sin(40 * x[:, 0])
    data = [Functionals((Part(x, (2,), ONE),), -1600 * u(x)), Functionals((Part(ends, (0,), ONE),), u(ends))]
    start = SpectralMixture(8, max_frequency=10.0, envelope="student_t")

    def learnt():
        return learn_kernels(data, [start], {}, lr=0.05, max_iter=200, tol=0.0, jitter=round_off(data, [start]))

    found = learnt()
    assert int(np.argmax(found.curve)) > 190
    weights, frequencies = (found.kernels[0].hyperparameter(n).numpy().ravel() for n in ("weights", "frequencies"))
    assert frequencies[weights.argmax()] == pytest.approx(40 / (2 * np.pi), abs=1e-3)
    assert (weights > 0.01 * weights.max()).sum() <= 2
    monkeypatch.setattr("mercer.learn.pde.parameters._width", torch.ones_like)
    assert int(np.argmax(learnt().curve)) < 150


def test_the_jitter_is_what_round_off_can_do():
    x = torch.linspace(0.0, 2.0, 50, dtype=torch.float64)[:, None]
    data = [Functionals((Part(x, (0,), ONE),), torch.zeros(50, dtype=torch.float64))]
    kernel = SpectralMixture(2, weights=[0.5, 0.5], frequencies=[0.0, 7.0], lengthscale=[1.0, 1.0])
    assert round_off(data, [kernel]) == pytest.approx(50 * 2.0**-52 * 2 * np.pi * 7.0 * 2.0)
    assert round_off(data, [RBF()]) == pytest.approx(50 * 2.0**-52)
    # the matrix in float64 against the same with twice the digits: its error stays below
    K = kernel(x).to_dense().numpy()
    z = (x - x.T).numpy().astype(np.longdouble)
    exact = 0.5 * np.exp(-0.5 * z**2) * (1 + np.cos(2 * np.longdouble("3.14159265358979323846264") * 7 * z))
    assert np.linalg.norm((K - exact).astype(np.float64), 2) < round_off(data, [kernel])
