"""Language models of real text that differ in the mixer only: perplexity, and what training and a token cost.

:func:`mercer.arena.compare_language_models` on Python's own documentation by characters: 4 layers of width 64, 4 heads,
blocks of 32, 128 characters at once, 300 steps of 8 windows, three seeds, equally many parameters. Tokens one by one
are timed after prompts of 16 and 4,096 characters (with kernels that long). ``python -m benchmarks language_model
--sizes 30`` trains for 30 steps, to see that it runs; ``mercer lm`` compares other mixers or another text.
"""

from __future__ import annotations

from typing import Any

from mercer.arena import compare_language_models

SIZES = (300,)
LENGTH, BATCH, PARAMETERS = 128, 8, 206_000
MIXERS = ("softmax", "transnormer", "long_conv", "sgconv", "h3")


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON; prints as it goes. Sizes are numbers of training steps."""
    rows: list[dict[str, Any]] = []
    for steps in sizes:
        found = compare_language_models(
            mixers=MIXERS,
            parameters=PARAMETERS,
            steps=steps,
            length=LENGTH,
            batch_size=BATCH,
            seeds=3,
            prompts=(16, 4096),
            report=lambda row: print(f"{row['mixer']:<12} perplexity {row['perplexity']:.2f}", flush=True),
        )
        print(f"\n{found}")
        rows += [{"case": "quality", **row} for row in found.rows]
        rows.append({"case": "training step", "batch": BATCH, "length": LENGTH, **found.training.as_dict()})
        rows += [{"case": "16 tokens", "prompt": n, **times.as_dict()} for n, times in found.tokens.items()]
    return rows
