"""Polynomials of one hidden polynomial: what three layers learn from fewer rows than any fixed kernel.

The target is ``g(p(x))`` with standard normal x, a polynomial p of degree k in all columns and a polynomial g of degree
q in one variable. A kernel sees a polynomial of degree k q. Ridge regression on degree k, though, finds p itself, since
the low-degree part of ``g(p)`` is nearly a multiple of it; a function of one variable is then easy.

```pycon
>>> from mercer.data import hierarchical_polynomial
>>> from mercer.learn import HierarchicalRegressor
>>> X, y, p = hierarchical_polynomial(15, 7000)  # (h_1 + h_3)(p) / sqrt(2), p quadratic: degree 6
>>> model = HierarchicalRegressor(degree=2, refine=2).fit(X[:3000], y[:3000])
>>> scores = np.corrcoef([y[3000:], model.first_stage_predict(X[3000:]), model.predict(X[3000:])])[0, 1:] ** 2
>>> bool(scores[0] < 0.5), bool(scores[1] > 0.8)  # kernel ridge regression, and the three layers
(True, True)

```

**What came out** (medians over seeds). At d = 20 the three layers have R^2 = 0.77 from 16 d^2 rows, 0.86 from 32 d^2;
an RBF kernel tuned on the test rows has 0.35 from 8 d^2, and refined layers have 0.98 from 16 d^2.

**What does not hold.** With a cubic feature the three layers gain 0.18 over stage 1, and 0.2 was asked for: three seeds
differ by 0.1 (one tried before had 0.26), as labels of degree 6 have heavy tails. Refined they reach 0.96.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from mercer.data import hierarchical_polynomial
from mercer.learn import HierarchicalRegressor, KernelRidge, degree_variance
from mercer.papers import Curve, Effort, Paper, Quantity, Run, curves, sabotage

paper = Paper.from_catalog(
    24,
    see=[
        ("Nichani, Damian & Lee 2023, three layers and a hidden feature", "https://arxiv.org/abs/2305.06986"),
        ("Fu, Wang, Nichani & Lee 2024, several features", "https://arxiv.org/abs/2411.17201"),
    ],
)

Array = np.ndarray[Any, Any]
Data = tuple[Array, Array, Array]

N_TEST = 20_000
CUBIC = (0.0, math.sqrt(0.5), math.sqrt(0.5))  # (h_1 + h_2) / sqrt(2)
ROOT_SCALES = (0.7, 1.0, 2.0)  # length scales of the kernel, in units of the root of the columns
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
OTHER_KERNELS = {
    "Laplace": tuple(f"Matern({scale * math.sqrt(20)!r}, nu=0.5)" for scale in ROOT_SCALES),
    "NTK, depth 2": ("NTK(depth=2)",),
    "NTK, depth 3": ("NTK(depth=3)",),
}
N_FULL = 40_000  # rows of the largest kernel regression

quadratic_layers = partial(HierarchicalRegressor, degree=2)


@paper.claim(
    "learns",
    says="The test error of a three-layer network on g(p(x)) vanishes with about d^k rows.",
    reported="Õ(d^k)",
    where="abstract",
    measures=(
        Quantity("at16", "test R² at d = 20 from 16 d² rows", at_least=0.74, over_seeds="median"),
        Quantity("at32", "the same from 32 d² rows", at_least=0.83, over_seeds="median"),
        Quantity("rises", "smallest rise of it over 4, 8, 16, 32 d² rows", at_least=0.0, over_seeds="median"),
        Quantity("wider", "its rise from d = 10 to d = 30 at 16 d² rows", at_least=0.0, over_seeds="median"),
    ),
    rivals=Quantity("first", "R² of stage 1 alone at d = 20 from 16 d² rows", over_seeds="median"),
    quick=Effort(seeds=5, seconds=40),
    full=Effort(seeds=5, seconds=14400),
    notes="""
        p = Σ ±h₂(x_i) / √d, g = (h₁ + h₃) / √2: k = 2, q = 3, degree 6. No refinement. The largest d of full is 100.
    """,
)
def learns(run: Run) -> None:
    """Learning curves at d = 20, and the same multiple of d^2 at another d."""
    multiples = (4, 8, 16, 32)
    widest = 100 if run.is_full else 30
    for seed in run.seeds:
        scores, first = [], []
        for multiple in multiples:
            fit, test = _data(20, multiple * 400, seed)
            model = quadratic_layers().fit(*fit[:2])
            scores.append(model.score(*test[:2]))
            first.append(_r2(test[1], model.first_stage_predict(test[0])))
        at = []
        for d in (10, widest):
            fit, test = _data(d, 16 * d * d, seed)
            at.append(quadratic_layers().fit(*fit[:2]).score(*test[:2]))
        run.record(
            at16=scores[2], at32=scores[3], rises=float(np.diff(scores).min()), wider=at[1] - at[0], first=first[2]
        )
    shown = [Curve(multiples, scores, "o-", "three layers"), Curve(multiples, first, "s--", "stage 1: ridge, degree 2")]
    caption = f"Degree 6 in 20 columns; seed {seed}."
    run.figure("curves", curves(shown, xlabel="rows / d²", ylabel="test R²", ylim=(0, 1)), caption=caption)


@paper.claim(
    "kernel",
    says="Kernel methods need about d^(kq) rows: until then they see the low degrees only.",
    reported="Θ(d^(kq))",
    where="abstract",
    measures=(
        Quantity("ridge", "test R² of RBF kernel ridge at d = 20 from 8 d² rows", at_most=0.45, over_seeds="median"),
        Quantity("gain", "R² of the three layers minus that", at_least=0.2, over_seeds="median"),
        Quantity(
            "above", "R² of the kernel minus the variance share of degrees 1 and 2", at_most=0.03, over_seeds="median"
        ),
    ),
    rivals=(
        Quantity("plateau", "the variance share of degrees 1 and 2", over_seeds="median"),
        Quantity("refined", "R² of the three layers with refine=2", over_seeds="median"),
    ),
    quick=Effort(seeds=1, seconds=30),
    full=Effort(seeds=5, seconds=14400),
    notes="""
        Three length scales and five ridges, the best on the test rows: an advantage that the three layers do not have.
        The share of degrees 1 and 2 comes from 10 000 test rows (`degree_variance`). One seed
        in quick, for time. In full Laplace's kernel and the NTKs of two and three layers too, and RBF from 100 d² rows.
    """,
)
def kernel(run: Run) -> None:
    """A Gaussian kernel tuned on the test rows against the three layers, untuned."""
    for seed in run.seeds:
        fit, test = _data(20, 3200, seed)
        best = _best_ridge(fit, test)
        shares = degree_variance(test[1][:10_000], test[0][:10_000], max_degree=2).shares
        ours, refined = (quadratic_layers(refine=steps).fit(*fit[:2]).score(*test[:2]) for steps in (0, 2))
        plateau, above = float(shares.sum()), best
        rows: list[tuple[str, int, float]] = [("RBF", 3200, best)]
        if run.is_full:
            rows += [(name, 3200, _best_ridge(fit, test, OTHER_KERNELS[name])) for name in OTHER_KERNELS]
            rows.append(("RBF", N_FULL, _best_ridge(*_data(20, N_FULL, seed))))
            above = max(row[2] for row in rows)
        run.record(ridge=best, gain=ours - best, above=above - plateau, plateau=plateau, refined=refined)
    run.table(
        "kernels", rows, columns=["kernel", "rows", "test R²"], caption=f"The best on the test rows; seed {seed}."
    )


@paper.claim(
    "feature",
    says="Stage 1 recovers the hidden polynomial.",
    where="idea of the proof",
    measures=(
        Quantity("narrow", "|corr(t, p)| at d = 20 from 16 d² rows", at_least=0.94, over_seeds="median"),
        Quantity("wide", "the same at d = 30", at_least=0.94, over_seeds="median"),
        Quantity(
            "falls", "1 - |corr| at d = 20 from 4 d² rows over that from 32 d²", at_least=3.0, over_seeds="median"
        ),
    ),
    quick=Effort(seeds=5, seconds=25),
    full=Effort(seeds=5, seconds=14400),
    notes="In full d = 100 in place of 30.",
)
def feature(run: Run) -> None:
    """Correlations on rows that were not fitted."""
    for seed in run.seeds:
        few, narrow, many = (_correlation(20, multiple * 400, seed) for multiple in (4, 16, 32))
        d = 100 if run.is_full else 30
        run.record(narrow=narrow, wide=_correlation(d, 16 * d * d, seed), falls=(1.0 - few) / (1.0 - many))


@paper.claim(
    "quadratic",
    says="For quadratic p about d² rows are enough, where earlier work needed d⁴.",
    where="abstract",
    measures=(
        Quantity("slope", "slope of R² over log d at 16 d² rows, d = 10 to 30", at_least=0.0, over_seeds="median"),
        Quantity("at30", "R² at d = 30", at_least=0.74, over_seeds="median"),
    ),
    rivals=(
        Quantity("at10", "R² at d = 10", over_seeds="median"),
        Quantity("at15", "R² at d = 15", over_seeds="median"),
        Quantity("at20", "R² at d = 20", over_seeds="median"),
        Quantity("dense", "R² at d = 20 for x'Ax with a random A of all ranks", over_seeds="median"),
    ),
    quick=Effort(seeds=3, seconds=15),
    full=Effort(seeds=5, seconds=14400),
    notes="Three seeds in quick, for time. From d = 10 to 30 rows over d⁴ fall by a factor of 9. In full up to d = 60.",
)
def quadratic(run: Run) -> None:
    """The same multiple of d^2 at four d."""
    widths = (10, 15, 20, 30)
    for seed in run.seeds:
        scores = []
        for d in (*widths, 60) if run.is_full else widths:
            fit, test = _data(d, 16 * d * d, seed)
            scores.append(quadratic_layers().fit(*fit[:2]).score(*test[:2]))
        fit, test = _data(20, 6400, seed, feature="quadratic")
        dense = quadratic_layers().fit(*fit[:2]).score(*test[:2])
        slope = float(np.polyfit(np.log([*widths, 60][: len(scores)]), scores, 1)[0])
        run.record(slope=slope, at10=scores[0], at15=scores[1], at20=scores[2], at30=scores[3], dense=dense)


@paper.claim(
    "refine",
    says="Steps of Gauss and Newton on the feature remove what higher degrees leave in it (ours, not the paper's).",
    measures=(
        Quantity("narrow", "R² at d = 20 from 16 d² rows, refine=2", at_least=0.95, over_seeds="median"),
        Quantity("wide", "the same at d = 30", at_least=0.95, over_seeds="median"),
        Quantity("corr", "|corr(t, p)|, the lower of both", at_least=0.995, over_seeds="median"),
    ),
    quick=Effort(seeds=3, seconds=25),
    full=Effort(seeds=5, seconds=14400),
    notes="In full d = 100 in place of 30.",
)
def refine(run: Run) -> None:
    """Two steps each."""
    for seed in run.seeds:
        scores, correlations = [], []
        for d in (20, 100 if run.is_full else 30):
            fit, test = _data(d, 16 * d * d, seed)
            model = quadratic_layers(refine=2).fit(*fit[:2])
            scores.append(model.score(*test[:2]))
            correlations.append(_abs_corr(model.transform(test[0])[:, 0], test[2]))
        run.record(narrow=scores[0], wide=scores[1], corr=min(correlations))


@paper.claim(
    "cubic",
    says="It holds for hidden polynomials of other degrees than 2.",
    where="abstract",
    measures=(
        Quantity("gain", "R² of the three layers minus that of stage 1", at_least=0.2, over_seeds="median"),
        Quantity("refined", "R² with refine=2", at_least=0.8, over_seeds="median"),
    ),
    rivals=(
        Quantity("first", "R² of stage 1", over_seeds="median"),
        Quantity("plain", "R² of the three layers", over_seeds="median"),
    ),
    quick=Effort(seeds=3, seconds=40),
    full=Effort(seeds=5, seconds=14400),
    notes="""
        p is a sum of 2 d signed products of three columns, g = (h₁ + h₂) / √2, d = 14, 16 rows for each product of
        degree at most 3: 10 880. In full d = 25.
    """,
)
def cubic(run: Run) -> None:
    """Triple products."""
    d = 25 if run.is_full else 14
    for seed in run.seeds:
        fit, test = _data(d, 16 * math.comb(d + 3, 3), seed, k=3, link=CUBIC, feature="parity")
        model, refined = (HierarchicalRegressor(degree=3, refine=steps).fit(*fit[:2]) for steps in (0, 2))
        first, plain = _r2(test[1], model.first_stage_predict(test[0])), model.score(*test[:2])
        run.record(gain=plain - first, refined=refined.score(*test[:2]), first=first, plain=plain)


@paper.claim(
    "transfer",
    says="A learnt feature serves other links, from a few hundred rows.",
    where="follows from stage 1",
    measures=(
        Quantity("plain", "R² of a new link from 200 rows", at_least=0.7, over_seeds="median"),
        Quantity("refined", "the same with a refined feature (refine=2)", at_least=0.95, over_seeds="median"),
        Quantity("ridge", "R² of RBF kernel ridge from the same 200 rows", at_most=0.1, over_seeds="median"),
    ),
    quick=Effort(seeds=5, seconds=10),
    notes="The feature comes from 16 d² rows of (h₁ + h₃)(p), d = 20; the new target is h₂(p), which has no slope.",
)
def transfer(run: Run) -> None:
    """h_2 of the same p."""
    for seed in run.seeds:
        fit, test = _data(20, 6600, seed)
        new, new_test = ((X, _square(p), p) for X, _, p in (_rows(fit, 6400, 6600), test))
        plain, refined = (
            quadratic_layers(refine=steps).fit(*_rows(fit, 0, 6400)[:2]).fit_link(*new[:2]).score(*new_test[:2])
            for steps in (0, 2)
        )
        run.record(plain=plain, refined=refined, ridge=_best_ridge(new, new_test))


paper.sabotage(
    "lines in place of polynomials",
    lambda: sabotage.wrong_kernel(HierarchicalRegressor, degree=1),
    breaks=["learns", "feature", "quadratic", "refine", "cubic", "transfer"],
)
paper.sabotage("shuffled labels", lambda: sabotage.shuffled_labels(HierarchicalRegressor), breaks=["kernel"])


def _data(d: int, n: int, seed: int, **options: Any) -> tuple[Data, Data]:
    """(X, y, p) of n rows to fit and of those to test."""
    data = hierarchical_polynomial(d, n + N_TEST, random_state=seed, **options)
    return _rows(data, 0, n), _rows(data, n, n + N_TEST)


def _rows(data: Data, first: int, last: int) -> Data:
    X, y, p = data
    return X[first:last], y[first:last], p[first:last]


def _square(p: Array) -> Array:
    return (p * p - 1.0) / math.sqrt(2.0)


def _r2(y: Array, prediction: Array) -> float:
    return float(1.0 - np.mean((y - prediction) ** 2) / np.var(y))


def _abs_corr(t: Array, p: Array) -> float:
    return float(abs(np.corrcoef(t, p)[0, 1]))


def _correlation(d: int, n: int, seed: int) -> float:
    fit, test = _data(d, n, seed)
    return _abs_corr(quadratic_layers().fit(*fit[:2]).transform(test[0])[:, 0], test[2])


def _best_ridge(fit: Data, test: Data, kernels: Sequence[str] = ()) -> float:
    """R^2 of kernel ridge regression, kernel (RBF of some length scales) and ridge the best on the test rows."""
    (X, y, _), scores = fit, []
    targets = np.repeat((y - y.mean())[:, None], len(RIDGES), 1)
    for kernel in kernels or [f"RBF({scale * math.sqrt(X.shape[1])!r})" for scale in ROOT_SCALES]:
        model = KernelRidge(list(RIDGES), kernel=kernel).fit(X, targets)
        scores += [_r2(test[1], y.mean() + column) for column in model.predict(test[0]).T]
    return max(scores)
