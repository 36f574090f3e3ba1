"""How large a tile is: what its buffers take of a core's L2 cache."""

from __future__ import annotations

from torch import Tensor

from mercer import config
from mercer.operators.machine import parallel

__all__ = ["tile_shape"]


LEAST = 1 << 21  # bytes of a buffer: below, the calls of torch take longer than what they compute
ALL = 1 << 25  # bytes of all buffers of all workers that are not given up for that


def tile_shape(n_buffers: int, like: Tensor, bytes_per_pair: float = 0.0) -> tuple[int, int]:
    """Rows and columns of a tile, powers of two: on a CPU all its buffers fit the L2 cache of one core.

    Where that would make a tile smaller than 2 MB, it spills into the L3 cache, which costs less than more calls do
    (AMD Zen 3 with 512 kB of L2, 2 workers, RBF in 3 columns: 1.6x faster with 512 x 1024 than with 256 x 512).
    ``bytes_per_pair`` is what a statistic needs beside them; all the pairs of a tile together get 16 MB of it.
    """
    buffers = max(1, n_buffers)
    cache = config.cache_bytes() if like.device.type == "cpu" else 1 << 26
    least = min(LEAST, ALL // (buffers * parallel.n_workers()))
    elements = int(max(least, cache / buffers) / like.element_size())
    if bytes_per_pair > 0:
        elements = max(1, min(elements, int((1 << 24) / bytes_per_pair)))
    rows = 1 << max(0, (elements.bit_length() - 2) // 2)
    return rows, 1 << ((elements // rows).bit_length() - 1)
