"""The clock of a fit."""

import time

from mercer.tables.stages import Stages


def test_a_stage_has_its_seconds_and_says_what_came_out():
    said = []
    stages = Stages(10.0, said.append)
    with stages.stage("solve", predicted=0.5) as stage:
        time.sleep(0.01)
        stage.note = "3 iterations"
    assert 0.01 <= stages.done[0].used <= stages.used
    assert stages.done[0].predicted == 0.5
    assert said[0].endswith("s  solve: 3 iterations")
    assert stages.left == stages.budget - stages.used or stages.left < 10.0


def test_a_stage_that_fails_is_not_counted():
    stages = Stages(1.0)
    try:
        with stages.stage("solve", predicted=0.5):
            raise ValueError
    except ValueError:
        pass
    assert stages.done == []
