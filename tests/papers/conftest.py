"""A small paper of our own, outside of mercer, whose claims come out in every way there is."""

import pytest

from mercer.papers import registry
from mercer.papers.tasks import tasks_of

COIN = '''"""Coins, thrown and counted.

A page about **coins**.
"""

import os
import time
from contextlib import contextmanager

import numpy as np

from mercer.papers import Effort, Entry, Paper, Quantity, Run

paper = Paper(
    Entry(90, "coin", "On coins", "A coin is thrown.", authors=("Heads", "Tails"), arxiv="2101.00001"),
    see=[("Coins", "https://example.org")],
)
SHARE = Quantity("share", "share of heads | tails", at_least=0.3, at_most=0.7)


LOADED = []


@contextmanager
def loaded():
    LOADED.append(1.0)
    yield
    LOADED.clear()


@paper.claim("fair", says="The coin is fair.", measures=SHARE, reported="0.5", where="table 1", quick=Effort(3, 30.0))
def fair(run: Run) -> None:
    for seed in run.seeds:
        run.record(share=max(LOADED, default=np.random.default_rng(seed).integers(2, size=100).mean()))
    run.table("throws", [["first", 1.0], ["second", None]], columns=["throw", "result"], caption="Two throws.")
    run.figure("throws", lambda figure: figure.subplots().plot([0, 1, 1]), caption="Three throws.")


paper.sabotage("Loaded, on one side", loaded, breaks=["fair"])


@paper.claim(
    "biased",
    says="The coin is biased.",
    measures=Quantity("share", "share of heads", at_least=0.9),
    quick=Effort(2, 30.0),
)
def biased(run: Run) -> None:
    for seed in run.seeds:
        run.record(share=0.5)


@paper.claim(
    "bought",
    says="Our coin is better.",
    measures=Quantity("gain", "gain over a bad coin", at_least=0.0),
    controls=Quantity("tuned", "gain over a good coin", at_least=0.0),
    rivals=Quantity("free", "gain of a free coin"),
    quick=Effort(1, 30.0),
)
def bought(run: Run) -> None:
    for seed in run.seeds:
        run.record(gain=1.0, tuned=-1.0, free=0.5)


@paper.claim("lost", says="The coin is lost.", measures=SHARE, quick="a lost coin is not showable in quick")
def lost(run: Run) -> None:
    from mercer.kernels import RBF  # here, since a process is started for each of the other claims

    run.data_folder(f"a coin like {RBF()}")


MORE = os.environ.get("MORE_COINS")
if MORE:

    @paper.claim("thrown", says="It crashes.", measures=SHARE, quick=Effort(1, 1.0))
    def thrown(run: Run) -> None:
        raise KeyError("no coin")

    @paper.claim("melted", says="It dies.", measures=SHARE, quick=Effort(1, 1.0))
    def melted(run: Run) -> None:
        print("a claim may print")
        os._exit(3)

    @paper.claim("spinning", says="It hangs.", measures=SHARE, quick=Effort(1, 1.0, limit_seconds=float(MORE)))
    def spinning(run: Run) -> None:
        time.sleep(300)

    @paper.claim("foreign", says="It needs data.", measures=SHARE, quick=Effort(1, 1.0))
    def foreign(run: Run) -> None:
        run.data_folder("foreign coins")
'''


@pytest.fixture
def coin_file(tmp_path, monkeypatch):
    """A copy of the paper; ``MERCER_DATA_DIR`` points beside it."""
    monkeypatch.setenv("MERCER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("MORE_COINS", raising=False)
    path = tmp_path / "p90_coin.py"
    path.write_text(COIN)
    return path


@pytest.fixture
def coin(coin_file):
    """The paper, loaded."""
    return registry.load_file(coin_file)


@pytest.fixture
def coin_tasks(coin, tmp_path):
    """A task for each of its claims."""
    return tasks_of([coin], folder=tmp_path / "results" / "quick")


class Silent:
    """A display that keeps what it is told."""

    def __init__(self):
        self.lines = []
        self.begun = []
        self.seeds = []
        self.prints = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def line(self, text):
        self.lines.append(text)

    def begin(self, task):
        self.begun.append(task.claim.id)

    def seed(self, task, done):
        self.seeds.append((task.claim.id, done))

    def printed(self, task, text):
        self.prints[task.claim.id] = self.prints.get(task.claim.id, "") + text

    def end(self, outcome):
        pass


@pytest.fixture
def display():
    return Silent()
