"""Noise on Gram matrices: its mean, its conditioning, and what evaluation keeps of it."""

import math

import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import IndefiniteGram
from mercer.nn import GramNoise, GramState

P = 5


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def state_of(*rows, dtype=torch.float64):
    F, Z = draw(*rows, 9), draw(P, 9, seed=1)
    return GramState((Z @ Z.mT).to(dtype), (F @ Z.mT).to(dtype), F.square().sum(-1).to(dtype))


def assert_states_agree(found, expected, **tolerance):
    for name in ("ii", "ti", "t"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), **tolerance)


def with_jitter(state, epsilon):
    """The state after jitter on the inducing points, by explicit inverses."""
    B = state.ti @ torch.linalg.inv(state.ii)
    small = epsilon * state.ii.diagonal().mean()
    return GramState(state.ii + small * torch.eye(P), state.ti + small * B, state.t + small * B.square().sum(-1))


@pytest.mark.parametrize("n_features", [None, 2, 40])
def test_the_mean_over_draws_is_the_state_with_jitter(n_features):
    state, noise = state_of(2, 3, 2), GramNoise(P, n_features, jitter=0.1)
    torch.manual_seed(0)
    draws = [noise(state) for _ in range(4000)]
    spread = (2.0 / (4000 * noise.n_features)) ** 0.5  # of a mean of diagonals, relative
    for name in ("ii", "ti", "t"):
        values = torch.stack([getattr(found, name) for found in draws])
        expected = getattr(with_jitter(state, 0.1), name)
        scale = float(expected.abs().max())
        assert float((values.mean(0) - expected).abs().max()) < 5.0 * spread * scale
    diagonals = torch.stack([found.ii.diagonal() for found in draws])
    relative = diagonals.std(0) / state.ii.diagonal()  # of a scaled chi-square
    torch.testing.assert_close(relative, torch.full_like(relative, (2.0 / noise.n_features) ** 0.5), rtol=0.1, atol=0.0)


def test_evaluation_keeps_the_jitter_and_draws_nothing():
    state, noise = state_of(2, 3, 2), GramNoise(P, jitter=0.1).eval()
    before = torch.get_rng_state()
    assert_states_agree(noise(state), with_jitter(state, 0.1))
    assert torch.equal(torch.get_rng_state(), before)
    assert_states_agree(GramNoise(P, jitter=0.0).eval()(state), state)


def test_rows_that_are_the_inducing_points_stay_them():
    ii = state_of(1).ii
    found = GramNoise(P, n_features=3)(GramState(ii, ii, ii.diagonal()))
    torch.testing.assert_close(found.ti, found.ii)
    torch.testing.assert_close(found.t, found.ii.diagonal())


def test_the_matrix_of_inducing_points_and_a_row_stays_positive_definite():
    state, noise = state_of(20), GramNoise(P, n_features=2, jitter=1e-3)
    found = noise(state)
    for ti, t in zip(found.ti, found.t, strict=True):
        joint = torch.cat([torch.cat([found.ii, ti[None]]), torch.cat([ti, t[None]])[:, None]], 1)
        assert float(torch.linalg.eigvalsh(joint)[0]) > 0.0


def test_draws_follow_the_global_generator_and_are_new_in_each_pass():
    state, noise = state_of(4), GramNoise(P)
    torch.manual_seed(3)
    one, two = noise(state), noise(state)
    torch.manual_seed(3)
    assert torch.equal(noise(state).ii, one.ii)
    assert not torch.equal(one.ii, two.ii)


def test_it_is_differentiable():
    noise, state = GramNoise(P, n_features=3), state_of(2, 2, 2)
    factor = torch.linalg.cholesky(state.ii)

    def outputs(lower, ti, t):
        torch.manual_seed(0)
        found = noise(GramState(lower @ lower.mT, ti, t))
        return found.ii, found.ti, found.t

    values = [v.clone().requires_grad_() for v in (factor, state.ti, state.t + 1.0)]
    assert torch.autograd.gradcheck(outputs, values, fast_mode=True)


def test_single_precision_stays_single():
    found = GramNoise(P)(state_of(2, 3, 3, dtype=torch.float32))
    assert {v.dtype for v in (found.ii, found.ti, found.t)} == {torch.float32}
    assert found.ti.shape == (2, 3, 3, P)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GramNoise(0), ValueError, "n_inducing must be a whole number >= 1, not 0"),
        (lambda: GramNoise(3, 0), ValueError, "n_features must be a whole number >= 1, not 0"),
        (lambda: GramNoise(3, 1.5), ValueError, "n_features must be a whole number"),
        (lambda: GramNoise(3, jitter=-0.1), ValueError, "jitter must be >= 0"),
        (lambda: GramNoise(3, jitter=math.nan), ValueError, "jitter must be >= 0"),
        (lambda: GramNoise(3)(state_of(2)), ShapeError, "3 inducing points, but what it is given has 5"),
        (
            lambda: GramNoise(2)(GramState(torch.ones(2, 2), torch.ones(1, 2), torch.ones(1))),
            IndefiniteGram,
            "GramNoise: the 2 x 2",
        ),
    ],
)
def test_wrong_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
