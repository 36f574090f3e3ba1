import os
import signal
import threading
import time

import pytest
import torch

from mercer.kernels import RBF
from mercer.operators.machine import parallel


def test_every_worker_computes_with_one_core_and_without_gradients():
    def work(worker, check):
        check()
        return worker, torch.get_num_threads(), torch.is_grad_enabled(), parallel.n_workers()

    assert parallel.run(work, 3) == [(w, 1, False, 1) for w in range(3)]


def test_the_callers_threads_stay_as_they_were():
    before = torch.get_num_threads()
    parallel.run(lambda worker, check: None, 2)
    assert torch.get_num_threads() == before


def test_an_error_in_one_worker_reaches_the_caller_and_stops_the_others():
    stopped = threading.Event()

    def work(worker, check):
        if worker == 0:
            raise ZeroDivisionError("in a worker")
        try:
            while True:
                time.sleep(0.01)
                check()
        except parallel.Stopped:
            stopped.set()
            raise

    with pytest.raises(ZeroDivisionError, match="in a worker"):
        parallel.run(work, 2)
    assert stopped.wait(5.0)


def test_ctrl_c_during_a_product_returns_within_a_second():
    X = torch.randn(200_000, 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    start = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            RBF()(X, plan="tiles") @ torch.ones(200_000)
    finally:
        timer.join()
        torch.set_num_threads(threads)
    assert time.perf_counter() - start < 1.3 + 0.7  # the second, and what a loaded machine takes to start


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12 says so in any threaded process
def test_workers_survive_a_fork():
    parallel.run(lambda worker, check: None, 2)
    child = os.fork()
    if child == 0:
        os._exit(0 if parallel.run(lambda worker, check: worker, 2) == [0, 1] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_products_in_many_threads_at_once_agree():
    X, v = torch.randn(1500, 3), torch.randn(1500, 2)
    K = RBF()(X, plan="tiles")
    expected = K @ v
    results: list[torch.Tensor] = []
    threads = [threading.Thread(target=lambda: results.append(K @ v)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
