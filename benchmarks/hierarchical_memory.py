"""Memory of a deep convolutional kernel by tiles and materialised: ``python -m benchmarks.hierarchical_memory``.

Points of 8 numbers, filters (2, 2, 2), NTK, float64: the size at which the official code of paper 04 asks for up to
200 GB (its README, n = 16,384). Its way is written down here in a few lines: it holds the inner products, the NTK and
what comes between for all patches of all pairs at once, arrays of (p, n, n). Each case runs in a process of its own,
which says how far its peak went beyond what it held before; errors are those of 64 rows against the same recursion in
long doubles.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.memory import peak_bytes
from mercer.data import multisphere
from mercer.kernels import HierarchicalConv
from mercer.store import write_atomic
from mercer.timing import machine

RESULTS = Path(__file__).parent / "results" / "hierarchical_memory.json"
FILTERS = (2, 2, 2)
PATCHES, WIDTH = 4, 2
SIZES = (2048, 4096, 16_384)
LARGEST_MATERIALISED = 4096  # beyond it, bytes a pair are carried on
ROWS = 64
OFFICIAL_README_GB = 200.0


def materialised(X: Tensor) -> Tensor:
    """The NTK from arrays of all patches and all pairs."""
    patches = X.unflatten(1, (PATCHES, WIDTH))
    patches = patches / patches.norm(dim=2, keepdim=True)
    S = torch.einsum("ipa,jpa->pij", patches, patches).clamp(-1.0, 1.0)  # (p, n, n)
    T = S
    for count in (*FILTERS[1:], 1):
        angle = math.pi - torch.acos(S)
        T = (angle * T / math.pi).unflatten(0, (-1, count)).mean(1)
        S = (((1.0 - S * S).sqrt() + angle * S) / math.pi).unflatten(0, (-1, count)).mean(1).clamp(-1.0, 1.0)
        T = T + S
    return T[0]


def by_tiles(X: Tensor) -> Tensor:
    """The whole matrix by mercer."""
    return HierarchicalConv(FILTERS)(X).to_dense()


def exact_rows(X: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of the NTK in long doubles, from 1 - S, so that equal points keep their digits."""
    patches = X.reshape(len(X), PATCHES, WIDTH).astype(np.longdouble)
    patches /= np.sqrt((patches**2).sum(2, keepdims=True))
    pi = 4.0 * np.arctan(np.longdouble(1.0))
    w = ((patches[rows, None] - patches[None]) ** 2).sum(3) / 2.0  # (rows, n, p)
    T = 1.0 - w
    for count in (*FILTERS[1:], 1):
        angle = 2.0 * np.arcsin(np.sqrt(np.clip(w / 2.0, 0.0, 1.0)))
        T = ((pi - angle) / pi * T).reshape(*w.shape[:2], -1, count).mean(3)
        w = w - (np.sin(angle) - angle * np.cos(angle)) / pi
        w = w.reshape(*w.shape[:2], -1, count).mean(3)
        T = T + 1.0 - w
    found: np.ndarray[Any, Any] = T[:, :, 0]
    return found


def measure(way: str, n: int) -> dict[str, Any]:
    """One case in this process."""
    torch.set_num_threads(1)
    X = multisphere(n, PATCHES, WIDTH, random_state=0)
    rows = np.random.default_rng(0).choice(n, size=ROWS, replace=False)
    points = torch.from_numpy(X)
    HierarchicalConv(FILTERS)(points[:256]).to_dense()  # what is loaded on first use is no memory of the product
    before, started = peak_bytes(), time.process_time()
    if way == "product":
        v = torch.from_numpy(np.random.default_rng(1).normal(size=(n, 1)))
        found = (HierarchicalConv(FILTERS)(points, plan="tiles") @ v).numpy()[rows]
    else:
        found = (materialised if way == "materialised" else by_tiles)(points).numpy()[rows]
    seconds, peak = time.process_time() - started, peak_bytes() - before
    exact = exact_rows(X, rows)
    expected, size = (exact @ v.numpy(), np.abs(exact) @ np.abs(v.numpy())) if way == "product" else (exact, exact)
    return {
        "case": "measured",
        "way": way,
        "n": n,
        "gb": peak / 1e9,
        "bytes_a_pair": peak / n**2,
        "cpu_seconds": seconds,
        "error": float((np.abs(found - expected) / size.max()).max()),
    }


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Every case in a process of its own, and what the materialised way would need where it is not run."""
    rows: list[dict[str, Any]] = []
    for n in sizes:
        for way in ("product", "by tiles", "materialised"):
            if way == "materialised" and n > LARGEST_MATERIALISED:
                continue
            command = [sys.executable, "-m", "benchmarks.hierarchical_memory", "--case", way, str(n)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    grown = max((row for row in rows if row["way"] == "materialised"), key=lambda row: int(row["n"]))
    for n in sizes:
        if n > grown["n"]:
            rows.append(
                {
                    "case": "predicted",
                    "way": "materialised",
                    "n": n,
                    "gb": grown["bytes_a_pair"] * n**2 / 1e9,
                    "one_array_gb": 8.0 * PATCHES * n**2 / 1e9,
                    "official_readme_gb": OFFICIAL_README_GB,
                }
            )
            print(rows[-1], flush=True)
    rows[0]["machine"] = machine()
    return rows


def main() -> None:
    """All cases; the results go to a file that the docs show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hierarchical_memory", description=__doc__)
    parser.add_argument("--case", nargs=2, metavar=("WAY", "N"), help="one case, in this process, printed as JSON")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case[0], int(arguments.case[1]))))
    else:
        write_atomic(RESULTS, json.dumps(run(), indent=1))


if __name__ == "__main__":
    main()
