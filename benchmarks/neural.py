"""Kernels of infinite networks against neural-tangents, process by process: ``python -m benchmarks.neural PYTHON``.

PYTHON is an interpreter with neural-tangents 0.6.5 (``pip install "numpy<2" jax==0.4.30 jaxlib==0.4.30
neural-tangents==0.6.5``), which needs another NumPy than mercer. Every case runs in a process of its own, mercer and
the peer in turn; what counts is CPU time of the whole process between two readings, after a warm-up that compiles.

The rows "on all cores" are pairs a second of the wall clock, for target P11, on an idle machine.

The rows "against the recursion" are pairs a second of one core, in one process in turns: what the quick forms of
``mercer.kernels.neural.quick`` gain over the exact ones, with the errors of both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

import torch

from mercer.kernels import NTK
from mercer.operators.tiles import Tiles
from mercer.store import write_atomic
from mercer.timing import compare

ROUNDS = 3

SETUP = """
import json, sys, time
import numpy as np
def seconds(run, least=2.0):
    run()
    start, n = time.process_time(), 0
    while time.process_time() - start < least:
        run(); n += 1
    return (time.process_time() - start) / n
"""

MERCER = """
import torch
from mercer.kernels import NTK, NetworkKernel
from mercer.kernels.neural.layers import Conv, Dense, Flatten, GlobalAvgPool, ReLU
def dense(n, sigma_b):
    X, Y = torch.randn(n, 16), torch.randn(n, 16)
    K, v = NTK(depth=3, sigma_b=sigma_b)(X, Y, plan="tiles"), torch.randn(n)
    return seconds(lambda: K @ v), n * n
def images(n, pool):
    X = torch.randn(n, 3, 8, 8)
    end = [GlobalAvgPool() if pool else Flatten(), Dense()]
    kernel = NetworkKernel([Conv(), ReLU(), Conv(), ReLU(), *end])
    return seconds(lambda: kernel(X, X.clone()).to_dense()), n * n
"""

PEER = """
import jax
from neural_tangents import stax
def compiled(layers):
    return jax.jit(lambda X, Y: stax.serial(*layers)[2](X, Y, "ntk"))
def dense(n, sigma_b):
    layer = stax.Dense(1, 1.0, sigma_b or None)
    kernel = compiled([layer, stax.Relu(), layer, stax.Relu(), layer])
    best = None
    for tile in (256, 512, 1024, 2048):
        X, Y = (np.random.randn(tile, 16).astype(np.float32) for _ in range(2))
        found = seconds(lambda: kernel(X, Y).block_until_ready()) / tile**2
        best = found if best is None else min(best, found)
    return best * n * n, n * n
def images(n, pool):
    X = np.random.randn(n, 8, 8, 3).astype(np.float32)
    conv = stax.Conv(1, (3, 3), None, "SAME", 1.0, 0.1)
    end = [stax.GlobalAvgPool() if pool else stax.Flatten(), stax.Dense(1, 1.0, 0.1)]
    kernel = compiled([conv, stax.Relu(), conv, stax.Relu(), *end])
    return seconds(lambda: kernel(X, X + 0).block_until_ready()), n * n
"""

ONE_CORE = "import os\nos.sched_setaffinity(0, {0})\n"  # before torch or jax look how many there are
CASES = {
    "NTK, 3 layers, ReLU, d = 16": "dense(8192, 0.1)",
    "NTK, 3 layers, ReLU, d = 16, no biases": "dense(8192, 0.0)",
    "two convolutions, flattened, 8 x 8": "images(64, False)",
    "two convolutions, flattened, 8 x 8, one core": "images(64, False)",
    "two convolutions, pooled, 8 x 8": "images(24, True)",
}


def measure(python: str, source: str, case: str, *, one_core: bool = False) -> float:
    """Pairs a CPU second of one case in a process of its own."""
    program = f"{ONE_CORE if one_core else ''}{SETUP}{source}\ntime_, pairs = {case}\nprint(json.dumps(pairs / time_))"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def run(peer: str, cases: dict[str, str] | None = None, rounds: int = ROUNDS) -> list[dict[str, object]]:
    """Measure and print, a row a case: medians over the rounds, with the extremes."""
    rows: list[dict[str, object]] = []
    for name, case in (cases or CASES).items():
        ours, theirs = [], []
        for _ in range(rounds):
            alone = name.endswith("one core")
            ours.append(measure(sys.executable, MERCER, case, one_core=alone))
            theirs.append(measure(peer, PEER, case, one_core=alone))
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        row = {
            "case": name,
            "mercer": median(ours),
            "neural_tangents": median(theirs),
            "ratio": median(ratios),
            "ratios": ratios,
            "unit": "pairs a CPU second",
        }
        rows.append(row)
        print(
            f"{name}: mercer {median(ours):.3g}, neural-tangents {median(theirs):.3g} pairs a CPU second, "
            f"ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )
    return rows


def against_the_recursion(n: int = 4096) -> list[dict[str, object]]:
    """Products with the quick form of the kernel and with the exact one: a row for biases, a row without."""
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    X, Y, v = _points(n)
    for sigma_b in (0.1, 0.0):
        kernel = NTK(depth=3, sigma_b=sigma_b)
        operands = kernel(X, Y, plan="tiles")._operands()[0]
        exact = kernel(X.double(), Y.double()).to_dense()
        expected, size = exact @ v.double(), exact.abs() @ v.double().abs()

        def error(found: torch.Tensor, expected: torch.Tensor = expected, size: torch.Tensor = size) -> float:
            return float((found.double() - expected).norm() / size.norm())

        programs = {"quick": Tiles(operands), "recursion": Tiles(operands, shortcuts=False)}
        products = {name: partial(tiles.product, v) for name, tiles in programs.items()}
        found = compare(products, rounds=15, clock="thread", work=float(n * n), error=error)
        print(f"sigma_b = {sigma_b}\n{found}", flush=True)
        rows.append({"case": f"against the recursion, sigma_b = {sigma_b}", **found.as_dict()})
    return rows


def on_all_cores(n: int = 8192) -> list[dict[str, object]]:
    """Pairs a second of ``K(X, Y) @ v`` by the wall clock, with as many threads as there are cores."""
    torch.set_num_threads(os.cpu_count() or 1)
    X, Y, v = _points(n)
    rows: list[dict[str, object]] = []
    for sigma_b in (0.1, 0.0):
        K = NTK(depth=3, sigma_b=sigma_b)(X, Y, plan="tiles")
        found = compare({"mercer": partial(K.matmul, v)}, rounds=15, clock="wall", work=float(n * n))
        print(f"sigma_b = {sigma_b}\n{found}", flush=True)
        rows.append({"case": f"on all cores, sigma_b = {sigma_b}", **found.as_dict()})
    return rows


def _points(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """X and Y in 16 columns, and v in one."""
    generator = torch.Generator().manual_seed(0)
    X, Y, v = (torch.randn(n, width, generator=generator) for width in (16, 16, 1))
    return X, Y, v


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    measured = on_all_cores() + against_the_recursion() + run(sys.argv[1])
    write_atomic(Path(__file__).parent / "results" / "neural.json", json.dumps(measured, indent=1))
