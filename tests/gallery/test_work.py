import json
import subprocess
import sys
import threading

import pytest

from mercer.gallery import work as module
from mercer.gallery.work import Teller, work
from mercer.papers import Verdict
from mercer.papers.results import read
from mercer.papers.runner import ResultsError
from mercer.papers.tasks import Outcome, tasks_of


@pytest.fixture
def said():
    events = []
    return events, lambda event, **details: events.append({"event": event, **details})


def test_it_calls_what_mercer_run_calls(dice_file, said, monkeypatch):
    events, say = said

    def run_claims(tasks, *, display):
        with display:
            display.line("a damaged file was put aside")
            display.begin(tasks[0])
            display.printed(tasks[0], "sixty throws")
            display.seed(tasks[0], 1)
            outcome = Outcome(tasks[0], reason="KeyError", failed=True, is_new=True, before=Verdict.HOLDS)
            display.end(outcome)
        return [outcome, Outcome(tasks[1])]

    monkeypatch.setattr(module, "run_claims", run_claims)
    work({"paper": str(dice_file), "folder": str(dice_file.parent)}, say)
    assert [event["event"] for event in events] == ["printed", "begin", "printed", "seed", "outcome", "finished"]
    assert events[1] == {"event": "begin", "claim": "fair", "seeds": 3}
    assert events[4]["failed"]
    assert events[4]["before"] == "holds"
    assert events[-1] == {"event": "finished", "n_failed": 1}
    assert json.dumps(events)


def test_what_stops_the_whole_run_is_one_line(dice_file, said, monkeypatch):
    events, say = said

    def run_claims(tasks, *, display):
        raise ResultsError("The result of dice/fair cannot be written: the disk\nis full.")

    monkeypatch.setattr(module, "run_claims", run_claims)
    work({"paper": str(dice_file), "folder": "/"}, say)
    assert events == [{"event": "error", "reason": "The result of dice/fair cannot be written: the disk is full."}]
    events.clear()
    work({"paper": str(dice_file.with_name("p93_none.py")), "folder": "/"}, say)
    assert events[0]["event"] == "error"
    assert "there is no such file" in events[0]["reason"]


def test_the_teller_tells_seconds_of_what_was_measured(shelf, said, put_results):
    events, say = said
    put_results(shelf, "fair")
    task = tasks_of([shelf.find("91-dice").paper], folder=shelf.folder)[0]
    Teller(say).end(Outcome(task, read(task.path)))
    assert events[0]["verdict"] == "holds"
    assert events[0]["seconds"] > 0
    assert not events[0]["is_new"]


WAITING = """'A claim that waits.'
import time
from mercer.papers import Effort, Entry, Paper, Quantity
paper = Paper(Entry(92, "waiting", "On waiting", "It waits."))
SHARE = Quantity("share", "share", at_least=0.5)
paper.claim("slow", says="It is slow.", measures=SHARE, quick=Effort(2, 30.0))(lambda run: time.sleep(300))
"""


@pytest.mark.slow(reason="starts a Python process with torch, and one for the claim")
def test_the_process_ends_with_the_server_and_leaves_none_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("MERCER_DATA_DIR", str(tmp_path / "data"))
    file = tmp_path / "p92_waiting.py"
    file.write_text(WAITING)
    job = json.dumps({"paper": str(file), "folder": str(tmp_path / "results" / "quick")})
    process = subprocess.Popen(
        [sys.executable, "-m", "mercer.gallery.work", job],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    timer = threading.Timer(60, process.kill)
    timer.start()
    line = process.stdout.readline()
    assert json.loads(line) == {"event": "begin", "claim": "slow", "seeds": 2}
    process.stdin.close()  # the server is gone
    assert process.wait(20) == 130
    timer.cancel()
    process.stdout.close()
    process.stderr.close()
    left = subprocess.run(["pgrep", "-f", str(file)], capture_output=True, text=True).stdout.split()
    assert left == []
