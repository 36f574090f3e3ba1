"""PathX of the Long Range Arena at its own length of 16,384 steps: ``python -m benchmarks.pathx [--steps N]``.

Not a result of the task, which takes days of a GPU (50 epochs of 160,000 images): what it takes of memory and time on
this machine to train on it, and to go through it step by step. Images are generated, 128 x 128 with contours of 14
bars, as in the arena. What is trained is the official network of SGConv (6 layers of 256), a sequence a step; what
goes step by step is a causal one of 2 layers of 32, compared with the whole at once.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.memory import peak_bytes
from mercer.arena import ArenaNetwork, arena_settings
from mercer.data import LongRangeTask, Split, make_pathfinder
from mercer.nn.models import SequenceModel
from mercer.store import write_atomic
from mercer.timing import machine

RESULTS = Path(__file__).parent / "results" / "pathx.json"
LENGTH, IMAGES, STREAMED = 128 * 128, 4, 512


def training(images: Split, steps: int) -> dict[str, Any]:
    """Some steps of the official network, a sequence each."""
    task = LongRangeTask("pathx", images, images, images, 2, 256, LENGTH, True)
    settings = arena_settings("pathx", "sgconv", quick=False)
    network = ArenaNetwork(task, "sgconv", settings, random_state=0)
    x, y = torch.from_numpy(images.inputs), torch.from_numpy(images.targets)
    optimizer = torch.optim.AdamW(network.parameter_groups(), lr=1e-3)
    losses, seconds = [], []
    for step in range(steps):
        started = time.perf_counter()
        i = step % len(x)
        loss = nn.functional.cross_entropy(network(x[i : i + 1]), y[i : i + 1])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - started)
        print(f"step {step + 1}: loss {losses[-1]:.3f}, {seconds[-1]:.1f} s, {peak_bytes() / 1e9:.2f} GB", flush=True)
    return {
        "case": "training",
        "what": "training, a sequence a step",
        "layers": settings.layers,
        "width": settings.width,
        "parameters": sum(p.numel() for p in network.parameters()),
        "length": LENGTH,
        "steps": steps,
        "seconds_a_step": sorted(seconds)[len(seconds) // 2],
        "peak_gb": peak_bytes() / 1e9,
        "losses": losses,
        "machine": machine(),
    }


@torch.no_grad()
def streaming(images: Split) -> dict[str, Any]:
    """Most of a sequence at once and its last steps one by one, against the whole at once."""
    options: dict[str, Any] = {"length": LENGTH, "kernel_dim": 64, "layers": 2, "width": 32, "random_state": 0}
    network = SequenceModel(1, 2, layer="sgconv", causal=True, pool="last", norm="rms", **options).eval()
    x: Tensor = torch.from_numpy(images.inputs[:1]).float().unsqueeze(-1) / 127.5 - 1.0
    whole = network(x)
    _, state = network.prefill(x[:, :-STREAMED])
    started = time.perf_counter()
    for t in range(LENGTH - STREAMED, LENGTH):
        last, state = network.step(x[:, t], state)
    seconds = time.perf_counter() - started
    return {
        "case": "streaming",
        "what": "the last steps one by one",
        "layers": options["layers"],
        "width": options["width"],
        "length": LENGTH,
        "steps": STREAMED,
        "milliseconds_a_step": 1e3 * seconds / STREAMED,
        "state_mb": sum(t.nbytes for layer in state.layers for t in layer.tensors().values()) / 1e6,
        "difference": float((last - whole).abs().max() / whole.abs().max()),
        "peak_gb": peak_bytes() / 1e9,
    }


def main() -> None:
    """Both parts; the results go to a file that the docs show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pathx", description=__doc__)
    parser.add_argument("--steps", type=int, default=8, help="of training (default: 8)")
    arguments = parser.parse_args()
    images = make_pathfinder(IMAGES, size=128, random_state=0)
    rows = [streaming(images), training(images, arguments.steps)]  # the smaller peak first
    print(json.dumps(rows[0], indent=1))
    write_atomic(RESULTS, json.dumps(rows[::-1], indent=1))


if __name__ == "__main__":
    main()
