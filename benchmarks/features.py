"""How far feature maps are from their kernels, at equal numbers of features: ``python -m benchmarks.features``.

Errors, not times: the root mean square over the entries of K and over 10 seeds, divided by that of K. Points are 600,
standard normal, and the lengthscale is sqrt(d), of the Laplacian kernel d; for attention points have length d^(1/4).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mercer.kernels import RBF, Kernel, Laplacian, Matern, Polynomial, RationalQuadratic, Softmax
from mercer.kernels.features import Features, NystromFeatures, PositiveFeatures, RandomFourier, TensorSketch
from mercer.store import write_atomic

SEEDS = range(10)
COUNTS = (32, 128, 512)
Build = Callable[[Kernel, int, Tensor, int], Features]


def fourier(method: str) -> Build:
    """Random Fourier features."""
    return lambda kernel, r, X, seed: RandomFourier(kernel, r, d=X.shape[1], method=method, random_state=seed)


def positive(method: str, *, hyperbolic: bool = False) -> Build:
    """Positive features of FAVOR+."""
    return lambda kernel, r, X, seed: PositiveFeatures(
        kernel, r, d=X.shape[1], method=method, hyperbolic=hyperbolic, random_state=seed
    )


def nystrom(sampling: str) -> Build:
    """Nystrom features; at most as many as there are points."""
    return lambda kernel, r, X, seed: NystromFeatures.from_data(kernel, X, r, sampling=sampling, random_state=seed)


WAVES: dict[str, Build] = {f"fourier {m}": fourier(m) for m in ("iid", "orthogonal", "quasi")}
CENTRES: dict[str, Build] = {f"nystrom {s}": nystrom(s) for s in ("uniform", "pivoted")}
POSITIVE: dict[str, Build] = {
    "positive iid": positive("iid"),
    "positive orthogonal": positive("orthogonal"),
    "hyperbolic orthogonal": positive("orthogonal", hyperbolic=True),
    "damped orthogonal": lambda kernel, r, X, seed: PositiveFeatures.for_points(kernel, r, X, random_state=seed),
}
SKETCH: dict[str, Build] = {
    "tensor sketch": lambda kernel, r, X, seed: TensorSketch(kernel, r, d=X.shape[1], random_state=seed)
}


def cases() -> list[tuple[Kernel, int, dict[str, Build]]]:
    """Kernel, columns, and the maps that it has."""
    found: list[tuple[Kernel, int, dict[str, Build]]] = []
    for d in (2, 16):
        root = d**0.5
        found.append((RBF(root), d, WAVES | CENTRES | POSITIVE))
        stationary = (Matern(root, nu=1.5), RationalQuadratic(root, alpha=1.0), Laplacian(float(d)))
        found.extend((kernel, d, WAVES | CENTRES) for kernel in stationary)
        found.append((Softmax(d**0.25), d, POSITIVE | CENTRES))
        found.append((Polynomial(3, 1.0, root), d, SKETCH | CENTRES))
    return found


def relative_error(kernel: Kernel, build: Build, r: int, X: Tensor) -> float:
    """Root mean square error over entries and seeds, relative to the kernel's."""
    K = kernel(X).to_dense()
    squares = []
    for seed in SEEDS:
        F = build(kernel, r, X, seed)(X)
        squares.append((F @ F.mT - K).square().mean())
    return float((torch.stack(squares).mean() / K.square().mean()).sqrt())


def run(counts: tuple[int, ...] = COUNTS) -> list[dict[str, object]]:
    """Measure and print, a row for each kernel and map."""
    rows: list[dict[str, object]] = []
    for kernel, d, maps in cases():
        X = torch.randn(600, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        if isinstance(kernel, Softmax):
            X = X / X.norm(dim=1, keepdim=True) * d**0.25  # queries and keys after a normalisation
        print(f"\n{kernel!r}, d = {d}\n  {'features':<40}" + "".join(f"{r:>12}" for r in counts))
        for name, build in maps.items():
            errors = [relative_error(kernel, build, r, X) for r in counts]
            print(f"  {name:<40}" + "".join(f"{e:>12.2e}" for e in errors))
            rows.append({"kernel": repr(kernel), "d": d, "map": name, "features": list(counts), "errors": errors})
    return rows


def main() -> None:
    """Print the table and keep it."""
    results = Path(__file__).parent / "results"
    rows = run()
    results.mkdir(exist_ok=True)
    write_atomic(results / "features.json", json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
