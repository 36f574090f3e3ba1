"""Linear attention that trains like softmax: a norm in place of the division, and blocks below.

Linear attention costs the same for every token, but trains worse than softmax. Two reasons: the division by the row's
sum has a derivative without bound where scores are small, and attention is spread thin over the whole sequence. So the
division goes and a norm of the output comes (`NormAttention`), and the lower half of the layers looks at a block only
(`DiagAttention`). The stack of both is TransNormer.

```pycon
>>> from mercer.data import python_documentation
>>> from mercer.nn.models import TransNormer
>>> text = python_documentation()
>>> model = TransNormer(len(text.symbols), layers=4, width=64, heads=4, block=32)
>>> prompt = text.encode("The for statement is used to iterate")
>>> len(text.decode(model.generate(prompt, 40)))  # one state a layer, whatever the length
40

```

**What came out.** The divided form's gradients grow by a decade for each decade that scores shrink; the normed form's
stay at two thirds of their bound or less. On a small model of characters the normed form is better by 0.14 nats, and
TransNormer as good as softmax attention with equally many parameters (2.03 and 2.05 nats). In its first layer softmax
keeps 88 % of its mass within 16 characters, the divided form 66 %, and attention that takes everything alike 61 %.
Linear attention is 8 times faster than torch's fused softmax attention at 4,096 rows, on one thread; all forms of the
computation agree to round-off.

**What did not show.** Gradients are steadier with the norm, but not by as much as the bound asks for in every training:
the ratio of the spreads is 1.4 in the one reported, and was 2.3 and 1.8 in two pilots. Which half has the blocks, and
whether anything stands above them, makes no difference here: at 64 characters, blocks in all layers are as good as
TransNormer, for there is too little to see beyond a block of 32.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mercer.data import TokenWindows, WordText, load_wikitext, python_documentation
from mercer.nn import LinearAttention, NormAttention, SRMSNorm
from mercer.nn.diagnostics import GradientHistory, attention_locality, gradient_spread, peak_bytes
from mercer.nn.functional import linear_attention
from mercer.nn.models import LanguageModel, TransNormer
from mercer.nn.training import InverseRootDecay, evaluate, next_token_loss, train
from mercer.papers import Curve, Effort, Paper, Quantity, Run, curves, sabotage
from mercer.timing import compare

paper = Paper.from_catalog(
    6,
    see=[
        ("Official scripts", "https://github.com/OpenNLPLab/Transnormer"),
        ("Katharopoulos et al. 2020, linear attention", "https://arxiv.org/abs/2006.16236"),
        ("Qin et al. 2023, TransNormerLLM: decay and gates", "https://arxiv.org/abs/2307.14995"),
        ("Sun et al. 2023, retention", "https://arxiv.org/abs/2307.08621"),
    ],
)

FULL_DATA = "wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens of WikiText-103"
FULL_NOTE = (
    "In full: WikiText-103 by words (nats a word), 6 layers of width 512, blocks of 64, 20 000 steps of 128 x 512 with "
    "the official settings: AdamW, 5e-4 after 8000 steps, then falling like one over the root, decay of 0.01, dropout "
    "of 0.1; without the sinusoidal positions that the official decoder adds to the rotations."
)
STEPS_OF_AN_EPOCH = 250


@paper.claim(
    "gradient",
    says="Divided linear attention has gradients without bound; with a norm in place of the division they are bounded.",
    where="propositions of section 3",
    measures=(
        Quantity("growth", "decades of the divided form's largest gradient a decade of 1 / scores", at_least=0.9),
        Quantity("norm", "largest over smallest of NormAttention's, for scores up to 1e-4 and less", at_most=2.0),
        Quantity("bound", "NormAttention's largest gradient over its bound", at_most=1.0, over_seeds="worst"),
        Quantity("softmax", "largest over smallest of softmax's, over all scores", at_most=2.0),
    ),
    quick=Effort(seeds=3, seconds=5),
    notes="""
        Scores are uniform from 0 to delta = 1, 0.1, ..., 1e-8, 64 x 64, values have 16 columns, float64; the loss is a
        random direction of the outputs. The bound is that of `SRMSNorm`, |dL/dy| |v| / sqrt(eps), eps = 1e-6: smaller
        than the paper's by 3 d / 2.
    """,
)
def gradient(run: Run) -> None:
    """Gradients in the scores themselves."""
    deltas = np.logspace(0, -8, 9)
    for seed in run.seeds:
        draw = torch.Generator().manual_seed(seed)
        u = torch.rand(1, 1, 64, 64, dtype=torch.float64, generator=draw)
        v, direction = torch.randn(2, 1, 1, 64, 16, dtype=torch.float64, generator=draw)
        forms = _forms_of_attention(v)
        found = {
            name: np.array([_largest_gradient(form, delta * u, direction) for delta in deltas])
            for name, form in forms.items()
        }
        bound = float(direction.norm(dim=-1).max() * v.norm(dim=-1).max()) / math.sqrt(1e-6)
        small = found["normed"][deltas <= 1.001e-4]
        run.record(
            growth=float(np.polyfit(-np.log10(deltas), np.log10(found["divided"]), 1)[0]),
            norm=float(small.max() / small.min()),
            bound=float(found["normed"].max() / bound),
            softmax=float(found["softmax"].max() / found["softmax"].min()),
        )
    lines = [Curve(deltas, found[name], "o-", name) for name in forms]
    lines.append(Curve(deltas, np.full(len(deltas), bound), ":", "bound of the normed", color="#555555"))
    draw_lines = curves(lines, xscale="log", yscale="log", xlabel="largest score", ylabel="largest gradient")
    run.figure(
        "gradients", draw_lines, caption=f"Largest gradient in a score, against the size of the scores; seed {seed}."
    )


@paper.claim(
    "spread",
    says="Gradients in training are steadier with the norm than with the division.",
    reported="a table of relative standard deviations, which could not be read",
    where="section 3",
    measures=Quantity("ratio", "spread of the divided form over NormAttention's", at_least=1.5),
    rivals=(
        Quantity("divided", "std / mean of the norm of the gradients of q, k and v, second half of training"),
        Quantity("normed", "the same for NormAttention"),
    ),
    quick=Effort(seeds=1, seconds=25),
    full=Effort(seeds=3, seconds=100_000),
    notes=f"The networks of the claim 'quality'. {FULL_NOTE}",
)
def spread(run: Run) -> None:
    """Two trainings from the same start on the same text."""
    for seed in run.seeds:
        found = {name: _train(run, name, seed)[1] for name in ("linear", "norm")}  # norms of gradients
        divided, normed = gradient_spread(found["linear"]), gradient_spread(found["norm"])
        run.record(ratio=divided / normed, divided=divided, normed=normed)
    lines = [
        Curve(range(1, len(found[name]) + 1), found[name], look, label, linewidth=1.0)
        for name, look, label in (("linear", "C1-", "divided"), ("norm", "C0-", "normed"))
    ]
    draw = curves(lines, xlabel="step", ylabel="norm of the gradients of q, k, v", yscale="log")
    run.figure("norms", draw, caption=f"Gradients at each step; seed {seed}.")


@paper.claim(
    "quality",
    says="TransNormer is as good as softmax attention; linear attention is better with a norm than with a division.",
    reported="better by a clear margin",
    where="abstract",
    measures=(
        Quantity("gap", "validation loss of T2 minus softmax's, nats a character", at_most=0.05),
        Quantity("gain", "loss of the divided form minus NormAttention's, nats a character", at_least=0.1),
    ),
    rivals=(
        Quantity("softmax", "loss of softmax attention"),
        Quantity("blocks", "loss of blocks in all layers minus T2's"),
    ),
    quick=Effort(seeds=1, seconds=55),
    full=Effort(seeds=1, seconds=250_000),
    notes=f"""
        Python's own documentation by characters; 2 layers of width 64, 4 heads, 250 steps of 8 x 64 characters, blocks
        of 32, Adam with 5e-3: networks that differ in the attention only, with equally many parameters. {FULL_NOTE}
    """,
)
def quality(run: Run) -> None:
    """Five trainings from the same start on the same text."""
    names = {"softmax": "softmax", "linear": "divided", "norm": "normed", "transnormer": "T2", "diag": "blocks only"}
    rows = []
    for seed in run.seeds:
        losses = {name: _loss(run, _train(run, name, seed)[0]) for name in names}
        run.record(
            gap=losses["transnormer"] - losses["softmax"],
            gain=losses["linear"] - losses["norm"],
            softmax=losses["softmax"],
            blocks=losses["diag"] - losses["transnormer"],
        )
        rows += [(names[name], seed, loss, math.exp(loss)) for name, loss in losses.items()]
    run.table("losses", rows, columns=["attention", "seed", "nats a character", "perplexity"])


@paper.claim(
    "dilution",
    says="Linear attention with a division spreads over the whole sequence; TransNormer's lower layers do not.",
    reported="a figure of the mass near the diagonal",
    where="section 3",
    measures=(
        Quantity("gain", "mass within 16 characters in layer 1: softmax minus divided", at_least=0.1),
        Quantity("blocks", "mass of T2's layer 1 within its blocks", at_least=1.0 - 1e-6),
    ),
    rivals=(
        Quantity("softmax", "mass within 16 characters of softmax"),
        Quantity("uniform", "of attention that takes everything before alike"),
    ),
    quick=Effort(seeds=1, seconds=25),
    full=Effort(seeds=1, seconds=100_000),
    notes=f"The networks of the claim 'quality'; T2's blocks hold its mass by construction. {FULL_NOTE}",
)
def dilution(run: Run) -> None:
    """Attention of trained networks on text that they have not seen."""
    for seed in run.seeds:
        size = _size(run)
        x = _text(run)[1][: 8 * size["length"]].view(8, -1).to(run.device)
        near = {name: attention_locality(_train(run, name, seed)[0], x) for name in ("softmax", "linear")}
        t2 = _model("transnormer", run, seed).to(run.device)
        row = torch.arange(size["length"], dtype=torch.float64)
        run.record(
            gain=float(near["softmax"][0] - near["linear"][0]),
            blocks=float(attention_locality(t2, x, radius=size["block"] - 1)[0]),
            softmax=float(near["softmax"][0]),
            uniform=float((torch.clamp(row + 1.0, max=17.0) / (row + 1.0)).mean()),
        )


@paper.claim(
    "linear",
    says="Time and memory are linear in the length.",
    reported="significantly more efficient",
    where="abstract",
    kind="speed",
    measures=(
        Quantity("slope", "slope of log time over log length, 2 048 to 8 192", at_most=1.3),
        Quantity("memory", "slope of the log peak memory of forward and backward, 512 to 8 192", at_most=1.1),
        Quantity("stored", "times faster than with stored scores, as in the official code, at 2 048", at_least=2.0),
    ),
    controls=(
        Quantity("fused", "times faster than torch's fused softmax attention at 4 096", at_least=6.0),
        Quantity("short", "the same at 512", at_least=1.0),
        Quantity("training", "the same at 2 048, forward and backward", at_least=2.5),
    ),
    quick=Effort(seeds=1, seconds=30),
    notes="Causal, 4 heads of 64, float32, 1 thread, medians of 7 turns.",
)
def linear(run: Run) -> None:
    """One attention, without projections."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in run.seeds:
            torch.manual_seed(seed)
            times = {n: _time(n) for n in (512, 1024, 2048, 4096, 8192)}
            peaks = {n: _peak_bytes(n) for n in (512, 2048, 8192)}
            ours = {n: times[n].timings["ours"].seconds("thread") for n in times}
            run.record(
                slope=_slope({n: ours[n] for n in (2048, 4096, 8192)}),
                memory=_slope(peaks),
                stored=times[2048].ratio("ours", "stored")[1],
                fused=times[4096].ratio("ours", "torch")[1],
                short=times[512].ratio("ours", "torch")[1],
                training=_time(2048, backward=True).ratio("ours", "torch")[1],
            )
    finally:
        torch.set_num_threads(threads)
    rows = [
        (n, *(1e3 * t.timings[k].seconds("thread") if k in t.timings else None for k in ("ours", "torch", "stored")))
        for n, t in times.items()
    ]
    run.table("milliseconds", rows, columns=["length", "linear", "softmax, fused", "linear, scores stored"])


