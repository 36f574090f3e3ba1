import asyncio
import sys
from contextlib import asynccontextmanager

import pytest

from mercer.gallery import queue as queue_module
from mercer.gallery.progress import progress_of
from mercer.gallery.queue import Queue
from mercer.gallery.runs import FINAL, Runs


@pytest.fixture
def runs(store):
    return Runs(store)


@pytest.fixture
def opened(runs, shelf, player):
    @asynccontextmanager
    async def opened():
        queue = Queue(runs, shelf, command=player.command)
        await queue.open()
        try:
            yield queue
        finally:
            await queue.close()

    return opened


async def until(queue, condition):
    async with asyncio.timeout(20):
        while not condition():
            await queue.wait(0.05)


def has_ended(runs, run):
    return lambda: runs.find(run.id).state in FINAL


def has_said(runs, run, kind):
    return lambda: kind in [event["event"] for _, event in runs.events(run.id)]


@pytest.mark.parametrize(
    ("mode", "state", "reason"),
    [
        ("finish", "done", ""),
        ("fail", "failed", "1 claim crashed or hung."),
        ("die", "failed", "Its process died (exit code 3)."),
        ("full", "failed", "Results cannot be written: the disk is full."),
    ],
)
def test_a_run_ends_as_it_should_and_says_why(runs, shelf, opened, player, mode, state, reason):
    player(mode)

    async def play():
        async with opened() as queue:
            run = await queue.ask("91-dice")
            await until(queue, has_ended(runs, run))
            return runs.find(run.id)

    run = asyncio.run(play())
    assert (run.state, run.reason) == (state, reason)
    progress = progress_of(run, shelf.find("91-dice"), runs.events(run.id))
    assert "sixty throws" in progress.log
    assert ("the die is broken" in progress.log) is (mode == "die")  # a crash is shown
    step = progress.steps["fair"]
    assert step.done == (3 if mode in ("finish", "fail") else 2)
    assert step.state == {"finish": "done", "fail": "failed"}.get(mode, "waiting")


def test_a_run_that_is_under_way_and_one_that_waits_can_be_cancelled(runs, opened, player):
    player("wait")

    async def play():
        async with opened() as queue:
            first, second, third = [
                await queue.ask(f"{paper}") for paper in ("91-dice", "33-long-convs", "06-transnormer")
            ]
            await until(queue, has_said(runs, first, "seed"))
            assert await queue.cancel(second.id)
            assert runs.find(second.id).state == "cancelled"
            assert await queue.cancel(first.id)
            await until(queue, has_ended(runs, first))
            assert runs.find(first.id).state == "cancelled"
            assert not await queue.cancel(first.id)
            assert not await queue.cancel(999)
            await until(queue, has_ended(runs, third))
            return runs.find(third.id)

    assert asyncio.run(play()).reason == "There is no module of 06-transnormer here any more."


def test_a_run_that_does_not_listen_is_ended_by_force(runs, opened, player, monkeypatch):
    monkeypatch.setattr(queue_module, "_SECONDS_TO_END", 0.2)
    player("deaf")

    async def play():
        async with opened() as queue:
            run = await queue.ask("91-dice")
            await until(queue, has_said(runs, run, "seed"))
            await queue.cancel(run.id)
            await until(queue, has_ended(runs, run))
            return runs.find(run.id).state

    assert asyncio.run(play()) == "cancelled"


def test_a_run_goes_on_after_the_server_was_started_again(runs, opened, player):
    player("wait")

    async def begin():
        async with opened() as queue:
            run = await queue.ask("91-dice")
            await until(queue, has_said(runs, run, "seed"))
            return run

    run = asyncio.run(begin())
    assert runs.find(run.id).state == "running"  # the server is gone, and so is its process
    player("finish")

    async def go_on():
        async with opened() as queue:
            await until(queue, has_ended(runs, run))

    asyncio.run(go_on())
    assert runs.find(run.id).state == "done"
    events = [event["event"] for _, event in runs.events(run.id)]
    assert "interrupted" in events
    assert [number for number, _ in runs.events(run.id)] == list(range(1, len(events) + 1))


def test_a_program_that_cannot_be_started_is_one_line(runs, shelf):
    async def play():
        queue = Queue(runs, shelf, command=["/nonexistent/python"])
        await queue.open()
        run = await queue.ask("91-dice")
        await until(queue, has_ended(runs, run))
        await queue.close()
        return runs.find(run.id)

    assert asyncio.run(play()).reason == "Its process cannot be started: No such file or directory."


def test_the_program_is_the_one_that_calls_the_runner(runs, shelf):
    assert list(Queue(runs, shelf)._command) == [sys.executable, "-m", "mercer.gallery.work"]
