"""Layers that are kernels of inputs and weights: fewer parameters, smaller adapters, networks in closed form.

A feed-forward layer compares an input with the weights of each unit. Random features write that comparison as a dot
product of features of the input with features of the weights; only the latter are learnt, and there are fewer of them
than weights.

```pycon
>>> import torch
>>> from mercer.nn import SNNKLinear, add_adapters
>>> layer = SNNKLinear(768, 3072, n_features=64)  # stands for linear and activation: 2.4 million parameters
>>> sum(p.numel() for p in layer.parameters())
196608
>>> encoder = torch.nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True)
>>> add_adapters(encoder, n_features=8).n_trainable  # of 7.1 million
13824

```

And since inputs and parameters are apart, the linear maps of neighbouring layers merge: a network becomes fixed
features and one matrix, whose optimum is a ridge regression.

```pycon
>>> from sklearn.datasets import load_digits
>>> from mercer.learn import BundledNetworkClassifier
>>> X, y = load_digits(return_X_y=True)
>>> model = BundledNetworkClassifier(layers=(256, 256)).fit(X[::2] / 16, y[::2])
>>> bool(model.score(X[1::2] / 16, y[1::2]) > 0.94)
True

```

**What came out.** Features are unbiased and their error falls as it should; orthogonal rows leave 70 % of it, and
products of signs and Hadamard matrices as little. A bundled network of two layers classifies digits as a trained one
does (97 %). Adapters of 4 992 numbers do as well as bottleneck adapters of 25 056 (93.6 and 93.1 %, with two points of
difference either way between seeds). The layer is nearly eight times as fast as a linear layer with GELU, and 1.4 times
as fast as a matrix of rank 64.

**What did not.** Bottleneck adapters of 6 552 numbers do as well (93.3 %), so most of the factor of five is what the
baseline's width was chosen to be. A new head alone gets 91.1 % at the rate that suits SNNKs and 89.9 % at the
baseline's: comparisons at different rates flatter. Closed-form fits of trained layers (ours, not the paper's) equal
fits by gradients, but a truncated singular value decomposition of as many numbers loses one to two points less: the
features do not know which directions matter. And a second bundled layer of 256 features adds nothing to the first on
digits.

**In the official code**, and not here: series of GELU with wrong signs, projections that are not saved with the model,
weights whose features come from another draw than those of the inputs (a sabotage below), inputs and weights that are
scaled apart.
"""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge, RidgeClassifier
from torch import Tensor, nn

from mercer.kernels import ArcCosine
from mercer.kernels.features import ArcCosineFeatures, LayerFeatures, UniversalRandomFeatures
from mercer.learn import BundledNetworkClassifier
from mercer.nn import SNNKAdapter, SNNKLinear, add_adapters, compress
from mercer.nn.training import TensorBatches, train
from mercer.papers import Curve, Effort, NotMeasured, Paper, Quantity, Run, curves, sabotage
from mercer.papers.pretrained import CIFAR_FOLDERS, GLUE_FOLDERS, WAYS, Bottleneck, adapted_score, find_tasks
from mercer.timing import compare

paper = Paper.from_catalog(
    16,
    see=[
        ("Official code", "https://github.com/arijitthegame/neural-network-kernels"),
        ("Likhosherstov et al. 2022, features of the exponential", "https://arxiv.org/abs/2205.15317"),
        ("Cho & Saul 2009, arc-cosine kernels", "https://papers.nips.cc/paper/3628-kernel-methods-for-deep-learning"),
        ("Houlsby et al. 2019, bottleneck adapters", "https://arxiv.org/abs/1902.00751"),
    ],
)

Array = np.ndarray[Any, Any]
SIZES = (64, 256, 1024)
DRAWS = 50