@paper.claim(
    "forms",
    says="All rows at once, in chunks, and token by token give the same.",
    where="implied by linear attention",
    measures=(
        Quantity("double", "largest relative difference in float64", at_most=1e-12, over_seeds="worst"),
        Quantity("single", "the same in float32", at_most=1e-5, over_seeds="worst"),
        Quantity("generated", "tokens of 40 generated that the whole network would not give", 0.0, over_seeds="worst"),
    ),
    identity=True,
    quick=Effort(seeds=3, seconds=10),
    notes="Lengths 1 and 151; chunks of 1, 7 and 64; in pieces with a state; T1 and T2.",
)
def forms(run: Run) -> None:
    """The definition with all scores in float64 is what all others are compared with."""
    for seed in run.seeds:
        torch.manual_seed(seed)
        errors: dict[torch.dtype, float] = {torch.float64: 0.0, torch.float32: 0.0}
        for n in (1, 151):
            q, k, v = torch.randn(3, 2, 3, n, 16, dtype=torch.float64)
            expected = linear_attention(q, k, v, plan="direct")
            for dtype in errors:
                for found in _all_forms(*(x.to(dtype) for x in (q, k, v))):
                    gap = float((found - expected).abs().max() / expected.abs().max())
                    errors[dtype] = max(errors[dtype], gap)
        wrong = 0
        for variant in ("T1", "T2"):
            model = TransNormer(20, variant=variant, layers=4, width=32, heads=4, block=8).double().eval()
            prompt = torch.randint(20, (1, 5))
            drawn = model.generate(prompt, 40, temperature=0.0)
            with torch.no_grad():
                whole = model(torch.cat([prompt, drawn], 1))[:, 4:-1].argmax(-1)
            wrong += int((whole != drawn).sum())
        run.record(double=errors[torch.float64], single=errors[torch.float32], generated=wrong)


