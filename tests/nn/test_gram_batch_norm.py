"""Batch normalisation of Gram states."""

import pytest
import torch

from mercer.nn import GramBatchNorm, GramState

DOUBLE = torch.float64


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def state_of(F, Z):
    return GramState(Z @ Z.mT, F @ Z.mT, F.square().sum(-1))


@pytest.mark.parametrize("rows", [(7,), (2, 4, 3)])
def test_it_scales_features_of_inducing_points_and_of_rows(rows):
    F, Z, norm = draw(*rows, 9), draw(5, 9, seed=1), GramBatchNorm(dtype=DOUBLE)
    with torch.no_grad():
        norm.log_inducing_scale.fill_(0.3)
        norm.log_row_scale.fill_(-0.4)
    found = norm(state_of(F, Z))
    a, b = (torch.tensor(log, dtype=DOUBLE).exp() for log in (0.3, -0.4))
    expected = state_of(
        b * F / F.square().sum(-1).mean().sqrt(), a * Z / Z.square().sum(-1).mean().sqrt()
    )  # features, so that the joint matrix is positive definite
    for name in ("ii", "ti", "t"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


def test_the_running_mean_counts_the_first_batches_equally_and_then_forgets():
    norm, Z = GramBatchNorm(momentum=0.25, dtype=DOUBLE), draw(5, 9)
    means = []
    expected = torch.tensor(1.0, dtype=DOUBLE)
    for number in range(8):
        F = (1.0 + number) * draw(6, 9, seed=number + 1)
        norm(state_of(F, Z))
        means.append(F.square().sum(-1).mean())
        expected = torch.stack(means).mean() if number < 4 else 0.75 * expected + 0.25 * means[-1]
        torch.testing.assert_close(norm.running_mean, expected)
    assert int(norm.num_batches_tracked) == 8
    plain = GramBatchNorm(momentum=None, dtype=DOUBLE)
    for number in range(8):
        plain(state_of((1.0 + number) * draw(6, 9, seed=number + 1), Z))
    torch.testing.assert_close(plain.running_mean, torch.stack(means).mean())


def test_evaluation_takes_the_running_mean_and_changes_nothing():
    norm, Z, F = GramBatchNorm(dtype=DOUBLE), draw(5, 9), draw(6, 9, seed=1)
    norm(state_of(F, Z))
    norm.eval()
    kept = {name: value.clone() for name, value in norm.state_dict().items()}
    found = norm(state_of(3.0 * F, 2.0 * Z))
    torch.testing.assert_close(found.t.mean(), torch.tensor(9.0, dtype=DOUBLE))
    torch.testing.assert_close(found.ii.diagonal().mean(), torch.tensor(1.0, dtype=DOUBLE))
    assert all(torch.equal(value, kept[name]) for name, value in norm.state_dict().items())
    assert norm(state_of(F[:2], Z)).t.shape == (2,)


def test_its_state_can_be_put_into_another():
    norm, Z, F = GramBatchNorm(dtype=DOUBLE), draw(5, 9), draw(6, 9, seed=1)
    norm(state_of(F, Z))
    assert set(norm.state_dict()) == {
        "log_inducing_scale", "log_row_scale", "running_mean", "num_batches_tracked"
    }  # fmt: skip
    other = GramBatchNorm(dtype=DOUBLE)
    other.load_state_dict(norm.state_dict())
    one, two = (layer.eval()(state_of(F, Z)) for layer in (norm, other))
    assert torch.equal(one.t, two.t)


def test_gradients_flow_through_the_mean_of_the_batch():
    norm, F, Z = GramBatchNorm(dtype=DOUBLE), draw(6, 9, seed=1), draw(5, 9)

    def outputs(F, Z, alpha, beta):
        names = ("log_inducing_scale", "log_row_scale")
        found = torch.func.functional_call(norm, dict(zip(names, (alpha, beta), strict=True)), (state_of(F, Z),))
        return found.ii, found.ti, found.t

    scales = [torch.tensor(v, dtype=DOUBLE) for v in (0.2, -0.1)]
    assert torch.autograd.gradcheck(outputs, [v.requires_grad_() for v in (F, Z, *scales)], fast_mode=True)
    assert not any(p.requires_grad for p in GramBatchNorm(learn=False).parameters())


def test_batches_without_rows_or_of_zeros_do_not_spoil_it():
    norm, Z = GramBatchNorm(dtype=DOUBLE), draw(5, 9)
    assert norm(state_of(draw(0, 9), Z)).ti.shape == (0, 5)
    assert int(norm.num_batches_tracked) == 0
    found = norm(state_of(torch.zeros(2, 9, dtype=DOUBLE), Z))
    assert not found.t.any()
    assert not found.ti.any()


def test_single_precision_stays_single():
    found = GramBatchNorm()(GramState(torch.eye(3), torch.ones(2, 4, 4, 3), torch.ones(2, 4, 4)))
    assert {v.dtype for v in (found.ii, found.ti, found.t)} == {torch.float32}


@pytest.mark.parametrize("momentum", [0.0, -0.1, 1.5])
def test_wrong_momentum_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum must be in"):
        GramBatchNorm(momentum=momentum)
