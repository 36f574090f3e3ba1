"""Workers that each own a core: a tile never leaves its core's cache, and no operation waits for another thread.

torch's own threads share every operation and meet at a barrier after it. On a machine that does other work too, one
late thread holds up each of the hundreds of thousands of small operations of a product (measured: 50 times slower).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")
_pools: dict[int, ThreadPoolExecutor] = {}
_inside = threading.local()
os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork


class Stopped(Exception):
    """Raised in workers when the caller was interrupted."""


def n_workers() -> int:
    """How many workers to use: torch's number of threads, one inside a worker."""
    return 1 if getattr(_inside, "worker", False) else max(1, torch.get_num_threads())


def run(work: Callable[[int, Callable[[], None]], Result], workers: int) -> list[Result]:
    """``[work(0, check), ..., work(workers - 1, check)]``, each in a thread that computes with one core, without
    gradients.

    ``work`` calls ``check()`` between small pieces; after Ctrl-C in the caller it raises and the worker ends.
    """
    if workers == 1:
        with torch.no_grad():
            return [work(0, lambda: None)]
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def job(worker: int) -> Result:
        with torch.no_grad():
            return work(worker, check)

    if workers not in _pools:
        _pools[workers] = ThreadPoolExecutor(workers, "mercer-tiles", initializer=_own_core)
    futures: list[Future[Result]] = [_pools[workers].submit(job, worker) for worker in range(workers)]
    try:
        return [future.result() for future in futures]
    except BaseException:
        stop.set()
        raise


def _own_core() -> None:
    _inside.worker = True
    torch.get_num_threads()  # torch sets the number of a new thread at its first question, over what was set before
    torch.set_num_threads(1)  # of this thread only