@contextmanager
def _with_a_division() -> Iterator[None]:
    """NormAttention divides after all, and training ends after a moment."""
    with ExitStack() as stack:
        stack.enter_context(sabotage.replaced(NormAttention, _divided))
        stack.enter_context(sabotage.replaced(train, partial(_short, train)))
        yield


def _divided(width: int, heads: int, **options: Any) -> LinearAttention:
    return LinearAttention(width, heads, **options)


def _short(training: Callable[..., Any], *args: Any, n_steps: int, **options: Any) -> Any:
    return training(*args, n_steps=10, **options)


def _untrained(model: nn.Module, *args: Any, **options: Any) -> None:
    model.eval()


def _forgetful(attention: Callable[..., Any], *args: Any, state: Tensor | None = None, **options: Any) -> Any:
    return attention(*args, **options)


paper.sabotage("an eps that bounds nothing", lambda: sabotage.wrong_kernel(SRMSNorm, eps=1e-30), breaks=["gradient"])
paper.sabotage("a division in place of the norm", _with_a_division, breaks=["spread", "quality"])
paper.sabotage("no training", lambda: sabotage.replaced(train, _untrained), breaks=["dilution"])
paper.sabotage(
    "a state that is forgotten",
    lambda: sabotage.replaced(linear_attention, partial(_forgetful, linear_attention)),
    breaks=["forms"],
)