@paper.claim(
    "urf",
    says="Universal random features approximate a layer without bias, the better the more of them.",
    where="section 3.1",
    measures=(
        Quantity("slope", "distance of the slope of log error over log features from -1, worst of three", 0.15),
        Quantity("bias", "largest distance of the mean of 50 draws from the layer, in standard errors", 4.0),
    ),
    rivals=(
        Quantity("scaled", "error of cos with M = 0.05 over that with M = 0, 256 features"),
        Quantity("longer", "error of cos at |w| |x| = 2 over that at 1, 256 features"),
    ),
    quick=Effort(seeds=3, seconds=10),
    full=Effort(seeds=10, seconds=60),
    notes="""
        cos, sin and exp(-z^2 / 2) of dot products of unit vectors in 16 columns, 24 inputs with 24 units; 64, 256 and
        1024 independent features, 50 draws of each; the bias is that of 16 pairs at 1024 features. The paper's figure
        of pointwise errors could not be read.
    """,
)
def urf(run: Run) -> None:
    """Errors over draws and pairs."""
    for seed in run.seeds:
        X, W = _directions(seed, 24), _directions(seed + 500, 24)
        slopes, biases, found = [], [], {}
        for activation in ("cos", "sin", "gaussian"):
            build = partial(UniversalRandomFeatures, activation)
            expected = build(1, d=16).expected(X, W)
            estimates = [_estimates(build, m, X, W, seed) for m in SIZES]
            found[activation] = [float((e - expected).square().mean()) for e in estimates]
            slopes.append(float(np.polyfit(np.log(SIZES), np.log(found[activation]), 1)[0]))
            spread = estimates[-1].std(0) / math.sqrt(DRAWS)
            z = (estimates[-1].mean(0) - expected) / spread
            biases.append(float(z[:4, :4].abs().max()))
        scaled = _estimates(partial(UniversalRandomFeatures, "cos", gaussian_scale=0.05), 256, X, W, seed)
        longer = _estimates(partial(UniversalRandomFeatures, "cos"), 256, 2.0 * X, W, seed)
        run.record(
            slope=max(abs(slope + 1.0) for slope in slopes),
            bias=max(biases),
            scaled=float((scaled - (X @ W.mT).cos()).square().mean()) / found["cos"][1],
            longer=float((longer - (2.0 * X @ W.mT).cos()).square().mean()) / found["cos"][1],
        )
    lines = [Curve(SIZES, errors, "o-", name) for name, errors in found.items()]
    lines.append(Curve(SIZES, [found["cos"][0] * SIZES[0] / m for m in SIZES], "k:", "1 / features"))
    labels = {"xlabel": "features", "ylabel": "mean squared error"}
    run.figure("errors", curves(lines, xscale="log", yscale="log", **labels), caption=f"Seed {seed}.")


@paper.claim(
    "relu",
    says="The kernel of random rectified units is the arc-cosine kernel of inputs and weights.",
    where="section 3.2",
    measures=(
        Quantity("slope", "distance of the slope of log error over log features from -1", 0.15),
        Quantity("bias", "largest distance of the mean of 50 draws from the closed form, in standard errors", 4.0),
        Quantity("orthogonal", "error with orthogonal rows over that with independent ones, 64 features", 0.9),
    ),
    rivals=(
        Quantity("many", "the same at 1024 features"),
        Quantity("hadamard", "error with products of signs and Hadamard matrices over independent, 64 features"),
    ),
    quick=Effort(seeds=3, seconds=12),
    full=Effort(seeds=10, seconds=60),
    notes="Unit vectors in 16 columns, 50 draws. mercer's kernel is twice that of max(G x, 0) / sqrt(m).",
)
def relu(run: Run) -> None:
    """Errors over draws and pairs, by method."""
    kernel = ArcCosine(1, bias_variance=0.0)
    for seed in run.seeds:
        X, W = _directions(seed, 24), _directions(seed + 500, 24)
        expected = ArcCosineFeatures(kernel, 1, d=16).expected(X, W)
        errors: dict[str, list[float]] = {}
        for method in ("iid", "orthogonal", "hadamard"):
            build = partial(ArcCosineFeatures, kernel)
            estimates = [_estimates(build, m, X, W, seed, method=method) for m in SIZES]
            errors[method] = [float((e - expected).square().mean()) for e in estimates]
            if method == "iid":
                spread = estimates[-1].std(0) / math.sqrt(DRAWS)
                bias = float(((estimates[-1].mean(0) - expected) / spread)[:4, :4].abs().max())
        run.record(
            slope=abs(float(np.polyfit(np.log(SIZES), np.log(errors["iid"]), 1)[0]) + 1.0),
            bias=bias,
            orthogonal=errors["orthogonal"][0] / errors["iid"][0],
            many=errors["orthogonal"][2] / errors["iid"][2],
            hadamard=errors["hadamard"][0] / errors["iid"][0],
        )
    rows = [(method, *found) for method, found in errors.items()]
    run.table(
        "errors", rows, columns=["rows", *(f"{m} features" for m in SIZES)], caption=f"Squared error, seed {seed}."
    )


