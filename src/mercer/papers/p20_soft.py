"""Attention without softmax: a Gaussian kernel of tokens, made linear by a few landmark tokens.

Softmax attention compares all n tokens with all others. Here the similarity is a Gaussian kernel, whose matrix is
symmetric and positive definite, so the Nystrom method rebuilds it from the similarities to m landmarks: O(n m) in place
of O(n^2). The inverse between landmarks comes from matrix products alone.

```pycon
>>> import torch
>>> from mercer.nn import SoftmaxFreeAttention
>>> layer = SoftmaxFreeAttention(64, 2, landmarks="conv", ratio=8, value_conv=3)
>>> layer(torch.randn(1, 56 * 56, 64), grid=(56, 56)).shape  # 3136 tokens, 49 landmarks
torch.Size([1, 3136, 64])
>>> bool(layer.last_residual < 1e-3)  # Newton's iteration stops when the inverse is good, and says how good it is
True

```

**What came out.** From 784 to 12 544 tokens time grows with exponent 0.4, as below a few thousand tokens the inverse
costs more than the attention; at 12 544 it is 40 times faster than torch's softmax attention, with 11 MB beyond its
inputs. Newton's iteration reaches 1e-11 in 40 steps at condition 1e4, and its gradient is exact. On a small task both
forms were ahead of softmax by 10 and 13 points, and by 40 of the exact Gaussian kernel without normalised rows.

**What does not hold.** Twenty steps, which the official code does, leave a residual of 0.8 at condition 1e4; from
another start 17 steps reach 1e-6, and ours stops by the residual. The normalised operator has a norm below 1 on noise
only: on a photograph, where many patches are alike, it is 6 (1337 without). With the landmarks that a new layer finds
in noise it grew from 0.01 at n = 196 to 3 or 4 at 3136, so there the bound is not in sight. Torch's own attention
needs less than half of the memory. And the small task says little: all networks are trained briefly, and with another
learning rate softmax was ahead by 33 points.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F

from mercer.nn import SoftBlock, SoftmaxFreeAttention
from mercer.nn.diagnostics import peak_bytes
from mercer.nn.functional import gaussian_attention, nystrom_attention
from mercer.nn.models import SoftTransformer
from mercer.nn.training import TensorBatches, train
from mercer.operators import NewtonInverse, newton_inverse
from mercer.papers import Curve, Effort, NotMeasured, Paper, Quantity, Run, curves, sabotage
from mercer.papers.imagenet import accuracy as top1
from mercer.papers.imagenet import images_in, read_image
from mercer.timing import compare

paper = Paper.from_catalog(
    20,
    see=[
        ("SOFT, NeurIPS 2021", "https://arxiv.org/abs/2110.11945"),
        ("Official code", "https://github.com/fudan-zvg/SOFT"),
        ("Nystromformer", "https://arxiv.org/abs/2102.03902"),
    ],
)

SIDES = (28, 56, 84, 112)  # of grids of tokens: n = 784 to 12 544
CONDITIONS = (4.0, 1e2, 1e3, 1e4)
PIXELS = (224, 448, 672, 896)
PLAIN, OFFICIAL = "soft_tiny.pth", "soft_norm_tiny.pth"  # weights of SOFT and SOFT++


@paper.claim(
    "linear",
    says="The cost of attention is linear in the number of tokens.",
    reported="O(n)",
    where="abstract",
    measures=(
        Quantity("slope", "slope of log time over log n, n = 784 to 12 544", at_most=1.4),
        Quantity("error", "largest error at n = 784, relative to float64 with a Cholesky factor", at_most=5e-3),
        Quantity("megabytes", "most memory beyond the inputs at n = 12 544, in MB", at_most=64.0),
    ),
    controls=Quantity("faster", "times faster than torch's scaled_dot_product_attention, n = 12 544", at_least=5.0),
    rivals=Quantity("milliseconds", "time at n = 12 544, in ms"),
    kind="speed",
    quick=Effort(seeds=1, seconds=10),
    full=Effort(seeds=1, seconds=600),
    notes="""
        Two heads of width 32, 49 landmarks, Newton stopped at a residual of 1e-3, one thread. torch's own attention
        stores no n x n matrix either. In full forward and backward, to n = 65 536, on the device that is asked for.
    """,
)
def linear(run: Run) -> None:
    """Times of the same call for more and more tokens, in turns."""
    for seed in run.seeds:
        sides = (*SIDES, 256) if run.is_full else SIDES
        inputs = [_tokens(side, 2, seed, run.device, graph=run.is_full) for side in sides]
        ours = [partial(_run, _soft, *given, backward=run.is_full) for given in inputs]
        times = compare({str(side): call for side, call in zip(sides, ours, strict=True)}, rounds=7)
        seconds = [times.timings[str(side)].seconds(times.clock) for side in sides]
        given = inputs[sides.index(112)]
        rival = compare(
            {"soft": partial(_run, _soft, *given), "torch": partial(_run, _torch, *given)}, rounds=3, clock=None
        )
        q, landmarks, v = (t.detach() for t in inputs[0])
        exact = _soft(q.double(), landmarks.double(), v.double(), inverse="cholesky")
        n = [side * side for side in sides]
        run.record(
            slope=float(np.polyfit(np.log(n), np.log(seconds), 1)[0]),
            error=float((_soft(q, landmarks, v) - exact).abs().max() / exact.abs().max()),
            megabytes=peak_bytes(partial(_run, _soft, *given)) / 1e6,
            faster=rival.ratio("soft", "torch")[1],
            milliseconds=1e3 * seconds[sides.index(112)],
        )
    shown = [
        Curve(n, [1e3 * s for s in seconds], "o-", "SOFT, 49 landmarks"),
        Curve([n[sides.index(112)]], [1e3 * rival.timings["torch"].seconds(rival.clock)], "s", "torch"),
    ]
    axes = {"xlabel": "tokens", "ylabel": "milliseconds", "xscale": "log", "yscale": "log"}
    run.figure("time", curves(shown, **axes), caption="Two heads of width 32, one thread.")


@paper.claim(
    "inverse",
    says="Newton's iteration, with the gradient in closed form, replaces a pseudo-inverse by SVD.",
    where="section 3",
    measures=(
        Quantity("residual", "largest entry of |I - A Y| after 40 steps, condition 4 to 1e4", at_most=1e-6),
        Quantity("gradient", "error of the gradient against autograd through LAPACK's inverse", at_most=1e-10),
        Quantity("differences", "error of the gradient against finite differences", at_most=1e-6),
    ),
    rivals=(
        Quantity("at20", "the same residual after the official 20 steps"),
        Quantity("steps", "most steps to 1e-6 from a multiple of the identity, which is our start"),
    ),
    quick=Effort(seeds=2, seconds=5),
    notes="""
        Kernel matrices of 49 and of 196 landmarks in 32 columns, closer and closer to each other, in float64, without a
        ridge; gradients of those of 49. Errors of gradients are relative to their largest entry, or to the sum of the
        sizes of what a difference adds up.
    """,
)
def inverse(run: Run) -> None:
    """Residuals by condition, and gradients."""
    rows: list[tuple[Any, ...]] = []
    for seed in run.seeds:
        is_first, worst, at20, steps = not rows, 0.0, 0.0, 0
        for m in (49, 196):
            for condition in CONDITIONS:
                A = _landmark_matrix(m, condition, seed)
                early, late, ours = (
                    newton_inverse(A, **how) for how in ({"n_iter": 20}, {"n_iter": 40}, {"rtol": 1e-6})
                )
                worst, at20 = max(worst, float(late.residual)), max(at20, float(early.residual))
                steps = max(steps, int(ours.n_iter))
                if is_first:
                    rows.append((m, condition, float(early.residual), float(late.residual), int(ours.n_iter)))
        errors = [_gradient_errors(_landmark_matrix(49, condition, seed), seed) for condition in CONDITIONS]
        gradient, difference = (max(column) for column in zip(*errors, strict=True))
        run.record(residual=worst, gradient=gradient, differences=difference, at20=at20, steps=steps)
    columns = ("landmarks", "condition", "after 20 steps", "after 40 steps", "steps of ours to 1e-6")
    run.table("residuals", rows, columns=columns, caption="max |I - A Y|, by the paper's start and by ours.")


@paper.claim(
    "norm",
    says="The symmetric normalisation bounds the norm of the attention operator, which otherwise grows with m.",
    reported="O(m) without, O(1) with (wording unverified)",
    where="theorem of the normalised form",
    measures=(
        Quantity("grows", "spectral norm without, at n = 3136 over n = 196", at_least=5.0, over_seeds="worst"),
        Quantity("bounded", "largest spectral norm with it, n = 196 to 3136", at_most=1.0, over_seeds="worst"),
    ),
    controls=Quantity("photograph", "the same on a photograph", at_most=1.0, over_seeds="worst"),
    rivals=(
        Quantity("noise", "spectral norm without, at n = 3136"),
        Quantity("alike", "the same on the photograph"),
        Quantity("own", "spectral norm with it and the landmarks of a new layer, at n = 3136"),
    ),
    quick=Effort(seeds=1, seconds=10),
    full="see the claim 'trained-norm'",
    notes="""
        Noise at 56 to 224 pixels, in 4 x 4 patches, whose 48 values go through a random matrix to 32 columns. Landmarks
        are means of 2 x 2 tokens, m = 49 to 784. The control does the same with a photograph of scikit-learn.
    """,
)
def norm(run: Run) -> None:
    """Norms by subspace iteration, each product a call of the attention."""
    sizes = (14, 28, 42, 56)
    for seed in run.seeds:
        found: dict[tuple[bool, bool], list[float]] = {}
        for is_photograph in (False, True):
            tokens = [_patches(side, seed, is_photograph=is_photograph) for side in sizes]
            means = [
                F.avg_pool2d(q.mT.unflatten(1, (side, side)), 2).flatten(1).mT
                for q, side in zip(tokens, sizes, strict=True)
            ]
            for normalize in (False, True):
                pairs = zip(tokens, means, strict=True)
                found[is_photograph, normalize] = [_spectral_norm(*pair, normalize=normalize) for pair in pairs]
        run.record(
            grows=found[False, False][-1] / found[False, False][0],
            bounded=max(found[False, True]),
            photograph=max(found[True, True]),
            noise=found[False, False][-1],
            alike=found[True, False][-1],
            own=_norm_of_a_layer(sizes[-1], seed),
        )
    n = [side * side for side in sizes]
    shown = [
        Curve(n, norms, ("s-" if normalize else "o-") + f"C{int(is_photograph)}", f"{what}, {how}")
        for (is_photograph, normalize), norms in found.items()
        for what, how in [(("noise", "photograph")[is_photograph], ("SOFT", "SOFT++, normalised")[normalize])]
    ]
    axes = {"xlabel": "tokens (four a landmark)", "ylabel": "spectral norm", "xscale": "log", "yscale": "log"}
    run.figure("norms", curves(shown, **axes), caption=f"Norm of the attention operator; seed {seed}.")


@paper.claim(
    "trained-norm",
    says="In a trained network too the normalisation bounds the norm of attention, whatever the size of the image.",
    reported="O(m) without, O(1) with (wording unverified)",
    where="theorem of the normalised form",
    measures=(
        Quantity("grows", "spectral norm without, at 896 pixels over 224, largest over heads", at_least=5.0),
        Quantity("bounded", "largest spectral norm with it, 224 to 896 pixels", at_most=1.0),
    ),
    rivals=(
        Quantity("plain", "spectral norm without, at 896 pixels"),
        Quantity("normed", "spectral norm with it, at 896 pixels"),
    ),
    quick="official weights cannot be had here",
    full=Effort(seeds=1, seconds=3_000),
    notes=f"""
        In full: --data with {OFFICIAL} of the official code and a folder `val` of images, of which the first is taken.
        Queries and landmarks are those of the first attention of the network, m = 49 to 784; in float64.
    """,
)
def trained_norm(run: Run) -> None:
    """The first attention of a network for one image at four sizes, with and without."""
    folder = run.data_folder(f"{OFFICIAL} and a folder val of images")
    model = SoftTransformer.from_official(_present(folder / OFFICIAL), normalize=True).to(run.device).eval()
    images = images_in(_present(folder / "val"))
    if not images:
        raise NotMeasured(f"{folder / 'val'} has no images")
    rows = []
    for _ in run.seeds:
        for side in PIXELS:
            given = _first_attention(model, read_image(images[0], side)[None].to(run.device))
            rows.append((side, *(_largest_norm(*given, normalize=normalize) for normalize in (False, True))))
        run.record(
            grows=rows[-1][1] / rows[0][1],
            bounded=max(row[2] for row in rows),
            plain=rows[-1][1],
            normed=rows[-1][2],
        )
    run.table("norms", rows, columns=["pixels", "without", "normalised"], caption="Largest over the heads.")


@paper.claim(
    "official",
    says="The tiny network reaches 79.3 % on ImageNet, and 79.4 % normalised.",
    reported="79.3 % (SOFT) and 79.4 % (SOFT++) top-1 on ImageNet, tiny",
    where="table of ImageNet results",
    measures=Quantity("gap", "distance from 79.3 % or 79.4 %, in points, the larger", at_most=0.2),
    rivals=Quantity("least", "the lower accuracy of those measured, in %"),
    quick="official weights and ImageNet cannot be had here",
    full=Effort(seeds=1, seconds=40_000),
    notes=f"""
        In full: --data with {PLAIN} or {OFFICIAL} of the official code (what is there is measured), and a folder `val`
        with a folder of images a class, as ImageNet's validation set is sorted.
    """,
)
def official(run: Run) -> None:
    """Published weights on published images."""
    folder = run.data_folder(f"{PLAIN} or {OFFICIAL}, and the folder val of ImageNet")
    files = {name: reported for name, reported in ((PLAIN, 79.3), (OFFICIAL, 79.4)) if (folder / name).is_file()}
    if not files:
        raise NotMeasured(f"{folder} has neither {PLAIN} nor {OFFICIAL}")
    for _ in run.seeds:
        found = {}
        for name in files:
            model = SoftTransformer.from_official(folder / name, normalize=name == OFFICIAL).to(run.device).eval()
            found[name] = 100.0 * top1(model, _present(folder / "val"))
        run.record(gap=max(abs(found[name] - files[name]) for name in files), least=min(found.values()))
    run.table("accuracies", [(name, found[name], files[name]) for name in files], columns=["weights", "here", "paper"])


@paper.claim(
    "accuracy",
    says="Better accuracy for the same complexity than transformers with softmax.",
    reported="79.3 % (SOFT) and 79.4 % (SOFT++) top-1 on ImageNet, tiny",
    where="table of ImageNet results",
    measures=(
        Quantity("soft", "accuracy of SOFT minus that of softmax, in points", at_least=-2.0),
        Quantity("normed", "accuracy of SOFT++ minus that of softmax, in points", at_least=-2.0),
        Quantity("exact", "the lower of both minus that of the exact Gaussian kernel, in points", at_least=20.0),
    ),
    controls=Quantity(
        "rows", "the lower of both minus that of the exact kernel with rows that sum to 1, in points", at_least=-2.0
    ),
    rivals=(
        Quantity("softmax", "test accuracy with softmax, in %"),
        Quantity("plain", "with SOFT"),
        Quantity("plus", "with SOFT++"),
        Quantity("gaussian", "with the exact Gaussian kernel"),
        Quantity("averaged", "with the exact Gaussian kernel, rows summing to 1"),
    ),
    quick=Effort(seeds=3, seconds=210),
    full="see the claim 'official'",
    notes="""
        Digits at 16 x 16 pixels in 2 x 2 patches: 64 tokens, two blocks of width 32 with two heads, 16 landmarks, no
        convolution of the values, ten epochs on 1200 digits (190 steps, Adam at 1e-3). Only the attention differs. All
        are trained too briefly to be good, and which is ahead depends on how: in a pilot with 600 digits, batches of 32
        and a rate of 2e-3, SOFT reached 33 %, SOFT++ 37 % and softmax 71 %.
    """,
)
def accuracy(run: Run) -> None:
    """Five attentions in one small network."""
    for seed in run.seeds:
        percent = {name: 100.0 * _digits_accuracy(make, seed) for name, make in _attentions().items()}
        lower = min(percent["plain"], percent["plus"])
        run.record(
            soft=percent["plain"] - percent["softmax"],
            normed=percent["plus"] - percent["softmax"],
            exact=lower - percent["gaussian"],
            rows=lower - percent["averaged"],
            **percent,
        )


@paper.claim(
    "longer",
    says="Much longer sequences fit into the same memory.",
    where="abstract",
    measures=Quantity("share", "peak memory over that of explicit softmax attention", at_most=0.1),
    controls=Quantity("torch", "peak memory over that of torch's scaled_dot_product_attention", at_most=1.0),
    rivals=Quantity("megabytes", "peak memory of SOFT, in MB"),
    quick=Effort(seeds=1, seconds=5),
    full=Effort(seeds=1, seconds=600),
    notes="""
        Forward and backward of one head of width 32 at n = 12 544 (in full 65 536), beyond the inputs. The explicit
        matrix is made for 3136 tokens, and what it takes multiplied by the square of the ratio.
    """,
)
def longer(run: Run) -> None:
    """Peak memory of three attentions."""
    for seed in run.seeds:
        given = _tokens(256 if run.is_full else 112, 1, seed, run.device, graph=True)
        ours, theirs = (peak_bytes(partial(_run, how, *given, backward=True)) for how in (_soft, _torch))
        n = given[0].shape[-2]
        fewer = _tokens(56, 1, seed, run.device, graph=True)
        explicit = peak_bytes(partial(_run, _explicit, *fewer, backward=True)) * (n / fewer[0].shape[-2]) ** 2
        run.record(share=ours / explicit, torch=ours / theirs, megabytes=ours / 1e6)


paper.sabotage(
    "a matrix of all tokens in place of landmarks",
    lambda: sabotage.replaced(nystrom_attention, _without_landmarks),
    breaks=["longer"],
)
paper.sabotage("no inverse", lambda: sabotage.replaced(newton_inverse, _no_inverse), breaks=["linear", "inverse"])
paper.sabotage("never normalised", lambda: sabotage.replaced(nystrom_attention, _unnormalised), breaks=["norm"])
paper.sabotage("no training", lambda: sabotage.replaced(train, _no_training), breaks=["accuracy"])


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _tokens(side: int, heads: int, seed: int, device: torch.device, *, graph: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, 49 landmarks and values ``(1, heads, n, 32)``; queries on the scale of the layer's."""
    q, v = (_normal(seed + i, 1, heads, side * side, 32).float().to(device) for i in range(2))
    q = (q / 32**0.25).requires_grad_(graph)
    landmarks = F.avg_pool2d(q.mT.unflatten(3, (side, side)).flatten(0, 1), side // 7).flatten(2).mT[None]
    return q, landmarks, v.requires_grad_(graph)


def _soft(q: Tensor, landmarks: Tensor, v: Tensor, **options: Any) -> Tensor:
    return nystrom_attention(q, landmarks, v, **options)


def _torch(q: Tensor, landmarks: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, q, v)


def _explicit(q: Tensor, landmarks: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ q.mT, -1) @ v


def _run(
    attention: Callable[..., Tensor], q: Tensor, landmarks: Tensor, v: Tensor, *, backward: bool = False
) -> Tensor:
    """One call, and its gradient in q and v where asked for."""
    if not backward:
        with torch.no_grad():
            return attention(q, landmarks, v)
    out = attention(q, landmarks, v)
    return torch.autograd.grad(out.sum(), (q, v), retain_graph=True)[0]


def _landmark_matrix(m: int, condition: float, seed: int) -> Tensor:
    """A Gaussian kernel matrix of this condition: points drawn once, the spread found by bisection."""
    X = _normal(seed, m, 32)
    low, high = -6.0, 3.0  # of the logarithm of the spread
    for _ in range(30):
        middle = 0.5 * (low + high)
        A = torch.exp(-0.5 * torch.cdist(X, X).square() * float(np.exp(2.0 * middle)))
        values = torch.linalg.eigvalsh(A)
        low, high = (middle, high) if float(values[-1] / values[0].clamp(min=1e-14)) > condition else (low, middle)
    return A


def _gradient_errors(A: Tensor, seed: int) -> tuple[float, float]:
    """Of a random linear function of the inverse: against LAPACK, and against central differences."""
    A, G, direction = A.requires_grad_(), _normal(seed + 1, *A.shape), _normal(seed + 2, *A.shape)

    def value(A: Tensor) -> Tensor:
        return (newton_inverse(A, n_iter=40).inverse * G).sum()

    found = torch.autograd.grad(value(A), A)[0]
    expected = torch.autograd.grad((torch.linalg.inv(A) * G).sum(), A)[0]
    direction = direction + direction.mT
    step = 1e-5 * float(torch.linalg.eigvalsh(A.detach())[0])
    with torch.no_grad():
        rise = float(value(A + step * direction) - value(A - step * direction)) / (2.0 * step)
    terms = found * direction
    return (
        float((found - expected).abs().max() / expected.abs().max()),
        abs(rise - float(terms.sum())) / float(terms.abs().sum()),
    )


def _patches(side: int, seed: int, *, is_photograph: bool) -> Tensor:
    """Tokens ``(side^2, 32)``: random features of 4 x 4 patches of an image, each token of mean 0 and variance 1."""
    if is_photograph:
        try:
            picture = load_sample_image("china.jpg")
        except ImportError as error:
            raise NotMeasured("it needs pillow to read a photograph: pip install 'mercer[tables]'") from error
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].double()[..., :427, 100:527]
        image = F.interpolate(image, size=(4 * side, 4 * side), mode="bilinear", antialias=True)
        image = (image - image.mean()) / image.std()
    else:
        image = _normal(seed + 1, 1, 3, 4 * side, 4 * side)
    patches = F.unfold(image, 4, stride=4)[0].mT @ _normal(seed, 48, 32)
    tokens: Tensor = F.layer_norm(patches, (32,)) / 32**0.25
    return tokens


