"""Layers of deep kernel machines against their definitions with explicit inverses, in float64."""

import copy
import math

import pytest
import torch
from torch import nn

from mercer.errors import ShapeError
from mercer.kernels import IndefiniteGram, gram_kernel
from mercer.nn import (
    FeaturesToGram,
    GramKernel,
    GramLayer,
    GramOutput,
    GramResidual,
    GramState,
    gram_divergence,
    gram_objective,
    gram_penalty,
)

P, N, D = 6, 9, 3
DOUBLE = {"dtype": torch.float64}


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def moved(layer):
    with torch.no_grad():
        layer.factor.below.copy_(0.2 * draw(P, P))
        layer.factor.log_diagonal.copy_(0.2 * draw(P))
    return layer


def kernel_state():
    return nn.Sequential(FeaturesToGram(draw(P, D)), GramKernel(**DOUBLE))(draw(N, D))


def test_inner_products_of_scaled_columns():
    layer = FeaturesToGram(draw(P, D))
    with torch.no_grad():
        layer.log_scale.copy_(draw(D))
    X, Z = (points * layer.log_scale.exp() for points in (draw(N, D), draw(P, D)))
    state = layer(draw(N, D))
    torch.testing.assert_close(state.ii, Z @ Z.mT / D)
    torch.testing.assert_close(state.ti, X @ Z.mT / D)
    torch.testing.assert_close(state.t, (X @ X.mT / D).diagonal())


def test_a_kernel_of_a_state_is_that_of_all_points_with_jitter_on_both_diagonals_only():
    points = torch.cat([draw(P, D), draw(N, D)])
    layer = GramKernel("relu", height=2.0, weight=0.5, bias=0.3, jitter=1e-3, **DOUBLE)
    K = 2.0 * gram_kernel(0.5 * points @ points.mT / D + 0.3, "relu")
    state = layer(FeaturesToGram(draw(P, D))(draw(N, D)))
    small = 1e-3 * K.diagonal()[:P].mean()
    torch.testing.assert_close(state.ii, K[:P, :P] + small * torch.eye(P).double())
    torch.testing.assert_close(state.ti, K[P:, :P])
    torch.testing.assert_close(state.t, K.diagonal()[P:] + small)
    torch.testing.assert_close(layer(points @ points.mT / D), K)


def test_a_layer_starts_at_the_kernel_below():
    below = kernel_state()
    above = GramLayer(P, **DOUBLE)(below)
    torch.testing.assert_close(above.ii, below.ii)
    torch.testing.assert_close(above.ti, below.ti)
    torch.testing.assert_close(above.t, below.t)


def test_a_layer_conditions_on_its_inducing_points_as_the_official_code_does():
    # The equations of convdkm (github.com/edwardmilsom/convdkmpaper), which inverts the kernel matrix.
    below, layer = kernel_state(), moved(GramLayer(P, **DOUBLE))
    above = layer(below)
    B = below.ti @ below.ii.inverse()
    torch.testing.assert_close(above.ti, B @ above.ii, rtol=1e-8, atol=1e-10)
    t = below.t - (B * below.ti).sum(1) + ((B @ above.ii) * B).sum(1)
    torch.testing.assert_close(above.t, t, rtol=1e-8, atol=1e-10)


def test_the_divergence_needs_no_kernel():
    below, layer = kernel_state(), moved(GramLayer(P, nu=3.0, **DOUBLE))
    above = layer(below)
    expected = torch.distributions.kl_divergence(
        torch.distributions.MultivariateNormal(torch.zeros(P).double(), above.ii),
        torch.distributions.MultivariateNormal(torch.zeros(P).double(), below.ii),
    )
    torch.testing.assert_close(layer.kl(), expected)
    torch.testing.assert_close(gram_divergence(above.ii.detach(), below.ii.detach()), expected.detach())
    torch.testing.assert_close(layer.penalty(), 3.0 * expected)


def free_like(layer, below):
    """A free layer with the same Gram matrix; its root is not lower triangular."""
    free = GramLayer(P, nu=layer.nu, parametrization="free", **DOUBLE)
    turn = torch.linalg.qr(draw(P, P)).Q
    free.factor.set(torch.linalg.cholesky(below.ii) @ layer.factor().detach() @ turn)
    return free


