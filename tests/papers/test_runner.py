import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mercer.papers import Verdict, registry, results, runner
from mercer.papers.measuring import measure
from mercer.papers.results import Result, read
from mercer.papers.runner import ResultsError, run_claims
from mercer.papers.tasks import tasks_of

SLOW = "starts a Python process with torch for every claim"


def verdicts(outcomes):
    return {outcome.task.claim.id: outcome.verdict for outcome in outcomes}


def put(task, **changes):
    """Write a result for a task, as a worker would."""
    measurement = measure(task.claim, seeds=1)
    settings = {"paper": task.paper.entry.key, "claim": task.claim, "configuration": task.configuration}
    result = Result.of(**settings, fingerprint=task.fingerprint, measurement=measurement)
    results.write(task.folder, replace(result, **changes))


@pytest.fixture
def no_process(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a claim was measured again")

    monkeypatch.setattr(runner, "Child", refuse)


@pytest.mark.slow(reason=SLOW)
def test_every_claim_ends_in_a_verdict_whatever_it_does(coin_file, tmp_path, display, monkeypatch):
    monkeypatch.setenv("MORE_COINS", "0.3")
    (tmp_path / "sitecustomize.py").write_text("print('some libraries print while they are imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tasks = tasks_of([registry.load_file(coin_file)], folder=tmp_path / "results")
    outcomes = {outcome.task.claim.id: outcome for outcome in run_claims(tasks, display=display, jobs=2)}
    assert {id: outcome.verdict for id, outcome in outcomes.items()} == {
        "fair": Verdict.HOLDS,
        "biased": Verdict.DOES_NOT_HOLD,
        "bought": Verdict.PROTOCOL_ONLY,
        **dict.fromkeys(("lost", "thrown", "melted", "spinning", "foreign"), Verdict.NOT_MEASURED),
    }
    assert [id for id, outcome in outcomes.items() if outcome.failed] == ["thrown", "melted", "spinning"]
    assert outcomes["lost"].reason == "a lost coin is not showable in quick"
    assert outcomes["foreign"].reason == "it needs --data PATH, a folder with foreign coins"
    assert outcomes["thrown"].reason.startswith("KeyError: 'no coin'. What it printed: ")
    assert outcomes["melted"].reason.startswith("its process died (exit code 3)")
    assert outcomes["spinning"].reason.startswith("it hung and was stopped after 0.3 s; --limit 0.6 gives it longer")
    logs = {path.stem: path.read_text() for path in (tmp_path / "data" / "logs" / "90-coin").iterdir()}
    assert "Traceback" in logs["thrown-quick"]
    assert "a claim may print" in logs["melted-quick"]
    assert ("fair", 3) in display.seeds
    assert "a claim may print\n" in display.prints["melted"]
    assert "KeyError: 'no coin'" in display.prints["thrown"]
    # The reasons stand on the disk as well, and whatever was measured is not measured again.
    assert read(outcomes["melted"].task.path).reason == "its process died (exit code 3)"
    known = [runner._known(task, display) for task in tasks]
    assert [outcome is not None for outcome in known] == [True] * 4 + [False] * 4


@pytest.mark.usefixtures("no_process")
def test_what_has_not_changed_is_not_measured_again(coin_tasks, display):
    for task in coin_tasks[:3]:
        put(task)
    outcomes = run_claims(coin_tasks, display=display)
    assert list(verdicts(outcomes).values())[:3] == [Verdict.HOLDS, Verdict.DOES_NOT_HOLD, Verdict.PROTOCOL_ONLY]
    assert not any(outcome.is_new for outcome in outcomes)
    assert display.begun == []


class Instant:
    """A worker that is done at once: it writes a result in this process and says so."""

    is_measuring, seconds = True, 0.0
    state, running, most = "measured", 0, 0

    def __init__(self, job, events, *, log, threads):
        paper = registry.load_file(Path(job["paper"]))
        claim, settings = paper.claims[job["claim"]], job["configuration"]
        result = Result.of(
            paper.entry.key, claim, settings, job["fingerprint"], measurement=measure(claim, seeds=settings["seeds"])
        )
        if self.state == "measured":
            results.write(Path(job["folder"]), result)
        Instant.running += 1
        Instant.most = max(Instant.most, Instant.running)
        events.put((self, {"event": "end", "state": self.state, "reason": "the disk is full"}))

    def end(self):
        Instant.running -= 1


@pytest.fixture
def instant(monkeypatch):
    monkeypatch.setattr(runner, "Child", Instant)
    monkeypatch.setattr(Instant, "running", 0)
    monkeypatch.setattr(Instant, "most", 0)
    return Instant


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize("damage", [{"fingerprint": "older code"}, {"configuration": {}, "fingerprint": "other"}])
def test_what_has_changed_is_measured_again(damage, coin_tasks, display):
    put(coin_tasks[0], **damage)
    outcomes = run_claims(coin_tasks[:1], display=display)
    assert outcomes[0].is_new
    assert outcomes[0].before is None
    assert read(coin_tasks[0].path).fingerprint != damage["fingerprint"]


@pytest.mark.usefixtures("instant")
def test_a_verdict_that_has_changed_is_told(coin_tasks, display):
    fair, biased = coin_tasks[:2]
    other = Result.of("90-coin", fair.claim, {}, "older code", measurement=measure(fair.claim))
    results.write(biased.folder, replace(other, claim="biased"))
    outcomes = run_claims([biased], display=display)
    assert (outcomes[0].before, outcomes[0].verdict) == (Verdict.HOLDS, Verdict.DOES_NOT_HOLD)


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize("text", ["{", '{"format": 0}'])
def test_an_unreadable_result_is_one_line_and_is_measured_again(text, coin_tasks, display):
    coin_tasks[0].path.parent.mkdir(parents=True)
    coin_tasks[0].path.write_text(text)
    outcomes = run_claims(coin_tasks[:1], display=display)
    assert outcomes[0].verdict is Verdict.HOLDS
    assert len(display.lines) == 1
    assert display.lines[0].endswith("coin/fair is measured again.")


@pytest.mark.usefixtures("no_process")
def test_a_result_of_a_newer_mercer_is_left_alone(coin_tasks, display):
    coin_tasks[0].path.parent.mkdir(parents=True)
    coin_tasks[0].path.write_text('{"format": 99}')
    outcomes = run_claims(coin_tasks[:1], display=display)
    assert outcomes[0].failed
    assert "comes from a newer mercer" in outcomes[0].reason
    assert coin_tasks[0].path.read_text() == '{"format": 99}'


@pytest.mark.usefixtures("instant")
def test_claims_about_speed_run_last_and_alone(coin_tasks, display):
    speed = replace(coin_tasks[2], claim=replace(coin_tasks[2].claim, kind="speed"))
    outcomes = run_claims([speed, *coin_tasks[:2]], display=display, jobs=2)
    assert display.begun == ["fair", "biased", "bought"]
    assert [outcome.task.claim.id for outcome in outcomes] == ["bought", "fair", "biased"]


def test_up_to_jobs_claims_are_measured_at_once(coin_tasks, display, instant):
    run_claims(coin_tasks, display=display, jobs=2)
    assert instant.most >= 2


def test_a_full_disk_stops_the_run_and_what_stands_stays(coin_tasks, display, instant, monkeypatch):
    put(coin_tasks[0])
    monkeypatch.setattr(instant, "state", "unwritten")
    with pytest.raises(
        ResultsError, match=r"result of coin/biased cannot be written: the disk is full\. The others stand"
    ):
        run_claims(coin_tasks, display=display)
    assert read(coin_tasks[0].path) is not None
    assert display.begun == ["biased"]


@pytest.mark.usefixtures("no_process")
def test_a_folder_that_cannot_be_written_to_is_noticed_before_anything_is_measured(coin_tasks, display, tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(ResultsError, match=r"cannot be written to .*Choose another folder with --results"):
        run_claims(coin_tasks, display=display)


@pytest.mark.slow(reason=SLOW)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_worker_on_a_full_disk_says_so(coin_tasks, display):
    coin_tasks[1].path.parent.mkdir(parents=True)
    coin_tasks[1].path.symlink_to("/dev/full")
    with pytest.raises(ResultsError, match=r"coin/biased cannot be written: .*No space left on device"):
        run_claims(coin_tasks[1:2], display=display)


def start(coin_file, tmp_path, hang):
    environment = os.environ | {"MORE_COINS": hang, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mercer.cli", "run", str(coin_file), "--results", str(tmp_path / "results")]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def workers(coin_file):
    """Process ids of workers on this very paper."""
    listing = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listing.splitlines() if "papers.worker" in line and str(coin_file) in line]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.slow(reason=SLOW)
def test_after_kill_9_the_next_run_goes_on_and_no_worker_is_left(coin_file, coin_tasks, tmp_path, display):
    process = start(coin_file, tmp_path, "60")
    try:
        wait_for(lambda: read(coin_tasks[0].path) is not None and workers(coin_file))
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: not workers(coin_file), seconds=10)
    before = read(coin_tasks[0].path)
    outcomes = run_claims(coin_tasks[:2], display=display)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.HOLDS, Verdict.DOES_NOT_HOLD]
    assert not outcomes[0].is_new
    assert read(coin_tasks[0].path) == before


@pytest.mark.slow(reason=SLOW)
def test_ctrl_c_ends_within_a_second_with_one_line(coin_file, coin_tasks, tmp_path):
    process = start(coin_file, tmp_path, "60")
    try:
        wait_for(lambda: read(coin_tasks[0].path) is not None and workers(coin_file))
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        line = next(line for line in process.stderr if line.startswith("interrupted"))
        seconds = time.monotonic() - began
        rest = process.communicate(timeout=30)[1]
    finally:
        process.kill()
        process.communicate()
    assert seconds < 1.0
    assert line == "interrupted; what was measured stands, and the same command goes on from there\n"
    assert rest == ""
    assert process.returncode == 130
    assert not workers(coin_file)
