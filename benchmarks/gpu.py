"""Kernel products on a GPU (target P12): ``PYTHONPATH=src python -m benchmarks.gpu``; needs torch and triton only.

Not measured yet: mercer's own machine has no GPU, and no number of this script stands anywhere in the docs. Without a
GPU it says so and ends. It measures K @ v of a Gaussian kernel with a million points (d = 3 and 64, float32) and its
error against float64, beside KeOps and GPyTorch where they can be imported; the gradient; many small matrices in one
launch; other tile shapes. It writes ``results/gpu.json``. Sequences are in :mod:`benchmarks.gpu_sequences`.

The limit is the larger of two times that the chip's data sheet gives: one exponential a pair at 16 a clock and
multiprocessor, and for d >= 16 three float16 products of d columns at the dense tensor-core rate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mercer.kernels import RBF
from mercer.operators.gpu import Fused, runs_fused

RESULTS = Path(__file__).parent / "results"
SIZES = (1_000_000,)
DIMENSIONS = (3, 64)
ROUNDS = 5
TILES = {3: ((64, 32), (64, 64), (128, 32), (32, 32)), 64: ((128, 64), (64, 64), (128, 128), (256, 64))}
HALF_FLOPS = {
    (8, 0): 312e12,
    (9, 0): 989e12,
}  # dense float16 with float32 sums: data sheets of A100 and H100 or H200 SXM


def seconds(function: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, float]:
    """Median time and half of the spread, after one call that compiles."""
    function()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times), (max(times) - min(times)) / 2.0


def limit(pairs: float, d: int) -> float | None:
    """The least seconds for ``pairs`` kernel entries; None where the chip or its clock is not known."""
    chip = torch.cuda.get_device_properties(0)
    flops, kilohertz = HALF_FLOPS.get((chip.major, chip.minor)), getattr(chip, "clock_rate", None)
    if flops is None or kilohertz is None:
        return None
    exponentials = pairs / (16.0 * chip.multi_processor_count * 1e3 * kilohertz)
    return max(exponentials, pairs * 6.0 * d / flops) if d >= 16 else exponentials


def product_error(X: Tensor, v: Tensor, lengthscale: float, result: Tensor) -> float:
    """Relative error on 100 rows against the definition in float64."""
    rows = torch.arange(0, len(X), max(1, len(X) // 100), device=X.device)
    expected = torch.zeros(len(rows), v.shape[1], dtype=torch.float64, device=X.device)
    for start in range(0, len(X), 20_000):
        part = slice(start, start + 20_000)
        distance = torch.cdist(X[rows].double(), X[part].double(), compute_mode="donot_use_mm_for_euclid_dist")
        expected += torch.exp(-0.5 * (distance / lengthscale) ** 2) @ v[part].double()
    return float((result[rows].double() - expected).norm() / expected.norm())


def peers(X: Tensor, v: Tensor, lengthscale: float) -> dict[str, Callable[[], Tensor]]:
    """The products of the peers that can be imported."""
    found: dict[str, Callable[[], Tensor]] = {}
    try:
        from pykeops.torch import LazyTensor
    except ImportError:
        print("KeOps: not installed")
    else:
        x, y = LazyTensor(X[:, None, :] / lengthscale), LazyTensor(X[None, :, :] / lengthscale)
        found["KeOps"] = lambda: (-((x - y) ** 2).sum(-1) / 2).exp() @ v
    try:
        from gpytorch.kernels import RBFKernel
    except ImportError:
        print("GPyTorch: not installed")
    else:
        kernel = RBFKernel().to(X.device)
        kernel.lengthscale = lengthscale
        if len(X) <= 100_000:  # it stores K
            found["GPyTorch"] = lambda: kernel(X, X) @ v
    return found


@torch.no_grad()
def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case as a row for JSON."""
    rows: list[dict[str, Any]] = []
    for n in sizes:
        for d in DIMENSIONS:
            rows += large(n, d)
    return [*rows, small()]


def large(n: int, d: int) -> list[dict[str, Any]]:
    """One matrix: the product beside the peers, its gradient, and the product with other tiles."""
    X, v = torch.randn(n, d, device="cuda"), torch.randn(n, 1, device="cuda")
    lengthscale, facts = d**0.5, {"n": n, "d": d, "work": float(n) * n}
    kernel = RBF(torch.tensor(lengthscale, dtype=torch.float64, device="cuda"))
    operands = kernel(X)._operands()[0]
    assert runs_fused(operands), "the fused kernel does not run here: it needs triton and compute capability 8.0"
    functions = {"mercer": lambda: kernel(X, plan="tiles") @ v, **peers(X, v, lengthscale)}
    rows = []
    for name, function in functions.items():
        error = product_error(X, v, lengthscale, function())
        rows.append(measured("product", name, function, error=error, **facts))
    wanted = (True,) * len(operands.flat())
    rows.append(measured("gradient", "mercer", lambda: Fused(operands).pull(v, v, wanted), **facts))
    for tile in TILES[d]:
        try:
            rows.append(
                measured("tile", f"{tile[0]} x {tile[1]}", partial(Fused(operands, tile=tile).product, v), **facts)
            )
        except Exception as problem:  # a shape that shared memory does not hold is a result too
            print(f"tile {tile}: {problem}")
    return rows


def small(batch: int = 1000, n: int = 200, d: int = 3) -> dict[str, Any]:
    """Many small matrices in one launch."""
    X, v = torch.randn(batch, n, d, device="cuda"), torch.randn(batch, n, 1, device="cuda")
    operands = RBF(torch.ones(batch, dtype=torch.float64, device="cuda"))(X)._operands()[0]
    work = float(batch) * n * n
    return measured("batch", "mercer", lambda: Fused(operands).product(v), n=n, d=d, work=work, batch=batch)


def measured(case: str, name: str, function: Callable[[], Any], *, d: int, work: float, **facts: Any) -> dict[str, Any]:
    """A row: the time of one function, pairs a second and the fraction of the limit."""
    median, spread = seconds(function)
    least = limit(work, d)
    row = {"case": case, "name": name, "d": d, **facts, "seconds": median, "spread": spread}
    row |= {"pairs_per_second": work / median, "fraction_of_limit": None if least is None else least / median}
    print(json.dumps(row))
    return row


def main() -> None:
    """Measure and write, or say why not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of points instead of a million")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks.gpu: this machine has no CUDA device, so there is nothing to measure.")
        return
    torch.manual_seed(0)
    rows = run(tuple(arguments.sizes or SIZES))
    import triton

    versions = {"torch": torch.__version__, "triton": triton.__version__, "device": torch.cuda.get_device_name(0)}
    if arguments.sizes is None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "gpu.json").write_text(json.dumps({"versions": versions, "rows": rows}, indent=1))
        print(f"written: {RESULTS / 'gpu.json'}")


if __name__ == "__main__":
    main()
