"""Language models of a text that differ in the mixer only: how well each predicts it, and how fast it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean, stdev
from typing import Any

import torch
from torch import nn

from mercer.arena.language_report import LanguageReport
from mercer.arguments import check_device, check_whole
from mercer.data import CharacterText, TokenWindows, python_documentation
from mercer.nn import SGConvKernel
from mercer.nn.models import LanguageModel
from mercer.nn.seeding import seeded
from mercer.nn.training import evaluate, next_token_loss, train
from mercer.timing import Comparison, compare, machine

__all__ = ["compare_language_models"]

_LAYERS, _HEADS, _BLOCK = 4, 4, 32
_TOLERANCE = 0.02  # of the number of parameters
_NEW_TOKENS = 16
_ROUNDS = 9
# Each gets the length of its kernels too.
_CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "long_conv": {},
    "free_conv": {},
    "sgconv": {"kernel_dim": 16},
    "h3": {"kernel": partial(SGConvKernel, kernel_dim=16)},
    "s4d": {},
}


def compare_language_models(
    text: CharacterText | str | None = None,
    mixers: Sequence[str] = ("softmax", "transnormer", "long_conv", "sgconv"),
    *,
    parameters: int = 200_000,
    steps: int = 300,
    length: int = 128,
    batch_size: int = 8,
    seeds: int = 1,
    prompts: Sequence[int] = (128,),
    random_state: int = 0,
    device: str = "cpu",
    report: Callable[[dict[str, Any]], None] | None = None,
) -> LanguageReport:
    """Train a small language model of characters with each mixer, and compare perplexity and speed.

    All have 4 layers, one width and 4 heads, and as many parameters: where a mixer has fewer or more of its own, the
    gated layers make up for it. Adam with 4e-3, kernels of convolutions with 1e-3. The perplexity is that of the last
    tenth of the text (its first 200 windows at most) after the last step. Times take turns, so that what else the
    machine does meets all. The default takes some minutes on two cores.

    Args:
        text: a :class:`mercer.data.CharacterText`, such as ``mercer.data.text_file("my.txt")``, or a string; None is
            Python's own documentation.
        mixers: by name, as of :class:`mercer.nn.models.LanguageModel`.
        parameters: of each network, met within 2 %.
        steps: of training.
        length: characters of a window, and taps of the kernels of convolutions.
        batch_size: windows of a step.
        seeds: trainings of each mixer.
        prompts: lengths of prompts after which tokens one by one are timed.
        random_state: of the first training; the others count on.
        device: where it is done.
        report: called with each mixer's row when it is trained.

    Raises:
        ValueError: an unknown mixer or one that is not causal, a text that is too short, parameters that are too few
            for the symbols of the text, a device that is not there, or a number below 1.
        NotConverged: a loss became NaN.

    >>> found = compare_language_models("to be or not to be " * 40, ["softmax", "sgconv"], steps=2, length=16,
    ...     parameters=20_000, prompts=[16])
    >>> [row["mixer"] for row in found.rows], max(row["parameters"] for row in found.rows) < 20_400
    (['softmax', 'sgconv'], True)
    """
    numbers = {"parameters": parameters, "steps": steps, "length": length, "batch_size": batch_size, "seeds": seeds}
    for name, value in numbers.items():
        check_whole(f"compare_language_models: {name}", value)
    for prompt in prompts:
        check_whole("compare_language_models: prompts", prompt)
    if not mixers or not prompts:
        raise ValueError("compare_language_models: give at least one mixer and one length of a prompt.")
    check_device(device)
    text = python_documentation() if text is None else CharacterText(text) if isinstance(text, str) else text
    fit, valid = text.split()
    if len(valid) <= length or max(prompts) > len(text.tokens):
        raise ValueError(
            f"compare_language_models: the text has {len(text.tokens):,} characters, and its last tenth must be longer "
            f"than length={length}, the whole at least as long as a prompt ({max(prompts)}). Give a longer one."
        )
    builders = {mixer: _builder(len(text.symbols), mixer, length, parameters) for mixer in dict.fromkeys(mixers)}
    rows = []
    for mixer, build in builders.items():
        losses, seconds = [], []
        for seed in range(random_state, random_state + seeds):
            with seeded(seed):
                model = build().to(device)
            history = train(
                model,
                TokenWindows(fit, length=length, batch_size=batch_size, n_batches=50),
                loss=next_token_loss,
                n_steps=steps,
                optimizer=partial(torch.optim.Adam, lr=4e-3, betas=(0.9, 0.98)),
                random_state=seed,
                description=f"{mixer}, seed {seed}",
            )
            validation = TokenWindows(valid[: 200 * length + 1], length=length, batch_size=50)
            losses.append(evaluate(model, validation, next_token_loss))
            seconds.append(history.seconds)
        rows.append(
            {
                "mixer": mixer,
                "parameters": _size(model),
                "hidden": build.keywords["hidden"],
                "steps": steps,
                "loss": mean(losses),
                "loss_deviation": stdev(losses) if seeds > 1 else 0.0,
                "perplexity": math.exp(mean(losses)),
                "losses": losses,
                "training_seconds": seconds,
                "machine": machine(),
            }
        )
        if report is not None:
            report(rows[-1])
    with seeded(random_state):
        training = _training_times(builders, fit, length, batch_size, device)
        tokens = {prompt: _token_times(builders, text.tokens[:prompt], length, device) for prompt in prompts}
    return LanguageReport(rows, training, tokens, f"{len(text.tokens):,} characters, {len(text.symbols)} symbols")


Builder = partial[LanguageModel]


def _builder(vocabulary: int, mixer: str, length: int, parameters: int) -> Builder:
    """What makes the network, with gated layers of a width that gives it so many parameters."""
    # 12 width^2 a layer are those of a transformer; heads take an even share of the width.
    step = 2 * _HEADS
    width = step * max(1, round(math.sqrt(parameters / (12 * _LAYERS)) / step))
    options = {"length": length, **_CONVOLUTIONS[mixer]} if mixer in _CONVOLUTIONS else {}
    shape: dict[str, Any] = {"layers": _LAYERS, "width": width, "heads": _HEADS, "block": _BLOCK}
    build = partial(LanguageModel, vocabulary, mixer=mixer, **shape, **options)
    with seeded(0):
        least, next_size = (_size(build(hidden=hidden)) for hidden in (1, 2))
    hidden = 1 + round((parameters - least) / (next_size - least))
    reached = least + (hidden - 1) * (next_size - least)
    if hidden < 1 or abs(reached - parameters) > _TOLERANCE * parameters:
        raise ValueError(
            f"compare_language_models: parameters={parameters} cannot be met within {_TOLERANCE:.0%} with "
            f"mixer {mixer!r} and {vocabulary} symbols, of which a network of width {width} has {least:,} at least. "
            f"Give more parameters, or a shorter length where kernels are as long."
        )
    return partial(build, hidden=hidden)


def _training_times(
    builders: dict[str, Builder], tokens: torch.Tensor, length: int, batch_size: int, device: str
) -> Comparison:
    """A step forward, backward and of Adam, by turns."""
    windows = TokenWindows(tokens, length=length, batch_size=batch_size, n_batches=1)
    batch = next(iter(windows)).to(device)

    def stepper(model: LanguageModel) -> Callable[[], None]:
        optimizer = torch.optim.Adam(model.parameter_groups(), lr=1e-3)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            next_token_loss(model, batch).backward()
            optimizer.step()

        return step

    sides = {mixer: stepper(build().to(device)) for mixer, build in builders.items()}
    return compare(sides, rounds=_ROUNDS, work=float(batch_size * length))


def _token_times(builders: dict[str, Builder], prompt: torch.Tensor, length: int, device: str) -> Comparison:
    """More tokens after a prompt, by turns; states go on, so that every round is as many tokens later."""
    tokens = prompt[None].to(device)
    # No round may come to the kernels' end.
    long = {"length": max(length, len(prompt) + _NEW_TOKENS * (_ROUNDS + 1))}

    def stepper(mixer: str, build: Builder) -> Callable[[], None]:
        changes = long if mixer in _CONVOLUTIONS else {}
        relaxed = {"state": "relaxed"} if mixer in _CONVOLUTIONS and mixer != "s4d" else {}
        model = build(**changes, **relaxed).to(device).eval()
        held = [model.prefill(tokens)[1]]

        def go_on() -> None:
            for _ in range(_NEW_TOKENS):
                _, held[0] = model.step(tokens[:, 0], held[0])

        return go_on

    with torch.no_grad():
        sides = {mixer: stepper(mixer, build) for mixer, build in builders.items()}
        return compare(sides, rounds=_ROUNDS, work=float(_NEW_TOKENS))


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