def _forms_of_attention(v: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Outputs by scores: with unit vectors for keys, queries are the scores."""
    keys, norm = torch.eye(v.shape[2], dtype=v.dtype)[None, None], SRMSNorm()
    return {
        "divided": lambda scores: linear_attention(scores, keys, v, causal=False, normalize=True),
        "normed": lambda scores: norm(linear_attention(scores, keys, v, causal=False)),
        "softmax": lambda scores: scores.softmax(-1) @ v,
    }


def _largest_gradient(form: Callable[[Tensor], Tensor], scores: Tensor, direction: Tensor) -> float:
    scores = scores.clone().requires_grad_()
    return float(torch.autograd.grad((form(scores) * direction).sum(), scores)[0].abs().max())


def _size(run: Run) -> dict[str, Any]:
    if run.is_full:
        shape = {"layers": 6, "width": 512, "heads": 8, "block": 64}
        # Logits of all places would take 70 GB.
        full = {"warmup": 8000, "dropout": 0.1, "rows": 2048}
        return {**shape, "length": 512, "batch": 128, "steps": 20_000, "rate": 5e-4, **full}
    return {"layers": 2, "width": 64, "heads": 4, "block": 32, "length": 64, "batch": 8, "steps": 250, "rate": 5e-3}


def _text(run: Run) -> tuple[Tensor, Tensor, int]:
    """Tokens to train on and to validate with, and how many symbols there are."""
    if not run.is_full:
        text = python_documentation()
        return *text.split(), len(text.symbols)
    words = _words(run.data_folder(FULL_DATA))
    return words.train, words.valid, len(words.words)


@cache
def _words(folder: Path) -> WordText:
    """Read once: it takes minutes."""
    return load_wikitext(folder)


def _model(name: str, run: Run, seed: int) -> LanguageModel:
    size = _size(run)
    torch.manual_seed(seed)
    shape = {key: size[key] for key in ("layers", "width", "heads", "block")}
    return LanguageModel(_text(run)[2], mixer=name, norm="srms", dropout=size.get("dropout", 0.0), **shape)


def _train(run: Run, name: str, seed: int) -> tuple[LanguageModel, Tensor]:
    """A language model with this attention, and the norms of its gradients; several claims look at the same ones."""

    def make() -> dict[str, Tensor]:
        size, model = _size(run), _model(name, run, seed).to(run.device)
        history = GradientHistory(model)
        epoch = min(size["steps"], STEPS_OF_AN_EPOCH)
        batches = TokenWindows(_text(run)[0], length=size["length"], batch_size=size["batch"], n_batches=epoch)
        options: dict[str, Any] = {"optimizer": partial(torch.optim.Adam, lr=size["rate"], betas=(0.9, 0.98))}
        if "warmup" in size:
            adam = partial(torch.optim.AdamW, lr=size["rate"], betas=(0.9, 0.98), weight_decay=0.01)
            decay = InverseRootDecay(adam, warmup=max(1, size["warmup"] // epoch))
            options = {"optimizer": decay, "callbacks": [decay.after_epoch]}
        train(
            model,
            batches,
            loss=_loss_of_rows(run),
            n_steps=size["steps"],
            random_state=seed,
            description=name,
            **options,
        )
        history.stop()
        return {**model.state_dict(), "norms of gradients": history.norms}

    found = run.shared(f"{name}-{seed}", make)
    norms, model = found.pop("norms of gradients"), _model(name, run, seed)
    model.load_state_dict(found)
    return model.to(run.device).eval(), norms


def _loss(run: Run, model: LanguageModel) -> float:
    """Nats a character, or a word in full, on text that was not trained on."""
    length = _size(run)["length"]
    windows = TokenWindows(_text(run)[1][: 256 * length + 1], length=length, batch_size=64)
    return evaluate(model, windows, _loss_of_rows(run))


def _loss_of_rows(run: Run) -> Callable[..., Tensor]:
    """The loss, by parts where the vocabulary is large."""
    return partial(next_token_loss, n_rows=_size(run).get("rows"))


def _inputs(n: int) -> list[Tensor]:
    return [torch.randn(1, 4, n, 64) for _ in range(3)]


def _stored(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return linear_attention(q, k, v, plan="direct")


def _fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def _time(n: int, *, backward: bool = False) -> Any:
    """Seconds of linear attention and of its rivals; those that take long are left out at great lengths."""
    rivals: dict[str, Callable[..., Tensor]] = {"ours": linear_attention, "torch": _fused, "stored": _stored}
    rivals = {k: f for k, f in rivals.items() if n <= {"ours": 8192, "torch": 4096, "stored": 2048 - backward}[k]}
    inputs = _inputs(n)
    calls = {name: partial(_both_ways if backward else _forward, f, inputs) for name, f in rivals.items()}
    return compare(calls, rounds=7, clock="thread")


@torch.no_grad()
def _forward(attention: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    attention(*inputs)


def _both_ways(attention: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    attention(*(x.requires_grad_() for x in inputs)).sum().backward()


def _peak_bytes(n: int) -> float:
    """Most memory that forward and backward hold beyond their inputs."""
    inputs = _inputs(n)
    return float(peak_bytes(partial(_both_ways, linear_attention, inputs)))


def _slope(by_length: dict[int, float]) -> float:
    return float(np.polyfit(np.log(list(by_length)), np.log(list(by_length.values())), 1)[0])


def _all_forms(q: Tensor, k: Tensor, v: Tensor) -> Iterator[Tensor]:
    """In chunks, all chunks at once, and in pieces down to a token."""
    n = q.shape[2]
    for plan in ("loop", "batched"):
        for chunk in (1, 7, 64):
            yield linear_attention(q, k, v, plan=plan, chunk=chunk)
    for size in (1, 40):
        state, rows = None, []
        for first in range(0, n, size):
            part = (x[:, :, first : first + size] for x in (q, k, v))
            row, state = linear_attention(*part, state=state, return_state=True)
            rows.append(row)
        yield torch.cat(rows, 2)
