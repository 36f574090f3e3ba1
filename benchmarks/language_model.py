"""Language models of real text that differ in the mixer only: perplexity, and what training and a token cost.

Python's own documentation by characters, split at nine tenths: 4 layers of width 64, 4 heads, blocks of 32, 128
characters at once, Adam with 4e-3 (kernels 1e-3), 300 steps of 8 windows, three seeds. All have as many parameters as
softmax attention: where a mixer has fewer or more of its own, the gated layers make up for it. The validation loss is
that of the last step over the first 200 windows of the last tenth.

Times take turns: a training step of 8 x 128 characters, and 16 more tokens after prompts of 16 and 4,096 characters
(with kernels that long). ``python -m benchmarks language_model --sizes 30`` trains for 30 steps, to see that it runs.
"""

from __future__ import annotations

import math
from functools import partial
from statistics import mean, stdev
from typing import Any

import torch
from torch import nn

from mercer.data import CharacterText, TokenWindows, python_documentation
from mercer.nn import SGConvKernel
from mercer.nn.models import LanguageModel
from mercer.nn.training import evaluate, next_token_loss, train
from mercer.timing import compare, machine

SIZES = (300,)
SEEDS = 3
LENGTH, BATCH, PROMPTS = 128, 8, (16, 4096)
MIXERS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "transnormer": {"block": 32},
    "sgconv": {"length": LENGTH, "kernel_dim": 16},
    "h3": {"length": LENGTH, "kernel": partial(SGConvKernel, kernel_dim=16)},
}
# How each goes on token by token.
STEPS: dict[str, dict[str, Any]] = {"sgconv": {"state": "relaxed"}, "h3": {"state": "relaxed"}}


def build(text: CharacterText, mixer: str, **changes: Any) -> LanguageModel:
    """The network with this mixer."""
    shape = {"mixer": mixer, "layers": 4, "width": 64, "heads": 4}
    return LanguageModel(len(text.symbols), **{**shape, **MIXERS[mixer], **changes})


def size(model: nn.Module) -> int:
    """Parameters that are learnt."""
    return sum(p.numel() for p in model.parameters())


def equal_hidden(text: CharacterText, mixer: str, target: int) -> int:
    """The hidden width whose network comes nearest to a number of parameters."""
    return min(range(64, 400), key=lambda hidden: abs(size(build(text, mixer, hidden=hidden)) - target))


def hidden_widths(text: CharacterText) -> dict[str, int]:
    """One for each mixer, so that all have the parameters of softmax attention with ``8 width / 3``."""
    target = size(build(text, "softmax"))
    return {mixer: equal_hidden(text, mixer, target) for mixer in MIXERS}


def quality(text: CharacterText, mixer: str, hidden: int, steps: int) -> dict[str, Any]:
    """Validation losses of a few trainings."""
    fit, valid = text.split()
    validation = TokenWindows(valid[: 200 * LENGTH + 1], length=LENGTH, batch_size=50)
    losses, seconds = [], []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = build(text, mixer, hidden=hidden)
        batches = TokenWindows(fit, length=LENGTH, batch_size=BATCH, n_batches=50)
        optimizer = partial(torch.optim.Adam, lr=4e-3, betas=(0.9, 0.98))
        options: dict[str, Any] = {"optimizer": optimizer, "random_state": seed, "description": mixer}
        history = train(model, batches, loss=next_token_loss, n_steps=steps, **options)
        losses.append(evaluate(model, validation, next_token_loss))
        seconds.append(history.seconds)
    return {
        "mixer": mixer,
        "parameters": size(model),
        "hidden": hidden,
        "steps": steps,
        "loss": mean(losses),
        "loss_deviation": stdev(losses),
        "perplexity": math.exp(mean(losses)),
        "losses": losses,
        "training_seconds": seconds,
    }


def training_times(text: CharacterText, hidden: dict[str, int]) -> Any:
    """A step forward, backward and of Adam, by turns."""
    batch = next(iter(TokenWindows(text.tokens, length=LENGTH, batch_size=BATCH, n_batches=1)))

    def stepper(model: LanguageModel) -> Any:
        optimizer = torch.optim.Adam(model.parameter_groups(), lr=1e-3)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            next_token_loss(model, batch).backward()
            optimizer.step()

        return step

    sides = {mixer: stepper(build(text, mixer, hidden=hidden[mixer])) for mixer in MIXERS}
    return compare(sides, rounds=9, work=float(BATCH * LENGTH))


def token_times(text: CharacterText, hidden: dict[str, int], prompt: int) -> Any:
    """16 more tokens after a prompt, by turns; states go on, so that every round is 16 tokens later."""
    tokens = text.tokens[None, :prompt]

    def stepper(mixer: str) -> Any:
        length = {"length": max(LENGTH, 2 * prompt)} if "length" in MIXERS[mixer] else {}
        model = build(text, mixer, hidden=hidden[mixer], **length, **STEPS.get(mixer, {})).eval()
        held = [model.prefill(tokens)[1]]

        def steps() -> None:
            for _ in range(16):
                _, held[0] = model.step(tokens[:, 0], held[0])

        return steps

    with torch.no_grad():
        return compare({mixer: stepper(mixer) for mixer in MIXERS}, rounds=9, work=16.0)


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes. Sizes are numbers of training steps."""
    text = python_documentation()
    hidden = hidden_widths(text)
    rows: list[dict[str, Any]] = []
    for steps in sizes:
        for mixer in MIXERS:
            found = quality(text, mixer, hidden[mixer], steps)
            print(
                f"{mixer:<12} {found['parameters']:,} parameters, {found['loss']:.3f} +- {found['loss_deviation']:.3f} "
                f"nats, perplexity {found['perplexity']:.2f}, {mean(found['training_seconds']):.0f} s",
                flush=True,
            )
            rows.append({"case": "quality", **found, "machine": machine()})
    comparison = training_times(text, hidden)
    print(f"\ntraining step of {BATCH} x {LENGTH}\n{comparison}")
    rows.append({"case": "training step", "batch": BATCH, "length": LENGTH, **comparison.as_dict()})
    for prompt in PROMPTS:
        comparison = token_times(text, hidden, prompt)
        print(f"\n16 tokens after {prompt}\n{comparison}")
        rows.append({"case": "16 tokens", "prompt": prompt, **comparison.as_dict()})
    return rows