def _spectral_norm(q: Tensor, landmarks: Tensor, *, normalize: bool) -> float:
    """The largest eigenvalue of a symmetric operator, by six rounds of eight vectors."""
    V = torch.linalg.qr(_normal(0, len(q), 8))[0]
    for _ in range(6):
        AV = nystrom_attention(q, landmarks, V, normalize=normalize, inverse="cholesky")
        V, R = torch.linalg.qr(AV)
    return float(torch.linalg.svdvals(R)[0])


def _norm_of_a_layer(side: int, seed: int) -> float:
    """Of SOFT++ on noise, with the landmarks that a new layer finds."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = SoftmaxFreeAttention(32, 1, landmarks="conv", ratio=2).double()
    x = 32**0.25 * _patches(side, seed, is_photograph=False)
    with torch.no_grad():
        q, landmarks = layer.W_q(x) / 32**0.25, layer.find_landmarks(x[None], grid=(side, side))[0, 0]
    return _spectral_norm(q, landmarks, normalize=True)


def _present(path: Path) -> Path:
    if not path.exists():
        raise NotMeasured(f"{path} is missing")
    return path


@torch.no_grad()
def _first_attention(model: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Queries ``(heads, n, e)`` and landmarks ``(heads, m, e)`` of the first attention, float64."""
    layer = next(module for module in model.modules() if isinstance(module, SoftmaxFreeAttention))
    found: list[tuple[Tensor, Tensor]] = []

    def keep(layer: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        assert isinstance(layer, SoftmaxFreeAttention)
        q = layer.W_q(args[0]).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        q = q / q.shape[-1] ** 0.25
        landmarks = layer.find_landmarks(args[0], grid=options["grid"])
        found.append((q[0].double().cpu(), landmarks[0].double().cpu()))

    handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        model(image)
    finally:
        handle.remove()
    return found[0]


def _largest_norm(q: Tensor, landmarks: Tensor, *, normalize: bool) -> float:
    """Over the heads."""
    return max(_spectral_norm(*head, normalize=normalize) for head in zip(q, landmarks, strict=True))


class _Exact(nn.Module):
    """Attention by all pairs of tokens: softmax, or the Gaussian kernel with or without rows that sum to 1."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.W_q, self.W_k, self.W_v, self.ff = (nn.Linear(32, 32) for _ in range(4))

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        q, k, v = (w(x).unflatten(-1, (2, 16)).transpose(1, 2) for w in (self.W_q, self.W_k, self.W_v))
        if self.kind == "softmax":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = gaussian_attention(q / 2.0, v, normalize_rows=self.kind == "averaged")  # 2 is 16^(1/4)
        out: Tensor = self.ff(mixed.transpose(1, 2).flatten(2))
        return out


class _Network(nn.Module):
    """Two blocks on 64 patches of digits."""

    def __init__(self, make: Callable[[], SoftBlock]) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(4, 32), nn.Linear(32, 10)
        self.positions = nn.Parameter(0.02 * torch.randn(1, 64, 32))
        self.blocks = nn.ModuleList([make(), make()])

    def forward(self, patches: Tensor) -> Tensor:
        x = self.embed(patches) + self.positions
        for block in self.blocks:
            x = block(x, grid=(8, 8))
        logits: Tensor = self.head(x.mean(1))
        return logits


def _attentions() -> dict[str, Callable[[], SoftBlock]]:
    def exact(kind: str) -> SoftBlock:
        block = SoftBlock(32, 2)
        block.mha = _Exact(kind)  # type: ignore[assignment]
        return block

    soft = partial(SoftBlock, 32, 2, landmarks="conv", ratio=2, solver="cholesky")
    found: dict[str, Callable[[], SoftBlock]] = {
        "plain": partial(soft, normalize=False),
        "plus": partial(soft, normalize=True),
    }
    return found | {kind: partial(exact, kind) for kind in ("softmax", "gaussian", "averaged")}


def _digits_accuracy(make: Callable[[], SoftBlock], seed: int) -> float:
    """Accuracy on 597 digits after ten epochs on 1200, in batches of 64."""
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = F.interpolate(images.float().reshape(-1, 1, 8, 8) / 16.0, size=(16, 16), mode="bilinear")
    patches = F.unfold(images, 2, stride=2).mT
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    patches, labels = patches[order], labels[order]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _Network(make)
    train(
        model,
        TensorBatches([patches[:1200], labels[:1200]], 64),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        n_epochs=10,
        optimizer=partial(torch.optim.AdamW, lr=1e-3, fused=True),
        random_state=seed,
        description="digits",
    )
    with torch.no_grad():
        return float((model.eval()(patches[1200:]).argmax(1) == labels[1200:]).double().mean())


def _without_landmarks(q: Tensor, landmarks: Tensor, v: Tensor, **_: Any) -> Tensor:
    return gaussian_attention(q, v)


def _unnormalised(
    *tensors: Tensor, original: Callable[..., Tensor] = nystrom_attention, normalize: bool = True, **options: Any
) -> Tensor:
    return original(*tensors, normalize=False, **options)


def _no_inverse(A: Tensor, **_: Any) -> NewtonInverse:
    batch = A.shape[:-2]
    return NewtonInverse(A, torch.ones(batch, dtype=torch.float64), torch.zeros(batch, dtype=torch.int64))


def _no_training(model: nn.Module, *_: Any, **__: Any) -> None:
    model.eval()