@paper.claim(
    "bundle",
    says="A fully bundled network has a closed-form optimum, without backpropagation.",
    where="abstract",
    measures=(
        Quantity("accuracy", "test accuracy on digits, 64 to 256 to 256 features", at_least=0.96),
        Quantity("ridge", "largest difference from scikit-learn's ridge regression on the features", at_most=1e-6),
        Quantity("adam", "training loss after 200 epochs of Adam over that of the closed form", at_least=1.0),
    ),
    controls=Quantity("over_pixels", "test accuracy minus that of ridge regression on the pixels", at_least=0.01),
    rivals=(
        Quantity("single", "test accuracy with one layer of 256 features"),
        Quantity("trained", "test accuracy of a trained network with 128 rectified units"),
    ),
    quick=Effort(seeds=3, seconds=22),
    full="needs MNIST and the UCI regression sets",
    notes="""
        scikit-learn's digits, 70 % to fit. That no optimiser reaches a lower loss is true of every convex optimum, and
        so is the agreement with another solver; the claim is the accuracy.
    """,
)
def bundle(run: Run) -> None:
    """The same features for all solvers."""
    for seed in run.seeds:
        X, y, Xt, yt = _digits(seed)
        model = BundledNetworkClassifier((256, 256), random_state=seed).fit(X, y)
        Z = model.hidden_features(X)
        targets = np.where(y[:, None] == model.classes_, 1.0, -1.0)
        twin = Ridge(alpha=1e-3).fit(Z, targets)
        size = float(np.abs(twin.coef_).max())
        run.record(
            accuracy=model.score(Xt, yt),
            ridge=float(np.abs(model.coef_ - twin.coef_).max()) / size,
            adam=_adam_loss(Z, targets, seed) / _ridge_loss(Z, targets, model.coef_, model.intercept_),
            over_pixels=model.score(Xt, yt) - RidgeClassifier(alpha=1.0).fit(X, y).score(Xt, yt),
            single=BundledNetworkClassifier((256,), random_state=seed).fit(X, y).score(Xt, yt),
            trained=_mlp_accuracy((X, y), (Xt, yt), seed),
        )


@paper.claim(
    "adapter",
    says="SNNK adapters have about five times fewer parameters than bottleneck adapters, at competitive accuracy.",
    reported='"up to 5x"',
    where="abstract",
    measures=(
        Quantity(
            "loss", "test accuracy of bottleneck adapters of width 32 minus that of SNNKs, in points", at_most=1.5
        ),
        Quantity(
            "gain", "test accuracy with SNNKs minus that of a new head alone at their rate, in points", at_least=2.0
        ),
        Quantity("fewer", "parameters of the bottleneck adapters over those of SNNKs", at_least=5.0),
    ),
    rivals=(
        Quantity("slow", "the gain over a new head alone at the rate of the bottlenecks, 3e-3, in points"),
        Quantity("small", "test accuracy of bottleneck adapters of width 8 minus that of SNNKs, in points"),
        Quantity("accuracy", "test accuracy with SNNKs, in percent"),
    ),
    quick=Effort(seeds=3, seconds=60),
    full="see the claim 'pretrained'",
    notes="""
        Three residual blocks of width 128, trained on upright digits, frozen, and adapted to digits turned by 90
        degrees together with a new head: 30 epochs of Adam, rate 3e-3, for SNNKs of 12 features (4 992 numbers) 1e-2.
        Bottleneck adapters of width 32 have 25 056 numbers, of width 8 6 552. Half of what SNNKs gain over a head alone
        at 3e-3 is the rate: so the head is given theirs.
    """,
)
def adapter(run: Run) -> None:
    """One pretrained network, adapted in five ways."""
    rows: dict[str, list[list[float]]] = {}
    for seed in run.seeds:
        X, y, Xt, yt = _digits(seed)
        turned, turned_test = _turned(X), _turned(Xt)
        base = _train(_network(seed), X, y, 3e-3, seed)

        adapted = partial(_adapted, base, (turned, y), (turned_test, yt), seed)
        found = {
            "head alone": adapted(_freeze, 3e-3),
            "head alone, rate 1e-2": adapted(_freeze, 1e-2),
            "SNNK, 12 features": adapted(partial(_add_snnks, n_features=12, random_state=10 * seed), 1e-2),
            "bottleneck, 32 wide": adapted(partial(_add_bottlenecks, width=32), 3e-3),
            "bottleneck, 8 wide": adapted(partial(_add_bottlenecks, width=8), 3e-3),
        }
        for name, pair in found.items():
            rows.setdefault(name, []).append(pair)
        ours, wide = found["SNNK, 12 features"], found["bottleneck, 32 wide"]
        run.record(
            loss=wide[0] - ours[0],
            gain=ours[0] - found["head alone, rate 1e-2"][0],
            fewer=wide[1] / ours[1],
            slow=ours[0] - found["head alone"][0],
            small=found["bottleneck, 8 wide"][0] - ours[0],
            accuracy=ours[0],
        )
    table = [(name, *np.mean(pairs, axis=0)) for name, pairs in rows.items()]
    columns = ["trained", "test accuracy", "numbers beside the head"]
    run.table("adapters", table, columns=columns, caption="Mean over the seeds.")


