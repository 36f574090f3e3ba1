"""``python -m benchmarks [NAME ...] [--sizes N ...]``: measure, print, write, plot."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from benchmarks import (
    bayesian_optimization,
    convolution,
    fourier,
    gaussian_process,
    language_model,
    linear_attention,
    planning,
    plots,
    product,
    softmax_free,
    solve,
    structure,
    unsupervised,
)
from mercer.store import write_atomic

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parent.parent / "docs" / "_static"
BENCHMARKS = {
    "product": (product, plots.plot_product),
    "solve": (solve, plots.plot_solve),
    "convolution": (convolution, plots.plot_convolution),
    "linear_attention": (linear_attention, plots.plot_linear_attention),
    "language_model": (language_model, plots.plot_language_model),
    "fourier": (fourier, plots.plot_fourier),
    "softmax_free": (softmax_free, plots.plot_turns),
    "structure": (structure, plots.plot_turns),
    "planning": (planning, plots.plot_planning),
    "gaussian_process": (gaussian_process, plots.plot_gaussian_process),
    "unsupervised": (unsupervised, plots.plot_unsupervised),
    "bayesian_optimization": (bayesian_optimization, plots.plot_bayesian_optimization),
}


def main() -> None:
    """Run the benchmarks named on the command line, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which (default: all)")
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of points instead of the stated ones")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    for name in arguments.names or BENCHMARKS:
        module, plot = BENCHMARKS[name]
        rows = module.run(tuple(arguments.sizes or module.SIZES))
        if arguments.sizes is None:
            RESULTS.mkdir(exist_ok=True)
            PICTURES.mkdir(exist_ok=True)
            write_atomic(RESULTS / f"{name}.json", json.dumps(rows, indent=1))
            plot(rows, PICTURES / f"{name}.png")
            print(f"written: {RESULTS / name}.json, {PICTURES / name}.png")


if __name__ == "__main__":
    main()
