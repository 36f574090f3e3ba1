"""Kernels into GPyTorch and out of it."""

import math

import pytest
import torch

from mercer.errors import ApproximationWarning
from mercer.kernels import (
    RBF,
    Gamma,
    GPyTorchKernel,
    Linear,
    LogNormal,
    Matern,
    Parameter,
    SpectralMixture,
    White,
    from_gpytorch,
)
from mercer.operators import KernelOperator

gpytorch = pytest.importorskip("gpytorch")
theirs = gpytorch.kernels
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DOUBLE = torch.float64
X = torch.randn(9, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
Y = torch.randn(6, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
START = math.log(2.0)  # GPyTorch's own starting value: softplus(0)


class Model(gpytorch.models.ExactGP):
    def __init__(self, x, y, kernel):
        super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood())
        self.mean_module, self.covar_module = gpytorch.means.ConstantMean(), kernel
        self.double()

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def trained(kernel, n_steps):
    """Losses, and mean, variance and covariance of predictions, after some steps of Adam."""
    x = torch.rand(40, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    y = torch.sin(6.0 * x[:, 0]) + 0.1 * torch.randn(40, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))
    model = Model(x, y, kernel).train()
    likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss = -likelihood(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        found = model(torch.linspace(0.0, 1.0, 11, dtype=DOUBLE)[:, None])
        return losses, found.mean, model.likelihood(found).variance, found.covariance_matrix, model


@pytest.mark.slow("two models of GPyTorch are trained for 25 steps")
def test_training_and_prediction_are_those_of_gpytorchs_own_kernel():
    losses, mean, variance, covariance, model = trained(theirs.ScaleKernel(theirs.RBFKernel()), 25)
    ours = trained((START * RBF(START)).to_gpytorch(), 25)
    assert losses[-1] < losses[0] - 0.1
    # the same mathematics in another order of operations, amplified by the condition of K, about 1e3 here
    assert ours[0] == pytest.approx(losses, abs=1e-6)  # ours starts from float32's softplus(0)
    for own, other in zip(ours[1:4], (mean, variance, covariance), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)
    learnt = ours[4].covar_module.to_mercer()
    assert float(learnt.kernel.lengthscale) == pytest.approx(
        model.covar_module.base_kernel.lengthscale.item(), rel=1e-5
    )
    assert float(learnt.scale) == pytest.approx(model.covar_module.outputscale.item(), rel=1e-5)


def test_one_step_in_float64_agrees_to_round_off():
    torch.set_default_dtype(DOUBLE)
    losses, mean, variance, covariance, _ = trained(theirs.ScaleKernel(theirs.RBFKernel()), 2)
    for kernel in ((START * RBF(START)).to_gpytorch(), theirs.ScaleKernel(RBF(START).to_gpytorch())):
        ours = trained(kernel, 2)
        assert ours[0] == pytest.approx(losses, abs=1e-12)
        for own, other in zip(ours[1:4], (mean, variance, covariance), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-11)


def test_the_module_gives_our_operators_and_their_diagonal():
    kernel = 2.0 * Matern([0.5, 1.0, 2.0], nu=2.5) + 0.3 * Linear()
    module = kernel.to_gpytorch().double()
    assert isinstance(module(X), KernelOperator)
    torch.testing.assert_close(module(X, Y).to_dense(), kernel(X, Y).to_dense(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(module(X, diag=True), kernel(X).diagonal(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        module(X, Y[:1].expand_as(X), diag=True), kernel(X, Y[:1]).to_dense()[:, 0], rtol=1e-6, atol=1e-6
    )
    assert module(X, X.clone()).symmetric  # equal points are the same points, as in GPyTorch
    sum_kernel = module + theirs.RBFKernel().double()
    assert sum_kernel(X).to_dense().shape == (9, 9)
    assert from_gpytorch(module) == module.to_mercer()


def test_parameters_have_the_bounds_priors_and_state_of_the_hyperparameters():
    kernel = Parameter(2.0, frozen=True) * RBF(Parameter(0.5, bounds=(0.1, 3.0), prior=LogNormal(0.2, 0.7))) + Linear(
        Parameter(1.5, prior=Gamma(2.0, 3.0))
    )
    module = kernel.to_gpytorch()
    assert [(name, p.requires_grad) for name, p in module.named_parameters()] == [
        ("raw_left__scale", False),
        ("raw_left__kernel__lengthscale", True),
        ("raw_right__lengthscale", True),  # the bias of 0 is switched off, and no parameter
    ]
    constraint = module.raw_left__kernel__lengthscale_constraint
    assert (float(constraint.lower_bound), float(constraint.upper_bound)) == pytest.approx((0.1, 3.0))
    priors = {name: prior for name, _, prior, _, _ in module.named_priors()}
    lengthscale = torch.tensor(0.5, dtype=DOUBLE)
    found = priors["left__kernel__lengthscale_prior"].log_prob(lengthscale)
    assert float(found) == pytest.approx(float(LogNormal(0.2, 0.7).log_density(lengthscale)), rel=1e-5)
    assert float(priors["right__lengthscale_prior"].rate) == 3.0
    back = module.to_mercer()
    assert [(h.path, h.frozen, h.bounds, h.prior) for h in back.hyperparameters()] == [
        (h.path, h.frozen, h.bounds, h.prior) for h in kernel.hyperparameters()
    ]
    for found, expected in zip(back.hyperparameters(), kernel.hyperparameters(), strict=True):
        torch.testing.assert_close(found.value, expected.value, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match="must lie inside its bounds"):
        RBF(Parameter(0.5, bounds=(0.5, 3.0))).to_gpytorch()


def test_an_unknown_prior_is_refused():
    class Flat:
        def log_density(self, value):
            return 0.0 * value.sum()

    with pytest.raises(TypeError, match="GPyTorch has no prior like"):
        RBF(Parameter(1.0, prior=Flat())).to_gpytorch()


def test_a_sampled_prior_puts_its_value_into_the_parameter():
    module = RBF(Parameter(0.5, prior=LogNormal())).to_gpytorch()
    name, owner, prior, closure, setting = next(iter(module.named_priors()))
    setting(owner, torch.tensor(0.8))
    assert closure(owner).item() == pytest.approx(0.8, rel=1e-6)
    assert name == "lengthscale_prior"
    assert prior is module.lengthscale_prior


def test_a_batch_of_modules_is_a_batch_of_matrices_with_parameters_of_their_own():
    kernel = 2.0 * RBF(0.5) + SpectralMixture(2, lengthscale=0.7)
    module = kernel.to_gpytorch(batch_shape=[3]).double()
    assert {tuple(p.shape[:1]) for p in module.parameters()} == {(3,)}
    with torch.no_grad():
        module.raw_left__scale[1] += 1.0
    K = module(X, Y)
    assert K.shape == (3, 9, 6)
    torch.testing.assert_close(K.to_dense()[2], kernel(X, Y).to_dense(), rtol=1e-6, atol=1e-6)
    assert float((K.to_dense()[1] - K.to_dense()[2]).detach().abs().max()) > 0.1
    K.to_dense().sum().backward()
    assert all(bool((p.grad != 0.0).any()) for p in module.parameters())


def test_white_noise_stays_with_the_points():
    module = (RBF() + White(0.5)).to_gpytorch().double()
    assert float(module(X).diagonal()[0].detach()) == pytest.approx(1.5, rel=1e-6)
    assert float(module(X, Y).to_dense().detach().max()) <= 1.0


TWINS = [
    (lambda: theirs.RBFKernel(), "RBF("),
    (lambda: theirs.RBFKernel(ard_num_dims=3), "RBF(lengthscale=["),
    (lambda: theirs.MaternKernel(nu=0.5), "Matern("),
    (lambda: theirs.MaternKernel(nu=2.5, ard_num_dims=2, active_dims=[2, 0]), "Matern("),
    (lambda: theirs.RQKernel(), "RationalQuadratic("),
    (lambda: theirs.LinearKernel(ard_num_dims=3), "Linear("),
    (lambda: theirs.PolynomialKernel(power=2), "Polynomial(degree=2"),
    (lambda: theirs.PeriodicKernel(ard_num_dims=3), "Periodic("),
    (lambda: theirs.ConstantKernel(), "Constant("),
    (lambda: theirs.SpectralMixtureKernel(num_mixtures=2, ard_num_dims=3), "SpectralMixture("),
    (lambda: theirs.ScaleKernel(theirs.RBFKernel(active_dims=[0, 2])), ".on([0, 2])"),
    (
        lambda: theirs.ScaleKernel(theirs.RBFKernel() + theirs.MaternKernel(active_dims=[1]) * theirs.LinearKernel()),
        "RBF(",
    ),
    (lambda: theirs.ScaleKernel(theirs.MaternKernel(batch_shape=[2]), batch_shape=torch.Size([2])), "Matern("),
    (lambda: theirs.SpectralMixtureKernel(num_mixtures=2, ard_num_dims=3, batch_shape=torch.Size([2])), "Spectral"),
    (lambda: theirs.PiecewisePolynomialKernel(active_dims=[1, 2]), "GPyTorchKernel("),
    (lambda: theirs.ScaleKernel(theirs.PiecewisePolynomialKernel(active_dims=[1])), "GPyTorchKernel("),
]


def randomly(make):
    kernel = make().double()
    for parameter in kernel.parameters():
        torch.nn.init.normal_(parameter)
    return kernel


@pytest.mark.parametrize(("make", "text"), TWINS, ids=[t.strip("(.") + str(i) for i, (_, t) in enumerate(TWINS)])
def test_the_twin_of_a_kernel_has_its_values(make, text):
    kernel = randomly(make)
    twin = from_gpytorch(kernel)
    assert text in repr(twin)
    torch.testing.assert_close(twin(X, Y).to_dense(), kernel(X, Y).to_dense().detach(), rtol=1e-9, atol=1e-10)
    diagonal = kernel(X, diag=True).detach()
    torch.testing.assert_close(twin(X).diagonal(dim1=-2, dim2=-1), diagonal, rtol=1e-9, atol=1e-9)


def test_what_is_known_about_a_parameter_comes_along():
    kernel = theirs.ScaleKernel(
        theirs.RBFKernel(
            lengthscale_constraint=gpytorch.constraints.Interval(0.1, 4.0),
            lengthscale_prior=gpytorch.priors.LogNormalPrior(0.0, 1.0),
        ),
        outputscale_prior=gpytorch.priors.GammaPrior(2.0, 3.0),
    )
    kernel.raw_outputscale.requires_grad_(False)
    twin = from_gpytorch(kernel)
    assert twin.scale.frozen
    assert twin.scale.prior == Gamma(2.0, 3.0)
    assert twin.kernel.lengthscale.prior == LogNormal(0.0, 1.0)
    assert twin.kernel.lengthscale.bounds == pytest.approx((0.1, 4.0))
    linear = theirs.LinearKernel(variance_constraint=gpytorch.constraints.Interval(0.25, 4.0))
    assert from_gpytorch(linear).lengthscale.bounds == pytest.approx((0.5, 2.0))
    other = theirs.RBFKernel(lengthscale_prior=gpytorch.priors.NormalPrior(1.0, 1.0))
    with pytest.warns(ApproximationWarning, match="the NormalPrior of lengthscale has no equal"):
        from_gpytorch(other)


def test_a_wrapped_kernel_has_gradients_in_points_and_parameters():
    kernel = randomly(lambda: theirs.PiecewisePolynomialKernel(q=3))
    twin = from_gpytorch(kernel)
    A, v = X[:4].clone().requires_grad_(True), torch.randn(6, dtype=DOUBLE)
    (twin(A, Y, plan="tiles") @ v).sum().backward()
    B = X[:4].clone().requires_grad_(True)
    expected = torch.autograd.grad((kernel(B, Y).to_dense() @ v).sum(), [B, kernel.raw_lengthscale])
    torch.testing.assert_close(A.grad, expected[0])
    torch.testing.assert_close(kernel.raw_lengthscale.grad, expected[1])
    (h,) = twin.hyperparameters()
    assert h.path == "kernel__lengthscale"
    changed = twin.with_values({h.path: torch.full((1, 1), 2.5)})
    assert float(twin.hyperparameters()[0].value.detach()) == float(kernel.lengthscale.detach())
    kernel.lengthscale = 2.5
    torch.testing.assert_close(changed(X, Y).to_dense(), kernel(X, Y).to_dense().detach())


def test_what_has_no_place_here_is_refused():
    with pytest.raises(TypeError, match=r"needs a kernel of gpytorch\.kernels, not int"):
        from_gpytorch(3)
    with pytest.raises(TypeError, match="has several outputs a point"):
        from_gpytorch(theirs.RBFKernelGrad().double())(X)
    with pytest.raises(TypeError, match="has a batch of hyperparameters and no twin"):
        GPyTorchKernel(theirs.PiecewisePolynomialKernel(batch_shape=torch.Size([2])))


def test_without_gpytorch_the_message_names_the_extra(monkeypatch):
    from mercer.errors import MissingExtra

    monkeypatch.setitem(__import__("sys").modules, "gpytorch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mercer\[parity\]'"):
        from_gpytorch(3)
