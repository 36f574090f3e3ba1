"""The table of rates that predictions are made from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

__all__ = ["PER_THREAD", "Rates"]

PER_THREAD = ("gemm_flops", "tile_stores", "exponentials", "elementwise", "matvec", "cholesky_flops", "fft_flops")


@dataclass(frozen=True)
class Rates:
    """Operations a second in float32, with all threads, inside the L2 caches; float64 costs ``double_cost`` as much.

    Defaults: 2 cores with AVX-512. :func:`mercer.operators.calibrate` measures them here.

    Attributes:
        gemm_flops: of a GEMM, beyond what its result takes to be stored.
        tile_stores: entries of a GEMM's result stored.
        exponentials: exp or exp2, whichever is faster.
        elementwise: entries of a product of two tiles in a third.
        matvec: entries of a tile multiplied by one vector and added up.
        special: Bessel functions of scipy, one thread.
        memory: bytes read and written, of arrays that do not fit a cache.
        new_memory: bytes written into pages that the process has not used before.
        cholesky_flops: of a float64 factorisation, at ``n^3 / 3``.
        fft_flops: of a complex transform, at ``5 n log2 n``.
        call: seconds that one call of torch takes before it computes.
        threads: that the rates hold for.
    """

    gemm_flops: float = 3.0e11
    tile_stores: float = 2.5e10
    exponentials: float = 8.0e9
    elementwise: float = 2.0e10
    matvec: float = 3.0e10
    special: float = 4.0e6
    memory: float = 8.0e9
    new_memory: float = 1.4e9
    cholesky_flops: float = 8.0e10
    fft_flops: float = 1.0e10
    double_cost: float = 2.5
    call: float = 3.0e-6
    threads: int = 2

    def with_threads(self, threads: int) -> Rates:
        """The same machine with another number of threads, each with a core of its own."""
        factor = threads / self.threads
        scaled = {name: getattr(self, name) * factor for name in PER_THREAD}
        return replace(self, threads=threads, **scaled)

    def as_dict(self) -> dict[str, float]:
        """All rates by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
