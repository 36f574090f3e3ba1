"""Draws docs/_static/attention.png and attention-models.png, and prints the table of docs/guide/attention.md.

Run it by hand when they should change: ``python docs/attention_pictures.py [STEPS]``, about five minutes on one core.
"""

import math
import sys
import time
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from mercer.data import TokenWindows, python_documentation
from mercer.nn.diagnostics import attention_weights
from mercer.nn.models import LanguageModel
from mercer.nn.training import evaluate, next_token_loss, train
from mercer.plots import BLUE, GREY, ORANGE

STATIC = Path(__file__).parent / "_static"
MIXERS = {
    "softmax": ("softmax", GREY),
    "linear": ("linear, divided", ORANGE),
    "transnormer": ("TransNormer", BLUE),
}
LENGTH, CONTEXTS = 128, (16, 256, 1024, 4096)


def main(steps: int) -> None:
    """Train, draw, time."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    text = python_documentation()
    fit, valid = text.split()
    valid_loader = TokenWindows(valid[: 128 * LENGTH + 1], length=LENGTH, batch_size=32)
    optimizer = partial(torch.optim.Adam, lr=4e-3, betas=(0.9, 0.98))
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.1), layout="constrained", width_ratios=[1, 1, 1, 1.3])
    models = {}
    for ax, (mixer, (name, colour)) in zip(axes, MIXERS.items(), strict=False):
        torch.manual_seed(0)
        model = models[mixer] = LanguageModel(len(text.symbols), mixer=mixer, layers=4, width=64, heads=4, block=32)
        batches = TokenWindows(fit, length=LENGTH, batch_size=8, n_batches=steps // 10)
        history = train(
            model, batches, loss=next_token_loss, n_steps=steps, optimizer=optimizer, valid_loader=valid_loader
        )
        loss = evaluate(model, valid_loader, next_token_loss)
        n_parameters = sum(p.numel() for p in model.parameters())
        print(f"{name}: {n_parameters} parameters, {loss:.3f} nats, perplexity {math.exp(loss):.2f}")
        print(f"{history.seconds / steps:.3f} s a step")
        axes[-1].plot(torch.arange(1, 11) * (steps // 10), history.valid_losses, "o-", color=colour, ms=3, label=name)
        weights = attention_weights(model, valid[None, :LENGTH])[0][0].abs()
        shares = (weights / weights.sum(-1, keepdim=True)).mean(0)
        ax.imshow(shares.sqrt(), cmap="Blues", vmin=0.0, vmax=0.5)
        ax.set_title(f"{name}, layer 1", loc="left", fontsize=9)
        ax.set(xticks=[0, 32, 64, 96], yticks=[0, 32, 64, 96])
        for side in ax.spines.values():
            side.set_visible(True)
        if mixer == "transnormer":
            prompt = text.encode("The for statement ")
            print(repr(text.decode(model.generate(prompt, 200, temperature=0.7, top_k=10))))
    axes[-1].set(xlabel="steps", ylabel="validation loss (nats a character)")
    axes[-1].legend(frameon=False)
    figure.savefig(STATIC / "attention.png", dpi=144)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.0), layout="constrained")
    for mixer, (name, colour) in MIXERS.items():
        if mixer == "linear":
            continue
        seconds, sizes = zip(
            *(step_cost(models[mixer], context, len(text.symbols)) for context in CONTEXTS), strict=True
        )
        print(name, "ms a token", [f"{1e3 * s:.2f}" for s in seconds], "KiB", [round(s / 1024) for s in sizes])
        left.semilogx(CONTEXTS, [1e3 * s for s in seconds], "o-", color=colour, label=name)
        right.loglog(CONTEXTS, [s / 1024 for s in sizes], "o-", color=colour, label=name)
    left.set(xlabel="tokens before", ylabel="milliseconds a token", ylim=(0.0, None))
    right.set(xlabel="tokens before", ylabel="KiB of state")
    for ax in (left, right):
        ax.set_xticks(CONTEXTS, [f"{n:,}" for n in CONTEXTS])
        ax.minorticks_off()
        ax.legend(frameon=False)
    figure.savefig(STATIC / "attention-models.png", dpi=144)


@torch.no_grad()
def step_cost(model: LanguageModel, context: int, vocabulary: int) -> tuple[float, int]:
    """Seconds of a step after so many tokens, the median of 20, and the bytes of the state."""
    tokens = torch.randint(vocabulary, (1, context))
    _, state = model.prefill(tokens)
    times = []
    for _ in range(20):
        started = time.thread_time()
        model.step(tokens[:, 0], state)
        times.append(time.thread_time() - started)
    size = sum(x.nbytes for layer in state.layers for x in layer.tensors().values())
    return sorted(times)[10], size


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