@paper.claim(
    "pretrained",
    says="The same of BERT-base on GLUE and of ViT-base on CIFAR.",
    reported='"up to 5x"',
    where="abstract",
    measures=(
        Quantity("loss", "points that SNNK adapters lose to bottlenecks of width 24, mean of the tasks", at_most=1.0),
        Quantity("fewer", "parameters of those bottleneck adapters over those of SNNKs, least", at_least=5.0),
    ),
    rivals=(
        Quantity("lora", "points that SNNKs lose to LoRA of rank 1 on queries and values"),
        Quantity("small", "points that SNNKs lose to bottleneck adapters of as many numbers"),
        Quantity("head", "points that a new head alone loses to SNNKs"),
        Quantity("score", "mean score of SNNKs, in points"),
    ),
    quick="pretrained weights cannot be had here",
    full=Effort(seeds=1, seconds=500_000),
    notes=f"""
        In full: --data with a folder `bert` or `vit`, a model (and tokenizer) as transformers saves it, and folders of
        GLUE ({", ".join(GLUE_FOLDERS)}) or of CIFAR ({", ".join(CIFAR_FOLDERS)}); what there are files of is measured,
        with the official metrics. Needs transformers. All ways may choose between two rates and stop early, by a tenth
        of the training part; SNNKs have 8 features a layer for texts and 64 for images.
    """,
)
def pretrained(run: Run) -> None:
    """Encoders from the disk, adapted in five ways to each task."""
    folder = run.data_folder("bert and folders of GLUE, or vit and folders of CIFAR")
    tasks = list(find_tasks(folder))
    if not tasks:
        raise NotMeasured(f"{folder} has neither bert with a folder of GLUE nor vit with one of CIFAR")
    rows: list[tuple[Any, ...]] = []
    for seed in run.seeds:
        found = {
            way: [adapted_score(encoder, task, way, device=run.device, seed=seed) for encoder, task in tasks]
            for way in WAYS
        }
        scores = {way: float(np.mean([score for score, _ in pairs])) for way, pairs in found.items()}
        run.record(
            loss=scores["bottleneck"] - scores["SNNK"],
            fewer=min(many / few for (_, many), (_, few) in zip(found["bottleneck"], found["SNNK"], strict=True)),
            lora=scores["LoRA"] - scores["SNNK"],
            small=scores["bottleneck, small"] - scores["SNNK"],
            head=scores["SNNK"] - scores["head"],
            score=scores["SNNK"],
        )
        for way, pairs in found.items():
            rows += [(task.name, way, seed, *pair) for (_, task), pair in zip(tasks, pairs, strict=True)]
    run.table("scores", rows, columns=["task", "trained", "seed", "score", "numbers beside the head"])


