import json
import os
import subprocess
import sys

import pytest

from mercer.papers import Verdict, worker
from mercer.papers.results import path_of, read


@pytest.fixture
def work(coin_file, tmp_path):
    """Measure a claim in this process; gives the events."""

    def work(claim, **settings):
        events = []
        job = {
            "paper": str(coin_file),
            "claim": claim,
            "configuration": {"mode": "quick", "seeds": 2, "device": "cpu", "data": None} | settings,
            "fingerprint": "hash",
            "folder": str(tmp_path / "results"),
        }
        worker.work(job, lambda event, **details: events.append({"event": event, **details}))
        return events

    return work


def test_a_measured_claim_is_written_before_it_is_told(work, tmp_path):
    events = work("fair")
    assert [event["event"] for event in events] == ["started", "seed", "seed", "end"]
    assert events[-1] == {"event": "end", "state": "measured", "reason": ""}
    result = read(path_of(tmp_path / "results", "90-coin", "fair"))
    assert result.fingerprint == "hash"
    assert result.configuration["seeds"] == 2
    assert len(result.measurement.seeds) == 2


def test_a_broken_method_is_measured_without_tables_and_figures(work, tmp_path):
    assert work("fair", broken="Loaded, on one side")[-1]["state"] == "measured"
    result = read(path_of(tmp_path / "results", "90-coin", "fair"))
    assert result.verdict is Verdict.DOES_NOT_HOLD
    assert not result.measurement.tables
    assert not result.measurement.figures


def test_what_is_missing_leaves_a_claim_out(work, tmp_path):
    assert work("lost")[-1]["reason"] == "a lost coin is not showable in quick"
    assert work("lost")[-1]["state"] == "left out"
    assert not (tmp_path / "results").exists()


def test_a_crash_is_one_line_and_a_traceback_in_the_log(work, monkeypatch, capsys):
    monkeypatch.setenv("MORE_COINS", "1")
    assert work("thrown")[-1] == {"event": "end", "state": "failed", "reason": "KeyError: 'no coin'"}
    assert "Traceback" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_told(work, tmp_path):
    (tmp_path / "results").write_text("a file")
    event = work("biased")[-1]
    assert event["state"] == "unwritten"
    assert "results" in event["reason"]


@pytest.mark.slow(reason="starts a Python process with torch")
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_a_worker_ends_with_its_runner(coin_file, tmp_path, monkeypatch):
    monkeypatch.setenv("MORE_COINS", "60")
    job = {
        "paper": str(coin_file),
        "claim": "spinning",
        "configuration": {"mode": "quick", "seeds": 1, "device": "cpu", "data": None},
        "fingerprint": "hash",
        "folder": str(tmp_path),
    }
    command = [sys.executable, "-m", "mercer.papers.worker", json.dumps(job)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, start_new_session=True) as process:
        assert json.loads(process.stdout.readline()) == {"event": "started"}
        process.stdin.close()
        assert process.wait(timeout=10) == -9
