"""A model taught by its own predictions: when it helps, and what it really is.

Self-distillation fits a model, then fits it again to a mixture of its own predictions and the true labels, and again.
For kernel ridge regression nothing has to be refitted: every round multiplies what is left of each eigenvector of the
kernel matrix by a known factor, so all rounds, and the best weight of the truth in each, come from one factorisation.

```pycon
>>> from sklearn.datasets import load_digits
>>> from mercer.data import noisy_labels
>>> from mercer.learn import KernelRidgeClassifier, SelfDistillation
>>> X, y = load_digits(return_X_y=True)
>>> noisy = noisy_labels(y, 0.4)
>>> model = SelfDistillation(KernelRidgeClassifier(0.1, kernel="rbf", gamma=0.1 / 256), n_rounds=6)
>>> path = model.fit(X[:900], noisy[:900]).path_  # weights by 20 % of the rows; then all rows are fitted
>>> path.alphas.round(2)  # of the labels, in each round
array([1.  , 0.  , 0.  , 0.  , 0.  , 0.03])
>>> [round(float(np.mean(model.predict(X[900:], round=t) == y[900:])), 2) for t in (1, 6)]
[0.87, 0.93]
>>> axes = path.plot_filters()  # what each round leaves of each eigenvector

```

**What came out.** Rounds agree with refits to round-off, tend to ridge regression with the penalty `lambda / alpha`,
and the closed-form weight is where a search finds it. Where labels are noisy and the model is regularised too little,
a few rounds repair it: six to eight points of accuracy on digits with 40 % of the labels drawn at random. For networks
the weight that one extra training gives is as good as the best of a grid of six.

**What did not.** The repaired model is no better than one whose penalty was tuned on the same validation data: the gain
is more regularisation, and distillation is one way to get it. With `lambda` too large already the best weight is above
1, is clipped to 1, and nothing changes. And the rounds do not get sparser one after the other: with some weight on the
truth, small eigenvalues settle first, so that the ratio of two filters overshoots its limit and comes back to it.

**Beyond the paper.** Weights that are free in all rounds at once (`joint_weights`) beat every single penalty where a
few directions of the data matter and the rest is noise, and do not on digits and diabetes.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn import kernel_ridge
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.preprocessing import scale

from mercer.data import diamonds, noisy_split, spiked_regression, toy_sine
from mercer.learn import (
    KernelRidge,
    KernelRidgeClassifier,
    SelfDistillation,
    distill_filter,
    joint_weights,
    optimal_weight,
)
from mercer.nn import self_distill
from mercer.nn.training import train
from mercer.papers import Curve, Effort, Paper, Quantity, Run, curves, sabotage

paper = Paper.from_catalog(
    22,
    see=[
        ("Official code", "https://github.com/Kennethborup/self_distillation"),
        ("Mobahi et al. 2020, rounds without labels", "https://arxiv.org/abs/2002.05715"),
        ("Das & Sanghavi 2023, distillation and label noise", "https://arxiv.org/abs/2301.13304"),
        ("Borup & Andersen 2023, Gaussian processes", "https://arxiv.org/abs/2304.02641"),
        ("Pareek et al. 2024, free weights in all rounds", "https://arxiv.org/abs/2407.04600"),
        ("Optimal unconstrained self-distillation in ridge regression, 2026", "https://arxiv.org/abs/2602.17565"),
    ],
)

Array = np.ndarray[Any, Any]
Data = tuple[Array, Array]

# The README's table: mean squared distance to sin(2 pi x) after rounds 1 to 6 and after infinitely many.
TABLE = {
    0.0: (0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251, 0.49505),
    0.35: (0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948, 0.14959),
}
PENALTIES = np.logspace(-4.0, 4.0, 25)  # among which the control tunes ridge regression


@paper.claim(
    "toy",
    says="Without the truth the rounds improve, then collapse to zero; with a weight of 0.35 on it they settle.",
    reported="a table of 14 losses",
    where="README and toy_example.ipynb of the official code",
    measures=Quantity("deviation", "largest difference from the 14 losses of the table", at_most=5e-6),
    quick=Effort(seeds=1, seconds=2),
    notes="The table calls the first fit step 1, as here. Its losses have five decimals.",
)
def toy(run: Run) -> None:
    """Eleven points, RBF kernel with gamma 80, lambda 0.2."""
    frame = toy_sine().frame
    X, y = frame[["x"]].to_numpy(), frame["y"].to_numpy()
    grid = np.linspace(0.0, 1.0, 101)[:, None]
    truth = np.sin(2.0 * np.pi * grid[:, 0])
    ridge = partial(KernelRidge, kernel="rbf", gamma=80.0)
    for _ in run.seeds:
        rows, gaps, panels = [], [], {}
        for alpha, reported in TABLE.items():
            path = SelfDistillation(ridge(0.2), n_rounds=6, alpha=alpha, validation=None, center=False).fit(X, y).path_
            limit = ridge(0.2 / alpha).fit(X, y).predict(grid) if alpha else np.zeros(101)
            fits = [*path.predict(grid, round=None), limit]
            losses = [float(np.mean((fit - truth) ** 2)) for fit in fits]
            gaps += [abs(a - b) for a, b in zip(losses, reported, strict=True)]
            rows += [(alpha, "reported", *reported), (alpha, "here", *losses)]
            panels[f"weight of the truth {alpha:g}"] = [
                Curve(grid, truth, ":", "sin 2πx", color="#999999"),
                Curve(X, y, "k.", markersize=5),
                *(Curve(grid, fits[t], "C0", f"round {t + 1}", alpha=(t + 2) / 7) for t in (0, 1, 5)),
                Curve(grid, limit, "C1--", "limit"),
            ]
        run.record(deviation=max(gaps))
    run.table("losses", rows, columns=["alpha", "", *(f"round {t}" for t in range(1, 7)), "limit"])
    caption = "Rounds without the truth tend to zero; with it they tend to a ridge regression."
    run.figure("fits", curves(panels, xlabel="x"), caption=caption)


@paper.claim(
    "path",
    says="Every round follows from the first fit, without a refit.",
    where="abstract",
    measures=Quantity(
        "error", "largest difference from explicit refits, relative to the largest prediction", 1e-9, over_seeds="worst"
    ),
    identity=True,
    quick=Effort(seeds=2, seconds=8),
    full=Effort(seeds=1, seconds=600),
    notes="Refits are scikit-learn's; in full, on 20 000 diamonds, where scikit-learn crashes, mercer's own.",
)
def path(run: Run) -> None:
    """Three kernels, random weights, eight rounds, predictions at rows that were not seen."""
    for seed in run.seeds:
        draw = np.random.default_rng(seed)
        alphas = draw.uniform(size=8).tolist()
        rows = []
        for name, X, Y, n in _diamonds(draw) if run.is_full else _small(draw):
            for kernel, gamma in (("rbf", 0.05), ("laplacian", 0.05), ("poly", 0.02)):
                options: dict[str, Any] = {"alpha": 1.0, "kernel": kernel, "gamma": gamma}
                model = KernelRidge(**options, rtol=1e-12)
                ours = SelfDistillation(model, n_rounds=8, alpha=alphas, validation=None, center=False).fit(
                    X[:n], Y[:n]
                )
                refit = model if run.is_full else kernel_ridge.KernelRidge(**options)
                target, error = Y[:n], 0.0
                for t, alpha in enumerate(alphas, start=1):
                    target = alpha * Y[:n] + (1.0 - alpha) * target if t > 1 else target
                    refit.fit(X[:n], target)
                    target, expected = refit.predict(X[:n]), refit.predict(X[n:])
                    gap = np.abs(ours.predict(X[n:], round=t) - expected).max()
                    error = max(error, float(gap / np.abs(expected).max()))
                rows.append((name, kernel, n, error))
        run.record(error=max(row[-1] for row in rows))
    run.table("errors", rows, columns=["data", "kernel", "rows", "largest relative difference"])


@paper.claim(
    "limit",
    says="Infinitely many rounds are one ridge regression with the penalty lambda / alpha, or zero without the truth.",
    where="abstract",
    measures=(
        Quantity("error", "round 300 against that ridge regression, relative", at_most=1e-8, over_seeds="worst"),
        Quantity("slope", "fall of the log error a round, relative to log((1 - alpha) max A)", 1.02, 0.98),
        Quantity("norm", "norm of round 300 over that of round 1 where alpha is 0", at_most=1e-6, over_seeds="worst"),
    ),
    identity=True,
    quick=Effort(seeds=3, seconds=6),
)
def limit(run: Run) -> None:
    """Diabetes, RBF kernel with gamma 0.02, lambda 20, random weights of the truth."""
    X, y = _diabetes()
    y = y + 1.0  # a part along the leading eigenvector, which is nearly constant
    ridge = partial(KernelRidge, kernel="rbf", gamma=0.02)
    rounds = partial(SelfDistillation, ridge(20.0), 300, validation=None, center=False)
    rounds_shown = np.arange(1, 61)
    for seed in run.seeds:
        alpha = float(np.random.default_rng(seed).uniform(0.2, 0.8))
        path, zero = (rounds(weight).fit(X, y).path_ for weight in (alpha, 0.0))
        expected = ridge(20.0 / alpha).fit(X, y).predict(X)
        gaps = np.array([np.linalg.norm(path.predict(X, round=t) - expected) for t in rounds_shown.tolist()])
        gaps /= np.linalg.norm(expected)
        rate = (1.0 - alpha) * float((path.eigenvalues / (path.eigenvalues + 20.0)).max())
        # From round 5 on the slowest direction leads; above 1e-12 round-off does not.
        used = np.flatnonzero((rounds_shown >= 5) & (gaps > 1e-12))
        slope = float(np.polyfit(used, np.log(gaps[used]), 1)[0])
        run.record(
            error=float(np.linalg.norm(path.predict(X) - expected) / np.linalg.norm(expected)),
            slope=slope / np.log(rate),
            norm=float(np.linalg.norm(zero.predict(X)) / np.linalg.norm(zero.predict(X, round=1))),
        )
    measured = Curve(rounds_shown, gaps, "o", f"measured, alpha = {alpha:.2f}")
    predicted = Curve(rounds_shown, gaps[9] * rate ** (rounds_shown - 10.0), "-", "((1 - alpha) max A)^t")
    labels = {"xlabel": "round", "ylabel": "distance from the limit"}
    caption = "The rounds approach their limit at the rate the theorem gives, down to round-off."
    run.figure("rate", curves([measured, predicted], yscale="log", ylim=(1e-17, 10.0), **labels), caption=caption)


@paper.claim(
    "sparse",
    says="With every round the filter of a larger eigenvalue grows against that of a smaller one, up to a known limit.",
    reported='"the solution sparsifies with each distillation step", for all alpha in [0, 1]',
    where="README of the official code",
    measures=(
        Quantity("falls", "share of the pairs of eigenvalues whose ratio falls in some round", at_most=0.0),
        Quantity("error", "last ratio against the limit, relative", at_most=1e-6, over_seeds="worst"),
    ),
    rivals=(
        Quantity("falls_alone", "the same share without the truth, alpha 0"),
        Quantity("net", "share of the pairs whose limit is below their first ratio"),
        Quantity("overshoot", "largest ratio over its limit"),
    ),
    quick=Effort(seeds=3, seconds=5),
    notes="""
        The limit is right, and it lies above the ratio of the first fit. But the way there is not monotone for
        0 < alpha < 1. A filter reaches its limit from above at the rate (1 - alpha) A, so that of the smaller
        eigenvalue has settled while that of the larger one still falls, and their ratio comes back from above: A = 0.9
        and 0.01 with alpha 0.4 give 90, 208, 203, ..., 194. Without the truth the ratio rises in every round, as Mobahi
        et al. proved.
    """,
)
def sparse(run: Run) -> None:
    """Eigenvalues of an RBF kernel matrix of 100 random rows of diabetes; all pairs whose A differ by more than 1 %."""
    X, y = _diabetes()
    for seed in run.seeds:
        draw = np.random.default_rng(seed)
        rows = draw.permutation(len(X))[:100]
        lam, alpha = float(draw.uniform(0.05, 1.0)), float(draw.uniform(0.2, 0.8))
        model = SelfDistillation(KernelRidge(lam, kernel="rbf", gamma=0.02), n_rounds=1, alpha=1.0, center=False)
        d = model.fit(X[rows], y[rows]).path_.eigenvalues
        d = d[d > 1e-10 * d.max()]  # the others are round-off
        high, low = np.nonzero((d / (d + lam))[:, None] > 1.01 * d / (d + lam))
        filters = [distill_filter(d, lam, [weight] * n) for weight, n in ((alpha, 200), (1.0, 20), (0.0, 20))]
        found, constant, alone = (kept[:, high] / kept[:, low] for kept in filters)
        limits = (1.0 + lam / (alpha * d[low])) / (1.0 + lam / (alpha * d[high]))
        run.record(
            falls=max(_share_falling(found), _share_falling(constant)),
            error=float(max(np.abs(found[-1] / limits - 1.0).max(), np.abs(constant[-1] / constant[0] - 1.0).max())),
            falls_alone=_share_falling(alone),
            net=float((limits < found[0]).mean()),
            overshoot=float((found / limits).max()),
        )
    path = SelfDistillation(KernelRidge(0.5, kernel="rbf", gamma=0.02), n_rounds=6, alpha=0.2).fit(X, y).path_
    caption = "What six rounds leave of each eigenvector of the kernel matrix of diabetes; lambda 0.5, alpha 0.2."
    run.figure("filters", lambda figure: path.plot_filters(figure.subplots()), caption=caption)
    shown = np.argsort(found.max(0) / limits)[[0, len(limits) // 2, -1]]
    over = [Curve(range(1, 16), (found[:15] / limits)[:, shown], "o-"), Curve([1, 15], [1.0, 1.0], color="#888888")]
    drawn = curves(over, xlabel="round", ylabel="ratio of two filters over its limit")
    run.figure("ratios", drawn, caption=f"Three pairs of eigenvalues with alpha {alpha:.2f}.")


@paper.claim(
    "weight",
    says="The closed-form weight is optimal, and with it a few rounds repair a fit to noisy labels.",
    where="abstract",
    measures=(
        Quantity(
            "grid", "distance from the best of 4001 weights, in steps, worst of 20 problems", 1.0, over_seeds="worst"
        ),
        Quantity("gain", "test accuracy of round 6 minus that of round 1, lambda 0.1", at_least=0.03),
    ),
    controls=Quantity(
        "tuned", "test accuracy of round 6 minus that of ridge regression with lambda tuned", at_least=0.01
    ),
    rivals=(
        Quantity("tuned_gain", "test accuracy of the tuned ridge regression minus that of round 1"),
        Quantity("unclipped", "gain of round 6 with weights that are not clipped"),
        Quantity("loo", "gain of round 6 with weights from leave-one-out errors, without validation data"),
    ),
    quick=Effort(seeds=5, seconds=20),
    notes="""
        Digits: 900 rows to fit, 450 to choose weights and lambda, the rest to test; 40 % of the labels of the first two
        are drawn at random. RBF kernel with gamma 0.1. The control is tuned among 25 values of lambda by the same
        squared error on the same rows.
    """,
)
def weight(run: Run) -> None:
    """The formula against a search, then digits with wrong labels."""
    rows: dict[float, list[list[float]]] = {0.001: [], 0.1: [], 1.0: []}
    for seed in run.seeds:
        fit, choose, test = _noisy_digits(seed, 900, 450)
        classifier = partial(KernelRidgeClassifier, kernel="rbf", gamma=0.1)
        distill = partial(SelfDistillation, n_rounds=6)
        best = _tuned(classifier(), fit, choose).score(*test)
        gains = {}
        for lam, found in rows.items():
            model = distill(classifier(lam), validation=choose).fit(*fit)
            first, last = (float(np.mean(model.predict(test[0], round=t) == test[1])) for t in (1, -1))
            found.append([first, last, best, float(model.path_.proposals[1])])
            gains[lam] = last - first
            if lam == 0.1:
                path, start = model.path_, first
        run.record(
            grid=max(_grid_distance(seed * 100 + i) for i in range(20)),
            gain=gains[0.1],
            tuned=gains[0.1] + start - best,
            tuned_gain=best - start,
            unclipped=distill(classifier(0.1), validation=choose, clip=None).fit(*fit).score(*test) - start,
            loo=distill(classifier(0.1), validation="loo").fit(*fit).score(*test) - start,
        )
    columns = ["lambda", "round 1", "round 6", "lambda tuned", "best weight of round 2"]
    table = [(lam, *np.mean(found, axis=0)) for lam, found in rows.items()]
    run.table("lambdas", table, columns=columns, caption="Test accuracy, mean over the seeds.")
    caption = "Squared error on the validation rows of one seed, labels as noisy as those of the fit."
    run.figure("rounds", lambda figure: path.plot_path(figure.subplots()), caption=caption)


@paper.claim(
    "cheap",
    says="For networks the weight is estimated with one extra training instead of a grid search.",
    reported='"significantly reduce the computational requirements"',
    where="abstract",
    measures=(
        Quantity("excess", "validation error with the estimated weight minus the best of 0, 0.2, ..., 1", at_most=0.01),
        Quantity("gain", "test accuracy of the student minus the teacher's", at_least=0.02),
        Quantity("trainings", "trainings beside the teacher's; the grid takes 6", at_most=2.0, over_seeds="worst"),
    ),
    controls=Quantity(
        "tuned", "test accuracy of the student minus that of a network with its weight decay tuned", at_least=0.01
    ),
    rivals=Quantity("weight", "the weight before it is clipped"),
    quick=Effort(seeds=4, seconds=32),
    full="needs CIFAR-10 and a ResNet, which mercer does not have yet",
    notes="""
        Digits: 600 rows to fit, 600 to choose, the rest to test; 40 % of the labels of the first two are drawn at
        random. Layers 64-128-10, squared error of softmax, a penalty of 5e-4 times the squared norm of the weights, 200
        steps of Adam with 0.01 on all rows. The control takes the best of 1, 2, 4, 8 and 16 times that penalty by the
        same validation error, in no more trainings than the grid. With a penalty of 1e-4 or none the grid is flat and
        nothing is gained (pilot).
    """,
)
def cheap(run: Run) -> None:
    """One student alone gives the weight; a grid of weights and a grid of penalties judge it."""
    for seed in run.seeds:
        fit, choose, test = (_tensors(part) for part in _noisy_digits(seed, 600, 600))
        distill = partial(self_distill, _network, train_loader=[fit], valid_loader=[choose], random_state=seed)
        accuracy, adam = partial(_accuracy, data=test), partial(_fit, decay=5e-4)
        teacher, student = distill(n_rounds=2, fit_fn=adam)
        weights = [1.0, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        grid = distill(n_rounds=7, alpha=weights, teacher="first", fit_fn=adam)[1:]
        stronger = {decay: partial(_fit, decay=decay) for decay in (1e-3, 2e-3, 4e-3, 8e-3)}
        plain = {5e-4: teacher} | {decay: distill(n_rounds=1, fit_fn=fit_fn)[0] for decay, fit_fn in stronger.items()}
        tuned = min(plain.values(), key=lambda found: found.valid_loss)
        run.record(
            excess=student.valid_loss - min(found.valid_loss for found in grid),
            gain=accuracy(student.model) - accuracy(teacher.model),
            trainings=student.n_trainings,
            tuned=accuracy(student.model) - accuracy(tuned.model),
            weight=student.proposal,
        )
    rows = [("grid", found.alpha, found.valid_loss, accuracy(found.model)) for found in grid]
    rows.append(("estimated", student.alpha, student.valid_loss, accuracy(student.model)))
    rows += [(f"no distillation, penalty {d:g}", 1.0, p.valid_loss, accuracy(p.model)) for d, p in plain.items()]
    columns = ["", "weight of the labels", "validation error", "test accuracy"]
    run.table("networks", rows, columns=columns, caption=f"Seed {seed}.")


@paper.claim(
    "joint",
    says="Free weights in all rounds beat every single ridge regression (Pareek et al. 2024, beyond this paper).",
    measures=Quantity(
        "ratio", "squared error over tuned ridge regression's, spiked covariance, median", 0.9, over_seeds="median"
    ),
    controls=Quantity("digits", "the same on digits with noisy labels, RBF kernel", at_most=0.99),
    rivals=Quantity("diabetes", "the same on diabetes, RBF kernel"),
    quick=Effort(seeds=5, seconds=15),
    notes="""
        Six rounds without the truth, added up with weights by least squares on validation rows; the penalty of ridge
        regression is chosen on the same rows. Errors are to the mean of y (diabetes: to y). With a few large directions
        that matter and many small ones that do not, a sum of rounds is a sharper filter than any ridge regression; on
        the two real data sets ridge regression is sharp enough.
    """,
)
def joint(run: Run) -> None:
    """Lambda 10 on generated data, 0.1 on digits and diabetes."""
    for seed in run.seeds:
        frame = spiked_regression(2150, random_state=seed).frame
        X, y, mean = frame.filter(like="x").to_numpy(), frame["y"].to_numpy(), frame["mean"].to_numpy()
        spiked = _joint_ratio((X[:150], y[:150]), (X[150:650], y[150:650]), (X[650:], mean[650:]), KernelRidge(10.0))
        (X, y), (Xv, yv), (Xt, yt) = _noisy_digits(seed, 900, 450)
        one_hot = np.eye(10)
        expected = 0.6 * one_hot[yt] + 0.04  # what labels are on average of which 40 % are drawn from ten classes
        ridge = KernelRidge(0.1, kernel="rbf", gamma=0.1)
        digits = _joint_ratio((X, one_hot[y]), (Xv, one_hot[yv]), (Xt, expected), ridge)
        X, y = _diabetes()
        order = np.random.default_rng(seed).permutation(len(X))
        fit, choose, test = ((X[rows], y[rows]) for rows in np.split(order, [220, 330]))
        ridge = KernelRidge(0.1, kernel="rbf", gamma=0.02)
        diabetes = _joint_ratio(fit, choose, test, ridge)
        run.record(ratio=spiked, digits=digits, diabetes=diabetes)


paper.sabotage("wrong kernel", lambda: sabotage.wrong_kernel(KernelRidge, gamma=8.0), breaks=["toy", "path"])
paper.sabotage(
    "always the first teacher",
    lambda: sabotage.wrong_kernel(SelfDistillation, teacher="first"),
    breaks=["path", "limit"],
)
paper.sabotage("shuffled labels", lambda: sabotage.shuffled_labels(SelfDistillation), breaks=["weight"])
paper.sabotage(
    "weight of one half",
    lambda: sabotage.replaced(optimal_weight, lambda target, first, student: 0.5),
    breaks=["weight"],
)
paper.sabotage(
    "teacher without a say",
    lambda: sabotage.replaced(self_distill, partial(self_distill, alpha=0.95)),
    breaks=["cheap"],
)
paper.sabotage(
    "round 1 alone",
    lambda: sabotage.replaced(joint_weights, lambda v, rounds: np.eye(len(rounds))[0]),
    breaks=["joint"],
)


def _diabetes() -> Data:
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def _small(draw: np.random.Generator) -> Iterator[tuple[str, Array, Array, int]]:
    """(name, X, Y, rows to fit) of diabetes and of digits with one column a class."""
    X, y = _diabetes()
    order = draw.permutation(len(X))
    yield "diabetes", X[order], y[order], 342
    X, classes = load_digits(return_X_y=True)
    order = draw.permutation(len(X))[:500]
    yield "digits", X[order] / 4.0, np.eye(10)[classes[order]], 400


def _diamonds(draw: np.random.Generator) -> Iterator[tuple[str, Array, Array, int]]:
    """(name, X, Y, rows to fit): sizes and weight of 20 000 diamonds against the logarithm of the price."""
    frame = diamonds().frame.sample(20_500, random_state=int(draw.integers(2**31)))
    X = frame[["carat", "depth", "table", "x", "y", "z"]].to_numpy(dtype=np.float64)
    yield "diamonds", scale(X), scale(np.log(frame["price"].to_numpy(dtype=np.float64))), 20_000


def _noisy_digits(seed: int, n_fit: int, n_choose: int) -> tuple[Data, Data, Data]:
    """Rows to fit and to choose by, with 40 % of the labels drawn at random, and rows to test with true ones."""
    X, y = load_digits(return_X_y=True)
    return noisy_split(X / 16.0, y, 0.4, n_fit=n_fit, n_choose=n_choose, random_state=seed)


def _tuned(ridge: Any, fit: Data, choose: Data) -> Any:
    """The control: the same ridge regression or classifier with the penalty of the least squared error."""
    models = [clone(ridge).set_params(alpha=penalty).fit(*fit) for penalty in PENALTIES]
    return min(models, key=partial(_squared_error, data=choose))


def _squared_error(model: Any, data: Data) -> float:
    """Of the predictions; of a classifier that of its regressions on 1 and -1."""
    X, y = data
    if hasattr(model, "classes_"):
        return float(np.mean((model.decision_function(X) - np.where(y[:, None] == model.classes_, 1.0, -1.0)) ** 2))
    return float(np.mean((model.predict(X) - y) ** 2))


def _share_falling(ratios: Array) -> float:
    """The share of the columns that fall from some row to the next."""
    return float((ratios[1:] < ratios[:-1] * (1.0 - 1e-12)).any(0).mean())


def _grid_distance(seed: int) -> float:
    """How far the formula is from the best of 4001 weights, in their distance from each other."""
    draw = np.random.default_rng(seed)
    u, g = draw.normal(size=(2, 30, 3))
    v = g + draw.uniform(-1.0, 2.0) * (u - g) + 0.3 * draw.normal(size=(30, 3))
    weights = np.linspace(-3.0, 4.0, 4001)
    mixed = weights[:, None, None] * u + (1.0 - weights[:, None, None]) * g
    errors = np.square(v - mixed).sum((1, 2))
    return float(abs(optimal_weight(v, u, g) - weights[np.argmin(errors)]) / (weights[1] - weights[0]))


def _joint_ratio(fit: Data, choose: Data, test: Data, ridge: KernelRidge) -> float:
    """Squared test error of jointly weighted rounds over that of tuned ridge regression."""
    path = SelfDistillation(ridge, n_rounds=6, alpha=0.0, center=False).fit(*fit).path_
    weights = joint_weights(choose[1], path.predict(choose[0], round=None))
    joint = np.tensordot(weights, path.predict(test[0], round=None), 1)
    return float(np.mean((joint - test[1]) ** 2)) / _squared_error(_tuned(ridge, fit, choose), test)


def _tensors(data: Data) -> tuple[torch.Tensor, torch.Tensor]:
    X, y = data
    return torch.from_numpy(X).float(), torch.from_numpy(y)


def _accuracy(model: torch.nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> float:
    return float((model(data[0]).argmax(1) == data[1]).float().mean())


def _network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))


def _fit(model: torch.nn.Module, loader: Any, *, loss: Any, decay: float) -> None:
    """200 steps of Adam with a penalty on the squared norm of all parameters."""

    def penalised(network: torch.nn.Module, batch: Any) -> Any:
        return loss(network, batch) + decay * sum(p.square().sum() for p in network.parameters())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a network this small loses more by sharing its work than it gains
    try:
        train(model, loader, loss=penalised, n_steps=200, optimizer=partial(torch.optim.Adam, lr=0.01))
    finally:
        torch.set_num_threads(threads)
