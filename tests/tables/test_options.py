"""Options are checked when they are given."""

import json

import pytest

from mercer.errors import TableError
from mercer.tables.options import FitOptions

ERRORS = {
    "level": ({"level": 90.0}, "level is 90, but is a share"),
    "budget": ({"time_budget": 0.0}, "time_budget is 0 seconds"),
    "task": ({"task": "ranking"}, "task is 'ranking', but must be one of"),
    "scale": ({"target_scale": "square"}, "target_scale is 'square'"),
    "two splits": ({"time_column": "a", "group_column": "b"}, "Both a time column and a group column"),
    "centres": ({"n_centers": -1}, "n_centers is -1"),
    "rows": ({"learn_rows": -5}, "learn_rows is -5"),
    "no target": ({"drop": ("y",)}, "'y' is the target and cannot be left out"),
}


@pytest.mark.parametrize(("options", "message"), ERRORS.values(), ids=ERRORS)
def test_a_value_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(TableError, match=message):
        FitOptions(target="y", **options)


def test_options_can_be_written_as_json():
    options = FitOptions(target="y", ordered={"size": ("S", "L")}, drop=("id",))
    assert json.loads(json.dumps(options.as_json()))["ordered"] == {"size": ["S", "L"]}
