import json
import math

import pytest
import torch

from mercer.kernels import RBF
from mercer.operators import calibrate, plan
from mercer.operators.machine import Rates, calibration, rates
from mercer.operators.machine.machine_rates import PER_THREAD


@pytest.fixture
def path(monkeypatch, tmp_path):
    path = tmp_path / "folder" / "calibration.json"
    monkeypatch.setattr(calibration, "calibration_path", lambda: path)
    calibration.load.cache_clear()
    yield path
    calibration.load.cache_clear()


@pytest.mark.slow(reason="measures the machine for about a second")
def test_what_was_measured_is_what_predictions_use(path):
    found = calibrate()
    assert rates() == found
    assert all(math.isfinite(value) and value > 0 for value in found.as_dict().values())
    # what no machine of the last ten years falls short of, by a factor of ten
    assert found.gemm_flops > 1e9
    assert found.exponentials > 1e7
    assert 1e-8 < found.call < 1e-3


def write(path, **changes):
    table = Rates(exponentials=1e5, threads=torch.get_num_threads())
    kept = {"version": calibration.VERSION, "machine": calibration._machine()}
    kept["rates"] = {str(table.threads): table.as_dict()}
    path.parent.mkdir()
    path.write_text(json.dumps({**kept, **changes}))
    calibration.load.cache_clear()


def test_a_slow_machine_is_predicted_to_be_slow(path):
    K = RBF()(torch.zeros(1000, 3), plan="tiles")
    before = plan(K).seconds
    write(path)
    assert plan(K).seconds > 100 * before


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"machine": {"processor": "another"}},
        {"rates": {str(n): {"unknown": 1.0} for n in range(1, 99)}},
        {"rates": []},
    ],
)
def test_a_file_of_another_version_or_machine_is_not_used(path, changes):
    write(path, **changes)
    assert rates() == Rates().with_threads(torch.get_num_threads())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}'])
def test_a_file_that_is_no_calibration_is_not_used(path, text):
    path.parent.mkdir()
    path.write_text(text)
    assert rates() == Rates().with_threads(torch.get_num_threads())


def test_threads_scale_what_each_of_them_does():
    one, four = Rates().with_threads(1), Rates().with_threads(4)
    for name, value in four.as_dict().items():
        expected = 4.0 if name in PER_THREAD or name == "threads" else 1.0
        assert value / one.as_dict()[name] == pytest.approx(expected)
