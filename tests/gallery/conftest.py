"""A gallery of three papers, one of them with claims of its own, whose runs are played by a program without torch."""

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from mercer.gallery.history import History
from mercer.gallery.mail import MailSettings
from mercer.gallery.shelf import Shelf
from mercer.gallery.store import Store
from mercer.papers import registry, results
from mercer.papers.measuring import measure
from mercer.papers.results import Result
from mercer.papers.tasks import tasks_of

DICE = '''"""Dice, thrown and counted.

A page about **dice**, <script>alert(1)</script> and [a link](javascript:alert(1)).
"""

import os
import time

import numpy as np

from mercer.papers import Effort, Entry, Paper, Quantity, Run

paper = Paper(
    Entry(91, "dice", "On dice & chance", "A die is thrown many times.", authors=("Ada", "Bob"), arxiv="2401.00001",
          year=2024, venue="Games", tags=("chance", "games")),
    see=[("Dice", "https://example.org"), ("Bad", "javascript:alert(1)")],
)


@paper.claim(
    "fair",
    says="The die is fair.",
    reported="one sixth",
    where="table 1",
    measures=Quantity("share", "share of sixes", at_least=0.05, at_most=0.3),
    controls=Quantity("ones", "share of ones", at_least=0.05),
    quick=Effort(3, 30.0),
)
def fair(run: Run) -> None:
    for seed in run.seeds:
        throws = np.random.default_rng(seed).integers(6, size=60)
        run.record(share=(throws == 5).mean(), ones=(throws == 0).mean())
    print("sixty throws", flush=True)
    run.table("throws", [["first", 1.0], ["second", None]], columns=["throw", "result"], caption="Two throws.")
    run.figure("throws", lambda figure: figure.subplots().plot([0, 1, 1]), caption="Three throws.")


SIXES = Quantity("share", "share of sixes", at_least=0.9)


@paper.claim("loaded", says="A die is loaded.", measures=SIXES, quick=Effort(2, 30.0))
def loaded(run: Run) -> None:
    gate = os.environ.get("DICE_GATE")  # waits until this file is there
    while gate and not os.path.exists(gate):
        time.sleep(0.05)
    for seed in run.seeds:
        run.record(share=0.5)


@paper.claim("lost", says="A die is lost.", measures=SIXES, quick="nobody can find it")
def lost(run: Run) -> None:
    pass
'''

# Plays mercer.gallery.work: says what that would say, and does what the file "mode" beside it asks for.
PLAYER = """
import json, pathlib, sys, os, time
job = json.loads(sys.argv[-1])
mode = (pathlib.Path(job["folder"]).parent / "mode").read_text()
def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)
outcome = {"claim": "fair", "verdict": "holds", "before": None, "reason": "", "failed": False, "is_new": True}
print("a library prints while it is imported", flush=True)
say("begin", claim="fair", seeds=3)
say("printed", claim="fair", text="sixty throws\\n")
say("seed", claim="fair", done=2)
if mode == "die":
    sys.stderr.write("Traceback: the die is broken\\n")
    sys.stderr.flush()
    os._exit(3)
if mode == "wait":
    sys.stdin.read()
    os._exit(130)
if mode == "deaf":
    time.sleep(60)
if mode == "full":
    say("error", reason="Results cannot be written: the disk is full.")
    sys.exit()
if mode == "fail":
    outcome |= {"verdict": "not measured", "reason": "KeyError: 'die'", "failed": True}
say("outcome", **outcome)
say("finished", n_failed=int(mode == "fail"))
"""


def write_results(shelf, *claims, fingerprint=None, date=None, values=None):
    """Measure claims of the dice here and write their results; ``values`` replaces what is measured."""
    paper = shelf.find("91-dice").paper
    for task in tasks_of([paper], folder=shelf.folder):
        if task.claim.id == "lost" or (claims and task.claim.id not in claims):
            continue
        with redirect_stdout(None):
            measurement = measure(task.claim)
        if values is not None:
            measurement = replace(measurement, values={n: (values,) * len(v) for n, v in measurement.values.items()})
        result = Result.of(
            "91-dice", task.claim, task.configuration, fingerprint or task.fingerprint, measurement=measurement
        )
        results.write(shelf.folder, replace(result, date=date) if date else result)
    shelf.refresh(at_once=True)


@pytest.fixture
def dice_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MERCER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("DICE_GATE", raising=False)
    path = tmp_path / "p91_dice.py"
    path.write_text(DICE)
    return path


def shelf_at(dice_file):
    """Attention, long convolutions and dice; results lie beside the dice."""
    entries = [entry for entry in registry.entries() if entry.slug in ("transnormer", "long-convs")]
    dice = registry.load_file(dice_file).entry
    return Shelf(dice_file.parent / "results" / "quick", entries=[*entries, dice], modules={91: dice_file})


@pytest.fixture
def put_results():
    return write_results


@pytest.fixture
def shelf(dice_file):
    return shelf_at(dice_file)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "data" / "gallery.sqlite3")
    yield store
    store.close()


@pytest.fixture
def history(store):
    return History(store)


@pytest.fixture
def player(tmp_path):
    """The command of a played run, and a function that says what it shall do."""
    (tmp_path / "results").mkdir(exist_ok=True)
    script = tmp_path / "player.py"
    script.write_text(PLAYER)

    def play(mode):
        (Path(tmp_path) / "results" / "mode").write_text(mode)

    play("finish")
    play.command = [sys.executable, "-S", str(script)]
    return play


@pytest.fixture
def mailbox():
    """A real SMTP server on this machine; gives the messages it took, and refuses what goes to refused@example.org."""
    controller_module = pytest.importorskip("aiosmtpd.controller")

    class Keeper:
        def __init__(self):
            self.messages = []

        async def handle_RCPT(self, server, session, envelope, address, options):
            if address == "refused@example.org":
                return "550 no such person here"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):
            message = message_from_bytes(envelope.content, policy=policy.default)
            self.messages.append((envelope.rcpt_tos, message))
            return "250 taken"

    class Server(controller_module.Controller):
        def _trigger_server(self):  # which connects to the port that was asked for, and 0 is none
            self.port = self.server.sockets[0].getsockname()[1]
            super()._trigger_server()

    keeper = Keeper()
    controller = Server(keeper, hostname="127.0.0.1", port=0)
    controller.start()
    keeper.port = controller.port
    keeper.settings = MailSettings("127.0.0.1", keeper.port, "", "", "gallery@example.org")
    yield keeper
    controller.stop()