@paper.claim(
    "cost",
    says="The layer costs m (d + o) operations against d o.",
    where="abstract",
    kind="speed",
    measures=Quantity("faster", "forward time of linear and GELU over that of SNNK with 64 features", at_least=5.0),
    controls=Quantity("low_rank", "forward time of a linear layer of rank 64 and GELU over that of SNNK", at_least=1.0),
    rivals=(
        Quantity("features16", "as the first, with 16 features"),
        Quantity("features256", "as the first, with 256 features"),
    ),
    quick=Effort(seeds=1, seconds=6),
    full=Effort(seeds=3, seconds=60),
    notes="From 768 to 3072 columns, 256 rows, one thread, float32. A matrix of low rank is what one would try first.",
)
def cost(run: Run) -> None:
    """In turns, by the clock of the thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in run.seeds:
            x = torch.randn(256, 768)
            layers: dict[str, nn.Module] = {
                "linear": nn.Sequential(nn.Linear(768, 3072), nn.GELU()),
                "low rank": nn.Sequential(nn.Linear(768, 64, bias=False), nn.Linear(64, 3072), nn.GELU()),
                **{f"SNNK {m}": SNNKLinear(768, 3072, m) for m in (16, 64, 256)},
            }
            with torch.inference_mode():
                found = compare({n: partial(layer, x) for n, layer in layers.items()}, rounds=41, clock="thread")
            ratios = {m: found.ratio(f"SNNK {m}", "linear")[1] for m in (16, 64, 256)}
            low_rank = found.ratio("SNNK 64", "low rank")[1]
            run.record(faster=ratios[64], low_rank=low_rank, features16=ratios[16], features256=ratios[256])
        rows = [(n, 1e3 * t.seconds("thread"), _count(layers[n])) for n, t in found.timings.items()]
        run.table("times", rows, columns=["layer", "milliseconds", "parameters"])
    finally:
        torch.set_num_threads(threads)


@paper.claim(
    "expressive",
    says="The kernel sees more than w . x: it is no function of that alone.",
    where="section 3",
    measures=(
        Quantity("change", "relative change between inputs of equal w . x and lengths 1 and 1.5", at_least=0.01),
        Quantity("plain", "the same of a rectified unit", at_most=1e-6),
    ),
    identity=True,
    quick=Effort(seeds=3, seconds=2),
    notes="Whether that is an advantage is another matter: see the claims about accuracy.",
)
def expressive(run: Run) -> None:
    """Two inputs that a unit cannot tell apart."""
    for seed in run.seeds:
        X = _directions(seed, 2).float()
        w, across = X[:1], X[1:] - (X[1:] @ X[0])[:, None] * X[:1]
        across = across / across.norm()
        points = torch.cat([0.6 * w + size * across for size in (0.8, (2.25 - 0.36) ** 0.5)])
        linear = nn.Linear(16, 1, bias=False)
        linear.weight.data.copy_(w)
        layer = SNNKLinear.from_linear(linear, "relu", 4096, random_state=seed)
        with torch.no_grad():
            run.record(change=_change(layer(points)), plain=_change(torch.relu(linear(points))))


@paper.claim(
    "compress",
    says="The matrix of a layer is a ridge fit to its activations; no gradients are needed (beyond the paper).",
    measures=(
        Quantity("gradient", "test accuracy with a matrix fitted by Adam minus that of the ridge fit, in points", 0.5),
        Quantity("error", "error of the ridge fit over that of Adam, relative, on the fitted rows", at_most=1.0),
    ),
    controls=Quantity(
        "low_rank", "test accuracy with the ridge fit minus that of a truncated matrix of as many numbers", at_least=0.0
    ),
    rivals=(
        Quantity("loss", "test accuracy lost by the ridge fit, in points"),
        Quantity("start", "test accuracy lost with the features of the layer's own weights, in points"),
    ),
    quick=Effort(seeds=2, seconds=30),
    notes="""
        A network 64-256-256-10 with GELU, trained on digits; its second layer is replaced by 64 features (16 640
        numbers of 65 792), fitted to its activations on the training rows, in closed form or in 100 epochs of Adam from
        zero. The control keeps 32 singular values of the layer's matrix.
    """,
)
def compressed(run: Run) -> None:
    """One layer, in four ways."""
    for seed in run.seeds:
        X, y, Xt, yt = _digits(seed)
        torch.manual_seed(seed)
        hidden = nn.Linear(256, 256)
        layer = nn.Sequential(hidden, nn.GELU())
        model = _train(nn.Sequential(nn.Linear(64, 256), nn.GELU(), layer, nn.Linear(256, 10)), X, y, 3e-3, seed)
        pixels = _tensor(X)
        report = compress(model, pixels, 64, where=lambda name, _: name == "2", random_state=seed)
        ridge = report.model.get_submodule("2")
        adam, low = copy.deepcopy(ridge), copy.deepcopy(layer)
        for parameter in adam.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            inputs = model[:2](pixels)
            targets = layer(inputs)
            U, S, Vh = torch.linalg.svd(hidden.weight)
            low.get_parameter("0.weight").copy_(U[:, :32] * S[:32] @ Vh[:32])
        optimizer = partial(torch.optim.Adam, lr=1e-2, fused=True)
        train(
            adam,
            TensorBatches([inputs, targets], 64),
            loss=_squares,
            n_epochs=100,
            optimizer=optimizer,
            random_state=seed,
        )
        start = SNNKLinear.from_linear(hidden, "relu", 64, random_state=seed)
        full, *others = (
            100.0 * _accuracy(nn.Sequential(model[0], model[1], part, model[3]), Xt, yt)
            for part in (layer, ridge, adam, low, start)
        )
        errors = [float(_squares(part, (inputs, targets)).detach()) for part in (ridge, adam)]
        run.record(
            gradient=others[1] - others[0],
            error=(errors[0] / errors[1]) ** 0.5,
            low_rank=others[0] - others[2],
            loss=full - others[0],
            start=full - others[3],
        )


def _other_draw(self: LayerFeatures, W: Any, b: Any = None) -> Tensor:
    """Features of weights by another draw than that of the inputs: a mistake of the official scripts."""
    state = {k: v.flip(0) for k, v in self.state.items()}
    return self.weight_map(state, torch.as_tensor(W), b)


paper.sabotage(
    "weights by another draw",
    lambda: sabotage.replaced(LayerFeatures, _other_draw, attribute="weight_features"),
    breaks=["urf", "relu"],
)
paper.sabotage("shuffled labels", lambda: sabotage.shuffled_labels(BundledNetworkClassifier), breaks=["bundle"])
paper.sabotage(
    "adapters that do nothing",
    lambda: sabotage.replaced(SNNKAdapter, lambda self, x: x, attribute="forward"),
    breaks=["adapter"],
)
paper.sabotage("eight times the features", lambda: sabotage.wrong_kernel(SNNKLinear, n_features=512), breaks=["cost"])
paper.sabotage("zero layers", lambda: sabotage.zeroed(SNNKLinear, "forward"), breaks=["expressive"])
paper.sabotage(
    "a penalty that leaves nothing",
    lambda: sabotage.replaced(compress, partial(compress, alpha=1e6)),
    breaks=["compress"],
)


def _directions(seed: int, n: int) -> Tensor:
    """Unit vectors in 16 columns, float64."""
    draw = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 16)))
    directions: Tensor = draw / draw.norm(dim=1, keepdim=True)
    return directions


def _estimates(
    build: Callable[..., LayerFeatures], m: int, X: Tensor, W: Tensor, seed: int, *, method: str = "iid"
) -> Tensor:
    """Of a layer by so many draws, ``(draws, n, o)``."""
    maps = (build(m, d=16, method=method, random_state=DRAWS * seed + s) for s in range(DRAWS))
    return torch.stack([features.estimate(X, W) for features in maps])


def _digits(seed: int) -> tuple[Array, Array, Array, Array]:
    """Pixels from 0 to 1 and classes: 70 % to fit, the rest to test."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(X))
    fit, test = np.split(order, [int(0.7 * len(X))])
    return X[fit] / 16.0, y[fit], X[test] / 16.0, y[test]