def test_both_parametrizations_have_the_same_objective_at_the_same_gram_matrix():
    below, whitened, output = kernel_state(), moved(GramLayer(P, nu=3.0, **DOUBLE)), moved(GramOutput(P, 1, **DOUBLE))
    with torch.no_grad():
        output.mean.copy_(draw(1, P))
    free = free_like(whitened, below)
    values = []
    for layer in (whitened, free):
        model = nn.Sequential(layer, output)
        mean, variance = model(below)
        values.append(gram_objective(model, -(mean[:, 0] - 1.0).square() - variance, n_data=N))
        above = layer(below)
        B = below.ti @ below.ii.inverse()
        t = below.t - (B * below.ti).sum(1) + ((B @ above.ii) * B).sum(1)
        torch.testing.assert_close(above.ti, B @ above.ii, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(above.t, t, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(values[0], values[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(free(below).ii, free.factor.V @ free.factor.V.mT / P)  # what the official code has
    torch.testing.assert_close(free.kl(), gram_divergence(free(below).ii, below.ii))


def test_a_free_layer_starts_at_the_first_kernel_and_then_keeps_its_gram_matrix():
    below, layer = kernel_state(), GramLayer(P, parametrization="free", **DOUBLE)
    parameters = [id(p) for p in layer.parameters()]
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)  # made before the first pass
    with pytest.raises(RuntimeError, match="run the model on some rows first"):
        layer.penalty()
    start = layer(below)
    torch.testing.assert_close(start.ii, below.ii)
    assert float(layer.kl().detach()) == pytest.approx(0.0, abs=1e-12)
    (layer.penalty() - start.ti.sum()).backward()
    optimizer.step()
    moved_to = layer(below).ii.detach()
    assert float((moved_to - below.ii.detach()).abs().max()) > 1e-3
    torch.testing.assert_close(layer(GramState(2.0 * below.ii, below.ti, 2.0 * below.t)).ii, moved_to)
    assert [id(p) for p in layer.parameters()] == parameters
    again = copy.deepcopy(layer)
    loaded = GramLayer(P, parametrization="free", **DOUBLE)
    loaded.load_state_dict(layer.state_dict())
    for other in (again, loaded):
        torch.testing.assert_close(other(below).ii, moved_to, rtol=0.0, atol=0.0)


def test_a_free_layer_has_the_gradients_of_its_divergence():
    below, V = kernel_state(), draw(P, P)

    def penalty(V, K):
        layer = GramLayer(P, nu=2.0, parametrization="free", **DOUBLE)
        layer.factor.is_started.fill_(True)
        del layer.factor.V
        layer.factor.V = V
        layer(GramState(K @ K.mT, below.ti, below.t + 30.0))
        return layer.penalty()

    K = torch.linalg.cholesky(below.ii).detach()
    assert torch.autograd.gradcheck(penalty, (V.requires_grad_(), K.requires_grad_()))


def test_infinite_nu_of_a_free_layer_is_the_kernel_below():
    below, layer = kernel_state(), GramLayer(P, nu=math.inf, parametrization="free", **DOUBLE)
    torch.testing.assert_close(layer(below).ii, below.ii)
    assert float(layer.penalty()) == 0.0


def test_infinite_nu_is_the_fixed_kernel():
    layer = GramLayer(P, nu=math.inf, **DOUBLE)
    assert not any(p.requires_grad for p in layer.parameters())
    assert float(layer.penalty()) == 0.0


def test_outputs_are_those_of_a_sparse_gaussian_process():
    below, output = kernel_state(), moved(GramOutput(P, 2, **DOUBLE))
    with torch.no_grad():
        output.mean.copy_(draw(2, P))
    mean, variance = output(below)
    C, V, B = torch.linalg.cholesky(below.ii), output.factor(), below.ti @ below.ii.inverse()
    mu, A = C @ output.mean.mT, C @ V @ V.mT @ C.mT
    torch.testing.assert_close(mean, B @ mu, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(variance, below.t - (B * below.ti).sum(1) + ((B @ A) * B).sum(1), rtol=1e-8, atol=1e-10)
    divergence = sum(
        torch.distributions.kl_divergence(
            torch.distributions.MultivariateNormal(mu[:, c], A),
            torch.distributions.MultivariateNormal(torch.zeros(P).double(), below.ii),
        )
        for c in range(2)
    )
    torch.testing.assert_close(output.penalty(), divergence, rtol=1e-7, atol=1e-8)
    model = nn.Sequential(moved(GramLayer(P, nu=2.0, **DOUBLE)), output)
    density = draw(N)
    expected = 50 * density.mean() - 2.0 * model[0].kl() - divergence
    torch.testing.assert_close(gram_objective(model, density, n_data=50), expected, rtol=1e-7, atol=1e-8)


def test_a_residual_is_a_weighted_sum():
    below, branch = kernel_state(), moved(GramLayer(P, **DOUBLE))
    residual = GramResidual([nn.Identity(), branch], **DOUBLE)
    with torch.no_grad():
        residual.logits.copy_(torch.tensor([0.0, math.log(3.0)]))
    above, found = branch(below), residual(below)
    for name in ("ii", "ti", "t"):
        expected = 0.25 * getattr(below, name) + 0.75 * getattr(above, name)
        torch.testing.assert_close(getattr(found, name), expected)
    torch.testing.assert_close(gram_penalty(residual), branch.penalty())


def test_single_precision_and_rows_with_places():
    model = nn.Sequential(FeaturesToGram(draw(P, D).float()), GramKernel("relu"), GramLayer(P), GramKernel("relu"))
    state = model(draw(N, D))
    assert {state.ii.dtype, state.ti.dtype, state.t.dtype} == {torch.float32}
    below = kernel_state()
    images = GramState(below.ii, below.ti.reshape(3, 3, P), below.t.reshape(3, 3))
    layer = moved(GramLayer(P, **DOUBLE))
    torch.testing.assert_close(layer(images).ti.reshape(N, P), layer(below).ti)


def test_the_objective_sums_outputs_and_stands_for_all_rows():
    model, density = nn.Sequential(GramLayer(3)), -torch.arange(8.0).reshape(4, 2)
    assert float(gram_objective(model, density, n_data=8).detach()) == -2.0 * 28.0
    assert float(gram_objective(model, density.sum(1), n_data=8).detach()) == -2.0 * 28.0


@pytest.mark.parametrize("parametrization", ["whitened", "free"])
def test_an_objective_that_is_not_finite_names_a_layer_and_its_smallest_eigenvalue(parametrization):
    model = nn.Sequential(
        GramLayer(P, **DOUBLE),
        GramLayer(P, parametrization=parametrization, **DOUBLE),
        GramLayer(P, math.inf, **DOUBLE),
    )
    model[1].factor.set(torch.diag(torch.tensor([1e-3] + [1.0] * (P - 1), dtype=torch.float64)))
    model(kernel_state())
    for bad in (math.nan, -math.inf):
        with pytest.raises(IndefiniteGram, match=r"objective is .* is 1e-06, in GramLayer at '1'"):
            gram_objective(model, torch.tensor([bad, 0.0]), n_data=2)
    with torch.no_grad():
        next(model[0].parameters()).fill_(math.nan)
    with pytest.raises(IndefiniteGram, match="is -inf, in GramLayer at '0'"):
        gram_objective(model, torch.zeros(2), n_data=2)


def test_rows_of_numpy_and_the_identity_are_taken():
    rows = draw(N, D)
    layer = FeaturesToGram(draw(P, D))
    torch.testing.assert_close(layer(rows.numpy()).ti, layer(rows).ti)
    torch.testing.assert_close(GramKernel("identity")(torch.eye(2)), torch.eye(2))


def test_parameters_that_cannot_move_do_not():
    assert not GramKernel("relu").log_weight.requires_grad  # its height says the same
    assert GramKernel("relu", bias=1.0).log_weight.requires_grad
    assert not any(p.requires_grad for p in FeaturesToGram(draw(P, D), learn=False, learn_inducing=False).parameters())


def test_every_parameter_has_a_gradient():
    output = moved(GramOutput(P, 1, **DOUBLE))
    with torch.no_grad():
        output.mean.copy_(draw(1, P))
    first, last = GramKernel("relu", bias=0.5, **DOUBLE), GramKernel(**DOUBLE)
    model = nn.Sequential(FeaturesToGram(draw(P, D)), first, moved(GramLayer(P, **DOUBLE)), last, output)
    mean, variance = model(draw(N, D))
    gram_objective(model, -(mean[:, 0] - 1.0).square() - variance, n_data=N).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and not bool(p.grad.any())] == []


def test_mistakes_are_named():
    state = kernel_state()
    with pytest.raises(ShapeError, match="GramLayer has 4 inducing points, but what it is given has 6"):
        GramLayer(4, **DOUBLE)(state)
    with pytest.raises(ShapeError, match="GramOutput has 4 inducing points"):
        GramOutput(4, 1, **DOUBLE)(state)
    with pytest.raises(ShapeError, match=r"ii must be square \(P, P\), not of shape \(2, 3\)"):
        GramState(torch.ones(2, 3), torch.ones(1, 3), torch.ones(1))
    with pytest.raises(ShapeError, match=r"ti must be \(\*rows, 2\) and t \(\*rows,\), not \(5, 2\) and \(4,\)"):
        GramState(torch.eye(2), torch.ones(5, 2), torch.ones(4))
    with pytest.raises(IndefiniteGram, match=r"GramLayer: the 2 x 2 .* smallest eigenvalue is -1, the largest 3"):
        GramLayer(2)(GramState(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.ones(1, 2), torch.ones(1)))
    with pytest.raises(IndefiniteGram, match="holds NaN or infinity"):
        GramLayer(2)(GramState(torch.full((2, 2), math.nan), torch.ones(1, 2), torch.ones(1)))
    with pytest.raises(ShapeError, match=r"X must be \(n, 3\) like its inducing points, not \(5, 2\)"):
        FeaturesToGram(draw(P, D))(draw(5, 2))
    with pytest.raises(ShapeError, match=r"inducing must be \(P, d\) points"):
        FeaturesToGram(draw(P))
    with pytest.raises(ValueError, match=r"nu must be positive, or math\.inf for the kernel below, not 0"):
        GramLayer(P, nu=0)
    with pytest.raises(ValueError, match="parametrization must be 'whitened' or 'free', not 'raw'"):
        GramLayer(P, parametrization="raw")
    with pytest.raises(ValueError, match="height must be positive and finite, not -1"):
        GramKernel(height=-1)
    with pytest.raises(ValueError, match="bias must be >= 0 and finite, not -1"):
        GramKernel(bias=-1)
    with pytest.raises(ShapeError, match="a Gram matrix or a GramState, not list"):
        GramKernel()([1.0])
    with pytest.raises(IndefiniteGram, match="no Gram matrix"):
        GramKernel()(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="at least one branch"):
        GramResidual([])
    with pytest.raises(ValueError, match="no GramLayer and no GramOutput"):
        gram_penalty(nn.Linear(1, 1))
    with pytest.raises(ShapeError, match="has no row"):
        gram_objective(GramLayer(2), torch.ones(0), n_data=1)
    with pytest.raises(ValueError, match="n_data, the rows in all, must be a whole number >= 4, not 3"):
        gram_objective(GramLayer(2), torch.ones(4, 2), n_data=3)
    for size in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="GramLayer: n_inducing must be a whole number >= 1"):
            GramLayer(size)
    for nu in ("a", True, math.nan):
        with pytest.raises(ValueError, match="nu must be positive"):
            GramLayer(3, nu)
    with pytest.raises(ValueError, match="GramOutput: n_outputs must be a whole number >= 1, not 0"):
        GramOutput(2, 0)
    with pytest.raises(ShapeError, match="GramLayer takes a GramState, which FeaturesToGram gives, not Tensor"):
        GramLayer(3)(torch.eye(3))
    for layer in (GramLayer(P), GramOutput(P, 1)):
        with pytest.raises(TypeError, match=r"of torch.float32, but what it is given of torch.float64"):
            layer(state)
    with pytest.raises(TypeError, match=r"float16 is too coarse"):
        GramLayer(2, dtype=torch.float16)(GramState(*(torch.ones(s).half() for s in ((2, 2), (3, 2), 3))))
    with pytest.raises(IndefiniteGram, match="GramOutput: t holds -1, "):
        GramOutput(2, 1)(GramState(torch.eye(2), torch.zeros(1, 2), -torch.ones(1)))
    with pytest.raises(ShapeError, match=r"inducing must be \(P, d\) points, not of shape \(0, 3\)"):
        FeaturesToGram(torch.ones(0, 3))
    with pytest.raises(ValueError, match="inducing contains NaN"):
        FeaturesToGram(torch.full((2, 3), math.nan))
    with pytest.raises(ShapeError, match=r"P >= 1, not of shape \(0, 0\)"):
        GramKernel()(torch.zeros(0, 0))
    with pytest.raises(ShapeError, match="they must be alike"):
        gram_divergence(torch.eye(2), torch.eye(3))
