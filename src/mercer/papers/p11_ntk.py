"""Neural tangent kernel: a very wide network in training is a kernel machine.

Gradient descent moves the outputs of a network along the kernel of its own parameter derivatives. When all hidden
layers are very wide that kernel is known in closed form before a weight is drawn, and does not move. The trained
network is then Gaussian, with a mean and a covariance that can be written down for every moment of training.

```pycon
>>> from mercer.kernels import InfiniteNetwork
>>> from mercer.kernels.neural.layers import Dense, ReLU
>>> network = InfiniteNetwork(Dense(), ReLU(), Dense(), ReLU(), Dense())
>>> X = np.linspace(-2.0, 2.0, 30)[:, None]
>>> model = NTKRegressor(network, time="loo").fit(X, np.sin(2.0 * X[:, 0]))
>>> mean, std = model.predict(X, return_std=True)  # of the ensemble of all such networks
>>> module = network.finite(1024, in_features=1, random_state=0)  # one of them, of finite width
>>> K = EmpiricalNTK(module)(X)  # its own kernel
>>> bool((K.to_dense() - network.ntk(X).to_dense()).norm() < 0.3 * K.to_dense().norm())
True

```

**What came out.** All six claims hold at these sizes. Kernels of random networks come within 8 % of the limit at
width 1024 (slope -0.53), and that of one network moves by 1.4 to 2 % in training there. Noise in labels is learnt
last: stopping at the best time leaves 0.69 of the error at the end of training, and leave-one-out, which needs no
other rows, finds such a time.

**What needs care.** The ensemble is the formula's only as far as its networks are wide. 120 networks of width 128,
linearised at their start, agree with the formula within chance (0.06 standard deviations, root mean square, where
chance makes 0.09); the same networks, trained, are off by 0.21: their outputs end 4 % too large. The number of the
claim is 0.16 for the reported seed, but was 0.26 to 0.29 for three other seeds at width 256 and 0.26 for one at width
512, above the bound of 0.25: with 60 networks chance decides. And early stopping is one way to regularise: the best
ridge, trained to the end, leaves 0.68 of the error as well.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from mercer.data import mnist
from mercer.kernels import NTK, EmpiricalNTK, InfiniteNetwork
from mercer.kernels.neural.layers import GELU, Abs, Cos, Dense, Erf, Gaussian, LeakyReLU, Poly, ReLU, Sin, Unit
from mercer.learn import NTKRegressor
from mercer.operators import GradientFlow
from mercer.papers import Curve, Effort, Paper, Quantity, Run, curves, sabotage

paper = Paper.from_catalog(
    11,
    see=[
        ("Lee et al. 2019, wide networks evolve as linear models", "https://arxiv.org/abs/1902.06720"),
        ("Arora et al. 2019, exact computation with an infinitely wide net", "https://arxiv.org/abs/1904.11955"),
        ("neural-tangents, the JAX library", "https://github.com/google/neural-tangents"),
    ],
)

Array = np.ndarray[Any, Any]
N_NETWORKS = 12  # of each width, whose errors are averaged before their slope is taken
N_DIGITS = {"quick": 256, "full": 512}  # of the claim `components`
COUNTS = {  # networks by width, of the same claim
    "quick": {128: 4, 512: 2, 2048: 1},
    "full": {100: 4, 128: 4, 1000: 2, 2048: 1, 10_000: 1},
}
N_FIT = {"quick": 800, "full": 4000}  # training rows of `early-stop`
MNIST = "the IDX files of MNIST, or mnist.npz"


@paper.claim(
    "limit",
    says="At random initialisation the tangent kernel tends to an explicit kernel as the width grows.",
    reported="a figure for widths 500 and 10 000, depth 4, on the unit circle",
    where="theorem 1 and figure 1",
    measures=(
        Quantity("slope", "slope of the log relative error in the Frobenius norm against the log width", -0.40),
        Quantity("widest", "relative error at width 1024", at_most=0.12),
        Quantity("steep", "the slope over -0.40; in full over -0.45", at_least=1.0),
    ),
    quick=Effort(seeds=1, seconds=40),
    full=Effort(seeds=5, seconds=1800),
    notes="""
        Depth 4, ReLU, 64 points; widths 64, 256 and 1024, in full to 10 000; errors are means over 12 networks. Over
        five, as first measured, the slope scatters by 0.1 about -0.45, and one seed of three (-0.34) did not hold. That
        of theory is -0.5.
    """,
)
def limit(run: Run) -> None:
    """Empirical kernels of random networks against the recursion."""
    X = _circle(64)
    expected = NTK(depth=4)(X).to_dense()
    widths = (64, 256, 1024, 4096, 10_000) if run.is_full else (64, 256, 1024)
    for seed in run.seeds:
        errors, rows = [], {}
        for width in widths:
            kernels = [_kernel(_network(4).finite(width, in_features=2, random_state=s), X) for s in _seeds(seed)]
            errors.append(float(np.mean([float((K - expected).norm() / expected.norm()) for K in kernels])))
            rows[width] = [K[0].numpy() for K in kernels]
        slope = _slope(widths, errors)
        run.record(slope=slope, widest=errors[2], steep=slope / (-0.45 if run.is_full else -0.40))
    angles = np.linspace(-np.pi, np.pi, 64, endpoint=False)
    panels = {
        f"width {width}": [
            Curve(angles, np.stack(rows[width]).T, color="#0072b2", alpha=0.5, linewidth=0.9),
            Curve(angles, expected[0].numpy(), "k--", "infinite width"),
        ]
        for width in (widths[0], widths[-1])
    }
    run.figure("kernels", curves(panels, xlabel="angle to the first point"), caption="Kernels of 12 networks each.")


@paper.claim(
    "constant",
    says="The tangent kernel stays fixed during training.",
    reported="a figure after 200 steps of rate 1",
    where="theorem 2 and figure 1",
    measures=(
        Quantity("slope", "slope of the log relative change of the kernel against the log width", at_most=-0.40),
        Quantity("widest", "relative change at width 1024", at_most=0.03),
    ),
    controls=Quantity(
        "fitted", "share of the squared error that training has removed, least over widths", at_least=0.99
    ),
    quick=Effort(seeds=2, seconds=40),
    full=Effort(seeds=3, seconds=1800),
    notes="Depth 4; y = x1 x2 at four points; 200 steps of rate 1 on all of them; one network of each width.",
)
def constant(run: Run) -> None:
    """Kernels on the circle before and after training."""
    X, grid = _circle(4, shift=0.3), _circle(32)
    y = X[:, 0] * X[:, 1]
    widths = (64, 256, 1024, 4096, 10_000) if run.is_full else (64, 256, 1024)
    for seed in run.seeds:
        changes, fitted = [], []
        for width in widths:
            module = _network(4).finite(width, in_features=2, random_state=seed)
            before = _kernel(module, grid)
            parameters, outputs = _train([module], X, y, rate=1.0, steps=200)
            after = _kernel(module, grid, {name: p[0] for name, p in parameters.items()})
            changes.append(float((after - before).norm() / before.norm()))
            fitted.append(1.0 - float((outputs[-1] - y).square().sum() / (outputs[0] - y).square().sum()))
        run.record(slope=_slope(widths, changes), widest=changes[2], fitted=min(fitted))


@paper.claim(
    "linear-ode",
    says="In training the network follows a linear differential equation; its law is Gaussian, in closed form.",
    reported="a figure with widths 50 and 1000 and percentiles of the Gaussian",
    where="section 5 and figure 2",
    measures=(
        Quantity("mean", "mean of the networks minus the formula's, root mean square, in standard deviations", 0.25),
        Quantity("spread", "mean ratio of their standard deviation to the formula's", at_most=1.1, at_least=0.9),
        Quantity("share", "the first over 0.25; in full over 0.15", at_most=1.0),
    ),
    controls=Quantity("prior", "the second where the formula is that of the prior, not trained", at_most=0.5),
    rivals=Quantity("floor", "what chance alone makes of the first: 1 / sqrt(networks)"),
    quick=Effort(seeds=1, seconds=40),
    full=Effort(seeds=1, seconds=7200),
    notes="""
        60 networks of depth 4 and width 512 after 60 steps of rate 4; 600 steps of rate 1 would take 80 s. In full 200
        of width 1000 after 1000 steps of rate 1. y = x1 x2 at four points, outputs at 24 others. The formula is that of
        the same number of discrete steps; the slowest component is learnt to 5e-5. The four points were moved once:
        next to a test point the deviation is near 0, and so is what the error is divided by.
    """,
)
def linear_ode(run: Run) -> None:
    """An ensemble against its law."""
    # The four points lie midway between two of the others.
    X, grid = _circle(4, shift=3.0 * math.pi / 24), _circle(24)
    y = X[:, 0] * X[:, 1]
    count, width, steps, rate = (200, 1000, 1000, 1.0) if run.is_full else (60, 512, 60, 4.0)
    for seed in run.seeds:
        outputs = []
        for first in range(0, count, 10):
            modules = [
                _network(4).finite(width, in_features=2, random_state=1000 * seed + first + k) for k in range(10)
            ]
            parameters, _ = _train(modules, X, y, rate=rate, steps=steps)
            outputs.append(_outputs(modules[0], parameters, grid))
        ensemble = torch.cat(outputs).double()
        model = NTKRegressor(NTK(depth=4), time=steps, learning_rate=rate, discrete=True).fit(X.double(), y.double())
        mean, std = model.predict(grid.double(), return_std=True)
        untrained = NTKRegressor(NTK(depth=4), time=0).fit(X.double(), y.double())
        prior = untrained.predict(grid.double(), return_std=True)[1]
        found, spread = ensemble.mean(0), ensemble.std(0)
        deviation = float(((found - mean) / std).square().mean().sqrt())
        run.record(
            mean=deviation,
            share=deviation / (0.15 if run.is_full else 0.25),
            spread=float((spread / std).mean()),
            floor=1.0 / math.sqrt(count),
            prior=float((spread / prior).mean()),
        )
    angles = np.linspace(-np.pi, np.pi, 24, endpoint=False)
    lines = [
        Curve(angles, ensemble[:20].T.numpy(), color="#999999", alpha=0.5, linewidth=0.7),
        Curve(angles, (mean[:, None] + std[:, None] * torch.tensor([-1.645, 1.645])).numpy(), "C0--"),
        Curve(angles, mean.numpy(), "C0", "mean and 90 %, formula"),
        Curve(angles, found.numpy(), "C1:", "mean of the networks"),
    ]
    run.figure("ensemble", curves(lines, xlabel="angle", ylabel="output"), caption=f"20 of {count} trained networks.")


@paper.claim(
    "components",
    says="Training is fastest along the first kernel principal components, at the rate of their eigenvalues.",
    reported="a figure on 512 MNIST digits, second component, widths 100, 1000 and 10 000",
    where="section 6.3 and figure 3",
    measures=(
        Quantity(
            "deviation", "largest deviation of the second component from (1 - eta lambda / N)^k, width 2048", 0.03
        ),
        Quantity("ratio", "the same over that at width 128", at_most=0.5),
        Quantity("leakage", "largest norm in all other components, relative to the start, width 2048", at_most=0.06),
    ),
    quick=Effort(seeds=1, seconds=30),
    full=Effort(seeds=3, seconds=7200),
    notes="""
        256 of scikit-learn's digits, rows of norm 8, depth 3, 60 steps of the rate N / (largest eigenvalue). The target
        is the first output plus 0.5 sqrt(N) of the second eigenvector. At width 128 the mean over four networks. In
        full the first 512 digits of MNIST, rows of norm 28, and the paper's widths beside these.
    """,
)
def components(run: Run) -> None:
    """The second component of what is left, step by step."""
    X = torch.from_numpy(_digits(run)[0][: N_DIGITS[run.mode]])
    n, steps = len(X), 60
    flow = GradientFlow.of(NTK(depth=3)(X))
    rate = n / float(flow.values[0])
    second = flow.vectors[:, 1]
    expected = (1.0 - rate * float(flow.values[1]) / n) ** np.arange(steps + 1)
    counts = COUNTS[run.mode]
    for seed in run.seeds:
        shown, deviations, leakages = {}, {}, {}
        for width, count in counts.items():
            modules = [
                _network(3).finite(width, in_features=X.shape[1], random_state=1000 * seed + k) for k in range(count)
            ]
            with torch.no_grad():
                start = torch.stack([module(X.float())[:, 0] for module in modules])
            size = 0.5 * math.sqrt(n)
            _, outputs = _train(modules, X.float(), start + size * second.float(), rate=rate, steps=steps)
            left = (start + size * second - torch.stack(outputs)).double() / size  # (steps + 1, networks, n)
            along = left @ second
            others = (left - along[..., None] * second).norm(dim=2)
            deviations[width] = float((along - torch.from_numpy(expected)[:, None]).abs().amax(0).mean())
            leakages[width] = float(others.amax(0).mean())
            shown[width] = along[:, 0].numpy()
        run.record(deviation=deviations[2048], ratio=deviations[2048] / deviations[128], leakage=leakages[2048])
    rows = [(width, deviations[width], leakages[width]) for width in counts]
    run.table("widths", rows, columns=["width", "deviation", "leakage"])
    lines = [Curve(np.arange(steps + 1), values, label=f"width {width}") for width, values in shown.items()]
    lines.append(Curve(np.arange(steps + 1), expected, "k--", "infinite width"))
    run.figure("second", curves(lines, xlabel="step", ylabel="left of the second component"))


@paper.claim(
    "psd",
    says="On the sphere the limit kernel is positive definite if and only if the activation is no polynomial.",
    where="proposition 2",
    measures=(
        Quantity("smallest", "smallest eigenvalue at 60 even points, ReLU, depth 3", at_least=1e-3),
        Quantity("resolved", "that over n eps times the largest; in full the least of all activations", at_least=10.0),
        Quantity("polynomial", "absolute smallest eigenvalue for z^2, depth 2", at_most=1e-12),
        Quantity("rank", "rank for z^2, depth 2, without bias", at_most=6.0, at_least=6.0),
    ),
    rivals=Quantity("random", "the first at 60 random points, of which two may nearly meet"),
    identity=True,
    quick=Effort(seeds=3, seconds=5),
    full=Effort(seeds=5, seconds=60),
    notes="""
        Points spread evenly over the sphere in three dimensions (Fibonacci lattice): the smallest eigenvalue at random
        points is positive too, and as small as the nearest pair is close. Smooth activations have small ones (1e-7 the
        least of eight), which are positive all the same: what round-off can make is n eps times the largest. Quadratic
        forms of three numbers have six coefficients.
    """,
)
def psd(run: Run) -> None:
    """Eigenvalues at points spread evenly, and beside them at random ones."""
    every: tuple[Unit, ...] = (ReLU(), LeakyReLU(0.1), Abs(), Erf(), GELU(), Sin(), Cos(), Gaussian())
    for seed in run.seeds:
        drawn = torch.from_numpy(np.random.default_rng(seed).normal(size=(60, 3)))
        X = _sphere(60)
        rows = []
        for unit in every if run.is_full else every[:1]:
            values = torch.linalg.eigvalsh(NTK(depth=3, activation=unit)(X).to_dense())
            rows.append((repr(unit), float(values[0]), float(values[-1])))
        random = NTK(depth=3)(drawn / drawn.norm(dim=1, keepdim=True)).to_dense()
        square = torch.linalg.eigvalsh(NTK(depth=2, activation=Poly([0, 0, 1]), sigma_b=0.0)(X).to_dense())
        run.record(
            smallest=rows[0][1],
            resolved=min(row[1] / (len(X) * np.finfo(float).eps * row[2]) for row in rows),
            polynomial=float(square[0].abs()),
            rank=int((square > 1e-10 * square[-1]).sum()),
            random=float(torch.linalg.eigvalsh(random)[0]),
        )
    run.table("activations", rows, columns=["activation", "smallest eigenvalue", "largest"])


@paper.claim(
    "early-stop",
    says="The components that are learnt late are those of noise: training should stop early.",
    where="section 5",
    measures=Quantity("best", "least test error over times, relative to the error at the end of training", at_most=0.8),
    controls=Quantity("chosen", "the same at the time that leave-one-out chooses on the training rows", at_most=0.8),
    rivals=(
        Quantity("ridge", "the same for the best of 17 ridges, trained to the end"),
        Quantity("error", "mean squared test error at the best time"),
    ),
    quick=Effort(seeds=3, seconds=20),
    full=Effort(seeds=10, seconds=600),
    notes="""
        scikit-learn's digits, odd against even as 1 and -1; 800 training rows whose labels have noise of variance 1,
        the others as test rows without noise; depth 3, rows of norm 8. In full MNIST: 4000 rows of its training part,
        all of its test part, rows of norm 28.
    """,
)
def early_stop(run: Run) -> None:
    """Test errors along the whole curve of training."""
    X, digits, n_training = _digits(run)
    labels = np.where(digits % 2 == 1, 1.0, -1.0)
    n = N_FIT[run.mode]
    for seed in run.seeds:
        draw = np.random.default_rng(seed)
        order = draw.permutation(n_training)
        fit, test = order[:n], np.arange(n_training, len(X)) if run.is_full else order[n:]
        y = labels[fit] + draw.normal(size=n)
        model = NTKRegressor(NTK(depth=3), time="loo").fit(X[fit], y)
        times = np.geomspace(0.1 * model.learning_times_[0], 100.0 * model.learning_times_[-1], 60)
        shown = model.predict_curve(X[test], [*times, model.time_, math.inf])
        *errors, chosen, end = np.mean((shown - labels[test]) ** 2, axis=1)
        rows = torch.from_numpy(X)
        cross = NTK(depth=3)(rows[test], rows[fit]).to_dense()
        parts = torch.from_numpy(model.eigenvalues_), torch.from_numpy(model.components_.T)
        ridges = []
        for alpha in np.geomspace(0.1, 1000.0, 17):
            flow = GradientFlow(*parts, n_points=n, alpha=float(alpha))
            fitted = cross @ flow.coefficients(torch.from_numpy(y), None)
            ridges.append(float(np.mean((fitted.numpy() - labels[test]) ** 2)))
        run.record(best=min(errors) / end, chosen=chosen / end, ridge=min(ridges) / end, error=min(errors))
    left_out = np.mean(model.leave_one_out(times.tolist()) ** 2, axis=1)
    lines = [
        Curve(times, errors, label="test rows, true labels"),
        Curve(times, left_out - 1.0, label="leave-one-out, less the noise"),
        Curve([model.time_], [chosen], "o", "time chosen by leave-one-out"),
    ]
    run.figure("times", curves(lines, xlabel="training time", xscale="log", ylabel="mean squared error", ylim=(0, 1.2)))


def _with_options(method: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """A method with options set, whatever its caller says."""
    return lambda self, *args, **kwargs: method(self, *args, **{**kwargs, **options})


paper.sabotage(
    "standard parametrisation",
    lambda: sabotage.replaced(
        InfiniteNetwork, _with_options(InfiniteNetwork.finite, parametrization="standard"), attribute="finite"
    ),
    breaks=["limit"],
)
paper.sabotage(
    "polynomial activation", lambda: sabotage.wrong_kernel(NTK, activation=Poly([0, 0, 1]), depth=2), breaks=["psd"]
)
paper.sabotage("nothing is learnt", lambda: sabotage.zeroed(GradientFlow, "filter"), breaks=["early-stop"])


def _network(depth: int) -> InfiniteNetwork:
    layers: list[Any] = [Dense()]
    for _ in range(depth - 1):
        layers += [ReLU(), Dense()]
    return InfiniteNetwork(*layers)


def _circle(n: int, shift: float = 0.0) -> Tensor:
    """Points of the unit circle, in order, float32."""
    angles = torch.arange(n) * (2.0 * math.pi / n) - math.pi + shift
    return torch.stack([angles.cos(), angles.sin()], 1)


def _sphere(n: int) -> Tensor:
    """Points spread evenly over the unit sphere."""
    i = torch.arange(n, dtype=torch.float64) + 0.5
    z, angle = 1.0 - 2.0 * i / n, math.pi * (1.0 + math.sqrt(5.0)) * i
    r = (1.0 - z * z).sqrt()
    return torch.stack([r * angle.cos(), r * angle.sin(), z], 1)


def _digits(run: Run) -> tuple[Array, Array, int]:
    """Rows of norm sqrt(columns), in a fixed order, the digits, and how many rows from the first may be trained on."""
    if run.is_full:
        found = mnist(run.data_folder(MNIST))
        X = np.concatenate([found.images, found.test_images]).reshape(-1, found.images[0].size).astype(float)
        digits, n_training = np.concatenate([found.labels, found.test_labels]), len(found.images)
    else:
        X, digits = load_digits(return_X_y=True)
        n_training = len(X)
    return math.sqrt(X.shape[1]) * X / np.linalg.norm(X, axis=1, keepdims=True), digits, n_training


def _seeds(seed: int) -> list[int]:
    return [N_NETWORKS * seed + k for k in range(N_NETWORKS)]


def _kernel(module: nn.Module, X: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
    return EmpiricalNTK(module)(X, parameters=parameters).to_dense()


def _slope(widths: Sequence[int], errors: Sequence[float]) -> float:
    return float(np.polyfit(np.log(widths), np.log(errors), 1)[0])


def _train(
    modules: Sequence[nn.Module], X: Tensor, y: Tensor, *, rate: float, steps: int
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Networks side by side by plain gradient descent: their parameters, and outputs ``(networks, n)`` at each step."""
    shape, n = copy.deepcopy(modules[0]).to("meta"), len(X)
    stacked, _ = stack_module_state(list(modules))
    parameters = {name: p.detach().clone() for name, p in stacked.items()}

    def loss(one: dict[str, Tensor], target: Tensor) -> tuple[Tensor, Tensor]:
        out = functional_call(shape, one, (X,))[:, 0]
        return (out - target).square().sum() / (2 * n), out

    step = vmap(grad(loss, has_aux=True), in_dims=(0, 0 if y.dim() == 2 else None))
    outputs = []
    for _ in range(steps):
        slopes, out = step(parameters, y)
        outputs.append(out)
        for name, p in parameters.items():
            p.sub_(slopes[name], alpha=rate)
    outputs.append(_outputs(modules[0], parameters, X))
    return parameters, outputs


@torch.no_grad()
def _outputs(module: nn.Module, parameters: dict[str, Tensor], X: Tensor) -> Tensor:
    """``(networks, n)``."""
    out: Tensor = vmap(lambda one: functional_call(module, one, (X,))[:, 0])(parameters)
    return out