def _turned(X: Array) -> Array:
    """The digits turned by 90 degrees."""
    return np.ascontiguousarray(np.rot90(X.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64))


def _tensor(X: Array) -> Tensor:
    return torch.from_numpy(np.asarray(X, dtype=np.float32))


def _squares(network: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    """The mean squared error."""
    error: Tensor = (network(batch[0]) - batch[1]).square().mean()
    return error


class ResidualBlock(nn.Module):
    """x plus a layer of x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, width)`` to the same."""
        result: Tensor = x + self.inner(x)
        return result


def _network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 128), *(ResidualBlock(128) for _ in range(3)), nn.Linear(128, 10))


def _copy(model: nn.Sequential, seed: int, *, new_head: bool = True) -> nn.Sequential:
    """A copy, with a head drawn anew."""
    made = copy.deepcopy(model)
    if new_head:
        torch.manual_seed(seed)
        made[-1] = nn.Linear(128, 10)
    return made


def _train(model: nn.Sequential, X: Array, y: Array, rate: float, seed: int) -> nn.Sequential:
    """Thirty epochs of batches of 64."""
    loader = TensorBatches([_tensor(X), torch.from_numpy(y)], 64)

    def loss(network: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        return nn.functional.cross_entropy(network(batch[0]), batch[1])

    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam([p for p in parameters if p.requires_grad], lr=rate, fused=True)

    train(model, loader, loss=loss, n_epochs=30, optimizer=adam, random_state=seed)
    return model


def _adapted(
    base: nn.Sequential,
    fit: tuple[Array, Array],
    test: tuple[Array, Array],
    seed: int,
    prepare: Callable[[nn.Sequential], object],
    rate: float,
) -> list[float]:
    """Test accuracy in percent of a copy that was prepared and trained, and the numbers trained beside its head."""
    model = _copy(base, seed)
    prepare(model)
    body, head = model[:-1], model[-1:]
    if any(p.requires_grad for p in body.parameters()):
        _train(model, *fit, rate, seed)
    else:  # what is not trained is computed once
        with torch.no_grad():
            states = body(_tensor(fit[0])).numpy()
        _train(head, states, fit[1], rate, seed)  # type: ignore[arg-type]  # a slice of a Sequential is one
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return [100.0 * _accuracy(model, *test), float(trained - _count(model[-1]))]


def _freeze(model: nn.Sequential) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(f"{len(model) - 1}."))


