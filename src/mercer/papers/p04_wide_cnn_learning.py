"""What wide convolutional networks can learn: the scale of a target sets how fast it is learnt.

A deep convolutional network without overlapping patches has, at infinite width, a kernel whose eigenfunctions come in
families, one a layer: those of family l see one meta-patch of layer l. A target that lives on small meta-patches is
learnt at a rate that knows nothing of the size of the image.

```pycon
>>> from mercer.data import multisphere
>>> from mercer.kernels import HierarchicalConv, torus_spectrum
>>> kernel = HierarchicalConv((2, 2))
>>> X = multisphere(100, p=4, s=2)
>>> kernel(X).shape  # four patches under two top nodes
torch.Size([100, 100])
>>> values, sectors = torus_spectrum(kernel, (16, 16, 16, 16))
>>> bool(abs(values[sectors == -1]).max() < 1e-14)  # what no meta-patch sees, the network cannot see
True

```

The numbers below come from kernels alone: eigenvalues by cosine transforms, and noise-free regression on random
functions.

**What came out.** Waves across the two top nodes have eigenvalues of 2e-17, where those within one have 1.7e-2;
patches of three numbers have the same sectors. The exponents of the spectrum are the theorem's to 0.02, 0.12 and 0.28
for the three layers, and to 0.17 for the third at frequencies up to 40 (0.14 up to 60, on a grid of 192^4 angles). A
student of three layers learns targets of one, two and three with the exponents 0.56, 0.47 and 0.32, in the order of the
theory; a fully connected kernel has 0.25 for the easiest of them. With 16 numbers instead of 8 the network's own
functions are learnt at two thirds of the rate.

**What is not there yet.** At these sizes the exponents are not those of the formula (0.625, 0.417, 0.25): the first
lies below, the last above, by 0.07. Fully connected networks with three hidden layers do better (0.36) than the
formula says (0.25), for the same reason. The empirical kernel of a single network of 1024 channels is off by 9 %.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from mercer.data import gaussian_field, multisphere
from mercer.kernels import NTK, EmpiricalNTK, HierarchicalConv, Kernel, multisphere_spectrum, torus_spectrum
from mercer.papers import Effort, Paper, Quantity, Run, sabotage

paper = Paper.from_catalog(
    4,
    see=[
        ("Official code", "https://github.com/pcsl-epfl/convolutional_neural_kernels"),
        ("Favero et al. 2021, one layer of overlapping patches", "https://arxiv.org/abs/2106.08619"),
    ],
)

Array = np.ndarray[Any, Any]
N_TEST = 512
N_FULL, N_CURSED = 8192, 16_384  # the most training points in full
N_FIELDS = 8
N_NETWORKS = 6
FORMULAS = {1: 0.625, 2: 5.0 / 12.0, 3: 0.25}  # of the claim `adapt`, by layers of the teacher
JITTER = 1e-10  # of regression without noise, relative to k(x, x)
SECTORS = (  # of filters (2, 2, 2): the layer, which patches share a frequency, the grid, the frequencies read
    (1, (1, 0, 0, 0), (2048, 16, 16, 16), (32, 256)),
    (2, (1, 1, 0, 0), (256, 256, 12, 12), (12, 48)),
    (3, (1, 0, 1, 0), (64, 64, 64, 64), (6, 20)),
)
FAR = {  # the same for layer 3 on larger grids
    "quick": (3, (1, 0, 1, 0), (128,) * 4, (6, 40)),
    "full": (3, (1, 0, 1, 0), (192,) * 4, (6, 60)),
}


@paper.claim(
    "sectors",
    says="Eigenfunctions live on meta-patches of one layer; what no meta-patch holds has the eigenvalue 0.",
    where="theorem on the spectrum",
    measures=(
        Quantity("across", "largest absolute eigenvalue of waves across the two top nodes", at_most=1e-14),
        Quantity("within", "eigenvalue of the degrees (1, 1, 0, 0) within one", at_least=1e-3),
        Quantity("smallest", "smallest eigenvalue up to degree 3 with three layers, relative", at_least=0.0),
    ),
    identity=True,
    quick=Effort(seeds=1, seconds=5),
    full=Effort(seeds=1, seconds=60),
    notes="""
        NTK of four patches of two numbers on a grid of 32 angles each (in full 64), and of four patches of three by
        quadrature with 24 nodes (in full 48, degrees up to 7); the worse of both. Filters (s, 2), then (s, 2, 2).
        Nothing is random.
    """,
)
def sectors(run: Run) -> None:
    """Exact eigenvalues of patches on circles and on spheres."""
    points, nodes, degrees = (64, 48, 8) if run.is_full else (32, 24, 4)
    for _ in run.seeds:
        found = []
        for s in (2, 3):
            shallow, deep = HierarchicalConv((s, 2)), HierarchicalConv((s, 2, 2))
            if s == 2:
                values, labels = torus_spectrum(shallow, (points,) * 4, half=True)
                lowest = torus_spectrum(deep, (points,) * 4, half=True)[0][:4, :4, :4, :4]
            else:
                values, labels = multisphere_spectrum(shallow, (degrees,) * 4, n_nodes=nodes)
                lowest = multisphere_spectrum(deep, (4,) * 4, n_nodes=nodes)[0]
            across, smallest = np.abs(values[labels == -1]).max(), lowest.min() / lowest.max()
            found.append((s, float(across), float(values[1, 1, 0, 0]), float(smallest)))
        _, across, within, smallest = zip(*found, strict=True)
        run.record(across=max(across), within=min(within), smallest=min(smallest))
    run.table("patches", found, columns=["numbers a patch", "across", "within", "smallest"])


@paper.claim(
    "decay",
    says="In the sector of layer l the eigenvalues fall like the frequency to the power -(2 nu + d_eff(l)).",
    reported="exponents 2, 3, 5 (NTK) and 4, 5, 7 (NNGP) for patches of two and three layers",
    where="theorem on the spectrum",
    measures=(
        Quantity("first", "worst deviation of the exponent in the sector of layer 1", at_most=0.1),
        Quantity("second", "the same for layer 2", at_most=0.2),
        Quantity("third", "the same for layer 3", at_most=0.4),
        Quantity("far", "the same for layer 3 on a grid of twice as many points, frequencies 6 to 40", at_most=0.2),
    ),
    quick=Effort(seeds=1, seconds=20),
    full=Effort(seeds=1, seconds=300),
    notes="""
        Fits over frequencies of one parity, both parities and both kernels; the worst of four is shown. Waves
        (k, 0, 0, 0), (k, k, 0, 0) and (k, 0, k, 0). The diagonal (k, k, k, k) is not asymptotic at these frequencies.
        The last number is of a grid of 128^4, in full of 192^4 and frequencies up to 60.
    """,
)
def decay(run: Run) -> None:
    """Slopes of exact eigenvalues."""
    for _ in run.seeds:
        rows, worst = [], []
        for layer, wave, points, (low, high) in (*SECTORS, FAR[run.mode]):
            gaps = []
            for kind in ("ntk", "nngp"):
                kernel = HierarchicalConv((2, 2, 2), kind)
                values, _ = torus_spectrum(kernel, points, half=True, device=run.device)
                expected = (2.0 if kind == "ntk" else 4.0) + (0.0, 1.0, 3.0)[layer - 1]
                for parity in (0, 1):
                    k = np.arange(low + parity, high + 1, 2)
                    found = values[tuple(k * w for w in wave)]
                    slope = -float(np.polyfit(np.log(k), np.log(np.abs(found)), 1)[0])
                    shown = f"{low} to {high}, {'odd' if parity else 'even'}"
                    rows.append((layer, kind, shown, expected, slope))
                    gaps.append(abs(slope - expected))
            worst.append(max(gaps))
        run.record(first=worst[0], second=worst[1], third=worst[2], far=worst[3])
    run.table("exponents", rows, columns=["layer", "kernel", "frequencies", "theorem", "here"])


@paper.claim(
    "adapt",
    says="The error falls at a rate that the scale of the target sets: faster for targets of small meta-patches.",
    reported="learning curves of a student of depth 4 and teachers of depth 2, 3 and 4",
    where="section on generalisation",
    measures=(
        Quantity("one", "exponent for a teacher of one layer; formula 0.625", 0.725, 0.525),
        Quantity("two", "for a teacher of two layers; formula 0.417", 0.517, 0.317),
        Quantity("three", "for a teacher of three layers, the student's own; formula 0.25", 0.35, 0.15),
        Quantity("ordered", "smallest difference of neighbours, in standard errors over the fields", at_least=2.0),
        Quantity("within", "largest distance of these from their formulas over 0.1; in full over 0.05", at_most=1.0),
    ),
    quick=Effort(seeds=4, seconds=40),
    full=Effort(seeds=16, seconds=7200),
    notes="""
        Student (2, 2, 2), 8 numbers, NTK, no noise and no ridge; teachers (2,), (2, 2), (2, 2, 2) draw 8 Gaussian
        random fields a seed; n from 128 to 1024 (in full to 8192), 512 test points. The formula is our derivation from
        the decay of the eigenvalues: (2 nu / d_S) (2 nu + d_S) / (2 nu + d_eff(l)), d_S = 4.
    """,
)
def adapt(run: Run) -> None:
    """Noise-free regression on fields of three teachers."""
    student = HierarchicalConv((2, 2, 2))
    for seed in run.seeds:
        X = _points(run, seed, p=4)
        K = _gram(student, X)
        teachers: dict[int, Kernel | torch.Tensor] = {1: HierarchicalConv((2,)), 2: HierarchicalConv((2, 2)), 3: K}
        curves = {depth: _curve(K, _fields(teacher, X, seed)) for depth, teacher in teachers.items()}
        slopes = {depth: _exponents(*curve) for depth, curve in curves.items()}
        means = {depth: _exponent(*curves[depth]) for depth in curves}
        errors = {depth: float(np.std(found, ddof=1) / math.sqrt(N_FIELDS)) for depth, found in slopes.items()}
        gaps = [(means[a] - means[a + 1]) / math.hypot(errors[a], errors[a + 1]) for a in (1, 2)]
        distance = max(abs(means[depth] - formula) for depth, formula in FORMULAS.items())
        within = distance / (0.05 if run.is_full else 0.1)
        run.record(one=means[1], two=means[2], three=means[3], ordered=min(gaps), within=within)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for depth, (sizes, found) in curves.items():
            axes.loglog(sizes, found.mean(1), "o-", label=f"teacher of {depth} layer{'s' if depth > 1 else ''}")
        axes.set(xlabel="training points", ylabel="mean squared error / variance")
        axes.legend()

    run.figure("curves", draw, caption=f"One student of three layers, three teachers; seed {seed}.")


@paper.claim(
    "not-fc",
    says="A fully connected kernel does not adapt: it pays for the whole input whatever the target sees.",
    where="section on generalisation",
    measures=(
        Quantity("dense", "exponent of the fully connected NTK for a teacher of one layer; formula 0.25", at_most=0.32),
        Quantity("gain", "exponent of the convolutional NTK minus that", at_least=0.2),
    ),
    rivals=Quantity("deep", "exponent of a fully connected NTK with three hidden layers"),
    quick=Effort(seeds=3, seconds=30),
    full=Effort(seeds=16, seconds=7200),
    notes="One hidden layer without bias on the same unit patches; with three it is not yet asymptotic at these n.",
)
def not_fc(run: Run) -> None:
    """The same data for both students."""
    teacher = HierarchicalConv((2,))
    for seed in run.seeds:
        students: dict[str, Kernel] = {
            "convolutional": HierarchicalConv((2, 2, 2)),
            "dense": NTK(depth=2, sigma_w=math.sqrt(2.0), sigma_b=0.0),
            "deep": NTK(depth=4, sigma_w=math.sqrt(2.0), sigma_b=0.0),
        }
        X = _points(run, seed, p=4)
        fields = _fields(teacher, X, seed)
        found = {name: _exponent(*_curve(_gram(student, X), fields)) for name, student in students.items()}
        run.record(dense=found["dense"], gain=found["convolutional"] - found["dense"], deep=found["deep"])


@paper.claim(
    "cursed",
    says="Random functions of a convolutional network itself are not learnt efficiently in high dimension.",
    where="abstract",
    measures=Quantity("ratio", "exponent at 16 numbers over that at 8; formula 0.5", at_most=0.75),
    rivals=(
        Quantity("short", "exponent at 8 numbers, three layers; formula 0.25"),
        Quantity("long", "exponent at 16 numbers, four layers; formula 0.125"),
    ),
    quick=Effort(seeds=3, seconds=40),
    full=Effort(seeds=16, seconds=100_000),
    notes="In full up to 16 384 rows, and 32 numbers and five layers too: the ratio is the larger of both steps.",
)
def cursed(run: Run) -> None:
    """Teacher and student are the same kernel."""
    for seed in run.seeds:
        found = []
        for depth, p in ((3, 4), (4, 8), (5, 16)) if run.is_full else ((3, 4), (4, 8)):
            X = _points(run, seed, p=p, most=N_CURSED)
            K = _gram(HierarchicalConv((2,) * depth), X)
            found.append(_exponent(*_curve(K, _fields(K, X, seed))))
        ratio = max(b / a for a, b in pairwise(found))
        run.record(ratio=ratio, short=found[0], long=found[1])
    rows = [(2 ** (depth + 3), exponent) for depth, exponent in enumerate(found)]
    run.table("numbers", rows, columns=["numbers", "exponent"], caption=f"Seed {seed}.")


@paper.claim(
    "finite",
    says="The kernel is the limit of real networks at large width.",
    where="definition",
    measures=Quantity("slope", "slope of the log mean relative error against the log width", at_most=-0.4),
    rivals=Quantity("widest", "relative error of the empirical NTK at the largest width"),
    identity=True,
    quick=Effort(seeds=2, seconds=40),
    full=Effort(seeds=5, seconds=10_000),
    notes="""
        Empirical NTK of six random networks of 64, 256 and 1024 channels each (in full to 8192), three layers. One
        network alone is off by a factor of two either way, so that three widths give no slope.
    """,
)
def finite(run: Run) -> None:
    """Structured products: the gradients of a network of 8192 channels would take 10 GB."""
    kernel = HierarchicalConv((2, 2, 2))
    widths = (64, 256, 1024, 4096, 8192) if run.is_full else (64, 256, 1024)
    for seed in run.seeds:
        X = multisphere(10, 4, 2, random_state=seed)
        expected = kernel(X).to_dense()
        points = torch.from_numpy(X).float().unsqueeze(1)
        errors = []
        for width in widths:
            gaps = []
            for draw in range(N_NETWORKS):
                network = kernel.network(8).finite(width, random_state=1000 * seed + draw)
                K = EmpiricalNTK(network)(points).to_dense().double()
                gaps.append(float((K - expected).norm() / expected.norm()))
            errors.append(float(np.mean(gaps)))
        slope = float(np.polyfit(np.log(widths), np.log(errors), 1)[0])
        run.record(slope=slope, widest=errors[-1])


paper.sabotage(
    "the kernel of the prior in place of the NTK",
    lambda: sabotage.wrong_kernel(HierarchicalConv, kind="nngp"),
    breaks=["decay", "finite"],
)
paper.sabotage("squared kernel", lambda: sabotage.wrong_kernel(HierarchicalConv, power=2), breaks=["sectors"])
paper.sabotage(
    "one layer whatever is asked for",
    lambda: sabotage.wrong_kernel(HierarchicalConv, filters=(2,)),
    breaks=["adapt", "cursed"],
)
paper.sabotage("targets of noise", lambda: sabotage.replaced(gaussian_field, _noise), breaks=["adapt", "not-fc"])


def _noise(kernel: Any, X: Array, n_functions: int = 1, random_state: int = 0) -> Array:
    return np.random.default_rng(random_state).normal(size=(len(X), n_functions))


def _points(run: Run, seed: int, *, p: int, most: int = N_FULL) -> Array:
    """Training and test points, in full ``most`` of the former."""
    return multisphere((most if run.is_full else 1024) + N_TEST, p, 2, random_state=seed)


def _gram(kernel: Kernel, X: Array) -> torch.Tensor:
    return kernel(X).to_dense()


def _fields(teacher: Kernel | torch.Tensor, X: Array, seed: int) -> torch.Tensor:
    """Random functions of a teacher, given as a kernel or as its matrix, ``(n, fields)``."""
    return torch.from_numpy(gaussian_field(teacher, X, n_functions=N_FIELDS, random_state=seed + 1))


def _curve(K: torch.Tensor, fields: torch.Tensor) -> tuple[list[int], Array]:
    """Numbers of training points, and squared errors over the variance ``(sizes, fields)`` of noise-free regression."""
    most = len(K) - N_TEST
    variance = fields.square().mean(0)
    sizes = [most >> shift for shift in (3, 2, 1, 0)]
    errors = []
    for n in sizes:
        A = K[:n, :n].clone()
        A.diagonal().mul_(1.0 + JITTER)
        weights = torch.cholesky_solve(fields[:n], torch.linalg.cholesky(A))
        gap = K[most:, :n] @ weights - fields[most:]
        errors.append((gap.square().mean(0) / variance).numpy())
    return sizes, np.stack(errors)


def _exponents(sizes: Sequence[int], errors: Array) -> Array:
    """beta of n^-beta, of each field."""
    slopes: Array = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    return -slopes


def _exponent(sizes: Sequence[int], errors: Array) -> float:
    """beta of the error averaged over the fields."""
    return float(-np.polyfit(np.log(sizes), np.log(errors.mean(1)), 1)[0])
