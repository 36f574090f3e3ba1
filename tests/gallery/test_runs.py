import pytest

from mercer.gallery.runs import QueueFullError, Runs


@pytest.fixture
def runs(store):
    return Runs(store)


def test_a_run_waits_runs_and_ends(runs):
    run = runs.ask("91-dice")
    assert (run.state, run.started) == ("waiting", None)
    assert runs.start().state == "running"
    assert runs.start() is None
    assert runs.end(run.id, "done")
    assert not runs.end(run.id, "cancelled")  # the first end counts
    assert runs.find(run.id).state == "done"
    assert [event["event"] for _, event in runs.events(run.id)] == ["waiting", "running", "ended"]
    assert [number for number, _ in runs.events(run.id, after=1)] == [2, 3]
    assert runs.active() == []
    assert runs.recent()[0].id == runs.last("91-dice").id == run.id


def test_a_paper_is_in_the_queue_once(runs):
    first, second = runs.ask("91-dice"), runs.ask("33-long-convs")
    assert runs.ask("91-dice").id == first.id
    runs.start()
    assert runs.ask("91-dice").id == first.id
    assert [run.id for run in runs.active()] == [first.id, second.id]


def test_the_queue_has_an_end(runs):
    for i in range(20):
        runs.ask(f"paper {i}")
    with pytest.raises(QueueFullError, match=r"20 runs are waiting already. Try again when some are done"):
        runs.ask("one more")
    assert len(runs.active()) == 20


def test_what_a_restart_interrupted_is_the_first_to_go_on(runs):
    first, second = runs.ask("91-dice"), runs.ask("33-long-convs")
    runs.start()
    assert [run.id for run in runs.wait_again()] == [first.id]
    assert [run.id for run in runs.active()] == [first.id, second.id]
    assert runs.start().id == first.id
    assert [event["event"] for _, event in runs.events(first.id)] == ["waiting", "running", "interrupted", "running"]


def test_what_is_printed_is_kept_up_to_a_limit(runs):
    run = runs.ask("91-dice")
    for _ in range(60):
        runs.tell(run.id, {"event": "printed", "claim": "fair", "text": "x" * 9_000})
    text = "".join(event.get("text", "") for _, event in runs.events(run.id))
    assert 150_000 < len(text) < 210_000
    assert "the rest of what is printed is not shown" in text
    runs.tell(run.id, {"event": "seed", "claim": "fair", "done": 1})
    assert runs.events(run.id)[-1][1]["event"] == "seed"