def _add_snnks(model: nn.Sequential, *, n_features: int, random_state: int) -> None:
    add_adapters(
        model,
        lambda name, module: isinstance(module, ResidualBlock),
        also_train=[f"{len(model) - 1}.*"],
        n_features=n_features,
        random_state=random_state,
    )


def _add_bottlenecks(model: nn.Sequential, *, width: int) -> None:
    _freeze(model)
    for i, module in enumerate(model):
        if isinstance(module, ResidualBlock):
            model[i] = nn.Sequential(module, Bottleneck(128, width))


@torch.no_grad()
def _accuracy(model: nn.Module, X: Array, y: Array) -> float:
    return float(np.mean(model(_tensor(X)).argmax(1).numpy() == y))


def _mlp_accuracy(fit: tuple[Array, Array], test: tuple[Array, Array], seed: int) -> float:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    return _accuracy(_train(model, *fit, 3e-3, seed), *test)


def _ridge_loss(Z: Array, Y: Array, V: Array, c: Array) -> float:
    return float(np.square(Z @ V.T + c - Y).sum() + 1e-3 * np.square(V).sum())


def _adam_loss(Z: Array, Y: Array, seed: int) -> float:
    """What 200 epochs of Adam from zero reach of the same loss."""
    F, targets = torch.from_numpy(Z), torch.from_numpy(Y)
    V = torch.zeros(Y.shape[1], Z.shape[1], dtype=torch.float64, requires_grad=True)
    c = torch.zeros(Y.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([V, c], lr=1e-2)
    order = torch.Generator().manual_seed(seed)
    for _ in range(200):
        for rows in torch.randperm(len(F), generator=order).split(512):
            share = len(rows) / len(F)
            loss = (F[rows] @ V.mT + c - targets[rows]).square().sum() + 1e-3 * share * V.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return _ridge_loss(Z, Y, V.detach().numpy(), c.detach().numpy())


def _change(values: Tensor) -> float:
    return float((values[1] - values[0]).abs().max() / values[0].abs().max())


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
